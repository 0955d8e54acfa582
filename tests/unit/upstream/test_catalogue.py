"""Every image of the shipped catalogue is looked up: on a recorded document where there is one, else on one of ours.

``tests/data/proofs.yaml`` says which. It and the catalogue must not drift apart.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kmi.catalogue import load
from kmi.host.ui import Reporter, Step
from kmi.model.spec import ImageSpec, Tier, Trust
from kmi.model.stages import Evidence, Locked
from kmi.settings import Settings
from kmi.upstream import openpgp, resolve
from kmi.upstream.names import fill
from kmi.upstream.prove import Proved
from tests.unit.upstream import publisher
from tests.unit.upstream.served import NOW, Served

ROOT = Path(__file__).parents[3]
SPECS = [spec for spec in load(ROOT / "distros").specs if spec.tier is not Tier.PLANNED]
DOWNLOADED = [spec for spec in SPECS if spec.cloud_image]
PROOFS: dict[str, dict[str, Any]] = yaml.load((ROOT / "tests/data/proofs.yaml").read_bytes(), yaml.BaseLoader)
INDEXED = ("debian-json", "oracle-template")
IMITATED = [spec for spec in DOWNLOADED if spec.cloud_image and spec.cloud_image.kind != "coreos-stream"]
"""Of a CoreOS stream every image is on record, so its index is not imitated."""
RECORDED = {
    (distro, row["image"]): row for distro, proof in PROOFS.items() for row in proof.get("documents", ())
}  # fmt: skip
SIGNED = {name: row for name, row in RECORDED.items() if "key" in row}


def key(spec: ImageSpec) -> tuple[str, str]:
    return spec.id.distro, f"{spec.id.release}-{spec.id.arch}"


def recorded(name: str) -> bytes:
    if "KMI_SAMPLES" not in os.environ:
        pytest.skip("KMI_SAMPLES names no folder of samples, the recorded documents")
    return Path(os.environ["KMI_SAMPLES"], name).read_bytes()


def document(row: dict[str, str]) -> bytes:
    data = recorded(row["file"])
    if "lines" in row:
        marked = [line.partition(row["lines"]) for line in data.decode().splitlines()]
        data = "".join(f"{mark}{rest}\n" for _, mark, rest in marked if mark).encode()
    return data


def unsigned(url: str, trust: Trust, *, http: Served, **others: object) -> Proved:
    """In place of the proof by signature, which documents of our own cannot have: everything it needs is served."""
    content = http.get(url).body
    if trust.kind == "tls-only" or trust.over == "image":
        return Proved(content=content, evidence=Evidence(kind="tls-only"), signed_at=None, last_modified=NOW)
    assert trust.fingerprints
    if trust.signature:
        assert "{" not in trust.signature
        http.get(trust.signature)
    http.get(trust.key_url or "")
    return Proved(content=content, evidence=Evidence(kind=trust.kind), signed_at=NOW, last_modified=NOW)


def look_up(spec: ImageSpec, build: str, content: bytes, folder: Path, more: dict[str, bytes]) -> Locked:
    """Serve what this publisher has of that build, and nothing else, and resolve the image."""
    image = spec.cloud_image
    assert image is not None
    own = PROOFS[spec.id.distro].get("own", {})
    pages, redirects = publisher.index(image, build, [worded(spec, other) for other in own.get("beside", ())])
    served = Served({fill(image.checksums, build): content} | pages | more, redirects=redirects)
    step = Step(Reporter(io.StringIO()), str(spec.id), "resolve")
    settings = Settings(cache=folder / "cache")
    return resolve.resolve(spec, http=served, settings=settings, scratch=folder, step=step)  # type: ignore[arg-type]


def worded(spec: ImageSpec, text: str) -> str:
    """The placeholders of the proofs. The publisher's word for the architecture is what the lookup's URLs hold."""
    image = spec.cloud_image
    told = f"{image.build} {image.url} {image.checksums}" if image else ""
    word = spec.id.arch.machine if spec.id.arch.machine in told else spec.id.arch.value
    firmware = "-uefi" if "nocloud" in told else ""
    return text.format(version=spec.id.release, arch=word, firmware=firmware)


def signing(spec: ImageSpec, build: str) -> dict[str, bytes]:
    trust = spec.cloud_image.trust if spec.cloud_image else Trust(kind="tls-only")
    return {fill(url, build): b"signature or key" for url in (trust.signature, trust.key_url) if url}


def stays(spec: ImageSpec, build: str) -> str:
    """The URL under which that very build can be fetched again."""
    image = spec.cloud_image
    assert image is not None
    if image.build and image.build.url is None:
        return image.url.rpartition("/")[0] + "/" + fill(image.build.name, build)
    return fill(image.url, build)


@pytest.mark.parametrize("spec", IMITATED, ids=lambda spec: str(spec.id))
def test_every_image_is_found_in_documents_of_its_publishers_shape(
    spec: ImageSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "prove", unsigned)
    image, own = spec.cloud_image, PROOFS[spec.id.distro].get("own", {})
    assert image is not None
    build = worded(spec, own.get("build", "")) if image.build or image.kind in INDEXED else ""
    content = publisher.checksums(image, build, own["form"])
    found = look_up(spec, build, content, tmp_path, signing(spec, build))
    url = f"{image.url}OL/{build}.{image.format}" if image.kind == "oracle-template" else stays(spec, build)
    moving = image.url if image.build and image.build.url is None else url
    assert found.url == url
    assert found.digest.hex == publisher.digest_of(publisher.file_name(moving), image.algorithm)
    assert found.build == (build or f"{NOW:%Y%m%d}")
    assert (found.signed is not None) == (image.trust.over == "image")


@pytest.mark.parametrize("name", RECORDED, ids="-".join)
def test_an_image_is_found_in_what_its_publisher_published(
    name: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = RECORDED[name]
    (spec,) = (spec for spec in DOWNLOADED if key(spec) == name)
    build = row.get("build", "")
    more = signing(spec, build)
    if name in SIGNED:
        assert spec.cloud_image is not None
        trust = spec.cloud_image.trust
        more[trust.key_url or ""] = recorded(row["key"])
        if trust.signature:
            more[fill(trust.signature, build)] = recorded(row["signature"])
    else:
        monkeypatch.setattr(resolve, "prove", unsigned)
    found = look_up(spec, build, document(row), tmp_path, more)
    assert found.digest.hex.startswith(row["digest"])
    assert len(row["digest"]) == 16
    assert found.build == (build or f"{found.released_at:%Y%m%d}")
    if spec.cloud_image and spec.cloud_image.kind == "coreos-stream":
        assert found.url.startswith(spec.cloud_image.url)
        assert found.signed is not None
        assert found.signed.signature == found.url + ".sig"
    else:
        assert found.url == stays(spec, build)
    if name in SIGNED:
        assert found.evidence.kind == "openpgp"
        assert found.evidence.value in (spec.cloud_image.trust.fingerprints if spec.cloud_image else ())


def test_the_signed_documents_are_those_that_were_recorded_with_their_signatures() -> None:
    assert {distro for distro, _ in SIGNED} == {"fedora", "freebsd", "opensuse-leap", "ubuntu"}


def test_the_proofs_are_of_this_catalogue() -> None:
    assert set(PROOFS) == {spec.id.distro for spec in SPECS}
    assert set(RECORDED) <= {key(spec) for spec in DOWNLOADED}
    for distro, proof in PROOFS.items():
        specs = [spec for spec in SPECS if spec.id.distro == distro]
        kind = "recorded" if proof.get("documents") else "own" if proof.get("own") else "byo"
        assert proof["kind"] == kind, distro
        assert all((spec.own_disk if kind == "byo" else spec.cloud_image) for spec in specs), distro
        without = {key(spec) for spec in specs} - set(RECORDED)
        assert not without or kind == "byo" or "own" in proof, f"nothing proves {without}"


def test_nothing_is_above_preview_that_was_not_proved_here() -> None:
    above = {spec.id.name for spec in SPECS if spec.tier is not Tier.PREVIEW}
    assert above == {"debian-12"}


KEYS = {
    "AD485664E901B867051AB15F35A2F86E29B700A4": "key-opensuse-AD485664E901B867051AB15F35A2F86E29B700A4.asc",
    "1B9A16984A4E8CB448712D2AE0B78BF4326C6F8F": "key-archlinux-arch-boxes.asc",
    "13EBBDBEDE7A12775DFDB1BABB572E0E2D182910": "key-gentoo-lxcci-0.asc",
    "21CB256AE16FC54C6E652949702D426D350D275D": "key-rocky-RPM-GPG-KEY-Rocky-9",
    "36F612DCF27F7D1A48A835E4DBFCF71C6D9F90A6": "key-fedora-keyring.gpg",
    "82563B84D0620EDC0DFB86413897F2E22E65AD3F": "key-freebsd-cperciva.key",
    "8A8BC12F46B836C0F9CDB36F1D53D1877742E911": "key-openwrt-lxcci-0.asc",
    "BF18AC2876178908D6E71267D36CB86CB86B3716": "key-almalinux-RPM-GPG-KEY-AlmaLinux-9",
    "C6E7F081CF80E13146676E88829B606631645531": "key-fedora-keyring.gpg",
    "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81": "key-ubuntu-D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81.asc",
    "EE6DB7B98F5BF5EDD9DA0DE5DEE5C11CC2A1E572": "key-almalinux-RPM-GPG-KEY-AlmaLinux-10",
    "F88CFEDEFF29A5B4D9523864E25D9AED0593B34A": "key-flatcar-Flatcar_Image_Signing_Key.asc",
    "FC226859C0860BF0DDB95B085B106C736FEDFC85": "key-rocky-RPM-GPG-KEY-Rocky-10",
}
"""Where the publishers' key files lie among the recorded documents, by the fingerprint that the manifests pin."""

UNSEEN = {"F26ADFADBAE702EF7AF637459DA7EF23BFFCDF22"}
"""Alpine's: read on the publisher's page, but its key file is not among the recorded documents."""


def test_every_pinned_fingerprint_is_that_of_the_publishers_key_file() -> None:
    pinned = {pin for spec in DOWNLOADED if spec.cloud_image for pin in spec.cloud_image.trust.fingerprints}
    assert pinned == set(KEYS) | UNSEEN
    for fingerprint, file in KEYS.items():
        assert fingerprint in openpgp.keys(openpgp.dearmour(recorded(file))), file


def test_an_architecture_without_boot_packages_is_only_downloaded() -> None:
    found = {str(spec.id): spec.archive is not None for spec in SPECS if spec.id.name == "debian-13"}
    assert found == {"debian-13-amd64": True, "debian-13-arm64": True, "debian-13-ppc64le": False}
