"""The root file system fills the disk that KubeVirt gives it, and hands free blocks back.

Growing is the guest's own work at its first start (cloud-init's growpart and resizefs, systemd-growfs, Ignition's
distributions with units of their own), so the check finds the disk below the root from sysfs, whatever lies between:
a partition, LVM, device mapper. ``/sys/class/block/NAME/slaves`` names what a device stands on (kernel:
Documentation/ABI/stable/sysfs-block), ``size`` counts 512 bytes whatever the disk's sectors are.
"""

from __future__ import annotations

from kmi.boot.checks.check import Check, Guest, Inapplicable, with_login
from kmi.boot.checks.linux import Facts, ask, eventually, number
from kmi.boot.console import GaveUp
from kmi.host.ui import amount
from kmi.model.checks import ROOT_GROWN, SSH, TRIM

SECTOR = 512
_LEAST = 0.9
"""Of the room there is. ext4 keeps some 2 % for its inode tables, and partitions are aligned."""
_TRIMMING = frozenset({"bcachefs", "btrfs", "exfat", "ext3", "ext4", "f2fs", "ntfs3", "vfat", "xfs"})
"""Linux's file systems that answer FITRIM (ioctl_fitrim(2))."""

ROOT = r"""
root=/
if awk '$5 == "/sysroot"' /proc/self/mountinfo | grep -q .; then root=/sysroot; fi  # OSTree: / lies in there
mount=$(awk -v at=$root '$5 == at { for (i = 7; i < NF && $i != "-"; i++); last = $3 " " $(i+1) " " $(i+2) }
  END { print last }' /proc/self/mountinfo)
set -- $mount
type=$2 source=$3
name=
if [ -b "$source" ]; then name=$(basename "$(readlink -f "$source")")
elif [ -e "/sys/dev/block/$1" ]; then name=$(basename "$(readlink -f "/sys/dev/block/$1")"); fi
echo "root=$root"; echo "type=$type"; echo "source=$source"; echo "device=$name"
disk=
while [ -n "$name" ]; do
  if [ -e "/sys/class/block/$name/partition" ]; then
    disk=$(basename "$(dirname "$(readlink -f "/sys/class/block/$name")")")
    break
  fi
  below=$(ls "/sys/class/block/$name/slaves" 2>/dev/null | head -n 1)
  if [ -z "$below" ]; then disk=$name; break; fi
  above=$name name=$below
done
echo "disk=$disk"
"""
"""Says where the root file system lies, and sets ``$disk`` to the disk, ``$name`` to the partition or again the disk,
and ``$above`` to what lies directly on it. /proc/self/mountinfo: proc(5)."""

_SIZES = (
    ROOT
    + r"""
[ -n "$disk" ] || exit 0
echo "sectors=$(cat /sys/class/block/$disk/size)"
for other in /sys/class/block/$disk/$disk*/ /sys/class/block/$name/holders/*/; do
  other=$(basename "$other")
  [ -e "/sys/class/block/$other/size" ] || continue
  if [ "$other" != "$name" ] && [ "$other" != "$above" ]; then
    echo "other=$(cat "/sys/class/block/$other/size") $other"
  fi
done
echo "kib=$(df -Pk $root | awk 'NR == 2 { print $2 }')"
"""
)

_FSTRIM = (
    ROOT
    + r"""
echo "discard=$(cat /sys/class/block/$disk/queue/discard_max_bytes 2>/dev/null)"
if ! command -v fstrim >/dev/null; then echo lacking=yes; exit 0; fi
sync
said=$(fstrim -v $root 2>&1); echo "status=$?"
echo "said=$(echo "$said" | tail -n 1)"
"""
)


def judge_size(facts: Facts, virtual_size: str) -> str:
    """``virtual_size`` is the disk's in bytes as the image tells it, empty if it does not."""
    _disk(facts)
    disk = facts.number("sectors") * SECTOR
    if virtual_size and disk != number(virtual_size, "size of its root disk in its labels"):
        raise GaveUp(f"the guest sees a disk of {disk} bytes, and the image says {virtual_size}")
    others = sum(number(other.partition(" ")[0], "size of a partition") for other in facts.all("other")) * SECTOR
    size, room = facts.number("kib") * 1024, disk - others
    if room <= 0:
        raise GaveUp(f"a disk of {disk} bytes with {others} bytes of other partitions leaves the root no room")
    if size < _LEAST * room:
        raise GaveUp(
            f"the root file system has {amount(size)} on {facts.one('device')}, expected at least {_LEAST:.0%} of "
            f"{amount(room)} (a disk of {amount(disk)}, less {amount(others)} of other partitions)"
        )
    return f"{facts.one('type')} of {amount(size)} on a disk of {amount(disk)}"


def judge_trim(facts: Facts) -> str:
    _disk(facts)
    said = facts.one("said").removeprefix("fstrim: ")
    if facts.one("lacking"):
        raise GaveUp("there is no program fstrim")
    if facts.number("status") == 0:
        return said
    if facts.one("type") not in _TRIMMING and "not supported" in said:
        raise Inapplicable(f"{facts.one('type')} gives no blocks back: {said}")
    if facts.one("discard") == "0":
        said += "; the disk is seen as one that takes no blocks back"
    raise GaveUp(f"fstrim ended with {facts.one('status')}: {said or 'nothing said'}")


def _disk(facts: Facts) -> None:
    if not facts.one("disk"):
        raise Inapplicable(
            f"the root file system is {facts.one('type') or 'unnamed'} from {facts.one('source') or 'nowhere'}, "
            "below which there is no disk"
        )


def _grown(guest: Guest) -> str:
    return eventually(guest, lambda: judge_size(ask(guest, _SIZES), guest.metadata["virtual-size"]))


def _trimmed(guest: Guest) -> str:
    return judge_trim(ask(guest, _FSTRIM, seconds=guest.patience.quiet))


GROWN = Check(name=ROOT_GROWN, skip=with_login, run=_grown, after=(SSH,))
TRIMMED = Check(name=TRIM, skip=with_login, run=_trimmed, after=(SSH,))
