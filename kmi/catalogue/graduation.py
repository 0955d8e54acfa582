"""The one line of a manifest that says how mature a release is."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from kmi.catalogue.document import read
from kmi.errors import UsageError
from kmi.model.spec import Tier


def graduation(manifest: Path, release: str, tier: Tier) -> str:
    """A unified diff that raises the release's tier. UsageError if the manifest has no such line."""
    data = manifest.read_bytes()
    document = read(data)
    releases = document.value.get("releases", []) if isinstance(document.value, dict) else []
    for number, one in enumerate(releases):
        if one.get("version") == release and ("releases", number, "tier") in document.lines:
            return _diff(data.decode(), document.lines["releases", number, "tier"], tier, manifest)
    raise UsageError(
        "the manifest has no line that says the tier", expected=f"tier of release {release}", where=manifest
    )


def _diff(text: str, line: int, tier: Tier, manifest: Path) -> str:
    before = text.splitlines(keepends=True)
    after = list(before)
    after[line - 1] = re.sub(r"(\btier:\s*)[a-z]+", rf"\g<1>{tier}", before[line - 1])
    name = f"{manifest.parent.name}/{manifest.name}"
    return "".join(difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", n=2))
