"""A second virtio disk, as ``spec.domain.devices.disks`` adds one, takes a file system and keeps what is written."""

from __future__ import annotations

from kmi.boot.checks.check import Check, Guest, with_login
from kmi.boot.checks.linux import Facts, ask
from kmi.boot.checks.root_disk import ROOT
from kmi.boot.console import GaveUp
from kmi.boot.hardware import SPARE_SERIAL
from kmi.model.checks import SPARE_DISK, SSH

TEXT = "kmi wrote this"

_SCRIPT = rf"""
{ROOT}
spare=
for serial in /sys/block/*/serial; do
  if [ "$(cat "$serial" 2>/dev/null)" = {SPARE_SERIAL} ]; then spare=$(basename "$(dirname "$serial")"); fi
done
echo "spare=$spare"
if [ -z "$spare" ] || [ "$spare" = "$disk" ]; then exit 0; fi
echo "holders=$(ls "/sys/block/$spare/holders")$(grep "^/dev/$spare" /proc/mounts | head -n 1)"
if [ -n "$(ls "/sys/block/$spare/holders")" ] || grep -q "^/dev/$spare" /proc/mounts; then exit 0; fi
make=
for one in "ext4 -q -F" "xfs -q -f" "btrfs -q -f" "ext2 -q -F"; do
  if command -v "mkfs.${{one%% *}}" >/dev/null; then make=$one; break; fi
done
echo "format=${{make%% *}}"
[ -n "$make" ] || exit 0
folder=$(mktemp -d) || exit 1
step() {{
  if said=$("$@" 2>&1); then return 0; fi
  echo "failed=$*: $(echo "$said" | tail -n 1)"
  return 1
}}
on() {{ step mount -t "${{make%% *}}" "/dev/$spare" "$folder"; }}
off() {{ step umount "$folder"; }}
if step mkfs.$make "/dev/$spare" && on; then
  echo {TEXT} >"$folder/kmi" && sync && off && on && echo "read=$(cat "$folder/kmi")"
  off
fi
rmdir "$folder"
dd if=/dev/zero of="/dev/$spare" bs=65536 count=32 2>/dev/null; sync
"""


def judge(facts: Facts) -> str:
    if not (spare := facts.one("spare")):
        raise GaveUp(f"the guest sees no disk with the serial number {SPARE_SERIAL}")
    if spare == facts.one("disk"):
        raise GaveUp(f"the disk {spare} with the serial number {SPARE_SERIAL} holds the root file system")
    if used := facts.one("holders"):
        raise GaveUp(f"the blank disk {spare} is in use: {used[:200]}")
    if not (kind := facts.one("format")):
        raise GaveUp("there is none of mkfs.ext4, mkfs.xfs, mkfs.btrfs and mkfs.ext2")
    if failed := facts.one("failed"):
        raise GaveUp(f"{failed[:300]} (disk {spare}, {kind})")
    if (read := facts.one("read")) != TEXT:
        raise GaveUp(f"wrote {TEXT!r} to {kind} on {spare}, and read {read[:80]!r} after mounting it again")
    return f"{kind} on {spare}: written, mounted again and read back"


def _run(guest: Guest) -> str:
    return judge(ask(guest, _SCRIPT, seconds=guest.patience.quiet))


CHECK = Check(name=SPARE_DISK, skip=with_login, run=_run, after=(SSH,))
