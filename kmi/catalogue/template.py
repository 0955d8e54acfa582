"""A manifest to begin with: every usual key with a comment, good as it stands, its only release planned."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kmi.catalogue import faults
from kmi.catalogue.document import Document
from kmi.catalogue.fields import DistroName
from kmi.errors import UsageError

_MARK = "@NAME@"


def manifest(name: str) -> dict[str, str]:
    """The files of a new distro by their paths below ``distros/``: the manifest and the licence's text that it names.
    UsageError for a name that no distro can have."""
    _check(name)
    here = files("kmi.catalogue")
    texts = {f"{name}.yaml": "template.yaml", f"files/{name}-licence.txt": "template.txt"}
    return {path: (here / text).read_text("utf-8").replace(_MARK, name) for path, text in texts.items()}


def _check(name: str) -> None:
    try:
        TypeAdapter(DistroName).validate_python(name)
    except ValidationError as error:
        errors: list[dict[str, Any]] = [dict(entry) for entry in error.errors(include_url=False)]
        told = faults.of_schema(errors, Document())[0].message.removeprefix("manifest: ")
        raise UsageError("no distro can have this name", got=told) from error
