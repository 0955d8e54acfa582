"""Whatever a publisher signs, and with whatever: over the checksums or over the image as it is served; and the cache,
which believes no signature but one by a key that is pinned now."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kmi.catalogue import load, select
from kmi.errors import KmiError, NetworkError, VerificationError
from kmi.host.http import Http
from kmi.host.patience import Patience
from kmi.host.store import Store
from kmi.host.ui import Reporter, Step
from kmi.model.spec import CloudImage, Packing, Trust
from kmi.model.stages import Locked, VerifiedImage
from kmi.settings import Settings
from kmi.upstream.fetch import cached, fetch
from kmi.upstream.resolve import resolve
from tests import tiny
from tests.ed25519 import minisign_key, minisigned, signified, signify_key
from tests.serving import Upstream, serving
from tests.signing import signer

ROOT = Path(__file__).parents[2]
DISK = hashlib.shake_256(b"disk").digest(1 << 20)
FILES = {"none": "disk.raw", "gz": "disk.raw.gz"}
Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, kw_only=True)
class Hand:
    """Somebody with a key of one kind: what pins it, and how he signs. ``public`` is what the publisher serves."""

    kind: str
    pin: str
    sign: Sign
    public: bytes = b""


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Hand, Hand]]]:
    """Of each kind the publisher and a stranger."""
    folder = tmp_path_factory.mktemp("hands")
    with signer(folder) as gpg:

        def openpgp(name: str) -> Hand:
            key = gpg.key(name)
            return Hand(kind="openpgp", pin=key, sign=lambda data: gpg.detached(key, data), public=gpg.public(key))

        def minisign(name: str) -> Hand:
            key = minisign_key(folder, f"m{name}")
            return Hand(kind="minisign", pin=key.public, sign=lambda data: minisigned(key, data, folder, "none"))

        def signify(name: str) -> Hand:
            key = signify_key(folder, f"s{name}")
            return Hand(kind="signify", pin=key.public, sign=lambda data: signified(key, data, folder))

        yield {made.__name__: (made("publisher"), made("stranger")) for made in (openpgp, minisign, signify)}


class Site:
    """A publisher's server, and a kmi cache."""

    def __init__(self, upstream: Upstream, folder: Path, hand: Hand, over: str, compression: str) -> None:
        self.upstream = upstream
        self.store = Store(folder / "cache")
        self.http = Http(patience=Patience(connect=2, stall=2, attempts=2, pause=0.01, longest=0.1))
        self.over = over
        self.served = gzip.compress(DISK) if compression == "gz" else DISK
        self.name = FILES[compression]
        upstream.put(f"/{self.name}", self.served)
        upstream.put("/key.asc", hand.public)
        self.sums = f"{hashlib.sha256(self.served).hexdigest()}  {self.name}\n".encode()
        upstream.put("/SUMS", self.sums)
        self.sign(hand)
        image = CloudImage(
            url=f"{upstream.url}/{self.name}", checksums=f"{upstream.url}/SUMS", algorithm="sha256", format="raw",
            packing=Packing(compression=compression), trust=self.trust(hand),
        )  # fmt: skip
        self.spec = replace(select(load(ROOT / "distros"), ["debian:12"], "amd64")[0], cloud_image=image)

    @property
    def signed(self) -> bytes:
        return self.served if self.over == "image" else self.sums

    def sign(self, hand: Hand) -> None:
        self.upstream.put("/signature", hand.sign(self.signed))

    def trust(self, *hands: Hand) -> Trust:
        kind, pins = hands[0].kind, tuple(hand.pin for hand in hands)
        signature = self.upstream.url + "/signature"
        if kind == "openpgp":
            key_url = self.upstream.url + "/key.asc"
            return Trust(kind=kind, over=self.over, fingerprints=pins, key_url=key_url, signature=signature)
        return Trust(kind=kind, over=self.over, key=pins[0], signature=signature)

    def resolve(self, trust: Trust | None = None) -> Locked:
        image = self.spec.cloud_image
        assert image
        spec = replace(self.spec, cloud_image=replace(image, trust=trust or image.trust))
        settings = Settings(cache=self.store.root)
        with self.store.scratch() as scratch:
            return resolve(spec, http=self.http, settings=settings, scratch=scratch, step=self.step())

    def fetch(self, trust: Trust | None = None) -> VerifiedImage:
        return fetch(self.resolve(trust), store=self.store, http=self.http, step=self.step())

    def step(self) -> Step:
        return Step(Reporter(io.StringIO()), "debian-12-amd64", "fetch")

    def refused(self, trust: Trust | None = None, error: type[KmiError] = VerificationError) -> None:
        """And nothing new has a name."""
        before = self.named()
        with pytest.raises(error):
            self.fetch(trust)
        assert self.named() == before

    def named(self) -> set[Path]:
        return {path for kind in ("blobs", "locked") for path in (self.store.root / kind).rglob("*") if path.is_file()}

    def downloads(self) -> int:
        return len(self.upstream.gets(f"/{self.name}"))


@pytest.fixture
def site(tmp_path: Path, hands: dict[str, tuple[Hand, Hand]], request: pytest.FixtureRequest) -> Iterator[Site]:
    kind, over, compression = request.param
    with serving() as upstream:
        made = Site(upstream, tmp_path, hands[kind][0], over, compression)
        yield made
        made.http.close()


KINDS = ("openpgp", "minisign", "signify")
IMAGES = [(kind, "image", compression) for kind in KINDS for compression in FILES]
EVERY = [*IMAGES, *((kind, "checksums", "none") for kind in KINDS)]
every = pytest.mark.parametrize("site", EVERY, indirect=True, ids="-".join)
images = pytest.mark.parametrize("site", IMAGES, indirect=True, ids="-".join)
pgp = pytest.mark.parametrize("site", [("openpgp", "image", "none"), ("openpgp", "image", "gz")], indirect=True)


def kind(site: Site) -> str:
    assert site.spec.cloud_image
    return site.spec.cloud_image.trust.kind


@every
def test_a_good_signature_is_the_evidence(site: Site, hands: dict[str, tuple[Hand, Hand]]) -> None:
    hand = hands[kind(site)][0]
    locked = site.resolve()
    assert str(locked.evidence) == (f"{hand.kind}:{hand.pin}" if site.over == "checksums" else "tls-only")
    assert (locked.signed is not None) == (site.over == "image")
    image = fetch(locked, store=site.store, http=site.http, step=site.step())
    assert str(image.origin.evidence) == f"{hand.kind}:{hand.pin}"
    assert image.path.read_bytes() == DISK
    assert cached(locked, Store(site.store.root)) == image


@every
def test_another_signature_is_refused(site: Site, hands: dict[str, tuple[Hand, Hand]]) -> None:
    hand, stranger = hands[kind(site)]
    bent = bytearray(hand.sign(site.signed))
    bent[len(bent) // 2] ^= 1
    signatures = {
        "over something else": hand.sign(site.signed + b"!"),
        "a stranger's": stranger.sign(site.signed),
        "bent": bytes(bent),
        "empty": b"",
        "a page": b"<!DOCTYPE html><html>Log in</html>",
        "the signed file itself": site.signed[:1000],
    }
    for signature in signatures.values():
        site.upstream.put("/signature", signature)
        site.refused()
    assert not list((site.store.root / "partial").glob("*")), "no byte of it stays"


@every
def test_a_missing_signature_is_no_way_around(site: Site) -> None:
    del site.upstream.files["/signature"]
    site.refused(error=NetworkError)


@pytest.mark.parametrize("site", [case for case in IMAGES if case[2] == "gz"], indirect=True, ids="-".join)
def test_a_signature_over_the_disk_is_none_over_the_file_that_is_served(
    site: Site, hands: dict[str, tuple[Hand, Hand]]
) -> None:
    site.upstream.put("/signature", hands[kind(site)][0].sign(DISK))
    site.refused()


@images
def test_a_good_signature_does_not_stand_for_the_checksum(site: Site, hands: dict[str, tuple[Hand, Hand]]) -> None:
    site.upstream.put("/SUMS", f"{'a1' * 32}  {site.name}\n".encode())
    site.refused()


@pytest.mark.parametrize("site", [case for case in EVERY if case[1] == "checksums"], indirect=True, ids="-".join)
def test_a_signed_document_about_another_file_is_refused(site: Site, hands: dict[str, tuple[Hand, Hand]]) -> None:
    site.sums = site.sums.replace(b"disk", b"disc")
    site.upstream.put("/SUMS", site.sums)
    site.sign(hands[kind(site)][0])
    with pytest.raises(VerificationError, match="nowhere"):
        site.resolve()


@pytest.mark.parametrize("site", [("minisign", over, "none") for over in ("image", "checksums")], indirect=True)
def test_a_minisign_signature_says_for_which_file_it_is(site: Site, tmp_path: Path) -> None:
    key = minisign_key(tmp_path, "own")
    trust = replace(site.trust(Hand(kind="minisign", pin=key.public, sign=bytes)))
    name = site.name if site.over == "image" else "SUMS"
    site.upstream.put("/signature", minisigned(key, site.signed, tmp_path, "file:yesterday.raw"))
    site.refused(trust)
    site.upstream.put("/signature", minisigned(key, site.signed, tmp_path, f"file:{name}"))
    assert site.fetch(trust).origin.evidence.value == key.public


@images
def test_the_cache_trusts_no_signature_by_a_key_that_is_not_pinned_any_more(
    site: Site, hands: dict[str, tuple[Hand, Hand]]
) -> None:
    _, new = hands[kind(site)]
    image = site.fetch()
    assert (site.fetch(), site.downloads()) == (image, 1)
    locked = site.resolve(site.trust(new))
    assert cached(locked, site.store) is None
    site.upstream.put("/key.asc", new.public)
    site.refused(site.trust(new))
    assert cached(locked, site.store) is None
    site.sign(new)
    again = site.fetch(site.trust(new))
    assert (again.origin.evidence.value, again.digest) == (new.pin, image.digest)
    assert cached(site.resolve(), site.store) is None, "and what the new key signed is nothing by the old one"


@pgp
def test_a_rotation_keeps_what_the_old_key_signed(site: Site, hands: dict[str, tuple[Hand, Hand]]) -> None:
    old, new = hands["openpgp"]
    image = site.fetch()
    assert (site.fetch(site.trust(new, old)), site.downloads()) == (image, 1)
    assert image.origin.evidence.value == old.pin


@images
def test_what_came_by_transport_alone_is_fetched_again_once_it_has_to_be_signed(site: Site) -> None:
    loose = site.fetch(Trust(kind="tls-only"))
    assert str(loose.origin.evidence) == "tls-only"
    signed = site.fetch()
    assert (signed.origin.evidence.kind, signed.digest, site.downloads()) == (kind(site), loose.digest, 2)


@pgp
def test_a_key_from_its_url_with_another_fingerprint_is_refused(
    site: Site, hands: dict[str, tuple[Hand, Hand]]
) -> None:
    stranger = hands["openpgp"][1]
    site.upstream.put("/key.asc", stranger.public)
    site.sign(stranger)
    with pytest.raises(VerificationError, match="not the pinned one"):
        site.fetch()
    assert site.named() == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_evidence_is_in_receipt_label_and_list(
    tmp_path: Path, hands: dict[str, tuple[Hand, Hand]], kind: str
) -> None:
    """The command line on a compressed image that is signed itself; and its exit status where that does not hold."""
    hand, stranger = hands[kind]
    up = tiny.make(tmp_path / "upstream")
    packed = gzip.compress(up.disk().read_bytes())
    folder, image = up.www / "tiny", up.manifests["tiny"]["cloud_image"]
    (folder / "disk.img.gz").write_bytes(packed)
    up.sign("tiny", f"{hashlib.sha256(packed).hexdigest()}  disk.img.gz\n")
    (folder / "key.asc").write_bytes(hand.public)
    pins = {"fingerprints": [hand.pin], "key_url": image["trust"]["key_url"]} if hand.public else {"key": hand.pin}
    signature = image["url"] + ".gz.sig"
    image |= {"url": image["url"] + ".gz", "compression": "gz"}
    image["trust"] = {"kind": kind, "over": "image", "signature": signature} | pins
    up.save("tiny")
    (tmp_path / "kmi").mkdir()
    with tiny.served(up.www) as mirrors:
        kmi = tiny.Kmi(folder=tmp_path / "kmi", tiny=up, base=tiny.local_base(tmp_path), mirrors=mirrors)
        missing = kmi("build", "tiny")
        (folder / "disk.img.gz.sig").write_bytes(stranger.sign(packed))
        foreign = kmi("build", "tiny")
        assert (missing.returncode, foreign.returncode) == (6, 4), missing.stderr + foreign.stderr
        assert not [path for path in (kmi.cache / "blobs").rglob("*") if path.is_file()]
        (folder / "disk.img.gz.sig").write_bytes(hand.sign(packed))
        built = kmi("build", "tiny")
        assert built.returncode == 0, built.stderr
        shown = json.loads(kmi("inspect", str(kmi.folder / "build/tiny-1-amd64/oci"), "--json").stdout)
        listed = json.loads(kmi("list", "--json").stdout)
    told = f"{kind}:{hand.pin}"
    receipt = json.loads((kmi.folder / "build/tiny-1-amd64/receipt.json").read_text())
    stages = {stage["stage"]: stage for stage in receipt["stages"]}
    assert stages["fetch"]["outputs"]["origin"]["evidence"] == {"kind": kind, "value": hand.pin}
    assert told in json.dumps(shown)
    assert [row["trust"] for row in listed] == [kind]
    assert told in built.stderr
