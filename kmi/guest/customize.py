"""From the publisher's disk to one that is ready for KubeVirt, in one session of the appliance.

The order matters: room first, then packages, services, files and commands, then the inventory (it reads what scrub
removes), then scrub, and trim last so that freed blocks leave the disk.
"""

from __future__ import annotations

from importlib.resources import files as resources
from pathlib import Path

from kmi.disk import guard
from kmi.errors import BuildError
from kmi.guest import account, files, inventory, packages
from kmi.guest.archives import Archives
from kmi.guest.grow import make_room
from kmi.guest.mounts import explained, mount
from kmi.guest.qemuga import admit
from kmi.guest.scrub import scrub
from kmi.guest.selinux import agent_keys, relabel
from kmi.guest.services import enabling
from kmi.host.accel import Acceleration
from kmi.host.guestfs import Appliance, appliance
from kmi.host.run import run
from kmi.host.ui import Step
from kmi.model.spec import BuildArchives, Recipe
from kmi.model.stages import CustomDisk, Inventory, VerifiedImage

VERSION = 3
"""Raised whenever this room's work changes the bytes: it is part of the stage's key."""

DISK = "disk.raw"
HOST_KEYS_UNIT = "kmi-ssh-host-keys.service"
_UNITS = "/etc/systemd/system"
ADDED = (f"{_UNITS}/{HOST_KEYS_UNIT}", f"{_UNITS}/multi-user.target.wants/{HOST_KEYS_UNIT}")
"""What kmi itself adds to a guest, beside packages and the recipe's files."""

_TRIMMABLE = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"})


def customize(
    image: VerifiedImage,
    recipe: Recipe,
    *,
    virtual_size: int,
    archives: BuildArchives,
    mirrors: tuple[tuple[str, str], ...],
    acceleration: Acceleration,
    cache: Path,
    out: Path,
    log: Path,
    step: Step,
) -> CustomDisk:
    """Apply the recipe to a working copy of the image in ``out``; the cached image is never written.

    ``archives`` replace the guest's own package sources during the build (empty: its own, by way of ``mirrors``);
    ``virtual_size`` bytes is what the disk may grow to. Raises BuildError, HostError.
    """
    disk = out / DISK
    size = guard.check(image.path, declared=image.format).virtual_size
    if size > virtual_size:  # a copy that is larger could fill the disk
        raise BuildError(
            "the publisher's disk is larger than the image is to be",
            expected=f"at most {virtual_size} bytes",
            got=f"{size} bytes",
            hint="raise virtual_size in the manifest",
        )
    step.watch(disk, "copying the disk:")
    run(["qemu-img", "convert", "-f", image.format, "-O", "raw", image.path, disk], log=log)
    with disk.open("r+b") as file:
        file.truncate(virtual_size)
    step.detail("starting the appliance")
    with appliance([disk], acceleration=acceleration, cache=cache, log=log, network=True) as guest:
        step.detail("looking into the disk")
        root = mount(guest)
        make_room(guest, root, recipe.room)
        try:
            contents = _apply(guest, root, recipe, Archives(archives, mirrors), step)
        except BuildError as error:
            raise explained(guest, error, recipe.room) from error
        trim(guest)
    return CustomDisk(
        id=image.id, path=disk, format="raw", origin=image.origin, inventory=contents, customizer="appliance"
    )


def trim(guest: Appliance) -> None:
    """Give the free blocks of every mounted file system back to the disk file."""
    for point, device in sorted((point, device) for device, point in guest.mountpoints().items()):
        if guest.vfs_type(device) in _TRIMMABLE:
            guest.fstrim(point)


def _apply(guest: Appliance, root: str, recipe: Recipe, archives: Archives, step: Step) -> Inventory:
    manager = packages.MANAGERS.get(guest.inspect_get_package_management(root))
    if manager is None and (recipe.packages or recipe.upgrade != "none"):
        raise BuildError(
            "kmi cannot install packages in this guest",
            expected=", ".join(packages.MANAGERS),
            got=guest.inspect_get_package_management(root),
            hint="kmi.guest.packages has a row for each family it knows",
        )
    if manager:
        _install(guest, manager, recipe, archives, step)
    for unit in recipe.enable:
        guest.shell(enabling(guest, unit), on_line=step.detail)
    for file in recipe.files:
        files.put(guest, file.path, file.content, mode=file.mode)
    for command in recipe.run:
        guest.shell(command, on_line=step.detail)
    account.default_user(guest, step.detail)
    admit(guest)
    agent_keys(guest, step.detail)
    _host_keys(guest)
    step.detail("taking the inventory")
    contents = inventory.take(guest, manager)
    step.detail("scrubbing")
    scrub(guest)
    relabel(guest)
    return contents


def _install(
    guest: Appliance, manager: packages.PackageManager, recipe: Recipe, archives: Archives, step: Step
) -> None:
    """Run the package manager, with services kept from starting and, if asked, with the build's own archives."""
    policy = not (guest.exists(packages.POLICY) or guest.is_symlink(packages.POLICY))
    if policy:
        files.put(guest, packages.POLICY, "#!/bin/sh\nexit 101\n", mode=0o755)
    with archives.used(guest, manager) as override:
        text = packages.script(manager, recipe.packages, upgrade=recipe.upgrade, override=override)
        guest.shell(text, on_line=packages.Progress(step))
    if policy:
        guest.rm_f(packages.POLICY)


def _host_keys(guest: Appliance) -> None:
    """Have the guest make its SSH host keys at first boot, also where cloud-init does not run."""
    if not (guest.exists("/usr/sbin/sshd") and guest.is_dir("/usr/lib/systemd/system", followsymlinks=True)):
        return
    unit, link = ADDED
    files.put(guest, unit, resources("kmi.guest").joinpath(HOST_KEYS_UNIT).read_text(encoding="utf-8"))
    files.link(guest, unit, link)
