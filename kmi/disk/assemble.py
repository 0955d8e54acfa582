"""A bootable disk from a root file system's tar archive.

The layout is that of Debian's own cloud images: partition 14 for BIOS GRUB, 15 the EFI system partition, and the root
file system as partition 1, last on the disk so that a guest can grow it.
"""

from __future__ import annotations

from pathlib import Path

from kmi.host.guestfs import Appliance
from kmi.host.run import run

_PARTITIONS = (
    ("14", "2048", "+3M", "EF02"),
    ("15", "0", "+124M", "EF00"),
    ("1", "0", "0", "8300"),
)
"""Number, first sector, size and type code, as sgdisk(8) takes them."""


def partition(disk: Path, size: int, *, log: Path) -> None:
    """Make ``disk`` an empty raw disk of ``size`` bytes with the partitions above."""
    with disk.open("wb") as file:
        file.truncate(size)
    options = [
        word
        for number, start, length, code in _PARTITIONS
        for word in (f"--new={number}:{start}:{length}", f"--typecode={number}:{code}")
    ]
    run(["sgdisk", "--clear", *options, disk], log=log)


def populate(guest: Appliance, root: Path) -> None:
    """Make the file systems on /dev/sda, mount them at / and /boot/efi, and unpack the archive."""
    guest.mkfs("ext4", "/dev/sda1", label="root")
    guest.mkfs("vfat", "/dev/sda15", label="UEFI")
    guest.mount("/dev/sda1", "/")
    guest.tar_in(str(root), "/", xattrs=True, acls=True)
    guest.mkdir_p("/boot/efi")
    guest.mount("/dev/sda15", "/boot/efi")
    guest.write(
        "/etc/fstab",
        f"UUID={guest.vfs_uuid('/dev/sda1')} / ext4 rw,discard,errors=remount-ro,x-systemd.growfs 0 1\n"
        f"UUID={guest.vfs_uuid('/dev/sda15')} /boot/efi vfat defaults,umask=0077 0 0\n",
    )
