"""What a program is able to do, asked of the program itself where its version does not tell."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from kmi.errors import BuildError, HostError
from kmi.host.run import run, which

OLDEST_COSIGN = "cosign 3.0.6 or newer"
_HINT = "`sh hack/cosign.sh PREFIX` puts one into PREFIX/bin; `kmi doctor` tells which one kmi finds"
_ANY = tuple(range(256))
_VERSION = re.compile(r"^GitVersion:\s*(\S+)", re.MULTILINE)


def cosign() -> str:
    """The version of a cosign that is able to do kmi's work (Debian's builds all call themselves ``devel``).

    An old one must be found out before it is asked anything: it reads no bundle, so to it every image of kmi is
    unsigned. HostError if cosign is too old or not installed. The programs run once in a process.
    """
    return _cosign(which("cosign"))


@functools.cache
def _cosign(path: Path | None) -> str:
    program = path or "cosign"
    try:
        known = run([program, "attest-blob", "--help"], ok=_ANY, timeout=60).stdout
        told = run([program, "version"], ok=_ANY, timeout=60)
    except BuildError as error:
        raise HostError("cosign does not run", got=error.got, where=path, hint=_HINT) from error
    found = _VERSION.search(told.stdout + told.stderr)
    version = found[1] if found else "version unknown"
    # The option that hack/cosign.sh asks for too.
    if "--statement" not in known:
        raise HostError("cosign is too old", expected=OLDEST_COSIGN, got=version, where=path, hint=_HINT)
    return version
