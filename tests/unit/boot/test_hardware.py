import itertools
import json
from pathlib import Path

import pytest

from kmi.boot.hardware import SOCKET_LIMIT, Hardware, argv
from kmi.errors import HostError
from kmi.host.accel import Acceleration
from kmi.model.platform import Arch, Firmware

TCG = Acceleration(name="tcg", cpu="max", why="emulated")
TCG_ARM64 = Acceleration(name="tcg", cpu="cortex-a72", why="emulated")
KVM = Acceleration(name="kvm", cpu="host", why="KVM works")


def hardware(**changes) -> Hardware:
    values = {
        "arch": Arch.AMD64,
        "firmware": Firmware.BIOS,
        "acceleration": KVM,
        "overlay": Path("/s/overlay.qcow2"),
        "seed": Path("/s/seed.iso"),
        "folder": Path("/s/vm"),
        "console": Path("/l/console-bios.log"),
        "uuid": "00000000-0000-4000-8000-000000000001",
    }
    return Hardware(**{**values, **changes})


def options(words: list[str], name: str) -> list[str]:
    return [value for option, value in itertools.pairwise(words) if option == name]


def nodes(words: list[str]) -> dict[str, dict]:
    return {node["node-name"]: node for node in map(json.loads, options(words, "-blockdev"))}


def test_bios_is_kubevirts_q35():
    words = argv(hardware(), None)
    assert words[0] == "qemu-system-x86_64"
    assert options(words, "-machine") == ["q35,vmport=off,smm=off"]
    assert (options(words, "-accel"), options(words, "-cpu")) == (["kvm"], ["host"])
    assert options(words, "-smp") == ["2,sockets=2,cores=1,threads=1"]
    assert "manufacturer=KubeVirt,family=KubeVirt,product=None" in options(words, "-smbios")[0]
    assert {"-nodefaults", "-no-user-config"} <= set(words) and "-no-reboot" not in words
    assert set(nodes(words)) == {"root", "seed"}


def test_every_virtio_device_is_non_transitional():
    devices = [device.partition(",")[0] for device in options(argv(hardware(), None), "-device")]
    virtio = [device for device in devices if device.startswith("virtio-")]
    assert virtio == [
        "virtio-blk-pci-non-transitional",
        "virtio-blk-pci-non-transitional",
        "virtio-serial-pci-non-transitional",
        "virtio-net-pci-non-transitional",
        "virtio-rng-pci-non-transitional",
        "virtio-balloon-pci-non-transitional",
        "virtio-scsi-pci-non-transitional",
    ]


def test_root_is_writable_and_seed_is_not():
    words = argv(hardware(), None)
    root, seed = nodes(words)["root"], nodes(words)["seed"]
    assert (root["driver"], root["read-only"], root["discard"]) == ("qcow2", False, "unmap")
    assert (seed["driver"], seed["read-only"], seed["file"]["read-only"]) == ("raw", True, True)
    assert root["file"]["filename"] == "/s/overlay.qcow2"


def test_without_a_seed_there_is_one_disk():
    words = argv(hardware(seed=None), None)
    assert set(nodes(words)) == {"root"}
    assert sum(device.startswith("virtio-blk") for device in options(words, "-device")) == 1


def test_a_spare_disk_comes_last_with_a_serial_that_udev_shows():
    words = argv(hardware(spare=Path("/s/spare.img")), None)
    spare = nodes(words)["spare"]
    assert (spare["driver"], spare["read-only"], spare["discard"]) == ("raw", False, "unmap")
    assert spare["file"]["filename"] == "/s/spare.img"
    disks = [device for device in options(words, "-device") if device.startswith("virtio-blk")]
    assert [disk.split(",")[1] for disk in disks] == ["drive=root", "drive=seed", "drive=spare"]
    assert disks[2].endswith(",serial=kmi-spare")


def test_a_machine_without_a_seed_says_so_in_its_name():
    assert hardware().name == "amd64/bios"
    assert hardware(seed=None).name == "amd64/bios/no-seed"
    assert hardware(arch=Arch.ARM64, firmware=Firmware.UEFI).name == "arm64/uefi"


def arm64(**changes) -> list[str]:
    arch = {"arch": Arch.ARM64, "firmware": Firmware.UEFI, "acceleration": TCG_ARM64}
    return argv(hardware(**arch, **changes), Path("/usr/share/AAVMF/AAVMF_CODE.fd"))


def test_arm64_is_kubevirts_virt_with_uefi_alone():
    words = arm64()
    assert words[0] == "qemu-system-aarch64"
    assert options(words, "-machine") == ["virt,gic-version=max,pflash0=code,pflash1=vars"]
    assert (options(words, "-accel"), options(words, "-cpu")) == (["tcg,thread=multi"], ["cortex-a72"])
    assert set(nodes(words)) == {"code", "vars", "root", "seed"}
    assert nodes(words)["code"]["read-only"] and not nodes(words)["vars"]["read-only"]
    assert nodes(words)["vars"]["file"]["filename"] == "/s/vm/vars.fd"
    assert "manufacturer=KubeVirt,family=KubeVirt,product=None" in options(words, "-smbios")[0]
    with pytest.raises(HostError, match="UEFI"):
        argv(hardware(arch=Arch.ARM64), None)


def test_arm64_has_amd64s_virtio_devices_and_a_display_and_input_of_its_own():
    ours, theirs = (options(words, "-device") for words in (arm64(), argv(hardware(), None)))
    assert [device for device in ours if device not in theirs] == [
        "virtio-gpu-pci", "qemu-xhci", "usb-tablet", "usb-kbd"
    ]  # fmt: skip
    assert [device for device in theirs if device not in ours] == [
        "isa-debugcon,iobase=0x402,chardev=fw", "VGA,vgamem_mb=16"
    ]  # fmt: skip
    assert options(arm64(), "-serial") == ["chardev:ser0"]


def test_emulation_uses_several_threads():
    words = argv(hardware(acceleration=TCG), None)
    assert (options(words, "-accel"), options(words, "-cpu")) == (["tcg,thread=multi"], ["max"])


def test_uefi_gets_its_code_read_only_and_variables_of_its_own():
    words = argv(hardware(firmware=Firmware.UEFI), Path("/usr/share/OVMF/OVMF_CODE_4M.fd"))
    assert options(words, "-machine") == ["q35,vmport=off,smm=off,pflash0=code,pflash1=vars"]
    assert nodes(words)["code"]["read-only"] and nodes(words)["code"]["file"]["read-only"]
    assert nodes(words)["vars"]["file"]["filename"] == "/s/vm/vars.fd"
    assert not nodes(words)["vars"]["read-only"]
    assert options(words, "-global") == [] and "-bios" not in words


def test_secure_boot_needs_smm_and_a_protected_flash():
    words = argv(hardware(firmware=Firmware.SECURE_BOOT), Path("/c.fd"))
    assert options(words, "-machine")[0].startswith("q35,vmport=off,smm=on")
    assert options(words, "-global") == ["driver=cfi.pflash01,property=secure,value=on"]


def test_the_network_is_masquerades_and_the_port_is_the_kernels_choice():
    assert options(argv(hardware(), None), "-netdev") == [
        "user,id=n0,net=10.0.2.0/24,dhcpstart=10.0.2.2,host=10.0.2.1,dns=10.0.2.3,"
        "ipv6-net=fd10:0:2::/64,ipv6-host=fd10:0:2::1,ipv6-dns=fd10:0:2::3,hostfwd=tcp:127.0.0.1:0-:22"
    ]


@pytest.mark.parametrize(("changes", "mtu"), [({}, 1400), ({"mtu": 9000}, 9000)])
def test_the_guest_is_told_the_networks_mtu(changes, mtu):
    (card,) = (one for one in options(argv(hardware(**changes), None), "-device") if one.startswith("virtio-net"))
    assert card == f"virtio-net-pci-non-transitional,netdev=n0,romfile=,host_mtu={mtu}"


def test_the_agents_channel_is_the_one_that_kubevirt_names():
    words = argv(hardware(), None)
    assert "virtserialport,bus=vser0.0,chardev=qga,name=org.qemu.guest_agent.0" in options(words, "-device")
    assert "socket,id=qga,path=/s/vm/qga.sock,server=on,wait=off" in options(words, "-chardev")


def test_commas_in_paths_do_not_end_an_option():
    words = argv(hardware(folder=Path("/a,b"), console=Path("/l,m/console-bios.log"), overlay=Path("/o,p")), None)
    assert any("path=/a,,b/qga.sock" in option for option in options(words, "-chardev"))
    assert any("logfile=/l,,m/console-bios.log" in option for option in options(words, "-chardev"))
    assert nodes(words)["root"]["file"]["filename"] == "/o,p"


@pytest.mark.parametrize("arch", [Arch.S390X, Arch.PPC64LE])
def test_another_architecture_is_refused_by_name(arch):
    with pytest.raises(HostError, match=str(arch)):
        argv(hardware(arch=arch), None)


def test_the_socket_limit_is_the_kernels(tmp_path):
    import socket

    base = str(tmp_path) + "/"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        one.bind(base + "x" * (SOCKET_LIMIT - len(base)))
        with pytest.raises(OSError, match="too long"):
            two.bind(base + "y" * (SOCKET_LIMIT + 1 - len(base)))
