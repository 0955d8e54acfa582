"""Documents that no publisher writes, and every parser of kmi that reads what publishers write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kmi.errors import VerificationError
from kmi.model.digest import Digest
from kmi.model.spec import BuildLookup, CloudImage, Trust
from kmi.upstream import checksums, index, signatures
from kmi.upstream.builds import BUILDS
from kmi.upstream.builds.listing import children
from kmi.upstream.sources import SOURCES
from tests.unit.upstream.served import Served

URL = "https://publisher.example/d/"
NAME = "disk-1.qcow2"
A, B = "a1" * 32, "b2" * 32
HEAD = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n"
TAIL = b"\n-----END PGP PUBLIC KEY BLOCK-----\n"
CLEAR = b"-----BEGIN PGP SIGNED MESSAGE-----\n"


def _source(kind: str, **changes: Any) -> Callable[[bytes], object]:
    given = {"algorithm": "sha256", "format": "qcow2", "checksums": URL + "SUMS", "trust": Trust(kind="tls-only")}
    image = CloudImage(kind=kind, url=URL + changes.pop("name", ""), **given | changes)

    def call(document: bytes) -> object:
        served = Served({image.checksums: document})
        return SOURCES[kind](image, http=served, prove=served.prove)  # type: ignore[arg-type]

    return call


def _build(kind: str, name: str) -> Callable[[bytes], object]:
    def call(document: bytes) -> object:
        served = Served({URL: document}, redirects={URL: URL + document.decode("latin-1")})
        return BUILDS[kind](BuildLookup(kind=kind, url=URL, name=name), served)  # type: ignore[arg-type]

    return call


def _keys(document: bytes) -> object:
    """As ``signatures`` calls them."""
    return signatures._choose(document, ("A5" * 20,), URL)


def _framing(document: bytes) -> object:
    return signatures._only_block(document, URL)


PARSERS: dict[str, Callable[[bytes], object]] = {
    "lines": lambda document: checksums.find(document, NAME, "sha256", where=URL),
    "sectioned": lambda document: checksums.find(document, NAME, "sha512", where=URL, shape="sectioned"),
    "bare": lambda document: checksums.find(document, NAME, "sha512", where=URL, shape="bare"),
    "named": lambda document: checksums.named(document, Digest(algorithm="sha256", hex=A), where=URL),
    "json": lambda document: index.load(document, URL),
    "links": lambda document: children(document, URL),
    "keys": _keys,
    "framing": _framing,
    "checksum-file": _source(
        "checksum-file", name="d-latest.qcow2", build=BuildLookup(kind="same-digest", name="d-{build}.qcow2")
    ),
    "debian-json": _source("debian-json", name="{build}/d-{build}.qcow2", algorithm="sha512"),
    "coreos-stream": _source("coreos-stream", item="x86_64/qemu/qcow2.xz"),
    "oracle-template": _source("oracle-template", item="kvm"),
    "listing": _build("listing", "v{build}/"),
    "redirect": _build("redirect", "v{build}/"),
    "side-file": _build("side-file", "VERSION={build}"),
    "simplestreams": _build("simplestreams", "p/{build}/disk1.img"),
    "fedora-releases": _build("fedora-releases", "F-{build}.qcow2"),
}

_LONG_KEY = b"k" * 100_000
CORPUS: dict[str, bytes] = {
    "empty": b"",
    "a line end": b"\n",
    "line ends": b"\n" * 200_000,
    "lone carriage returns": b"\r" * 100_000,
    "zeros": b"\0" * 100_000,
    "every byte": bytes(range(256)) * 100,
    "gzip": b"\x1f\x8b\x08\0\0\0\0\0" * 1000,
    "UTF-16": f"{A}  {NAME}\n".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + f"{A}  {NAME}\n".encode(),
    "surrogates": f"{A}  ".encode() + "\ud800".encode("utf-8", "surrogatepass"),
    "control characters": f"{A}  {NAME}\x1b]0;owned\x07\n".encode(),
    "a page": b"<!DOCTYPE html><html><body>Log in</body></html>",
    "a page after blanks": b"\n \t" * 300 + b"<html>",
    "blanks": b" " * 200_000,
    "hex": b"a" * 1_000_000,
    "hex and a blank": b"a" * 1_000_000 + b" ",
    "a name that never ends": A.encode() + b"  " + b"x" * 1_000_000,
    "brackets": b"SHA256 (" + b")" * 500_000,
    "brackets and hex": b"SHA256 (x" + b") = a" * 100_000 + b"!",
    "algorithms": b"A-" * 300_000 + b"(",
    "short lines": b"a b\n" * 100_000,
    "headings": b"# SHA512 HASH\n" * 50_000,
    "depth of lists": b"[" * 200_000,
    "depth of lists, closed": b"[" * 900 + b"]" * 900,
    "depth of objects": b'{"a":' * 200_000,
    "depth where text is expected": b'{"base_url":' + b'{"a":[' * 300 + b"1" + b"]}" * 300 + b"}",
    "depth in every field": (
        b'{"base_url":"' + URL.encode() + b'","architectures":{"x86_64":{"artifacts":{"qemu":{"release":"1","formats":'
        b'{"qcow2.xz":{"disk":{"location":"' + URL.encode() + b'd","sha256":"' + A.encode() + b'","signature":'
        + b"[" * 900 + b"]" * 900 + b"}}}}}}}}"
    ),
    "a huge number": b'{"items":' + b"9" * 100_000 + b"}",
    "a huge exponent": b'{"items":1e999999999,"products":-1E+400}',
    "no numbers": b'[NaN, Infinity, -Infinity]',
    "a huge key": b'{"' + _LONG_KEY * 10 + b'":1}',
    "a key twice": b'{"items":[],"items":[1]}',
    "a huge version of many items": (
        b'{"products":{"p":{"versions":{"' + _LONG_KEY + b'":{"items":{'
        + b",".join(b'"%d":1' % number for number in range(20_000)) + b"}}}}}}"
    ),
    "escaped surrogates": b'{"base_url":"\\ud800\\udfff","kvm":{"image":"\\udc00","sha256":"\\ud800"}}',
    "items of every type": b'{"items":[null,1,"x",[],{},true,{"kind":"Upload","metadata":[]}]}',
    "text where rows are": b'{"items":"x","products":"y","architectures":"z","kvm":"w","base_url":[]}',
    "links to nowhere": b"<a href='http://['>" * 1000 + b"<a href='//\xe2\x84\x80@x/'>" + b"<a href='v1:'>" * 1000,
    "links without end": b'<a href="' * 50_000,
    "links": b"<a href='v1/'>" * 60_000,
    "slashes": b"/" * 60_000,
    "armour without end": HEAD * 20_000,
    "ends without armour": TAIL * 20_000,
    "armour of one letter": HEAD + b"A" + TAIL,
    "armour of many lines": HEAD + b"A\n" * 200_000 + TAIL,
    "armour of other letters": HEAD + "ключ".encode() + TAIL,
    "tiny packets": b"\xcd\0" * 400_000,
    "tiny packets of a key": b"\x98\x06\x04" + bytes(5) + b"\xcd\0" * 2_000_000,
    "a packet larger than it can be": b"\xc6\xff\xff\xff\xff\xff",
    "a key larger than it can be": b"\xc6\xff" + (70_000).to_bytes(4, "big") + b"\x04" + bytes(69_999),
    "clear-signed marks": CLEAR * 20_000,
    "escaped marks": CLEAR + b"- " * 300_000 + CLEAR,
}  # fmt: skip


def judged(parser: str, document: bytes) -> object:
    """What the parser makes of it; a refusal comes back as the error. Everything else that it raises is a bug."""
    try:
        return PARSERS[parser](document)
    except VerificationError as error:
        str(error).encode()  # can be shown
        return error
