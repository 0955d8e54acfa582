"""Labels of what was written while no SELinux was watching. Not run here: no guest with SELinux was within reach."""

from __future__ import annotations

import re

from kmi.guest.files import put, read
from kmi.host.guestfs import Appliance

_CONFIG = "/etc/selinux/config"
_LIMIT = 64 << 10
_SETTING = re.compile(r"(SELINUX|SELINUXTYPE)=[ \t]*([a-z][a-z-]{0,30})[ \t]*")


def relabel(guest: Appliance) -> None:
    """Label every file as the guest's policy says; where the appliance has no setfiles(8), have the guest do it at its
    first start (selinux(8), ``/.autorelabel``), which restarts it once. Nothing where SELinux is off or not there."""
    if not guest.is_file(_CONFIG, followsymlinks=True):
        return
    kind = policy(read(guest, _CONFIG, limit=_LIMIT).decode("utf-8", "replace"))
    if kind is None:
        return
    contexts = f"/etc/selinux/{kind}/contexts/files/file_contexts"
    if guest.feature_available(["selinuxrelabel"]) and guest.is_file(contexts, followsymlinks=True):
        guest.selinux_relabel(contexts, "/", force=True)
    else:
        put(guest, "/.autorelabel", "")


def policy(text: str) -> str | None:
    """The policy's name of ``/etc/selinux/config``; None where SELinux is disabled."""
    found = {match[1]: match[2] for line in text.split("\n") if (match := _SETTING.fullmatch(line))}
    return found.get("SELINUXTYPE", "targeted") if found.get("SELINUX") in ("enforcing", "permissive") else None
