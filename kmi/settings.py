"""Where things are on this site: ``kmi.toml``, then ``KMI_*`` in the environment, then flags; the last one wins."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kmi.errors import UsageError

LOCAL = "local"
"""The registry word for the embedded registry."""

UBI_MICRO = "registry.access.redhat.com/ubi9/ubi-micro:latest"


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "kmi"


def _data() -> Path:
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "kmi"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting, with its default. Paths are absolute once loaded.

    ``registry`` is ``local`` or ``host[:port]/path``; ``base`` an image reference or an OCI layout's path; ``mirrors``
    and ``package_mirrors`` map URL prefixes to others; ``keyrings`` is a folder of publishers' keys named
    ``<FINGERPRINT>.asc`` for sites that cannot reach the key's URL; ``key`` is the cosign private key, made on first
    use; ``project`` is the web address that images record as their source.
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


_PATHS = ("cache", "output", "distros", "key", "keyrings")
_MAPS = ("mirrors", "package_mirrors")


def load(directory: Path, environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Merge the three sources. UsageError for an unknown name, a wrong type or an unreadable file."""
    known = {entry.name for entry in fields(Settings)}
    values = _from_file(directory / "kmi.toml", known)
    for name in sorted(known):
        variable = f"KMI_{name.upper()}"
        if environ.get(variable):
            values[name] = _value(name, environ[variable], variable)
        if flags.get(name) is not None:
            values[name] = _value(name, flags[name], f"--{name}")
    settings = replace(Settings(), **values)
    paths = {name: value for name in _PATHS if (value := getattr(settings, name)) is not None}
    return replace(settings, **{name: (directory / path).absolute() for name, path in paths.items()})


def _from_file(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"cannot read {path.name}", got=error, where=path) from error
    for name in table:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"unknown setting {name!r}",
                expected=", ".join(sorted(known)),
                where=path,
                hint=f"did you mean {close[0]!r}?" if close else None,
            )
    return {name: _value(name, value, str(path)) for name, value in table.items()}


def _value(name: str, value: object, where: str) -> Any:
    if name in _MAPS:
        return _pairs(name, value, where)
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str):
        raise UsageError(f"setting {name!r} is not text", got=value, where=where)
    return Path(value).expanduser() if name in _PATHS else value


def _pairs(name: str, value: object, where: str) -> tuple[tuple[str, str], ...]:
    """A table in the file; ``FROM=TO`` words separated by spaces in a variable or a flag."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, str):
        words = [word.partition("=") for word in value.split()]
        value = {before: after for before, _, after in words}
    if not isinstance(value, dict) or not all(isinstance(v, str) and v for v in value.values()):
        raise UsageError(f"setting {name!r} maps URL prefixes to URL prefixes", got=value, where=where)
    return tuple(sorted(value.items()))


def mapped(url: str, mirrors: tuple[tuple[str, str], ...]) -> str:
    """The URL by way of the longest matching mirror prefix, or as it is."""
    best = max((pair for pair in mirrors if url.startswith(pair[0])), key=lambda pair: len(pair[0]), default=None)
    return url if best is None else best[1] + url[len(best[0]) :]
