"""Without any seed disk the guest still answers SSH, and no two machines share their host keys."""

from __future__ import annotations

import platform
from pathlib import Path

from kmi.boot.check import boot_without_seed
from kmi.host.accel import probe
from kmi.host.ui import Reporter
from kmi.model.digest import Digest
from kmi.model.platform import Arch, Firmware
from kmi.oci.layout import Layout
from tests.e2e.conftest import Run


def test_ssh_is_up_with_fresh_host_keys(bootstrapped: Run, tmp_path: Path) -> None:
    arch = Arch.of_machine(platform.machine())
    layout = Layout.open(bootstrapped.output / "oci")
    (index,) = layout.roots()
    (image,) = layout.images(index.digest)
    assert isinstance(image.digest, Digest)

    def keys(name: str) -> tuple[str, ...]:
        scratch = tmp_path / name
        scratch.mkdir()
        with Reporter().step("test", "boot") as step:
            return boot_without_seed(
                layout.root, image.digest, arch, firmware=Firmware.BIOS, step=step, scratch=scratch, logs=tmp_path,
                acceleration=probe(arch, bootstrapped.kmi.cache),
            )  # fmt: skip

    first, second = keys("first"), keys("second")
    assert {key.split()[0] for key in first} >= {"ssh-ed25519", "ssh-rsa"}
    assert not set(first) & set(second)
