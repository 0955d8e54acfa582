"""A registry of its own for each contender and each round: the same program, empty, on a free loopback port."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kmi.host.run import Background

_STARTING = 30.0


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Serve ``folder`` for the block; yields ``127.0.0.1:port``."""
    address = f"127.0.0.1:{_free_port()}"
    folder.mkdir(parents=True)
    config = folder / "config.yml"
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    log = {"level": "error", "accesslog": {"disabled": True}}
    config.write_text(json.dumps({"version": 0.1, "log": log, "storage": storage, "http": {"addr": address}}))
    server = Background(["docker-registry", "serve", config], log=folder / "log")
    try:
        _until_up(address, server)
        yield address
    finally:
        server.stop()


def held(folder: Path) -> int:
    """Bytes of all blobs that the registry in ``folder`` holds: what came over the wire."""
    return sum(path.stat().st_size for path in (folder / "data").rglob("blobs/sha256/*/*/data"))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_up(address: str, server: Background) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + _STARTING
    while True:
        try:
            with opener.open(f"http://{address}/v2/", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if not server.alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the registry did not come up:\n{server.tail()}") from None
        time.sleep(0.1)
