from pathlib import Path

import pytest

from kmi.boot import firmware
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
    known = [(Arch.AMD64, Firmware.UEFI), (Arch.AMD64, Firmware.SECURE_BOOT), (Arch.ARM64, Firmware.UEFI)]
    for arch, word in known:
        found = pair(arch, word)
        assert found is not None and all(path.is_file() for path in found)


def test_a_host_without_the_firmware_is_told_what_to_install(monkeypatch, tmp_path):
    absent = ((str(tmp_path / "CODE.fd"), str(tmp_path / "VARS.fd")),)
    monkeypatch.setitem(firmware._PAIRS, (Arch.ARM64, Firmware.UEFI), absent)
    with pytest.raises(HostError, match="no uefi firmware for arm64") as caught:
        pair(Arch.ARM64, Firmware.UEFI)
    assert "qemu-efi-aarch64" in str(caught.value.hint) and caught.value.expected == str(tmp_path / "CODE.fd")
    (tmp_path / "CODE.fd").touch()
    with pytest.raises(HostError, match="no uefi firmware"):
        pair(Arch.ARM64, Firmware.UEFI)  # code without its variables


@pytest.mark.parametrize("word", [Firmware.BIOS, Firmware.SECURE_BOOT])
def test_arm64_has_no_other_firmware(word):
    with pytest.raises(HostError, match=f"no {word} firmware for arm64"):
        pair(Arch.ARM64, word)


def test_a_firmware_that_an_architecture_does_not_know_is_refused():
    with pytest.raises(HostError, match="s390x"):
        pair(Arch.S390X, Firmware.UEFI)
