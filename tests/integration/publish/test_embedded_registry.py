"""The embedded registry: started, shared, stopped, and dead with its kmi."""

from __future__ import annotations

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
        [sys.executable, "-c", USER, address, str(settings.cache)],
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
        [sys.executable, "-c", VERB, address, str(settings.cache)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()
