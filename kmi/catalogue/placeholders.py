"""The closed set of placeholders in manifests; pure.

``{version}`` and ``{codename}`` are the release's, ``{arch}`` the publisher's word for the architecture. ``{build}`` is
known only when the image is looked up, so it stays as it is until then.
"""

from __future__ import annotations

from string import Formatter

NAMES = ("version", "codename", "arch")
BUILD = "build"


def check(text: str, names: tuple[str, ...] = NAMES) -> str:
    """The text itself; ValueError for any placeholder that is not one of ``names`` as it stands there."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"braces that do not match: {error}") from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in names or form or conversion):
            known = ", ".join(f"{{{known}}}" for known in names)
            raise ValueError(f"unknown placeholder {{{name}}}; known are {known}")
    return text


def expand(text: str, *, version: str, codename: str, arch: str) -> str:
    """Replace the placeholders of a text that ``check`` let through, all but ``{build}``."""
    return text.format_map({"version": version, "codename": codename, "arch": arch, BUILD: f"{{{BUILD}}}"})
