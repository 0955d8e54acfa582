"""The types of a manifest's values: text that may stand in a command line, a URL, a label or a file name."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from kmi.catalogue import placeholders

_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def _line(text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("one line without control characters is expected")
    if text.startswith("-") or text != text.strip() or not text:
        raise ValueError("text that is not empty, begins with no dash and has no space around it is expected")
    return text


def _url(text: str) -> str:
    if re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?/[!-~]*", text) is None:
        raise ValueError("an http or https URL with a path is expected")
    return text


def _size(text: object) -> object:
    match = re.fullmatch(r"([0-9]{1,6}) ?(MiB|GiB|TiB)", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a size such as 20GiB is expected (MiB, GiB or TiB)")
    return int(match[1]) * _UNITS[match[2]]


def _mode(text: object) -> object:
    if not isinstance(text, str) or re.fullmatch(r"0[0-7]{3}", text) is None:
        raise ValueError("permission bits such as 0644 are expected")
    return int(text, 8)


Line = Annotated[str, AfterValidator(_line)]
Template = Annotated[Line, AfterValidator(placeholders.check)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$", max_length=63)]
Package = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9{][A-Za-z0-9+._/@:{}-]*$", max_length=200), AfterValidator(placeholders.check)
]
Url = Annotated[Line, AfterValidator(_url)]
UrlTemplate = Annotated[Template, AfterValidator(lambda text: _url(re.sub(r"\{[a-z]+\}", "x", text)) and text)]
BuildTemplate = Annotated[Line, AfterValidator(lambda text: placeholders.check(text, (*placeholders.NAMES, "build")))]
BuildUrl = Annotated[BuildTemplate, AfterValidator(lambda text: _url(re.sub(r"\{[a-z]+\}", "x", text)) and text)]
Size = Annotated[
    int, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,6} ?(MiB|GiB|TiB)$"})
]
Mode = Annotated[int, BeforeValidator(_mode), WithJsonSchema({"type": "string", "pattern": "^0[0-7]{3}$"})]
Flag = Annotated[bool, WithJsonSchema({"type": "boolean"})]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9A-F]{40}$", description="a full primary fingerprint")]
AbsolutePath = Annotated[Line, Field(pattern=r"^/")]


class Strict(BaseModel):
    """A section of a manifest: unknown keys are errors, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
