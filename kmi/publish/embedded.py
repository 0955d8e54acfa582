"""The embedded registry: Debian's ``docker-registry`` on a fixed loopback address, its data in the cache.

It is no daemon: the kmi process that finds nobody at the address starts it, and it dies with that process even on
SIGKILL. Every kmi process that uses it holds a shared lock on ``<cache>/registry/users.lock``; the one that started it
waits at its end until it holds the lock alone, and only then stops it; a signal gives it some seconds for that
(``kmi.cli.stops``). Whoever comes in between waits for the lock and starts it anew. A registry that somebody else keeps
at the address (another user's ``kmi registry``) is used as it is.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from kmi.errors import BuildError, HostError, NetworkError
from kmi.host.cache import Damage
from kmi.host.run import Background
from kmi.host.store import write_text
from kmi.publish import embedded_data
from kmi.settings import LOCAL, Settings

ADDRESS = "127.0.0.1:5050"
NAMESPACE = "kmi"
START_SECONDS = 60.0
_PAUSE = 0.1
Note = Callable[[str], None]


_NOBODY, _RESET = "nobody listens", "the connection was reset"
_RESETS = 10


def repository(settings: Settings, distro: str) -> str:
    """Where a distro's images go: ``host[:port]/path`` without tag or digest."""
    if settings.registry == LOCAL:
        return f"{ADDRESS}/{NAMESPACE}/{distro}"
    return f"{settings.registry.rstrip('/')}/{distro}"


def is_embedded(host: str) -> bool:
    """Whether ``host[:port]`` is the embedded registry's address."""
    return host in (ADDRESS, f"localhost:{ADDRESS.rpartition(':')[2]}")


def data(settings: Settings) -> Path:
    """Where the registry keeps its blobs. They are the only copy of what was pushed to ``local``."""
    return settings.cache / "registry" / "data"


@contextmanager
def serving(
    host: str, settings: Settings, log: Path | None = None, *, create: bool = True, note: Note | None = None
) -> Iterator[Background | None]:
    """Have the embedded registry answer for the duration of the block; nothing to do if ``host`` is another one.

    Yields the registry's process if this call started it, else None. Start it from a thread that outlives the block
    (the kernel ends a child with the thread that made it). ``create`` False refuses to start a registry that has no
    data yet, for verbs that only read. ``note`` is told when the end has to wait for other kmi processes; an interrupt
    then stops the registry at once. HostError if a program that is no registry listens there, or ``docker-registry``
    is missing; NetworkError if there is nothing to read; BuildError if it does not come up.
    """
    folder = settings.cache / "registry"
    if not is_embedded(host) or (answers() and not folder.exists()):
        yield None
        return
    if not create and not data(settings).exists():
        raise NetworkError(
            f"no registry answers at {ADDRESS}",
            got=f"no images in {data(settings)} either",
            hint="start `kmi registry` with the cache that holds the images (--cache DIR)",
        )
    data(settings).mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        server = _start(folder, log, note)
        try:
            yield server
        finally:
            if server:
                try:
                    _until_alone(users, note)
                finally:
                    server.stop()
                    embedded_data.remember(folder)


def keep(settings: Settings, note: Note) -> None:
    """Keep the registry up until the caller is interrupted (KeyboardInterrupt passes through). Where another process
    has it, wait and take over when that one ends. BuildError if the registry ends by itself."""
    told = False
    while True:
        with serving(ADDRESS, settings, note=note) as server:
            if server:
                note(f"the embedded registry is up at {ADDRESS}, its data lie in {data(settings)}; Ctrl-C ends it")
                while not server.wait(_PAUSE * 5):
                    pass
                raise BuildError("the embedded registry ended", got=server.tail() or None, log=server.log)
        if not told:
            note(f"another process keeps a registry up at {ADDRESS}; this one takes over when it ends; Ctrl-C ends it")
            told = True
        time.sleep(_PAUSE * 5)


def _asked() -> tuple[bool, str]:
    """Whether a registry answers now, and what came instead."""
    connection = http.client.HTTPConnection(ADDRESS, timeout=10)
    try:
        connection.request("GET", "/v2/")
        response = connection.getresponse()
        response.read(1024)
    except ConnectionRefusedError:
        return False, _NOBODY
    except ConnectionResetError:
        return False, _RESET
    except (OSError, http.client.HTTPException) as error:
        return False, repr(error)
    finally:
        connection.close()
    known = response.getheader("Docker-Distribution-Api-Version") == "registry/2.0" or response.status == 200
    return known, f"HTTP status {response.status}"


def answers() -> bool:
    """Whether a registry answers at the embedded address (distribution-spec, end-1: ``GET /v2/``, 200 or 401).
    HostError if something else listens there."""
    got = _RESET
    for attempt in range(_RESETS):
        known, got = _asked()
        if known or got == _NOBODY:
            return known
        if got != _RESET:
            break
        time.sleep(0.05 * attempt)  # a registry that was killed a moment ago: its socket goes with its last thread
    raise HostError(
        f"{ADDRESS} is taken by a program that is no registry",
        expected="an answer to GET /v2/",
        got=got,
        hint="end that program, or name another registry with `--to HOST/PATH`",
    )


def check(settings: Settings) -> tuple[Damage, ...]:
    """Hash all that the registry keeps, and drop what is damaged unless the registry is up."""
    folder = settings.cache / "registry"
    if not data(settings).is_dir():
        return ()
    with (folder / "start.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        return embedded_data.mend(folder, quick=False, drop=not answers())


def _start(folder: Path, log: Path | None, note: Note | None = None) -> Background | None:
    """Start the registry unless it is up; None if it is. What is damaged in it goes first. Its own log is that of its
    last start."""
    own = folder / "registry.log"
    with (folder / "start.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        if answers():
            return None
        for damage in embedded_data.mend(folder, quick=True):
            if note:
                note(f"{damage.name} was damaged and is removed ({damage.what}); publish its image again")
        config = folder / "config.yml"
        write_text(config, _config(folder / "data"))
        own.unlink(missing_ok=True)
        server = Background(["docker-registry", "serve", config], log=log or own)
        try:
            _until_up(server)
        except BaseException:
            server.stop()
            raise
        return server


def _config(root: Path) -> str:
    """docker-registry's configuration, which is YAML: JSON is. Nothing is ever deleted through the API."""
    return json.dumps(
        {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(root)}, "delete": {"enabled": False}},
            "http": {"addr": ADDRESS},
        },
        indent=2,
    )


def _until_up(server: Background) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if not server.alive() or time.monotonic() > deadline:
            raise BuildError(
                "the embedded registry did not come up",
                expected=f"an answer at {ADDRESS} within {START_SECONDS:g} s",
                got=server.tail() or "nothing",
                log=server.log,
            )
        time.sleep(_PAUSE / 2)


def _until_alone(users: TextIO, note: Note | None) -> None:
    """Return when no other process holds the users' lock; new ones are then kept waiting until it is closed."""
    told = False
    while True:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if note and not told:
                note("waiting for another kmi that uses the embedded registry (Ctrl-C ends it now)")
                told = True
            time.sleep(_PAUSE)
