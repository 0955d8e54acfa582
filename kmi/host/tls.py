"""What a TLS connection believes, and as whom it speaks, where that is not the system's own choice."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """``authority`` is a bundle in PEM that replaces the system's, ``certificate`` the client's own with its key.
    Without ``verify`` any server is believed: only for who was told so."""

    authority: Path | None = None
    verify: bool = True
    certificate: tuple[Path, Path] | None = None

    @property
    def believed(self) -> str | bool | None:
        """For requests: a bundle, False for none, None for its own."""
        if not self.verify:
            return False
        return str(self.authority) if self.authority else None

    @property
    def shown(self) -> tuple[str, str] | None:
        """For requests: the client's certificate and its key."""
        return (str(self.certificate[0]), str(self.certificate[1])) if self.certificate else None

    def context(self) -> ssl.SSLContext:
        """The same for other clients. ssl.SSLError or OSError for files that hold no PEM."""
        bundle = self.authority or os.environ.get("REQUESTS_CA_BUNDLE") or None
        context = ssl.create_default_context(cafile=bundle)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            context.load_cert_chain(*self.certificate)
        return context
