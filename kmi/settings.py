"""Where things are on this site: ``kmi.toml``, then ``KMI_*`` in the environment, then flags; the last one wins."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kmi import documents
from kmi.documents import Unreadable
from kmi.errors import FaultsError, HostError

LOCAL = "local"
"""The registry word for the embedded registry."""

UBI_MICRO = "registry.access.redhat.com/ubi9/ubi-micro:latest"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(_home() / ".cache")
    return Path(base) / "kmi"


def _data() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or str(_home() / ".local" / "share")
    return Path(base) / "kmi"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:  # a user without an entry in the password database, as containers have
        raise HostError("this user has no home folder", hint="set HOME, or KMI_CACHE and KMI_KEY") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, with its default. Paths are absolute once loaded.

    ``registry`` is ``local`` or ``host[:port]/path``; ``base`` an image reference or an OCI layout's path; ``mirrors``
    and ``package_mirrors`` map URL prefixes to others, ``mirrors`` to one or several, which are tried in order;
    ``patience`` is how many seconds a server may be silent, and all other waiting for one follows from it;
    ``keyrings`` is a folder of publishers' keys named ``<FINGERPRINT>.asc`` for sites that cannot reach the key's URL;
    ``key`` is the cosign private key, made on first use; ``project`` is the web address that images record as their
    source.
    """

    cache: Path = field(default_factory=_cache)
    output: Path = Path("build")
    distros: Path = Path("distros")
    registry: str = LOCAL
    base: str = UBI_MICRO
    key: Path = field(default_factory=lambda: _data() / "cosign.key")
    keyrings: Path | None = None
    mirrors: tuple[tuple[str, str], ...] = ()
    package_mirrors: tuple[tuple[str, str], ...] = ()
    project: str = ""
    patience: float = 30.0


_PATHS = ("cache", "output", "distros", "key", "keyrings")
_MAPS = ("mirrors", "package_mirrors")
_NAMES = tuple(entry.name for entry in fields(Settings))

FILE = "kmi.toml"
_LARGEST = 64 << 10
_LONGEST_LINE = 2048
"""Characters; tomllib takes time by the square of a dotted key's length."""

_LONGEST = 4095
_PREFIX = re.compile(r"[a-z][a-z0-9+.-]*:[!-~]+")
Wrong = list[tuple[str, str]]


def load(directory: Path, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Merge the three sources. FaultsError with every unknown name, wrong value and unreadable file."""
    wrong: Wrong = []
    values = _from_file(directory / FILE, wrong)
    for name in sorted(_NAMES):
        variable = f"KMI_{name.upper()}"
        if environ.get(variable):
            _take(values, name, environ[variable], variable, wrong)
        if flags.get(name) is not None:
            _take(values, name, flags[name], f"--{name}", wrong)
    if wrong:
        raise FaultsError("the settings", wrong)
    settings = Settings(**values)
    paths = {name: value for name in _PATHS if (value := getattr(settings, name)) is not None}
    return replace(settings, **{name: (directory / path).absolute() for name, path in paths.items()})


def _from_file(path: Path, wrong: Wrong) -> dict[str, Any]:
    """What ``kmi.toml`` sets, if it is there; what is wrong in it is added to ``wrong``."""
    values: dict[str, Any] = {}
    if not os.path.lexists(path):
        return values
    try:
        text = documents.text(documents.contents(path, _LARGEST))
        for fault in documents.unseen(text):
            raise Unreadable(fault.message, fault.line)
        table = _table(text)
    except Unreadable as error:
        wrong.append((f"{documents.place(path)}:{error.fault.line}", f"cannot read {FILE}: {error}"))
        return values
    for name, value in table.items():
        where = f"{documents.place(path)}:{_line(text, name)}"
        if name in _NAMES:
            _take(values, name, value, where, wrong)
        else:
            close = difflib.get_close_matches(name[:100], _NAMES, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(sorted(_NAMES))}"
            wrong.append((where, f"unknown setting {documents.shown(name)}; {hint}"))
    return values


def _table(text: str) -> dict[str, Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > _LONGEST_LINE:
            raise Unreadable(f"a line of more than {_LONGEST_LINE} characters", number)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Unreadable("brackets within brackets, too deep") from None
    except ValueError as error:  # TOMLDecodeError, and int() for a number of thousands of digits
        found = re.search(r"line ([0-9]+)", str(error))
        raise Unreadable(str(error), int(found[1]) if found else text.count("\n") or 1) from None


def _line(text: str, name: str) -> int:
    """Where the file sets it (tomllib does not tell): the first line that begins with its name."""
    found = re.search(rf"^[ \t]*\[*[ \t]*[\"']?{re.escape(name)}\b", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _take(values: dict[str, Any], name: str, value: object, where: str, wrong: Wrong) -> None:
    try:
        values[name] = _value(name, value)
    except ValueError as error:
        wrong.append((where, f"setting {name!r} {error}"))


def _value(name: str, value: object) -> Any:
    """The setting's own type. ValueError, in words that follow its name, for a value that it does not take."""
    if name in _MAPS:
        return _pairs(name, value)
    if name == "patience":
        return _seconds(value)
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"is not text, but {documents.shown(value)}")
    if not value or not value.isprintable() or len(value.encode()) > _LONGEST:
        raise ValueError(f"is empty, too long or not printable: {documents.shown(value)}")
    if name in _PATHS:
        return _path(value)
    if value.startswith("-") or value != value.strip():
        raise ValueError(f"begins with a dash, or has space around it: {documents.shown(value)}")
    return value


def _path(value: str) -> Path:
    if any(len(part.encode()) > 255 for part in value.split("/")):
        raise ValueError(f"has a name of more than 255 bytes: {documents.shown(value)}")
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError(f"is in no known home folder: {documents.shown(value)}") from error


def _seconds(value: object) -> float:
    """A number in the file, its text in a variable."""
    try:
        seconds = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise ValueError(f"is no time; seconds, 0.1 to 3600, are expected, not {documents.shown(value)}")
    return seconds


def _pairs(name: str, value: object) -> tuple[tuple[str, str], ...]:
    """A table in the file, a target being text or a list; ``FROM=TO`` words separated by spaces in a variable or a
    flag, where several words for one prefix are several targets. Targets stay in their order."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, str):
        pairs: list[tuple[str, object]] = [(before, after) for before, _, after in map(_parted, value.split())]
    elif isinstance(value, dict):
        pairs = [(before, after) for before, targets in value.items() for after in _listed(targets)]
    else:
        pairs = [("", None)]
    for pair in pairs:
        if not all(isinstance(url, str) and _PREFIX.fullmatch(url) for url in pair):
            raise ValueError(f"maps URL prefixes to URL prefixes, not {documents.shown(pair)}")
    if name != "mirrors" and len({before for before, _ in pairs}) < len(pairs):
        raise ValueError("has two targets for one prefix")
    return tuple(sorted(((before, str(after)) for before, after in pairs), key=lambda pair: pair[0]))


def _parted(word: str) -> tuple[str, str, str]:
    return word.partition("=")


def _listed(targets: object) -> list[object]:
    return (targets or [None]) if isinstance(targets, list) else [targets]


def mapped(url: str, mirrors: tuple[tuple[str, str], ...]) -> str:
    """The URL by way of the longest matching mirror prefix, or as it is."""
    return ways(url, mirrors)[0]


def ways(url: str, mirrors: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The URL by way of every target of the longest matching mirror prefix, in order; itself alone if none matches."""
    longest = max((len(before) for before, _ in mirrors if url.startswith(before)), default=-1)
    found = [after + url[longest:] for before, after in mirrors if len(before) == longest and url.startswith(before)]
    return tuple(found) or (url,)
