"""Archives as GNU tar and Python write them, and the same with hostile headers."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmi.disk.archive import Archive, Member
from kmi.errors import VerificationError

DATA = bytes(range(256)) * 5


class Pipe(io.BytesIO):
    """A stream that cannot seek."""

    def seekable(self) -> bool:
        return False


def walked(data: bytes, stream: Callable[[bytes], io.BytesIO] = Pipe) -> list[tuple[Member, bytes]]:
    archive = Archive(stream(data), where="here")
    return [(member, b"".join(iter(lambda: archive.read(700), b""))) for member in archive]


def refused(data: bytes) -> str:
    with pytest.raises(VerificationError, match="not a sound tar archive") as caught:
        walked(data)
    return f"{caught.value.expected} | {caught.value.got}"


def packed(*members: tuple[str, bytes], form: int = tarfile.PAX_FORMAT, **fields: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in fields.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def block(name: str = "disk.raw", kind: bytes = b"0", size: int = 0, **fields: object) -> bytes:
    """One header as it stands, with whatever it says."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("form", ["ustar", "pax", "gnu", "v7", "oldgnu"])
@pytest.mark.parametrize("stream", [Pipe, io.BytesIO])
def test_what_gnu_tar_writes_is_read(tmp_path: Path, form: str, stream: Callable[[bytes], io.BytesIO]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "disk.raw").write_bytes(DATA * 2000)
    (tmp_path / "link").symlink_to("folder/disk.raw")
    (tmp_path / "hard").hardlink_to(tmp_path / "folder" / "disk.raw")
    long = "x" * 90 if form in ("ustar", "v7") else "x" * 200
    (tmp_path / long).write_bytes(b"long")
    argv = ["tar", f"--format={form}", "-C", tmp_path, "-c", "folder", "link", "hard", long]
    found = walked(subprocess.run(argv, check=True, capture_output=True).stdout, stream)
    assert [(m.name.rstrip("/"), m.kind, len(data)) for m, data in found] == [
        ("folder", "directory", 0), ("folder/disk.raw", "file", len(DATA) * 2000), ("link", "symbolic link", 0),
        ("hard", "hard link", 0), (long, "file", 4),
    ]  # fmt: skip
    assert found[1][1] == DATA * 2000


def test_offsets_are_where_the_content_is() -> None:
    data = packed(("a", DATA), ("b" * 150, b"second"))
    for member, content in walked(data):
        assert data[member.offset : member.offset + member.size] == content


@pytest.mark.parametrize("stream", [Pipe, io.BytesIO])
def test_content_that_is_not_read_is_passed(stream: Callable[[bytes], io.BytesIO]) -> None:
    data = packed(("a", bytes(3 << 20)), ("b", b"second"))
    archive = Archive(stream(data), where="here")
    read = {member.name: archive.read(3) for member in archive}
    assert read == {"a": b"\0\0\0", "b": b"sec"}


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_a_sparse_member_is_told(tmp_path: Path, form: str) -> None:
    with (tmp_path / "disk.raw").open("wb") as file:
        for at in range(0, 80 << 20, 4 << 20):
            file.seek(at)
            file.write(b"data")
    (tmp_path / "other").write_bytes(b"x")
    argv = ["tar", f"--format={form}", "-S", "-C", tmp_path, "-c", "disk.raw", "other"]
    found = walked(subprocess.run(argv, check=True, capture_output=True).stdout)
    assert [(member.kind, member.size < 1 << 20) for member, _ in found] == [("sparse file", True), ("file", True)]
    assert found[1][0].name == "other"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "..", "./../x"])
def test_climbing_names_are_told(name: str) -> None:
    ((member, _),) = walked(packed((name, b"x")))
    assert member.climbs and member.name == name


@pytest.mark.parametrize("name", ["a..b", "..a", "a/b", "./a"])
def test_other_names_are_not(name: str) -> None:
    assert not walked(packed((name, b"x")))[0][0].climbs


@pytest.mark.parametrize(
    ("kind", "told"),
    [(b"1", "hard link"), (b"2", "symbolic link"), (b"3", "device"), (b"4", "device"), (b"6", "fifo")],
)
def test_a_link_or_device_has_no_content_whatever_its_size(kind: bytes, told: str) -> None:
    data = block("a", kind, 1 << 30, linkname="x") + block("b", size=3) + b"abc".ljust(512, b"\0") + bytes(1024)
    assert [(m.name, m.kind, content) for m, content in walked(data)] == [("a", told, b""), ("b", "file", b"abc")]


def test_an_unknown_type_is_told() -> None:
    data = block("a", b"V", 3) + b"abc".ljust(512, b"\0") + bytes(1024)
    assert walked(data)[0][0].kind == "type b'V'"


def test_sizes_out_of_bounds_are_refused() -> None:
    """A size below zero sends Python's own reader back to where it was, for ever."""
    assert "a size of 0 or more" in refused(block(size=-512) + bytes(1024))
    assert "the end after" in refused(block(size=1 << 40) + bytes(1024))
    assert "the end after" in refused(packed(("a", DATA))[:1500])
    for kind in (b"x", b"g", b"L", b"K"):
        assert "an extended header of at most" in refused(block(kind=kind, size=1 << 30) + bytes(1024))
        assert "an extended header of at most" in refused(block(kind=kind, size=-1) + bytes(1024))


@pytest.mark.parametrize(
    "records",
    [b"nothing", b"99 path=x\n", b"5 a=bc\n", b"0 path=x\n", b"-1 path=x\n", b"11 size=-1\n\n", b"12 size=1e9\n",
     b"11 size=0x1\n", b" path=x\n", b"999999999999999999999 path=x\n", b"8 path\nx",
     b"32 size=9999999999999999999999\n"],
)  # fmt: skip
def test_malformed_records_are_refused(records: bytes) -> None:
    data = block(kind=b"x", size=len(records)) + records.ljust(512, b"\0") + block() + bytes(1024)
    refused(data)


def test_extended_headers_count_for_the_next_member_only() -> None:
    records = b"12 path=new\n"
    extended = block(kind=b"x", size=len(records)) + records.ljust(512, b"\0")
    found = walked(extended + block("a") + block("b") + bytes(1024))
    assert [member.name for member, _ in found] == ["new", "b"]
    everywhere = block(kind=b"g", size=len(records)) + records.ljust(512, b"\0")
    assert [member.name for member, _ in walked(everywhere + block("a") + block("b") + bytes(1024))] == ["new", "new"]
    assert "a member behind" in refused(extended + bytes(1024))


@pytest.mark.parametrize("data", [b"", b"x", b"no tar" * 1000, DATA, b"\1" * 512])
def test_what_is_no_tar_is_refused(data: bytes) -> None:
    refused(data)


def test_an_archive_without_members_has_none() -> None:
    assert walked(bytes(1024)) == walked(bytes(512)) == []


def test_the_end_mark_is_the_end() -> None:
    assert [member.name for member, _ in walked(packed(("a", b"x")) + packed(("b", b"x")))] == ["a"]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=12)), min_size=1, max_size=4))
def test_no_archive_makes_it_fail_otherwise(patches: list[tuple[int, bytes]]) -> None:
    data = bytearray(packed(("a" * 120, DATA), ("b", b"x" * 700), pax_headers={"mtime": "1.5"}))
    for at, piece in patches:
        data[at : at + len(piece)] = piece
        header = at // 512 * 512
        if header + 512 <= len(data):  # a checksum that is right again lets it in deeper
            fresh = bytes(data[header : header + 148]) + b" " * 8 + bytes(data[header + 156 : header + 512])
            data[header + 148 : header + 156] = b"%06o\0 " % sum(fresh)
    try:
        assert all(member.size == len(content) for member, content in walked(bytes(data)))
    except VerificationError:
        pass
