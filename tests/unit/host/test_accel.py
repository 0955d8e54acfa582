import json
import platform

import pytest

from kmi.errors import HostError
from kmi.host import accel
from kmi.host.accel import attempt, boot_sector, probe
from kmi.model.platform import Arch


@pytest.fixture
def amd64_with_kvm(monkeypatch, tmp_path):
    """A host that looks as if it had KVM, with a count of the attempts."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accel, "KVM", device)
    tried = []

    def simulated(disk, *, accelerator, cpu, seconds=8.0):
        tried.append((accelerator, cpu, disk.read_bytes() == boot_sector()))
        return None if cpu in works else "QEMU ended with signal SIGABRT"

    works: set[str] = set()
    monkeypatch.setattr(accel, "attempt", simulated)
    return tried, works


def test_the_boot_sector_is_bootable_and_fits():
    disk = boot_sector()
    assert disk[510:512] == b"\x55\xaa"
    assert len(disk) == 1 << 20
    assert not any(disk[64:510])


def test_a_guest_that_executes_is_seen_by_its_exit_status(tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(boot_sector())
    assert attempt(disk, accelerator="tcg", cpu="max", seconds=30) is None


def test_a_guest_that_starts_but_never_gets_done_is_refused(tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa" + bytes((1 << 20) - 512))  # hlt for ever
    assert attempt(disk, accelerator="tcg", cpu="max", seconds=1.5) == "the guest was not done after 1.5 s"


def test_a_qemu_that_does_not_start_is_refused(tmp_path):
    disk = tmp_path / "disk.img"
    disk.write_bytes(boot_sector())
    assert attempt(disk, accelerator="tcg", cpu="no-such-cpu") == "QEMU ended with exit status 1"


def test_a_foreign_architecture_is_emulated_without_trying(amd64_with_kvm, monkeypatch, tmp_path):
    tried, _ = amd64_with_kvm
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    found = probe(Arch.AMD64, tmp_path)
    assert (found.name, found.cpu, tried) == ("tcg", "max", [])
    assert "aarch64" in found.why


def test_no_kvm_device_is_emulated_without_trying(amd64_with_kvm, monkeypatch, tmp_path):
    tried, _ = amd64_with_kvm
    monkeypatch.setattr(accel, "KVM", tmp_path / "absent")
    found = probe(Arch.AMD64, tmp_path)
    assert (found.name, tried) == ("tcg", [])
    assert "there is no" in found.why


def test_the_second_cpu_is_tried_and_the_answer_is_kept(amd64_with_kvm, tmp_path):
    tried, works = amd64_with_kvm
    works.add("host,arch-capabilities=off")
    found = probe(Arch.AMD64, tmp_path / "cache")
    assert (found.name, found.cpu) == ("kvm", "host,arch-capabilities=off")
    assert [try_[:2] for try_ in tried] == [("kvm", "host"), ("kvm", "host,arch-capabilities=off")]
    assert all(try_[2] for try_ in tried)
    assert probe(Arch.AMD64, tmp_path / "cache") == found
    assert len(tried) == 2


def test_when_no_cpu_works_it_is_emulated_and_says_why_in_one_line(amd64_with_kvm, tmp_path):
    found = probe(Arch.AMD64, tmp_path)
    assert (found.name, found.cpu) == ("tcg", "max")
    assert "does not work" in found.why and "SIGABRT" in found.why
    assert "\n" not in found.why


@pytest.mark.parametrize("change", [("boot", "another"), ("qemu", ["/other", 1, 2]), ("user", -1)])
def test_another_boot_qemu_or_user_is_probed_again(amd64_with_kvm, tmp_path, change):
    tried, works = amd64_with_kvm
    works.add("host")
    probe(Arch.AMD64, tmp_path)
    path = tmp_path / "accel-amd64.json"
    kept = json.loads(path.read_text())
    kept["asked"][change[0]] = change[1]
    path.write_text(json.dumps(kept))
    probe(Arch.AMD64, tmp_path)
    assert len(tried) == 2


@pytest.mark.parametrize("text", ["", "[]", '{"asked": 1}', "\x00"])
def test_a_damaged_cache_file_counts_as_none(amd64_with_kvm, tmp_path, text):
    tried, works = amd64_with_kvm
    works.add("host")
    (tmp_path / "accel-amd64.json").write_text(text)
    assert probe(Arch.AMD64, tmp_path).name == "kvm"
    assert len(tried) == 1


def test_qemu_is_needed(monkeypatch, tmp_path):
    monkeypatch.setattr(accel, "which", lambda program: None)
    with pytest.raises(HostError, match="qemu-system-x86_64"):
        probe(Arch.AMD64, tmp_path)
