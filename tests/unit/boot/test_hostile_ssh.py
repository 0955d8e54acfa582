"""A guest's SSH service that never stops sending."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kmi.boot import ssh
from kmi.boot.ssh import UNREACHED, Key, banner, execute, host_keys
from kmi.errors import BuildError
from kmi.host.run import run

KEY = Key(private=Path("/nonexistent"), public="")


@contextmanager
def flooding(first: bytes) -> Iterator[int]:
    """Send ``first`` and then junk to whoever connects."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            try:
                with connection:
                    connection.sendall(first)
                    while True:
                        connection.sendall(b"x" * 65536)
            except OSError:
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def test_a_flood_in_place_of_a_greeting_is_no_greeting() -> None:
    began = time.monotonic()
    with flooding(b"") as port:
        assert banner(port) is None
        assert execute("true", user="nobody", port=port, key=KEY, seconds=20).status == UNREACHED
    assert time.monotonic() - began < 20


def test_a_greeting_of_any_length_is_cut() -> None:
    with flooding(b"SSH-2.0-") as port:
        assert len(banner(port) or "") <= 255


def test_a_session_that_sends_without_end_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(BuildError, match="ran out of time"):
        run(["cat", "/dev/zero"], stuck=ssh.flooded, timeout=60)
    assert time.monotonic() - began < 20
    assert run(["head", "-c", "1000000", "/dev/zero"], stuck=ssh.flooded).status == 0


def test_a_scan_for_host_keys_that_is_sent_junk_finds_none() -> None:
    began = time.monotonic()
    with flooding(b"SSH-2.0-x\r\n") as port:
        assert host_keys(port, seconds=2) == ()
    assert time.monotonic() - began < 30


def test_a_scan_for_host_keys_that_does_not_end_finds_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """*Simulated*: an ssh-keyscan whose server sends a byte now and then."""
    program = tmp_path / "ssh-keyscan"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("kmi.host.run._SYSTEM_PATH", "/usr/bin:/bin")
    assert host_keys(1, seconds=0) == ()


def test_a_user_that_no_argument_can_hold_is_not_reached() -> None:
    assert execute("true", user="a\ud800b", port=1, key=KEY, seconds=5).status == UNREACHED
