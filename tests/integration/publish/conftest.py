"""A real registry (docker-registry on a free loopback port), real keys, and tiny images of two architectures."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kmi.model.platform import Arch
from kmi.model.spec import ImageId
from kmi.model.stages import OciImage, OciIndex
from kmi.oci.layout import CONFIG, INDEX, LAYER, MANIFEST, Descriptor, Layout
from kmi.publish import keys
from kmi.publish.keys import KeyPair
from tests.registry import registry

ROOT = Path(__file__).parents[3]
Indexer = Callable[..., OciIndex]
Stranger = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the registry has its configuration, its data and its log."""
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="session")
def host(folder: Path) -> Iterator[str]:
    """``host:port`` of a registry that knows nothing of kmi."""
    with registry(folder) as address:
        yield address


@pytest.fixture
def requests(folder: Path) -> Callable[[str, str], int]:
    """How many requests of a method the registry has seen for ``repository/what``, by its access log."""

    def counted(method: str, url: str) -> int:
        path = url.partition("/")[2]
        return (folder / "log").read_text().count(f'"{method} /v2/{path}')

    return counted


@pytest.fixture
def repository(host: str, request: pytest.FixtureRequest) -> str:
    """A repository that no other test has."""
    return f"{host}/kmi/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return keys.ensure(tmp_path_factory.mktemp("key") / "cosign.key", {})


@pytest.fixture(scope="session")
def other_pair(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    return keys.ensure(tmp_path_factory.mktemp("other-key") / "cosign.key", {})


@pytest.fixture(scope="session")
def index(tmp_path_factory: pytest.TempPathFactory) -> Indexer:
    """Make an index in a layout of its own; another ``content`` is another digest."""

    def make(content: str = "one", arches: tuple[Arch, ...] = (Arch.AMD64, Arch.ARM64)) -> OciIndex:
        layout = Layout.create(tmp_path_factory.mktemp("index") / f"layout:{content}")
        found = [_image(layout, content, arch) for arch in arches]
        entries = [{**one.to_json(), "platform": {"architecture": a, "os": "linux"}} for a, one in found]
        root = layout.add_json(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
        layout.set_roots((root,))
        images = tuple(
            OciImage(
                id=ImageId(distro="debian", release="12", arch=arch),
                layout=layout.root,
                digest=one.digest,
                size=one.size,
                disk=one.digest,
            )
            for arch, one in found
        )
        return OciIndex(layout=layout.root, digest=root.digest, images=images)

    return make


def _image(layout: Layout, content: str, arch: Arch) -> tuple[Arch, Descriptor]:
    layer = layout.add_bytes(LAYER, f"{content} {arch}".encode() * 100)
    rootfs = {"type": "layers", "diff_ids": [str(layer.digest)]}
    config = layout.add_json(CONFIG, {"architecture": arch, "os": "linux", "config": {}, "rootfs": rootfs})
    image = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.to_json(), "layers": [layer.to_json()]}
    return arch, layout.add_json(MANIFEST, image)


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    """Run ``kmi verify`` as somebody who has nothing: a new process, an empty home, no cache. It must leave none."""
    home = tmp_path / "nobody"
    home.mkdir()

    def verify(reference: str, key: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        done = kmi("verify", reference, "--key", str(key), *flags, home=home)
        assert list(home.iterdir()) == []
        return done

    return verify


def kmi(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kmi", *words], env=bare(home), cwd=home, capture_output=True, text=True, timeout=120
    )


def bare(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}


def fetch(address: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path, headers={"Accept": f"{INDEX}, {MANIFEST}, */*"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture
def tags() -> Callable[[str], set[str]]:
    """The tags that a registry lists for a repository, without the ones that hold signatures."""

    def listed(repository: str) -> set[str]:
        address, _, path = repository.partition("/")
        status, body = fetch(address, f"/v2/{path}/tags/list")
        names = json.loads(body)["tags"] or [] if status == 200 else []
        return {name for name in names if not name.startswith("sha256-")}

    return listed


@pytest.fixture
def referrers() -> Callable[[str, object], int]:
    """How many signatures and attestations refer to a digest (the tag that stands in for the referrers API)."""

    def counted(repository: str, digest: object) -> int:
        address, _, path = repository.partition("/")
        status, body = fetch(address, f"/v2/{path}/manifests/{str(digest).replace(':', '-')}")
        return len(json.loads(body)["manifests"]) if status == 200 else 0

    return counted


@pytest.fixture
def port() -> int:
    return free_port()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
