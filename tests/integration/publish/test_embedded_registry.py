"""The embedded registry: started, shared, stopped, and dead with its kmi."""

from __future__ import annotations

import fcntl
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kmi.errors import HostError, NetworkError
from kmi.model.stages import OciIndex
from kmi.oci import reference, registry
from kmi.publish import embedded
from kmi.publish.push import push
from kmi.settings import Settings
from tests import living
from tests.registry import registry as strange_registry

Indexer = Callable[..., OciIndex]
ROOT = Path(__file__).parents[3]
USER = """
import sys
from pathlib import Path
from kmi.publish import embedded
from kmi.settings import Settings
embedded.ADDRESS = sys.argv[1]
with embedded.serving(embedded.ADDRESS, Settings(cache=Path(sys.argv[2])), note=lambda t: print(t, flush=True)) as mine:
    print(mine.pid if mine else "shared", flush=True)
    sys.stdin.readline()
    assert embedded.answers()
"""
VERB = """
import sys
from kmi.publish import embedded
embedded.ADDRESS = sys.argv[1]
from kmi.cli import main
sys.exit(main(["registry", "--cache", sys.argv[2]]))
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, port: int) -> str:
    """A free port in place of the fixed one, which the user may have in use."""
    monkeypatch.setattr(embedded, "ADDRESS", f"127.0.0.1:{port}")
    return embedded.ADDRESS


@contextmanager
def user(address: str, settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the registry until it reads a line."""
    process = subprocess.Popen(
        [*living.OBEDIENT, sys.executable, "-c", USER, address, str(settings.cache)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def eventually(truth: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while not truth() and time.monotonic() < deadline:
        time.sleep(0.05)
    return truth()


def test_it_serves_for_the_block_and_keeps_its_data(address: str, settings: Settings, index: Indexer) -> None:
    made = index()
    with embedded.serving(address, settings) as server:
        assert server is not None
        published = push(made, embedded.repository(settings, "debian"))
        assert published.repository == f"{address}/kmi/debian"
    assert not embedded.answers()
    assert embedded.data(settings).is_dir()
    with embedded.serving(address, settings, create=False):
        assert registry.resolve(reference.parse(published.reference)) == made.digest
    assert not embedded.answers()


def test_another_host_is_left_alone(settings: Settings) -> None:
    with embedded.serving("ghcr.io", settings) as server:
        assert server is None
    assert not settings.cache.exists()


def test_a_running_registry_is_used_without_a_cache(address: str, settings: Settings, tmp_path: Path) -> None:
    with embedded.serving(address, settings):
        stranger = Settings(cache=tmp_path / "nothing")
        with embedded.serving(address, stranger, create=False) as server:
            assert server is None
            assert embedded.answers()
        assert embedded.answers()
        assert not stranger.cache.exists()


def test_nothing_to_read(address: str, settings: Settings) -> None:
    with pytest.raises(NetworkError, match="no registry answers") as caught:
        with embedded.serving(address, settings, create=False):
            pytest.fail("served nothing")
    assert "kmi registry" in str(caught.value.hint)


def test_a_program_that_is_no_registry(address: str, settings: Settings) -> None:
    class Rude(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"220 mail.example ESMTP\r\n")

    host, _, port = address.partition(":")
    with socketserver.TCPServer((host, int(port)), Rude) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(HostError, match="no registry"), embedded.serving(address, settings):
                pytest.fail("served beside it")
        finally:
            server.shutdown()
            thread.join()


def test_the_starter_waits_for_the_others(address: str, settings: Settings) -> None:
    with user(address, settings) as starter:
        assert told(starter).isdigit()
        with user(address, settings) as other:
            assert told(other) == "shared"
            let_go(starter)
            assert "waiting for another kmi" in told(starter)
            assert embedded.answers()
            let_go(other)
            assert other.wait(20) == 0
        assert starter.wait(20) == 0
    assert not embedded.answers()


def test_an_interrupt_ends_the_waiting(address: str, settings: Settings) -> None:
    with user(address, settings) as starter:
        assert told(starter).isdigit()
        with user(address, settings) as other:
            assert told(other) == "shared"
            let_go(starter)
            assert "waiting" in told(starter)
            starter.send_signal(signal.SIGINT)
            assert starter.wait(20) != 0
            assert not embedded.answers()


def test_it_dies_with_a_killed_kmi_and_the_next_one_starts_it(address: str, settings: Settings) -> None:
    with user(address, settings) as starter:
        pid = int(told(starter))
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        assert eventually(lambda: not Path(f"/proc/{pid}").exists() or zombie(pid))
    with embedded.serving(address, settings) as server:
        assert server is not None


def zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_kmi_registry_until_ctrl_c(address: str, settings: Settings) -> None:
    """The verb; a second one waits and takes over."""
    with verb(address, settings) as first:
        line = told(first)
        assert address in line
        assert str(embedded.data(settings)) in line
        assert embedded.answers()
        with verb(address, settings) as second:
            assert "takes over" in told(second)
            first.send_signal(signal.SIGINT)
            assert first.wait(20) == 0
            assert "is up at" in told(second)
            assert embedded.answers()
            second.send_signal(signal.SIGTERM)
            assert second.wait(20) == 0
    assert not embedded.answers()


@contextmanager
def verb(address: str, settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """``kmi registry`` in a process of its own, at the test's port."""
    process = subprocess.Popen(
        [*living.OBEDIENT, sys.executable, "-c", VERB, address, str(settings.cache)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_what_another_container_is_writing_is_not_taken_for_damaged(address: str, settings: Settings) -> None:
    """One that shares the cache: its registry answers on a loopback of its own, its kmi holds the users' lock."""
    link = embedded.data(settings) / "docker/registry/v2/repositories/kmi/x/_manifests/tags/t/current/link"
    link.parent.mkdir(parents=True)
    link.touch()  # docker-registry makes the file and then writes into it
    with (settings.cache / "registry" / "users.lock").open("a") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_SH)
        assert [damage.dropped for damage in embedded.check(settings)] == [False]
        process = threading.Timer(0.5, theirs.close)  # serving waits at its end until it is alone
        with embedded.serving(address, settings) as server:
            process.start()
            assert server is not None
            assert link.exists()
        process.join()
    with embedded.serving(address, settings):
        assert not link.exists()


@pytest.fixture
def other(tmp_path: Path) -> Settings:
    """With another cache."""
    return Settings(cache=tmp_path / "other")


def test_another_cache_waits_for_its_turn(address: str, settings: Settings, other: Settings, index: Indexer) -> None:
    """What it publishes then lies in its own cache, and its registry outlives the first one's."""
    made = index()
    with user(address, other) as first:
        assert told(first).isdigit()
        with user(address, settings) as second:
            assert "waiting: a kmi with another cache" in told(second)
            assert not embedded.data(settings).exists()
            let_go(first)
            assert first.wait(20) == 0
            assert told(second).isdigit()
            with embedded.serving(address, settings) as shared:
                assert shared is None
                push(made, embedded.repository(settings, "debian"))
            let_go(second)
            assert second.wait(20) == 0
    assert list(embedded.data(settings).glob("**/kmi/debian"))
    assert not list(embedded.data(other).glob("**/kmi"))


def test_another_cache_does_not_wait_for_ever(
    address: str, settings: Settings, other: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "TURN_SECONDS", 0.3)
    notes: list[str] = []
    with embedded.serving(address, other):
        with pytest.raises(HostError, match="another registry answers") as caught:
            with embedded.serving(address, settings, note=notes.append):
                pytest.fail("served from the other's data")
        assert "--cache" in str(caught.value.hint)
        assert len(notes) == 1
        assert embedded.answers()


def test_who_reads_from_its_own_images_is_not_served_others(
    address: str, settings: Settings, other: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is told at once."""
    monkeypatch.setattr(embedded, "TURN_SECONDS", 3)
    notes: list[str] = []
    with embedded.serving(address, settings):
        pass
    with embedded.serving(address, other), pytest.raises(HostError, match="another registry"):
        with embedded.serving(address, settings, create=False, note=notes.append):
            pytest.fail("served from the other's data")
    assert notes == []


def test_a_registry_that_is_not_kmis(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is pushed there unless it was named; a cache without images reads from it."""
    (tmp_path / "strange").mkdir()
    with strange_registry(tmp_path / "strange") as address:
        monkeypatch.setattr(embedded, "ADDRESS", address)
        with pytest.raises(HostError, match="another registry") as caught, embedded.serving(address, settings):
            pytest.fail("served from it")
        assert "not kmi's" in str(caught.value.got)
        with embedded.serving(address, settings, create=False) as server:
            assert server is None


def test_who_loses_the_race_for_the_address_waits(address: str, settings: Settings, other: Settings) -> None:
    """Both have seen it free; docker-registry ends then, for the address is in use."""
    folder = settings.cache / "registry"
    folder.mkdir(parents=True)
    with embedded.serving(address, other), (folder / "users.lock").open("a") as users:
        assert embedded._launch(folder, users, None, None) is None
        assert embedded.answers()
