"""The guest's file systems, mounted where its fstab says; that file is the guest's, so it is not believed."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from kmi.errors import BuildError
from kmi.host.guestfs import Appliance
from kmi.host.ui import amount

_MOST = 64
_READ_ONLY = 1
"""ST_RDONLY in statvfs(3)."""


def mount(guest: Appliance) -> str:
    """Find the one operating system in the disk and mount its file systems; returns its root device.

    BuildError if there is not exactly one, its fstab is absurd, a file system of it cannot be mounted, or the root
    cannot be written.
    """
    roots = guest.inspect_os()
    if len(roots) != 1:
        raise BuildError("the disk does not hold one operating system", expected=1, got=roots or "none")
    mount_again(guest, roots[0])
    return str(roots[0])


def mount_again(guest: Appliance, root: str) -> None:
    """Mount everything of the inspected operating system ``root``, when nothing is mounted.

    Not by ``guest.mountpoints()``: it knows no subvolumes, and no second mount of the same device.
    """
    mount_all(guest, root, guest.inspect_get_mountpoints(root))


def mount_all(guest: Appliance, root: str, points: Mapping[str, str]) -> None:
    """Mount devices by their mount points in the guest, which has nothing mounted."""
    if len(points) > _MOST:
        raise BuildError("the guest's fstab is absurd", expected=f"at most {_MOST} mount points", got=len(points))
    for path in sorted(points, key=len):
        _mount(guest, points[path], path)
    if guest.statvfs("/")["flag"] & _READ_ONLY:
        raise BuildError(
            "the root file system cannot be written", got=f"a read-only {guest.vfs_type(root)} on {root}",
            hint="if this system is meant to be so, the manifest can say `customize: none`",
        )  # fmt: skip


def explained(guest: Appliance, error: BuildError, room: int) -> BuildError:
    """The error of work in the guest, told as what lies behind it where a file system is full or broke down.

    ``room`` is the recipe's, in bytes. An appliance that is gone explains nothing.
    """
    try:
        states = {path: guest.statvfs(path) for path in guest.mountpoints().values()}
    except BuildError:
        return error
    broken = [path for path, state in states.items() if state["flag"] & _READ_ONLY]
    if broken:
        return BuildError(
            "a file system of the guest turned read-only", expected="one that can be written to the end", got=error.got,
            where=", ".join(broken), log=error.log, hint="it is damaged: the kernel's messages are in the log",
        )  # fmt: skip
    if "No space left on device" not in str(error) and all(map(_has_room, states.values())):
        return error
    free = ", ".join(
        f"{path} has {amount(state['bavail'] * state['bsize'])} of {amount(state['blocks'] * state['bsize'])}"
        for path, state in states.items()
    )
    return BuildError(
        "a file system of the guest is full", expected="free space", got=f"{free}\n           {error.got}",
        log=error.log, hint=f"raise `room` in the manifest, which now asks for {amount(room)} in /",
    )  # fmt: skip


def _mount(guest: Appliance, device: str, path: str) -> None:
    """libguestfs hands a mount point to mount(8) as it stands, and `..` or a link in it would lead out of the guest."""
    if posixpath.normpath(path) != path or not path.startswith("/"):
        raise BuildError("the guest's fstab is absurd", expected="an absolute path to mount on", got=f"{path!r}")
    try:
        guest.mount(device, path if path == "/" else guest.realpath(path))
    except BuildError as error:
        raise BuildError(
            "a file system that the guest's fstab names cannot be mounted",
            got=error.got,
            where=f"{device} on {path}",
            log=error.log,
        ) from error


def _has_room(state: Mapping[str, int]) -> bool:
    return state["bavail"] > 0 and (state["favail"] > 0 or state["files"] == 0)
