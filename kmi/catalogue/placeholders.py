"""The closed set of placeholders in manifests: ``{version}``, ``{codename}`` and ``{arch}``; pure."""

from __future__ import annotations

from string import Formatter

NAMES = ("version", "codename", "arch")


def check(text: str) -> str:
    """The text itself; ValueError for any placeholder that is not one of ``NAMES`` as it stands there."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"braces that do not match: {error}") from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in NAMES or form or conversion):
            known = ", ".join(f"{{{known}}}" for known in NAMES)
            raise ValueError(f"unknown placeholder {{{name}}}; known are {known}")
    return text


def expand(text: str, *, version: str, codename: str, arch: str) -> str:
    """Replace the placeholders of a text that ``check`` let through."""
    return text.format_map({"version": version, "codename": codename, "arch": arch})
