"""Reaching into a guest whose files may be anything.

Most calls of libguestfs resolve a path inside the guest (chroot(2) in its daemon). ``rm_rf``, ``ln_s``, ``ln_sf`` and
``mount`` do not: they run a program on the path below /sysroot, and a link on the way leads into the appliance's own
files (seen: libguestfs 1.48). So those get only paths without a link on the way. And opening a FIFO waits for ever.
"""

from __future__ import annotations

from kmi.errors import BuildError
from kmi.host.guestfs import Appliance

_CHUNK = 1024 * 1024


def read(guest: Appliance, path: str, *, limit: int) -> bytes:
    """The whole file, links followed inside the guest. BuildError where there is no regular file of at most ``limit``
    bytes; no more than that is transferred, whatever the guest says of its size."""
    try:
        size = guest.filesize(path) if guest.is_file(path, followsymlinks=True) else None
    except BuildError as error:  # a link to itself
        raise _unreadable(path, limit, str(error.got)) from error
    if size is None or size > limit:
        raise _unreadable(path, limit, "no regular file" if size is None else f"{size} bytes")
    data = bytearray()
    while chunk := guest.pread(path, _CHUNK, len(data)):
        data += chunk
        if len(data) > limit:
            raise _unreadable(path, limit, "more than it says")
    return bytes(data)


def put(guest: Appliance, path: str, content: str | bytes, *, mode: int | None = None) -> None:
    """Have a file at this very path, missing folders made: a link, FIFO or device there is replaced, not followed.
    BuildError for a folder."""
    _folder(guest, path)
    if guest.is_dir(path, followsymlinks=False):
        raise BuildError("kmi cannot write a file into the guest", expected="a file or nothing", got="a folder",
                         where=path)  # fmt: skip
    if not guest.is_file(path, followsymlinks=False):
        guest.rm_f(path)
    guest.write(path, content)
    if mode is not None:
        guest.chmod(mode, path)


def link(guest: Appliance, target: str, path: str) -> None:
    """Have a symbolic link at this very path, missing folders made. BuildError for a folder."""
    _folder(guest, path)
    guest.rm_f(path)
    guest.ln_s(target, real(guest, path))


def real(guest: Appliance, path: str) -> str:
    """The same path without a link on the way to its last part. BuildError if its folder is not there."""
    folder, _, name = path.rpartition("/")
    return f"{guest.realpath(folder or '/').rstrip('/')}/{name}"


def _folder(guest: Appliance, path: str) -> None:
    """Make the folder of a path. ``mkdir_p`` takes no link for a folder, even where it leads to one."""
    folder = path.rpartition("/")[0] or "/"
    if not guest.is_dir(folder, followsymlinks=True):
        guest.mkdir_p(folder)


def _unreadable(path: str, limit: int, got: str) -> BuildError:
    return BuildError(
        "a file of the guest cannot be read", expected=f"a regular file of at most {limit} bytes", got=got, where=path
    )
