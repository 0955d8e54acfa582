"""The default user, there from the start.

cloud-init makes it at the first boot with a seed. KubeVirt's guest agent gives SSH keys only to users that exist, also
in a machine without any provisioning disk, where cloud-init does not run (ds-identify disables it). So it is made here,
by the guest's own cloud-init and as its configuration says: locked, with its groups, shell and sudo rule. cloud-init
keeps a user that it finds, and still locks it and gives it its keys (cloudinit/distros/__init__.py, ``create_user``).
"""

from __future__ import annotations

from collections.abc import Callable

from kmi.host.guestfs import Appliance

ADDED = ("/home/*", "/home/*/.*", "/etc/sudoers.d/90-cloud-init-users", "/etc/passwd", "/etc/shadow", "/etc/group",
         "/etc/gshadow", "/etc/subuid", "/etc/subgid")  # fmt: skip
"""What it changes in a guest."""

PROGRAMS = ("/usr/bin/cloud-init", "/usr/local/bin/cloud-init")

_SCRIPT = r"""
program=$(command -v cloud-init)
python=$(sed -n '1s/^#! *//p' "$program")
$python - <<'END' || echo "cloud-init does not make its default user ahead of its first run"
import inspect, logging, types
from cloudinit import stages, util
from cloudinit.config import cc_users_groups
from cloudinit.distros import ug_util

init = stages.Init()
init.read_cfg()
name, _ = ug_util.extract_default(ug_util.normalize_users_groups(init.cfg, init.distro)[0])
if name and not util.is_user(name):
    cloud = types.SimpleNamespace(distro=init.distro, get_public_ssh_keys=list)
    known = {"name": "users-groups", "cfg": init.cfg, "cloud": cloud, "log": logging.getLogger(), "args": []}
    wanted = inspect.signature(cc_users_groups.handle).parameters
    cc_users_groups.handle(**{word: known[word.lstrip("_")] for word in wanted})
    print("made the default user", name)
END
"""
"""cloud-init's own module for users, without a data source and its keys, run by the interpreter that cloud-init names.
Until 22.4 ``handle`` took a logger too. Where a cloud-init does not offer this (it is no published interface) the image
stays what it was, and its boot test says so."""


def default_user(guest: Appliance, on_line: Callable[[str], None]) -> None:
    """Make it unless it is there. Nothing in a guest without cloud-init."""
    if any(guest.exists(path) for path in PROGRAMS):
        guest.shell(_SCRIPT, on_line=on_line)
