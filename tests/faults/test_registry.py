"""A registry that misbehaves, at the level of the product: no tag moves, the message names the request, and the same
command finishes the job with the same digest once the registry is well.

Every fault on every kind of request that publishing makes; one run of the tests takes a sample, ``KMI_FAULT_REPEAT``
above 1 takes all.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import tiny
from tests.fault_record import record, repeat
from tests.registry import registry
from tests.registry_faults import Faulty, faulty

PATIENCE = "1.5"
ACCEPT = ", ".join(f"application/vnd.oci.image.{kind}.v1+json" for kind in ("index", "manifest"))
REQUESTS = {
    "hello": ("GET", r"^/v2/$", ""),
    "look for a blob": ("HEAD", r"/blobs/sha256:", "skopeo|containers"),
    "begin an upload": ("POST", r"/blobs/uploads/", "skopeo|containers"),
    "upload": ("PATCH", r"/blobs/uploads/", "skopeo|containers"),
    "end an upload": ("PUT", r"/blobs/uploads/", "skopeo|containers"),
    "put a manifest": ("PUT", r"/manifests/sha256:", "skopeo|containers"),
    "read a manifest back": ("GET", r"/manifests/sha256:", "skopeo|containers"),
    "ask for signatures": ("GET", r"/referrers/", "cosign"),
    "read the list of signatures": ("GET", r"/manifests/sha256-[0-9a-f]{64}$", ""),
    "look for what is signed": ("HEAD", r"/manifests/sha256:", "cosign"),
    "upload a signature": ("PATCH|POST|PUT", r"/blobs/uploads/", "cosign"),
    "put a signature": ("PUT", r"/manifests/sha256:", "cosign"),
    "put the list of signatures": ("PUT", r"/manifests/sha256-[0-9a-f]{64}$", "cosign"),
    "set the immutable tag": ("PUT", r"/manifests/1-\d{8}-1$", ""),
    "set an image's immutable tag": ("PUT", r"/manifests/1-\d{8}-1-amd64$", ""),
    "set a moving tag": ("PUT", r"/manifests/1$", ""),
    "set the last tag": ("PUT", r"/manifests/latest$", ""),
    "read a tag": ("GET", r"/manifests/latest$", ""),
}
SAMPLE = (
    ("500", "upload"),
    ("drop", "end an upload"),
    ("401", "upload"),
    ("429", "read the list of signatures"),
    ("digest", "put a manifest"),
    ("lie", "end an upload"),
    ("lie", "put a manifest"),
    ("403", "set the immutable tag"),
    ("lie", "set the last tag"),
    ("500", "set a moving tag"),
)
KINDS = ("500", "503", "drop", "cut", "half", "hang", "401", "403", "429", "507", "digest", "lie")
WRITES = ("PUT", "PATCH|POST|PUT")
ALL = tuple(
    (kind, what)
    for what, (method, _, _) in REQUESTS.items()
    for kind in KINDS
    if not (kind == "lie" and method not in WRITES) and not (kind == "half" and method != "GET")
)
BRIEF = (("cut", "put the list of signatures"), ("drop", "set a moving tag"))
"""Faults that are over after one request: nobody should hear of them."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A kmi whose cache holds all stages before the push, and the digest that it publishes."""

    kmi: tiny.Kmi
    digest: str


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("registry-faults")
    for name in ("kmi", "registry"):
        (folder / name).mkdir()
    up = tiny.make(folder / "upstream")
    with tiny.served(up.www) as mirrors:
        kmi = tiny.Kmi(folder=folder / "kmi", tiny=up, base=tiny.local_base(folder), mirrors=mirrors)
        with registry(folder / "registry") as address:
            done = kmi("run", "tiny", "--to", f"{address}/x")
            assert done.returncode == 0, done.stderr
        yield World(kmi=kmi, digest=done.stdout.strip().partition("@")[2])


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Faulty]:
    (tmp_path / "registry").mkdir()
    with registry(tmp_path / "registry") as behind, faulty(behind) as between:
        yield between


def run(world: World, proxy: Faulty, out: Path) -> tuple[int, str, str]:
    """kmi's exit status, stdout and stderr."""
    words = ("run", "tiny", "--to", f"{proxy.address}/x", "--output", str(out))
    done = world.kmi(*words, timeout=400, KMI_PATIENCE=PATIENCE)
    return done.returncode, done.stdout.strip(), done.stderr


def tags(proxy: Faulty) -> dict[str, str]:
    """What the registry behind the proxy has under tags, without those that only hold signatures."""
    found = {}
    try:
        listed = json.load(urllib.request.urlopen(f"http://{proxy.behind}/v2/x/tiny/tags/list"))["tags"]
    except urllib.error.HTTPError as error:
        error.close()
        return {}
    for tag in (tag for tag in listed or [] if not tag.startswith("sha256-")):
        url = f"http://{proxy.behind}/v2/x/tiny/manifests/{tag}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": ACCEPT})) as answer:
            found[tag] = answer.headers["Docker-Content-Digest"]
    return found


@pytest.mark.parametrize(("kind", "what"), ALL if repeat() > 1 else SAMPLE)
def test_a_fault_publishes_nothing_by_halves(world: World, proxy: Faulty, tmp_path: Path, kind: str, what: str) -> None:
    method, path, agent = REQUESTS[what]
    rule = proxy.fault(kind, method, path, agent=agent)
    began = time.monotonic()
    status, _, told = run(world, proxy, tmp_path / "out")
    seconds = round(time.monotonic() - began, 1)
    assert rule.hit, "the fault struck nothing"
    assert status in ((0, 4, 6) if kind == "digest" else (0, 6)), told
    moved = tags(proxy)
    if status:
        names_the_request(told, method, path, proxy)
        nothing_is_half_done(moved, what, told)
    else:
        assert {moved["1"], moved["latest"]} == {world.digest}, "kmi says that it is done"
    proxy.heal()
    again, stdout, complaint = run(world, proxy, tmp_path / "out")
    assert (again, stdout) == (0, f"{proxy.address}/x/tiny@{world.digest}"), complaint
    after = tags(proxy)
    assert {after["1"], after["latest"]} == {world.digest}
    assert moved.items() <= after.items()
    result = "no half publish, the rerun finished" if status else "made no difference"
    record("registry", kind, request=what, result=result, exit=status, rerun=again, seconds=seconds)


def names_the_request(told: str, method: str, path: str, proxy: Faulty) -> None:
    """The line ``where`` has the method and the address, without the query."""
    where = re.search(r"^  where    (.*)$", told, re.MULTILINE)
    assert where, told
    named = re.fullmatch(rf"({method}|HEAD|GET) (?:http://{re.escape(proxy.address)})?(/v2/[^?\s]*)", where[1])
    assert named, told
    lost = (
        "blob unknown" in told and "/manifests/" in named[2]
    )  # the upload was answered with 201; this request was not
    assert re.search(path.replace("/sha256:", "/"), named[2]) or named[1] != method or lost, told


def nothing_is_half_done(moved: dict[str, str], what: str, told: str) -> None:
    if "tag" not in what:
        assert moved == {}
        return
    fixed = {tag for tag in moved if re.match(r"1-\d{8}-1", tag)}
    if "immutable" in what:
        assert set(moved) == fixed
    if set(moved) - fixed:
        assert len(fixed) == 2, "a moving tag moved before the immutable ones were in"
    if what == "set the last tag":
        assert re.search(r"tags that were set: 1-\d{8}-1 1-\d{8}-1-amd64 1; not yet: latest", told)


@pytest.mark.parametrize(("kind", "what"), BRIEF)
def test_a_brief_fault_is_got_over(world: World, proxy: Faulty, tmp_path: Path, kind: str, what: str) -> None:
    method, path, agent = REQUESTS[what]
    rule = proxy.fault(kind, method, path, agent=agent, times=1)
    began = time.monotonic()
    status, stdout, told = run(world, proxy, tmp_path / "out")
    assert rule.hit == 1
    assert (status, stdout) == (0, f"{proxy.address}/x/tiny@{world.digest}"), told
    seconds = round(time.monotonic() - began, 1)
    record("registry", f"{kind} once", request=what, result="tried again", exit=0, seconds=seconds)


CRAMPED = 'mount -t tmpfs -o size=400k registry "$0" && exec "$@"'


def test_a_full_disk_of_the_registry(world: World, tmp_path: Path) -> None:
    """A real one: docker-registry's data on 400 KiB, in a mount namespace of its own."""
    folder = tmp_path / "registry"
    data = folder / "data"
    data.mkdir(parents=True)
    began = time.monotonic()
    before = ("unshare", "--mount", "sh", "-c", CRAMPED, data)
    with registry(folder, before=before) as behind, faulty(behind) as proxy:
        status, _, told = run(world, proxy, tmp_path / "out")
        seconds = round(time.monotonic() - began, 1)
        assert status == 6, told
        assert tags(proxy) == {}
        names_the_request(told, "POST|PATCH|PUT", "/v2/x/tiny/", proxy)
        assert "full disk" in told or "free space" in told
        inside = ("nsenter", "--mount", "--target", served_by(folder), "mount", "-o", "remount,size=64m", str(data))
        subprocess.run(inside, check=True)
        again, stdout, complaint = run(world, proxy, tmp_path / "out")
        assert (again, stdout) == (0, f"{proxy.address}/x/tiny@{world.digest}"), complaint
        assert tags(proxy)["latest"] == world.digest
    result = "no half publish, the rerun finished"
    record("registry", "its disk is full", result=result, exit=status, rerun=again, seconds=seconds)


def served_by(folder: Path) -> str:
    """The process id of the registry whose configuration lies in ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
        except OSError:  # it ended
            continue
        if words[0].endswith("docker-registry") and str(folder / "config.yml") in words:
            found.append(process.name)
    (one,) = found
    return one
