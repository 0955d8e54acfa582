"""Checksum documents of every shape that publishers write, and of shapes that nobody may."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.errors import VerificationError
from kmi.upstream.checksums import find

NAME = "debian-12-genericcloud-amd64.qcow2"
A, B, LONG = "a1" * 32, "b2" * 32, "c3" * 64


def look(text: str | bytes, name: str = NAME, algorithm: str = "sha256") -> str:
    document = text.encode() if isinstance(text, str) else text
    return find(document, name, algorithm, where="SUMS").hex


@pytest.mark.parametrize(
    "line",
    [
        f"{A}  {NAME}",
        f"{A} *{NAME}",
        f"{A} {NAME}",
        f"{A}  ./{NAME}",
        f"{A}  images/{NAME}",
        f"{A.upper()}  {NAME}",
        f"SHA256 ({NAME}) = {A}",
        f"SHA256 (images/{NAME}) = {A}",
        f"SHA256({NAME})= {A}",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_every_shape_of_a_line_is_read(line: str, end: str) -> None:
    other = f"{B}  debian-12-genericcloud-arm64.qcow2\n"
    assert look(other + line + end) == A


def test_size_lines_and_comments_are_passed_over() -> None:
    document = f"# {NAME}: 645988352 bytes\n{NAME}: 645988352 bytes\n\nSHA256 ({NAME}) = {A}\n"
    assert look(document) == A


def test_a_bsd_line_says_its_algorithm() -> None:
    document = f"MD5 ({NAME}) = {'d4' * 16}\nSHA512 ({NAME}) = {LONG}\nSHA256 ({NAME}) = {A}\n"
    assert look(document) == A
    assert look(document, algorithm="sha512") == LONG


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "nowhere"),
        (f"{A}  other.qcow2\n", "nowhere"),
        (f"{A}  x{NAME}\n{B}  {NAME}.asc\n{B}  {NAME} \n", "nowhere"),
        (f"{A}  {NAME}\n{A}  {NAME}\n", "more than once"),
        (f"{A}  {NAME}\n{B}  old/{NAME}\n", "more than once"),
        (f"{A}  {NAME}\nSHA256 ({NAME}) = {A}\n", "more than once"),
        (f"{A[:-1]}  {NAME}\n", "is no sha256"),
        (f"{LONG}  {NAME}\n", "is no sha256"),
        (f"{A}\t{NAME}\n", "control character"),
        (f"{A}  {NAME}\x1b[2K\n", "control character"),
        (f"{A}{NAME}\n", "no known shape"),
        ("Not Found\n", "no known shape"),
        ("\n<!DOCTYPE html>\n<html><body>Log in", "web page"),
        ("<html>\n", "web page"),
        (b"\xff\xfe\x00garbage", "not text"),
    ],
)
def test_anything_but_one_good_line_is_refused(document: str | bytes, reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        look(document)


def test_the_error_names_the_line() -> None:
    with pytest.raises(VerificationError) as caught:
        look(f"{B}  other\n{A[:-2]}  {NAME}\n")
    assert (caught.value.where, caught.value.got) == ("SUMS, line 2", "62")


def test_a_separator_of_another_alphabet_ends_no_line() -> None:
    """U+2028 and form feed end a line for str.splitlines, so a file's name could smuggle a second line in."""
    with pytest.raises(VerificationError, match="nowhere"):
        look(f"{B}  evil\u2028{A}  {NAME}\n")
    with pytest.raises(VerificationError, match="control"):
        look(f"{B}  evil\x0c{A}  {NAME}\n")


@given(st.binary(max_size=400) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_document_gives_a_digest_that_is_not_in_it(document: bytes) -> None:
    with pytest.raises(VerificationError):
        look(document)


@given(st.lists(st.sampled_from(["x", "y", NAME, f"d/{NAME}"]), max_size=6), st.integers(min_value=0, max_value=5))
def test_one_line_and_only_one_counts(names: list[str], style: int) -> None:
    lines = [f"{A}{'  ' if style % 2 else ' *'}{name}" for name in names]
    count = sum(name.endswith(NAME) for name in names)
    document = ("\r\n" if style > 2 else "\n").join(lines)
    if count == 1:
        assert look(document) == A
    else:
        with pytest.raises(VerificationError):
            look(document)


RECORDED = [
    ("almalinux-9-x86_64-CHECKSUM", "sha256"),
    ("almalinux-10-s390x-CHECKSUM", "sha256"),
    ("centos-stream-9-x86_64-CHECKSUM", "sha256"),
    ("centos-stream-10-aarch64-CHECKSUM", "sha256"),
    ("opensuse-leap-15.6-openSUSE-Leap-15.6-Minimal-VM.x86_64-Cloud.qcow2.sha256", "sha256"),
    ("opensuse-tumbleweed.SHA256SUM", "sha256"),
    ("rocky-9-GenericCloud.latest.x86_64.qcow2.CHECKSUM", "sha256"),
    ("ubuntu-24.04-release-20260725-SHA256SUMS", "sha256"),
]


@pytest.mark.parametrize(("sample", "algorithm"), RECORDED)
def test_recorded_documents_give_what_their_lines_say(sample: str, algorithm: str) -> None:
    folder = os.environ.get("KMI_SAMPLES")
    if not folder:
        pytest.skip("KMI_SAMPLES names no folder of recorded documents")
    document = Path(folder, sample).read_bytes()
    lines = [
        line.split()
        for line in document.decode().splitlines()
        if re.search(r"\.(qcow2|img)\b", line) and line[0] != "#"
    ]
    assert lines
    for words in lines:
        bsd = words[0] == "SHA256"
        name, value = (words[1].strip("()"), words[3]) if bsd else (words[1].lstrip("*"), words[0])
        assert look(document, name, algorithm) == value
