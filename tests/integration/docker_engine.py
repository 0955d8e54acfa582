"""A private Docker Engine: its own socket, data and runtime folders, gone after the session.

``engine`` runs one for a block. The fixture ``docker_engine`` yields its address (``unix://…``), sets DOCKER_HOST for
the docker package and testcontainers. The clean-up container of testcontainers is switched off: what the tests leave
dies with the engine's folder.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from kmi.host.run import Background, run

_STARTING = 60.0
_STOPPING = 30.0
_BRIDGE = Path("/sys/class/net/docker0")


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, engine() as address:
        patch.setenv("DOCKER_HOST", address)
        patch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
        patch.setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
        _configure_testcontainers()
        yield address


@contextmanager
def engine(data: Path | None = None) -> Iterator[str]:
    """Run ``dockerd`` for the block and yield its address; ``data`` is where images lie (default: a folder that goes
    at the end). Containers may publish ports on 127.0.0.1 (through docker-proxy; no firewall rule is set)."""
    root = Path(tempfile.mkdtemp(prefix="kmi-docker-", dir="/tmp"))  # a socket's path is short: sun_path has 108 bytes
    data = data or root / "data"
    address = f"unix://{root}/engine.sock"
    had_bridge = _BRIDGE.exists()
    words: list[str | Path] = ["dockerd", "--host", address, "--data-root", data, "--exec-root", root / "exec"]
    words += ["--pidfile", root / "pid", "--storage-driver", _driver(data)]
    words += ["--iptables=false", "--ip6tables=false", "--userland-proxy=true"]
    daemon = Background(words, log=root / "log")
    try:
        _await(address, daemon)
        yield address
    finally:
        _remove_containers(address)
        daemon.stop(grace=_STOPPING)
        _unmount(data)
        _unmount(root)
        shutil.rmtree(root, ignore_errors=True)
        if not had_bridge and _BRIDGE.exists():
            run(["ip", "link", "delete", "docker0"], ok=(0, 1))


@pytest.fixture(scope="session")
def docker_client(docker_engine: str) -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(base_url=docker_engine)
    yield client
    client.close()


def _driver(root: Path) -> str:
    """overlay2 where the kernel can stack folders here, else vfs, which copies."""
    lower, upper, work, merged = (root / "probe" / name for name in ("lower", "upper", "work", "merged"))
    for folder in (lower, upper, work, merged):
        folder.mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    mounted = run(["mount", "-t", "overlay", "overlay", "-o", options, merged], ok=(0, 1, 32)).status == 0
    if mounted:
        run(["umount", merged])
    shutil.rmtree(root / "probe")
    return "overlay2" if mounted else "vfs"


def _await(address: str, daemon: Background) -> None:
    """Until the engine answers (Docker Engine API, ``GET /_ping``); the docker package leaks a socket when refused."""
    deadline = time.monotonic() + _STARTING
    while not _answers(address.removeprefix("unix://")):
        if not daemon.alive() or time.monotonic() > deadline:
            raise AssertionError(f"dockerd did not start:\n{daemon.tail()}")
        time.sleep(0.2)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(path)
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


def _configure_testcontainers() -> None:
    """Its settings are read when it is imported, which may have been before the variables were set."""
    from testcontainers.core.config import testcontainers_config

    testcontainers_config.ryuk_disabled = True
    testcontainers_config.tc_host_override = "127.0.0.1"


def _remove_containers(address: str) -> None:
    if not _answers(address.removeprefix("unix://")):
        return
    client = docker.DockerClient(base_url=address)
    for container in client.containers.list(all=True):
        container.remove(force=True, v=True)
    client.close()


def _unmount(root: Path) -> None:
    """Whatever a killed engine left mounted below its folder, the deepest first."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((m for m in mounts if m.startswith(f"{root}{os.sep}")), key=len, reverse=True):
        run(["umount", "--lazy", point], ok=(0, 1, 32))
