"""A publisher that lives in a dictionary: documents by URL. What is on the wire is tested in tests/unit/host."""

from __future__ import annotations

from datetime import UTC, datetime

from kmi.errors import NetworkError
from kmi.host.answers import Document, Head
from kmi.model.stages import Evidence
from kmi.upstream.prove import Proved

NOW = datetime(2026, 7, 1, tzinfo=UTC)


class Served:
    """Stands where ``kmi.host.http.Http`` does; ``asked`` lists what was asked for."""

    def __init__(self, documents: dict[str, bytes], *, redirects: dict[str, str] | None = None) -> None:
        self._documents = documents
        self._redirects = redirects or {}
        self.asked: list[str] = []

    def get(self, url: str, *, limit: int = 8 << 20) -> Document:
        self.asked.append(url)
        if url not in self._documents:
            raise NetworkError(f"cannot fetch {url}", got="status 404")
        if len(self._documents[url]) > limit:
            raise NetworkError(f"{url} is too large")
        return Document(body=self._documents[url], last_modified=NOW)

    def head(self, url: str) -> Head:
        self.asked.append(url)
        return Head(size=7, last_modified=NOW, at=self._redirects.get(url, url))

    def prove(self, url: str) -> Proved:
        return Proved(content=self.get(url).body, evidence=Evidence(kind="tls-only"), signed_at=None, last_modified=NOW)
