"""The types of a manifest's values. Each refuses what its use as an argument, file name, URL or label could not bear.

Every text is one line unless its type says otherwise: ``x-lines: several`` marks those that are not in the JSON Schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from kmi import documents
from kmi.catalogue import placeholders
from kmi.catalogue.urls import check as _url

_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_LARGEST = 16 << 40
"""Bytes of a disk: what ext4 holds with blocks of 4 KiB."""


@dataclass(frozen=True, slots=True)
class Form:
    """Text of one form, told in words: ``pattern`` has to match all of it, ``limit`` is in characters."""

    pattern: str
    what: str
    limit: int = 63

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$", "maxLength": self.limit}

    def check(self, text: str) -> str:
        if len(text) > self.limit:
            raise ValueError(f"at most {self.limit} characters are expected")
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(f"{self.what} is expected")
        return text


def _line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("one line without control characters is expected")
    if text.startswith("-") or text != text.strip() or not text:
        raise ValueError("text that is not empty, begins with no dash and has no space around it is expected")
    return text


def _lines(text: str) -> str:
    if not documents.visible(text):
        raise ValueError("text whose characters can all be seen is expected")
    return text


def _command(text: str) -> str:
    _line(_lines(text).replace("\n", ";").replace("\t", " ").strip("; "))
    return text


def _path(text: str) -> str:
    parts = text.split("/")
    if parts[0] or not all(0 < len(part.encode()) <= 255 and part not in (".", "..") for part in parts[1:]):
        raise ValueError("an absolute path without empty parts, . and .. is expected")
    return text


def _package(text: str) -> str:
    if text.endswith("-"):
        raise ValueError("a name that ends in no dash is expected (apt would remove the package)")
    return text


def _build_template(text: str) -> str:
    return placeholders.check(text, (*placeholders.NAMES, placeholders.BUILD))


def _url_template(text: str) -> str:
    if "{" in text.partition("://")[2].partition("/")[0]:
        raise ValueError("a host without placeholders is expected")
    _url(re.sub(r"\{[a-z]+\}", "x", text))
    return text


def _size(text: object) -> object:
    match = re.fullmatch(r"([1-9][0-9]{0,5}) ?(MiB|GiB|TiB)", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a size such as 20GiB is expected (MiB, GiB or TiB)")
    size = int(match[1]) * _UNITS[match[2]]
    if size > _LARGEST:
        raise ValueError(f"a size of at most {_LARGEST >> 40}TiB is expected")
    return size


def _mode(text: object) -> object:
    if not isinstance(text, str) or re.fullmatch(r"0[0-7]{3}", text) is None:
        raise ValueError("permission bits such as 0644 are expected")
    return int(text, 8)


def _flag(text: object) -> object:
    if text not in ("true", "false"):
        raise ValueError("true or false is expected")
    return text == "true"


def _day(text: object) -> object:
    if not isinstance(text, str) or re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is None:
        raise ValueError("a day such as 2028-06-30 is expected")
    return date.fromisoformat(text)


def _days(text: object) -> object:
    if not isinstance(text, str) or re.fullmatch(r"[1-9][0-9]{0,3}", text) is None or int(text) > 3650:
        raise ValueError("a number of days from 1 to 3650 is expected")
    return int(text)


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("no value twice is expected")
    return values


_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_COMPONENT = "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"

Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
Lines = Annotated[str, Field(max_length=65536, json_schema_extra={"x-lines": "several"}), AfterValidator(_lines)]
Command = Annotated[
    str, Field(min_length=1, max_length=4096, json_schema_extra={"x-lines": "several"}), AfterValidator(_command)
]
DistroName = Annotated[str, Form(_COMPONENT, "a component of a repository's name, such as debian,")]
Word = Annotated[str, Form(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", "a word of lower-case letters, digits and . _ - within")]
User = Annotated[str, Form(r"[a-z_][a-z0-9_-]*", "a user's name", 32)]
ResourceName = Annotated[str, Form(rf"{_LABEL}(\.{_LABEL})*", "the name of a Kubernetes resource")]
Unit = Annotated[str, Form(r"[A-Za-z0-9_][A-Za-z0-9:_.@-]*", "a service's name", 200)]
Package = Annotated[
    str,
    Form(r"[A-Za-z0-9{][A-Za-z0-9+._@:{}-]*(/[A-Za-z0-9{][A-Za-z0-9+._@:{}-]*)*", "a package's name", 200),
    AfterValidator(_package),
    AfterValidator(placeholders.check),
]
Suite = Annotated[str, Form(r"[a-z0-9{][a-z0-9.{}-]*", "a suite's name", 100), AfterValidator(placeholders.check)]
Url = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_line), AfterValidator(_url)]
_UrlText = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_line)]
UrlTemplate = Annotated[_UrlText, AfterValidator(placeholders.check), AfterValidator(_url_template)]
BuildTemplate = Annotated[Line, AfterValidator(_build_template)]
BuildUrl = Annotated[_UrlText, AfterValidator(_build_template), AfterValidator(_url_template)]
Size = Annotated[
    int, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,5} ?(MiB|GiB|TiB)$"})
]
Mode = Annotated[int, BeforeValidator(_mode), WithJsonSchema({"type": "string", "pattern": "^0[0-7]{3}$"})]
Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
Day = Annotated[date, BeforeValidator(_day)]
Days = Annotated[int, BeforeValidator(_days), WithJsonSchema({"type": "integer", "minimum": 1, "maximum": 3650})]
Fingerprint = Annotated[str, Form("[0-9A-F]{40}", "a full primary fingerprint: 40 upper-case hexadecimal digits", 40)]
AbsolutePath = Annotated[str, Field(max_length=1024), AfterValidator(_line), AfterValidator(_path)]
MemberName = Annotated[
    str,
    Form(r"[A-Za-z0-9_{][A-Za-z0-9+._@{}-]*(/[A-Za-z0-9_{][A-Za-z0-9+._@{}-]*)*", "a path in an archive", 200),
    AfterValidator(placeholders.check),
]
TextFile = Annotated[str, Form(r"files/[a-z0-9][a-z0-9._-]*", "files/NAME", 100)]
Unique = AfterValidator(_unique)
MinisignKey = Annotated[str, Form(r"RW[A-Za-z0-9+/]{54}", "a public key of minisign or signify", 56)]


class Strict(BaseModel):
    """A section of a manifest: unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
