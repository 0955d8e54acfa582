"""What the host has. The free space is made up; everything else is this machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kmi.errors import HostError
from kmi.host import doctor

GIB = 1024**3


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch):
    def say(amount: int) -> None:
        real = doctor.look
        monkeypatch.setattr(doctor, "look", lambda folder: replace(real(folder), free=amount))

    return say


@pytest.mark.parametrize(("amount", "state"), [(0, "missing"), (GIB - 1, "missing"), (GIB, "note"),
                                               (doctor.ROOM - 1, "note"), (doctor.ROOM, "ok")])  # fmt: skip
def test_a_run_is_only_refused_where_nothing_fits(free, tmp_path: Path, amount: int, state: str) -> None:
    free(amount)
    assert doctor._space(tmp_path).state == state
    if state != "missing":
        doctor.require((), tmp_path)
        return
    with pytest.raises(HostError, match="lacks") as caught:
        doctor.require((), tmp_path)
    assert "disk space" in str(caught.value.got)
    assert "--cache" in str(caught.value.hint)


def test_a_stage_asks_for_the_room_it_needs(free, tmp_path: Path) -> None:
    free(4 * GIB)
    cache = tmp_path / "not" / "yet"
    doctor.room(cache, 4 * GIB)
    with pytest.raises(HostError, match="too little room") as caught:
        doctor.room(cache, 4 * GIB + 1)
    assert caught.value.where == tmp_path


def test_the_room_is_looked_for_on_the_real_disk(tmp_path: Path) -> None:
    doctor.room(tmp_path, 1)
    with pytest.raises(HostError):
        doctor.room(tmp_path, shutil.disk_usage(tmp_path).total + 1)


def test_cosign_is_told_by_its_own_version(tmp_path: Path) -> None:
    (line,) = [doctor._program(need, version=True) for need in doctor.NEEDS if need.name == "cosign"]
    assert line.state == "ok"
    assert "go1" not in line.detail
    assert line.detail.split(" ", 1)[0].startswith(("devel", "v3", "3", "v4", "4"))


def test_booting_arm64_has_needs_of_its_own(monkeypatch: pytest.MonkeyPatch, free, tmp_path: Path) -> None:
    free(doctor.ROOM)
    doctor.require({"boot-arm64"}, tmp_path)
    real = doctor.which
    monkeypatch.setattr(doctor, "which", lambda name: None if name == "qemu-system-aarch64" else real(name))
    doctor.require({"boot"}, tmp_path)
    with pytest.raises(HostError, match="lacks") as caught:
        doctor.require({"boot-arm64"}, tmp_path)
    assert "qemu-system-aarch64: needed: the boot test of arm64 images" in str(caught.value.got)
    assert caught.value.hint == "install qemu-system-arm"


@pytest.mark.parametrize(("host", "state"), [("x86_64", "note"), ("aarch64", "missing")])
def test_what_only_another_architecture_needs_is_a_note(
    monkeypatch: pytest.MonkeyPatch, host: str, state: str, tmp_path: Path
) -> None:
    (need,) = (need for need in doctor.NEEDS if need.name == "AAVMF")
    absent = replace(need, paths=(str(tmp_path / "AAVMF_CODE.fd"),))
    monkeypatch.setattr(doctor.platform, "machine", lambda: host)
    found = doctor._eased(absent, doctor._program(absent, version=True))
    assert (found.state, found.remedy) == (state, "install qemu-efi-aarch64")
    assert "arm64" in found.detail
    (minisign,) = (need for need in doctor.NEEDS if need.name == "minisign")
    lost = doctor.Finding(name="minisign", state="missing", detail="")
    assert doctor._eased(minisign, lost) is lost
