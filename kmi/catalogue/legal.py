"""The texts that a manifest names: licences and agreements, in files below ``files/`` beside it."""

from __future__ import annotations

from pathlib import Path

from kmi import documents
from kmi.catalogue import schema
from kmi.documents import Unreadable

TEXT_LIMIT = 1 << 20
"""Bytes in a licence."""


def text(legal: schema.LegalText, directory: Path) -> str:
    """The text itself. Unreadable for a file that is missing, no regular file, empty, larger than ``TEXT_LIMIT``, not
    UTF-8, or elsewhere by way of a symbolic link."""
    path = directory / legal.file
    try:
        inside = path.resolve(strict=True).is_relative_to(directory.resolve(strict=True))
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise Unreadable(f"{legal.file} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not inside:
        raise Unreadable(f"{legal.file} leads out of the manifests' folder; a file in it is expected")
    try:
        found = documents.text(documents.contents(path, TEXT_LIMIT))
    except Unreadable as error:
        raise Unreadable(f"{legal.file}: {error}") from None
    if not found.strip():
        raise Unreadable(f"{legal.file} is empty; the text is expected")
    for fault in documents.unseen(found.replace("\f", "\n").replace("\u00a0", " ").lstrip("\n")):
        raise Unreadable(f"{legal.file}: {fault.message}")
    return found
