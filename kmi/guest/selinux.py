"""SELinux: the agent's right to write SSH keys, and labels of what was written while no SELinux was watching.

Not run here: no guest with SELinux was within reach. setsebool(8) was tried in a root of Debian 12 with a policy, on a
kernel without SELinux as the appliance's: it changes the stored policy, and refuses a boolean that is not defined.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from kmi.guest.files import put, read
from kmi.host.guestfs import Appliance
from kmi.model.agent import KEYS_BOOLEAN

_CONFIG = "/etc/selinux/config"
_LIMIT = 64 << 10
_SETTING = re.compile(r"(SELINUX|SELINUXTYPE)=[ \t]*([a-z][a-z-]{0,30})[ \t]*")

_AGENT_KEYS = f"""
command -v qemu-ga >/dev/null && command -v setsebool >/dev/null || exit 0
setsebool -N -P {KEYS_BOOLEAN} on || echo "the guest's policy does not let the agent write SSH keys"
"""
"""Without loading the policy (-N). One that does not know the boolean is the distribution's; the boot test tells."""


def agent_keys(guest: Appliance, on_line: Callable[[str], None]) -> None:
    """Where SELinux confines the guest agent, let it write users' SSH keys, as KubeVirt asks of it (what ``virtctl
    create vm --ga-manage-ssh`` has a guest do at its first start)."""
    if _policy(guest) is not None:
        guest.shell(_AGENT_KEYS, on_line=on_line)


def relabel(guest: Appliance) -> None:
    """Label every file as the guest's policy says; where the appliance has no setfiles(8), have the guest do it at its
    first start (selinux(8), ``/.autorelabel``), which restarts it once. Nothing where SELinux is off or not there."""
    kind = _policy(guest)
    if kind is None:
        return
    contexts = f"/etc/selinux/{kind}/contexts/files/file_contexts"
    if guest.feature_available(["selinuxrelabel"]) and guest.is_file(contexts, followsymlinks=True):
        guest.selinux_relabel(contexts, "/", force=True)
    else:
        put(guest, "/.autorelabel", "")


def _policy(guest: Appliance) -> str | None:
    if not guest.is_file(_CONFIG, followsymlinks=True):
        return None
    return policy(read(guest, _CONFIG, limit=_LIMIT).decode("utf-8", "replace"))


def policy(text: str) -> str | None:
    """The policy's name of ``/etc/selinux/config``; None where SELinux is disabled."""
    found = {match[1]: match[2] for line in text.split("\n") if (match := _SETTING.fullmatch(line))}
    return found.get("SELINUXTYPE", "targeted") if found.get("SELINUX") in ("enforcing", "permissive") else None
