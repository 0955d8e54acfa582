"""A real qcow2 wrapped, carried through a registry, run by Docker Engine, and built again by it."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from testcontainers.core.container import DockerContainer

from kmi.cli import inspect
from kmi.cli.context import Context
from kmi.errors import NetworkError, VerificationError
from kmi.host.run import run
from kmi.host.store import Store
from kmi.host.ui import Reporter
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.stages import OciIndex
from kmi.oci import registry
from kmi.oci.contract import Severity, lint
from kmi.oci.layout import Layout
from kmi.oci.reference import Reference, parse
from kmi.settings import Settings
from kmi.wrap import base as bases
from kmi.wrap import metadata_layer
from tests.registry import registry as serving
from tests.wrapping import LICENCE, ROOT, base_of, joined, local_base, qcow2, record, wrapped

NATIVE = Arch.of_machine(os.uname().machine)


@pytest.fixture(scope="module")
def room() -> Iterator[Path]:
    """A folder that another user may look into, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="kmi-wrap-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def source(room: Path) -> Path:
    path = qcow2(room / "disk.qcow2", "16M")
    path.chmod(0o444)
    return path


@pytest.fixture(scope="module")
def base(room: Path) -> Path:
    """The layout of a base made of busybox."""
    root: Path = local_base().write(room / "base").root
    return root


@pytest.fixture(scope="module")
def index(room: Path, source: Path, base: Path) -> OciIndex:
    found = base_of(base, Store(room / "cache"), NATIVE)
    return joined((wrapped(source, found, room / "image", NATIVE, eula=None),), room / "index")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def pushed(host: str, index: OciIndex) -> Reference:
    reference = parse(f"{host}/kmi/debian:12")
    run(["skopeo", "copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{index.layout}",
         registry.transport(reference)])  # fmt: skip
    return reference


@pytest.fixture(scope="module")
def loaded(docker_engine: str, index: OciIndex) -> str:
    """The image in Docker Engine, under this name."""
    name = "kmi-test:wrapped"
    run(
        [
            "skopeo",
            "copy",
            "--quiet",
            "--dest-daemon-host",
            docker_engine,
            f"oci:{index.layout}",
            f"docker-daemon:{name}",
        ]
    )
    return name


WRAP = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[4], 8))
from kmi.host.store import Store
from kmi.model.platform import Arch
from tests.wrapping import base_of, joined, wrapped
disk, base, out = map(Path, sys.argv[1:4])
arch = Arch.of_machine(os.uname().machine)
image = wrapped(disk, base_of(base, Store(out / "cache"), arch), out / "image", arch, eula=None)
print(joined((image,), out / "index").digest)
"""


def test_any_user_gets_the_same_digest(room: Path, base: Path, source: Path, index: OciIndex) -> None:
    digests = set()
    for user, umask, zone, seed in ((65534, "077", "Asia/Tokyo", "1"), (0, "000", "America/St_Johns", "4242")):
        out = room / f"as-{user}"
        out.mkdir()
        env = {"TZ": zone, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "HOME": str(out)}
        # By a user namespace: so the other user can also read a clone that lies where only root may look.
        argv = ["unshare", "--user", f"--map-user={user}", f"--map-group={user}", sys.executable, "-c", WRAP]
        result = run([*argv, source, base, out, umask], env=env, cwd=Path("/") if user else out)
        digests.add(result.stdout.strip())
    assert digests == {str(index.digest)}


def test_a_registry_and_back_keeps_every_digest(pushed: Reference, index: OciIndex, tmp_path: Path) -> None:
    assert registry.resolve(pushed) == index.digest
    pinned = pushed.pinned(index.digest)
    layout = registry.pull(pinned, tmp_path / "all")
    assert [root.digest for root in layout.roots()] == [index.digest]
    ours = {path.name for path in Layout(index.layout).blobs.iterdir()}
    assert {path.name for path in layout.blobs.iterdir()} == ours
    one = registry.pull(pinned, tmp_path / "one", NATIVE)
    assert [root.digest for root in one.roots()] == [index.images[0].digest]


def test_reading_a_registry_is_proved_by_digest(pushed: Reference, index: OciIndex) -> None:
    child = index.images[0]
    assert registry.raw_manifest(pushed.pinned(child.digest)) == Layout(child.layout).read(child.digest)
    config = json.loads(registry.config(pushed.pinned(child.digest)))
    assert config["architecture"] == NATIVE.value


def test_absent_is_another_thing_than_failed(pushed: Reference) -> None:
    assert registry.exists(pushed.tagged("nothing")) is None
    assert registry.exists(parse(f"{pushed.host}/no/such:1")) is None
    assert registry.exists(pushed.pinned(Digest(algorithm="sha256", hex="0" * 64))) is None
    with pytest.raises(NetworkError) as failed:
        registry.exists(parse("127.0.0.1:1/kmi/debian:12"))
    assert "127.0.0.1:1/kmi/debian:12" in failed.value.what
    assert not isinstance(failed.value, registry.NotFound)


def test_base_comes_from_a_registry_once(host: str, base: Path, tmp_path: Path) -> None:
    reference = f"{host}/base/busybox:1"
    run(["skopeo", "copy", "--quiet", "--preserve-digests", "--dest-tls-verify=false", f"oci:{base}",
         f"docker://{reference}"])  # fmt: skip
    store = Store(tmp_path)
    found = bases.resolve(reference, NATIVE, store=store)
    assert found.layers == base_of(base, store, NATIVE).layers
    assert found.digest == Layout(base).roots()[0].digest
    pinned = f"127.0.0.1:1/base/busybox@{found.digest}"
    assert bases.resolve(pinned, NATIVE, store=store).layers == found.layers, "a cached base needs no registry"
    with pytest.raises(NetworkError):
        bases.resolve("127.0.0.1:1/base/busybox:1", NATIVE, store=store)


def test_base_of_docker_types_gets_oci_types(host: str, base: Path, tmp_path: Path) -> None:
    reference = f"{host}/base/docker:1"
    run(["skopeo", "copy", "--quiet", "--format", "v2s2", "--dest-tls-verify=false", f"oci:{base}",
         f"docker://{reference}"])  # fmt: skip
    found = bases.resolve(reference, NATIVE, store=Store(tmp_path))
    assert b"vnd.docker" in registry.raw_manifest(parse(reference))
    assert all(layer.media_type.startswith("application/vnd.oci.image.layer.v1.tar") for layer in found.layers)
    assert found.digest == registry.resolve(parse(reference))


def test_the_real_disk_holds_to_the_contract(index: OciIndex) -> None:
    (child,) = Layout(index.layout).images(index.digest)
    found = [f for f in lint(index.layout, child.digest, child) if f.outcome is not Severity.OK]
    assert [f.rule.id for f in found] == ["entrypoint"]


def shown(words: list[str], cache: Path) -> int:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    inspect.add(subparsers, argparse.ArgumentParser(add_help=False))
    args = parser.parse_args(["inspect", *words])
    return inspect.run(args, Context(settings=Settings(cache=cache), ui=Reporter(io.StringIO())))


def test_inspect_shows_a_layout_and_a_registry_alike(
    pushed: Reference, index: OciIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for words in ([str(index.layout)], [f"oci:{index.layout}"], [str(pushed)], [str(pushed.pinned(index.digest))]):
        assert shown([*words, "--json"], tmp_path) == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers == [answers[0]] * 4
    assert answers[0]["digest"] == str(index.digest)
    (image,) = answers[0]["images"]
    assert image["architecture"] == NATIVE.value
    assert image["metadata"]["source"] == "the source"
    shown([str(pushed)], tmp_path)
    text = capsys.readouterr().out
    assert str(index.digest) in text and "the source" in text


def test_inspect_lints_what_a_registry_holds(
    pushed: Reference, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown([str(pushed), "--lint"], tmp_path) == 0
    text = capsys.readouterr().out
    assert "ok         one-disk" in text and "[KubeVirt pkg/container-disk/container-disk.go, GetImage]" in text
    assert "warning    entrypoint" in text
    left = {path.name for path in (tmp_path / "tmp").glob("*/*")}
    assert left <= {"owner.lock", "uses"}, "the pulled image is gone"


def test_inspect_refuses_a_base_as_a_containerdisk(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(VerificationError) as refused:
        shown([str(base), "--lint", "--json"], tmp_path)
    assert "one-disk" in str(refused.value.got)
    found = {entry["rule"]: entry["outcome"] for entry in json.loads(capsys.readouterr().out)["images"][0]["lint"]}
    assert found["one-disk"] == "violation"


def ran(name: str, *args: str, **changed: object) -> tuple[int, str, str]:
    """Run the image as KubeVirt's user on a read-only root without network: exit status, stdout, stderr."""
    hard = {"read_only": True, "user": "107:107", "network_mode": "none", "cap_drop": ["ALL"]}
    container = DockerContainer(name).with_command(list(args)).with_kwargs(**hard, **changed)
    with container:
        status = container.get_wrapped_container().wait(timeout=60)["StatusCode"]
        out, err = container.get_logs()
    return status, out.decode(), err.decode()


def test_docker_prints_the_metadata(loaded: str) -> None:
    status, out, err = ran(loaded)
    assert (status, err) == (0, "")
    assert "source         the source\n" in out
    assert ran(loaded, "source") == (0, "the source\n", "")
    assert json.loads(ran(loaded, "--json")[1])["download"] == "the download"
    assert LICENCE.text in ran(loaded, "licence")[1]


def test_docker_refuses_an_unknown_field(loaded: str) -> None:
    status, out, err = ran(loaded, "nonsense")
    assert (status, out) == (2, "")
    assert err.startswith("unknown field: nonsense\nknown fields:\n") and "  source\n" in err


def tree(client: docker.DockerClient, name: str) -> dict[str, tuple[object, ...]]:
    """Every path of the image, flattened by the engine: type, mode, owner, link target and content."""
    container = client.containers.create(name, command=["x"])
    try:
        content = io.BytesIO(b"".join(container.export()))
    finally:
        container.remove()
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=content) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            digest = hashlib.sha256(file.read()).hexdigest() if file else ""
            found[member.name] = (
                member.type,
                oct(member.mode & 0o7777),
                member.uid,
                member.gid,
                member.linkname,
                digest,
            )
    return found


def context_of(index: OciIndex, folder: Path) -> Path:
    """The Containerfile's context out of kmi's own layers, modes included."""
    layout = Layout(index.layout)
    manifest = layout.read_json(index.images[0].digest)
    for name, layer in zip(("metadata", "disk"), manifest["layers"][-2:], strict=True):
        (folder / name).mkdir(mode=0o755)
        run(["tar", "-xpf", layout.blob(Digest.parse(layer["digest"])), "-C", folder / name])
    shutil.copy(ROOT / "containerfiles/base/Containerfile", folder)
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o022 == 0
    return folder


@pytest.fixture(scope="module")
def built(docker_engine: str, docker_client: docker.DockerClient, index: OciIndex, base: Path, room: Path) -> str:
    name = "kmi-test:base"
    run(["skopeo", "copy", "--quiet", "--dest-daemon-host", docker_engine, f"oci:{base}",
         f"docker-daemon:{name}"])  # fmt: skip
    folder = room / "context"
    folder.mkdir()
    docker_client.images.build(
        path=str(context_of(index, folder)),
        dockerfile="Containerfile",
        tag="kmi-test:built",
        buildargs={"BASE": name, "INSTANCETYPE": "u1.medium", "PREFERENCE": "debian"},
    )
    return "kmi-test:built"


def test_the_containerfile_makes_the_same_image(docker_client: docker.DockerClient, loaded: str, built: str) -> None:
    ours, theirs = tree(docker_client, loaded), tree(docker_client, built)
    assert theirs == ours
    assert ours["disk"][:4] == (tarfile.DIRTYPE, "0o555", 107, 107)
    assert ours["disk/disk.qcow2"][:4] == (tarfile.REGTYPE, "0o444", 107, 107)
    assert ours["entrypoint.sh"][:4] == (tarfile.REGTYPE, "0o555", 0, 0)
    assert "kmi/metadata/source" in ours

    def settings(name: str) -> dict[str, Any]:
        config = docker_client.images.get(name).attrs["Config"]
        told = {key: config[key] for key in ("Entrypoint", "User", "WorkingDir")}
        return {**told, "Env": sorted(config["Env"])}

    assert settings(built) == settings(loaded)


def test_both_print_the_same(loaded: str, built: str) -> None:
    for args in ((), ("title", "kernel"), ("--json",), ("licence",), ("--help",), ("nonsense",)):
        assert ran(built, *args) == ran(loaded, *args)
    assert ran(built)[1] == metadata_layer.table(json.loads(ran(loaded, "--json")[1]))
    assert set(json.loads(ran(built, "--json")[1])) == {name for name, value in record().items() if value}
    for name in (loaded, built):
        assert ran(name, "-c", "%a %u:%g", "/", entrypoint="/bin/stat") == (0, "755 0:0\n", "")
