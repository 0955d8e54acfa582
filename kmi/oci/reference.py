"""Image references, as the distribution project's grammar writes them (distribution/reference, reference.go).

kmi is stricter in one point: the registry's host is always written out. A short name means another image on every
machine that reads it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from kmi.errors import UsageError
from kmi.model.digest import Digest

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_FORM = "host[:port]/path[:tag][@sha256:hex]"
_LOGIN = re.compile(r"^((?:[a-z]+://)?)[^/@]+@(?=[^/]*/)")
"""User and password before a host; a digest stands behind the first slash."""
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_MAX_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """``host[:port]/path[:tag][@digest]``. ``host`` keeps its port; made by ``parse`` only, so it is well-formed."""

    host: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """``host[:port]/path``: the repository."""
        return f"{self.host}/{self.path}"

    @property
    def loopback(self) -> bool:
        """Whether the registry is this machine's own: only there plain HTTP is spoken."""
        host = self.host if self.host.endswith("]") else self.host.rpartition(":")[0] or self.host
        return host in ("localhost", "[::1]") or re.fullmatch(r"127(?:\.\d{1,3}){3}", host) is not None

    def pinned(self, digest: Digest) -> Reference:
        """The same repository by digest, without the tag."""
        return replace(self, tag=None, digest=digest)

    def tagged(self, tag: str) -> Reference:
        """The same repository by tag, without the digest. UsageError for a malformed tag."""
        return parse(f"{self.name}:{tag}")

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Read a reference. UsageError, with what to write instead, for anything else."""
    if "://" in text:
        raise _refused(text, "a reference has no scheme", text.partition("://")[2])
    if text.startswith(("/", ".", "~")) or _is_folder(text):
        raise UsageError("not an OCI layout", expected="a folder that holds a file oci-layout", got=text[:300])
    rest, at, digest = text.partition("@")
    host, slash, path = rest.partition("/")
    if not slash or not (set(".:[") & set(host) or host == "localhost"):
        raise _refused(text, "the registry's host is missing", f"docker.io/{rest if slash else 'library/' + rest}")
    path, colon, tag = path.partition(":")
    if not _HOST.fullmatch(host):
        raise _refused(text, f"{host!r} is not a host")
    if not _PATH.fullmatch(path):
        lower = path.lower()
        raise _refused(text, f"{path!r} is not a repository", f"{host}/{lower}" if _PATH.fullmatch(lower) else None)
    if len(host) + 1 + len(path) > _MAX_NAME:
        raise _refused(text, f"the repository's name is longer than {_MAX_NAME} characters")
    if colon and not _TAG.fullmatch(tag):
        raise _refused(text, f"{tag!r} is not a tag")
    return Reference(host=host, path=path, tag=tag or None, digest=_digest(text, digest) if at else None)


def layout_path(text: str) -> Path | None:
    """The folder, if the argument names an OCI image layout: ``oci:PATH``, or a folder that holds ``oci-layout``
    (image-layout.md, "oci-layout file"). None if it is to be read as a reference."""
    scheme, colon, path = text.partition(":")
    if colon and scheme == "oci" and path:
        return Path(path)
    return Path(text) if _is_folder(text) and (Path(text) / "oci-layout").is_file() else None


def _is_folder(text: str) -> bool:
    """False also for what can be no path: too long for the file system, or with a NUL."""
    try:
        return Path(text).is_dir()
    except (OSError, ValueError):
        return False


def _digest(text: str, value: str) -> Digest:
    try:
        return Digest.parse(value)
    except ValueError as error:
        raise _refused(text, str(error)) from error


def _refused(text: str, why: str, instead: str | None = None) -> UsageError:
    """Who writes a login into a reference gets it back without the password: errors end up in logs."""
    bare = _LOGIN.sub(r"\1***@", text)
    if bare != text:
        why, instead = "a login does not stand in a reference", None
        hint = "`skopeo login` or `docker login` keeps it in a file that kmi reads"
        return UsageError(f"not an image reference: {why}", expected=_FORM, got=bare[:300], hint=hint)
    return UsageError(
        f"not an image reference: {why}",
        expected=_FORM,
        got=text[:300],
        hint=f"write {instead}" if instead else None,
    )
