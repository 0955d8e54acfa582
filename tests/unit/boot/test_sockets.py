from pathlib import Path

import pytest

from kmi.boot.firmware import pair
from kmi.boot.hardware import SOCKET_LIMIT
from kmi.boot.qemu import sockets
from kmi.errors import HostError
from kmi.model.platform import Arch, Firmware


def test_sockets_lie_in_the_scratch_folder_and_go_with_it(tmp_path):
    with sockets(Path(tmp_path)) as folder:
        assert folder.parent == tmp_path
        (folder / "qmp.sock").touch()
    assert not folder.exists()


def test_a_long_scratch_folder_is_avoided(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with sockets(deep) as folder:
        assert deep not in folder.parents
        assert len(str(folder / "serial.sock")) <= SOCKET_LIMIT
    assert not folder.exists()


def test_seabios_needs_no_image_and_uefi_has_two():
    assert pair(Arch.AMD64, Firmware.BIOS) is None
    for firmware in (Firmware.UEFI, Firmware.SECURE_BOOT):
        found = pair(Arch.AMD64, firmware)
        assert found is not None and all(path.is_file() for path in found)


def test_a_firmware_that_an_architecture_does_not_know_is_refused():
    with pytest.raises(HostError, match="s390x"):
        pair(Arch.S390X, Firmware.UEFI)
