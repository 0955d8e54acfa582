"""A kubeconfig's text and its entries, read with care: plain values only, errors with their place and without secrets.

What kmi does not support it refuses, because a connection that ignores a proxy, a server name or an impersonation is
not the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kmi import documents
from kmi.documents import Unreadable, shown
from kmi.errors import UsageError
from kmi.kubevirt import credentials

_DEPTH = 20
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NULL = ("", "null", "~")
_FOREIGN = {
    "cluster": ("proxy-url", "tls-server-name"),
    "user": ("as", "as-uid", "as-groups", "as-user-extra", "auth-provider", "username", "password"),
}
"""Fields whose meaning would be lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One named item (or a file's top) and the file it stands in, to which its relative paths belong."""

    value: Mapping[str, Any]
    path: Path
    title: str

    @property
    def where(self) -> str:
        return f"{documents.place(self.path)} ({self.title})"

    def _get(self, key: str) -> Any:
        """None also for YAML's null, which is text to a reader that guesses no types."""
        found = self.value.get(key)
        return None if isinstance(found, str) and found in _NULL else found

    def text(self, key: str) -> str:
        found = self._get(key) or ""
        if not isinstance(found, str):
            raise UsageError(f"malformed kubeconfig: {key}", expected="text", where=self.where)
        return found

    def below(self, key: str) -> Entry:
        found = self._get(key) or {}
        if not isinstance(found, dict):
            raise UsageError(f"malformed kubeconfig: {key}", expected="a mapping", where=self.where)
        return Entry(value=found, path=self.path, title=self.title)

    def rows(self, key: str) -> list[Entry]:
        found = self._get(key) or []
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise UsageError(f"malformed kubeconfig: {key}", expected="a list of mappings", where=self.where)
        return [Entry(value=row, path=self.path, title=self.title) for row in found]

    def file(self, key: str) -> Path | None:
        found = self.text(key)
        if "\0" in found:
            raise UsageError(f"malformed kubeconfig: {key}", expected="a path", where=self.where)
        return self.path.parent / found if found else None

    def true(self, key: str) -> bool:
        """False unless it is literally true. UsageError for another word, such as ``yes``."""
        found = self.text(key)
        if found not in ("", "true", "false"):
            raise UsageError(
                f"malformed kubeconfig: {key}", expected="true or false", got=shown(found), where=self.where
            )
        return found == "true"

    def refuse(self, kind: str) -> None:
        """UsageError for a field that kmi would have to ignore."""
        if named := next((key for key in _FOREIGN.get(kind, ()) if self._get(key)), None):
            hint = (
                "it knows certificates, tokens, token files and credential plugins; proxies come from the environment"
            )
            raise UsageError(f"kmi does not support {named} in a kubeconfig", where=self.where, hint=hint)


def read(path: Path) -> Entry | None:
    """A file's top; None if there is no such file (kubectl passes over it, too). UsageError."""
    if not path.exists():
        return None
    try:
        text = documents.text(documents.contents(path, credentials.FILE_LIMIT))
        if faults := documents.unseen(text):
            raise Unreadable(faults[0].message, line=faults[0].line)
        _bounded(text)
        value = yaml.load(text, Loader=_LOADER) or {}  # noqa: S506 -- BaseLoader: text, lists and mappings only
    except Unreadable as error:
        where = f"{documents.place(path)}:{error.fault.line}"
        raise UsageError("malformed kubeconfig", got=error.fault.message, where=where) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{documents.place(path)}:{mark.line + 1 if mark else 1}"
        got = str(getattr(error, "problem", "") or type(error).__name__)  # and no excerpt: the line may hold a token
        raise UsageError("malformed kubeconfig", expected="YAML", got=got, where=where) from None
    if not isinstance(value, dict):
        raise UsageError("malformed kubeconfig", expected="a mapping", where=documents.place(path))
    return Entry(value=value, path=path, title="the top")


def _bounded(text: str) -> None:
    """Unreadable for aliases, of which a few lines can unfold to any size, and for what is nested without end."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            raise Unreadable("aliases and tags are not used in a kubeconfig", line=line)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH:
            raise Unreadable(f"more than {_DEPTH} levels", line=line)
