"""A registry that knows nothing of kmi: docker-registry on a free loopback port."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kmi.host.run import Background


@contextmanager
def registry(folder: Path, htpasswd: str = "", before: Sequence[str | Path] = ()) -> Iterator[str]:
    """Its ``host:port`` for the block; all its files lie in ``folder``. It demands a login of ``htpasswd``, where that
    is given (lines of ``user:bcrypt``); ``before`` are words of a program that starts it. AssertionError if it does not
    come up."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(folder / "data")}}
    login = {"auth": {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}} if htpasswd else {}
    (folder / "htpasswd").write_text(htpasswd)
    config = {**login, "version": 0.1, "log": {"level": "error"}, "storage": storage, "http": {"addr": address}}
    (folder / "config.yml").write_text(json.dumps(config))
    server = Background([*before, "docker-registry", "serve", folder / "config.yml"], log=folder / "log")
    try:
        _until_up(address, server)
        yield address
    finally:
        server.stop()


def _until_up(address: str, server: Background) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            error.close()  # 401: it is up, and wants a login
            return
        except OSError:
            assert server.alive(), server.tail()
            time.sleep(0.1)
    raise AssertionError(f"no registry answers at {address}: {server.tail()}")
