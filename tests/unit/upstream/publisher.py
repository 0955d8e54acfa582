"""A publisher of our own making for any image of the catalogue: its documents have the shape that the real one uses.

Every file that could be asked for has a digest of its own (the hash of its name), so a wrong line cannot go unseen.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator

from kmi.model.spec import CloudImage
from kmi.upstream.names import fill

OTHER = "a-file-that-nobody-asked-for.qcow2"


def digest_of(name: str, algorithm: str) -> str:
    """What stands for the digest of the file ``name``: hexadecimal."""
    return hashlib.new(algorithm, name.encode()).hexdigest()


def file_name(url: str) -> str:
    return url.rpartition("/")[2]


def index(image: CloudImage, build: str, beside: list[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """What the lookup of the current build reads, and what redirects where. ``beside`` are ids to pass over."""
    lookup = image.build
    if lookup is None or lookup.url is None:
        return {}, {}
    name = fill(lookup.name, build)
    others = [fill(lookup.name, other) for other in beside]
    if lookup.kind == "redirect":
        return {}, {lookup.url: "https://" + lookup.url.split("/")[2] + "/" + name}
    if lookup.kind == "listing":
        names = ["../", "?C=M;O=D", *others, name, name + ".asc", "latest/"]
        text = "<html><body><h1>Index</h1>\n" + "".join(f'<a href="{each}">{each}</a>\n' for each in names)
    elif lookup.kind == "side-file":
        text = f"# Latest as of Thu, 01 Jan 2026 00:00:00 +0000\nOTHER_ID=1.2.3\n{name} 1700790272\n"
    elif lookup.kind == "simplestreams":
        product, _, item = lookup.name.split("/")
        versions = {each: {"items": {item: {"ftype": item}}} for each in [*beside, build]}
        versions["99999999"] = {"items": {"lxd.tar.xz": {"ftype": "lxd.tar.xz"}}}
        text = json.dumps({"products": {product: {"versions": versions}, f"{product}.x": {"versions": {}}}})
    else:
        links = [f"https://mirror.invalid/{each}" for each in [*others, name]]
        text = json.dumps([{"version": "1", "link": link} for link in links])
    return {lookup.url: text.encode()}, {}


def checksums(image: CloudImage, build: str, form: str) -> bytes:
    """The checksum document or index of that build."""
    wanted = file_name(fill(image.url, build))
    names = [OTHER, wanted]
    if image.build and image.build.url is None:  # the moving name and, with the same digest, the one that stays
        return _lines([OTHER, wanted, fill(image.build.name, build)], image.algorithm, form, same=wanted)
    if form == "bare":
        return digest_of(wanted, image.algorithm).encode() + b"\n"
    if form == "sectioned":
        sections = [
            f"# {each.upper()} HASH\n{digest_of(wanted, each)}  {wanted}\n" for each in ("md5", "sha1", "sha512")
        ]
        return "".join(sections).encode()
    if form == "oracle-template":
        item = {"image": f"{build}.{image.format}", "sha256": digest_of(f"{build}.{image.format}", "sha256")}
        return json.dumps({"base_url": f"{image.url}OL", image.item or "": item}).encode()
    if form == "debian-json":
        return _debian(image, build, wanted)
    return _lines(names, image.algorithm, form)


def _lines(names: list[str], algorithm: str, form: str, same: str = "") -> bytes:
    return "".join(_line(name, digest_of(same if name != OTHER and same else name, algorithm), algorithm, form)
                   for name in names).encode()  # fmt: skip


def _line(name: str, value: str, algorithm: str, form: str) -> str:
    match form:
        case "gnu":
            return f"{value}  {name}\n"
        case "gnu-star":
            return f"{value} *{name}\n"
        case "bsd":
            return f"{algorithm.upper()} ({name}) = {value}\n"
        case "bsd-sizes":
            return f"# {name}: 645988352 bytes\n{algorithm.upper()} ({name}) = {value}\n"
    raise AssertionError(f"no such form: {form}")


def _debian(image: CloudImage, build: str, wanted: str) -> bytes:
    place = "/".join(fill(image.url, build).split("/")[-3:])
    value = base64.b64encode(bytes.fromhex(digest_of(wanted, image.algorithm))).decode().rstrip("=")
    return json.dumps({"items": list(_uploads(place, f"{image.algorithm}:{value}", build))}).encode()


def _uploads(place: str, digest: str, build: str) -> Iterator[dict[str, object]]:
    for form, told in (("internal", "sha512:AAAA"), ("raw", "sha512:BBBB"), ("qcow2", digest)):
        labels = {"cloud.debian.org/version": build, "upload.cloud.debian.org/image-format": form}
        metadata = {"labels": labels, "annotations": {"cloud.debian.org/digest": told}}
        yield {"kind": "Upload", "metadata": metadata, "data": {"ref": place.replace("qcow2", form)}}
