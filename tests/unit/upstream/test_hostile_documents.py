"""Foreign documents at every parser: read or refused in words, never a crash, never a wrong digest, never for long."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kmi.errors import NetworkError, VerificationError
from kmi.model.digest import Digest
from kmi.upstream import checksums
from kmi.upstream.builds.listing import children
from tests.unit.upstream.hostile import CORPUS, NAME, PARSERS, URL, A, B, judged

ROOT = Path(__file__).parents[3]
MEMORY = 1 << 30
"""Bytes of address space for the largest documents, the interpreter and its libraries among them."""


@pytest.mark.parametrize("document", CORPUS)
@pytest.mark.parametrize("parser", PARSERS)
def test_the_corpus_is_read_or_refused(parser: str, document: str) -> None:
    began = time.process_time()
    try:
        found = judged(parser, CORPUS[document])
    except NetworkError:  # more than the server may send
        found = None
    assert time.process_time() - began < 5
    assert not isinstance(found, Digest), "none of them names a digest"


@pytest.mark.parametrize("parser", PARSERS)
@settings(max_examples=50)
@given(document=st.binary(max_size=600) | st.text(max_size=400).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything_is_read_or_refused(parser: str, document: bytes) -> None:
    assert not isinstance(judged(parser, document), Digest)


KEYS = [
    *("items", "kind", "metadata", "labels", "annotations", "data", "ref", "products", "p", "versions", "1"),
    *("architectures", "x86_64", "artifacts", "qemu", "release", "formats", "qcow2.xz", "disk", "location", "sha256"),
    *("signature", "base_url", "kvm", "image", "link"),
]
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([A, URL, "1", "x/.."])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=25,
)
INDEXES = ["debian-json", "coreos-stream", "oracle-template", "simplestreams", "fedora-releases"]


@pytest.mark.parametrize("parser", INDEXES)
@given(value=JSON)
def test_an_index_of_any_shape_is_read_or_refused(parser: str, value: object) -> None:
    judged(parser, json.dumps(value).encode())


LOOKALIKES = [
    "disk\u20101.qcow2",  # another hyphen
    "d\u0456sk-1.qcow2",  # the i of Cyrillic
    "\uff44isk-1.qcow2",  # a d of full width
    *("disk-1.qcow2" + more for more in ("\u200b", "\u202e", ".", " ", "/", "\\", "#", "?x", ":", "%00", ".asc")),
    *(more + "disk-1.qcow2" for more in ("*", " ", "a", "x\\", "%2F", "\ufeff")),
    *("DISK-1.qcow2", "Disk-1.qcow2", "disk-1.QCOW2", "disk%2D1.qcow2", "disk-1.qcow", "(disk-1.qcow2)"),
    "disk-1.qcow2) = " + B + " (x",
]


@pytest.mark.parametrize("other", LOOKALIKES)
@pytest.mark.parametrize("form", ["{value}  {name}\n", "SHA256 ({name}) = {value}\n"])
def test_a_name_that_looks_like_it_is_another(other: str, form: str) -> None:
    line = form.format(value=B, name=other)
    with pytest.raises(VerificationError):
        checksums.find(line.encode(), NAME, "sha256", where=URL)
    try:
        found = checksums.find((line + f"{A}  {NAME}\n").encode(), NAME, "sha256", where=URL)
    except VerificationError:
        return
    assert found.hex == A


def test_a_name_composed_another_way_is_another() -> None:
    name = unicodedata.normalize("NFC", "é.img")
    other = unicodedata.normalize("NFD", name)
    document = f"{B}  {other}\n{A}  {name}\n".encode()
    assert checksums.find(document, name, "sha256", where=URL).hex == A
    assert checksums.find(document, other, "sha256", where=URL).hex == B


HEX = st.text("0123456789abcdefABCDEF", min_size=1, max_size=140)
LINES = st.lists(
    st.tuples(
        st.sampled_from([NAME, "other", f"d/{NAME}", NAME.upper(), NAME + " "]),
        st.one_of(HEX, st.sampled_from([A, A.upper(), B, A[:-1], A + "0"])),
        st.sampled_from(["{1}  {0}", "{1} *{0}", "SHA256 ({0}) = {1}", "SHA512 ({0}) = {1}", "MD5 ({0}) = {1}"]),
    ),
    max_size=5,
)


@given(LINES, st.sampled_from(["\n", "\r\n"]))
def test_a_digest_is_that_of_the_one_line_that_names_the_file(lines: list[tuple[str, str, str]], end: str) -> None:
    """Worked out here a second time: what names the file in an algorithm that may be meant, as it stands there."""
    document = end.join(form.format(name, value) for name, value, form in lines).encode()
    told = [
        value.lower()
        for name, value, form in lines
        if name.rpartition("/")[2] == NAME and not form.startswith(("SHA512", "MD5"))
    ]
    try:
        found = checksums.find(document, NAME, "sha256", where=URL)
    except VerificationError:
        assert len(told) != 1 or len(told[0]) != 64
        return
    assert [found.hex] == told


CHILDREN = ["v1/", "v2/", "%76%33/", "./v5/", "x/../v10/", "https:v12/", "\\v13/", "%2576%2534/", "v\u0665/"]
OTHERS = ["v9%2fx/", "v8%00/", "..%2fv7/", "v6%0a/", "//e/d/v11/", "../v14/", "v15/x/"]


@given(st.lists(st.sampled_from(CHILDREN + OTHERS)))
@example(["x/../v10/", "./v5/"])
def test_a_link_is_taken_for_what_a_browser_makes_of_it(links: list[str]) -> None:
    page = "".join(f'<a href="{link}">' for link in links) + '<a href="v0/">'
    known = {"v0/", "v1/", "v2/", "v3/", "v5/", "v10/", "v12/", "\\v13/", "%76%34/", "v\ufffd\ufffd/"}
    assert set(children(page.encode(), URL)) <= known


LARGE = """
import resource
from tests.unit.upstream.hostile import CLEAR, CORPUS, HEAD, TAIL, judged
resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
made = {
    "a line of 100 MB": lambda: b"a" * 100_000_000,
    "ten million lines": lambda: b"a  b\\n" * 10_000_000,
    "ten million empty lines": lambda: b"\\n" * 10_000_000,
    "a number of 100 MB": lambda: b"9" * 100_000_000,
    "twenty million lists": lambda: b"[" + b"[]," * 20_000_000 + b"[]]",
    "a key of 100 MB": lambda: b'{"' + b"k" * 100_000_000 + b'":1}',
    "six million links": lambda: b"<a href='v1/'>" * 6_000_000,
    "armour of 100 MB": lambda: HEAD + b"A" * 100_000_000 + TAIL,
    "ten million lines of armour": lambda: HEAD + b"AAAA\\n" * 10_000_000 + TAIL,
    "fifty million packets": lambda: b"\\x98\\x06\\x04" + bytes(5) + b"\\xcd\\0" * 50_000_000,
    "two million marks": lambda: CLEAR * 2_000_000 + b"\\n" * 10_000_000,
    "objects, as many as may be": lambda: (b"[" + b"{}," * 10_000_000)[: (16 << 20) - 3] + b"{}]",
    "lines, as many as may be": lambda: b"a b\\n" * (1 << 20),
}
for document in map(lambda make: make(), made.values()):
    for parser in "lines", "sectioned", "bare", "named", "json", "links", "keys", "framing":
        judged(parser, document)
    del document
judged("simplestreams", CORPUS["a huge version of many items"])
judged("redirect", CORPUS["slashes"])
print("held")
"""


def test_the_largest_documents_take_neither_memory_nor_time() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", LARGE.replace("MEMORY", str(MEMORY))],
        cwd=ROOT, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr[-2000:]
    assert after.ru_utime - before.ru_utime < 60
