"""The embedded registry: Debian's ``docker-registry`` on a fixed loopback address, its data in the cache.

It is no daemon: the kmi process that finds nobody at the address starts it, and it dies with that process even on
SIGKILL. Every kmi process that uses it holds a shared lock on ``<cache>/registry/users.lock``; the one that started it
waits at its end until it holds the lock alone, and only then stops it; a signal gives it some seconds for that
(``kmi.cli.stops``). Whoever comes in between waits for the lock and starts it anew. Who starts it, or looks for damage,
holds ``start.lock``, which is taken before the users' and never waited for with the users' in hand.

Each answer names the cache by the file of its users' lock, so nobody pushes into another cache's registry: caches take
turns at the address. A cache without images reads from whatever registry answers there.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from kmi.errors import BuildError, HostError, NetworkError
from kmi.host.cache import Damage
from kmi.host.run import Background
from kmi.host.store import write_text
from kmi.host.ui import HEARTBEAT, duration
from kmi.publish import embedded_data
from kmi.settings import LOCAL, Settings

ADDRESS = "127.0.0.1:5050"
NAMESPACE = "kmi"
START_SECONDS = 60.0
TURN_SECONDS = 600.0
"""How long to wait for the registry of another cache to end."""
Note = Callable[[str], None]

_PAUSE = 0.1
_CACHE = "Kmi-Cache"
"""The header of each answer: which cache the registry serves, by device and inode of its users' lock. The address is
this machine's, so that is exact, whatever the cache's path is in this container."""
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
    (the kernel ends a child with the thread that made it). ``create`` False is for verbs that only read: they start no
    registry that has no data yet, and do not wait for their turn. ``note`` is told when the begin or the end has to
    wait for other kmi processes; an interrupt ends the waiting. HostError if another cache's registry, one that is not
    kmi's or something else listens there, or ``docker-registry`` is missing; NetworkError if there is nothing to read;
    BuildError if it does not come up.
    """
    folder = settings.cache / "registry"
    empty = not create and not data(settings).exists()
    if not is_embedded(host) or (empty and answers()):
        yield None
        return
    if empty:
        raise NetworkError(
            f"no registry answers at {ADDRESS}",
            got=f"no images in {data(settings)} either",
            hint="start `kmi registry` with the cache that holds the images (--cache DIR)",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users.lock").open("a") as users:
        server = _start(folder, users, log, note, patience=TURN_SECONDS if create else 0)
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


def _asked() -> tuple[str | None, str]:
    """The cache whose registry answers now (empty for one that is not kmi's), or None and what came instead."""
    connection = http.client.HTTPConnection(ADDRESS, timeout=10)
    try:
        connection.request("GET", "/v2/")
        response = connection.getresponse()
        response.read(1024)
    except ConnectionRefusedError:
        return None, _NOBODY
    except ConnectionResetError:
        return None, _RESET
    except (OSError, http.client.HTTPException) as error:
        return None, repr(error)
    finally:
        connection.close()
    known = response.getheader("Docker-Distribution-Api-Version") == "registry/2.0" or response.status == 200
    return (response.getheader(_CACHE, "") if known else None), f"HTTP status {response.status}"


def answers() -> bool:
    """Whether a registry answers at the embedded address. HostError if something else listens there."""
    return _holder() is not None


def _holder() -> str | None:
    """The cache whose registry answers (distribution-spec, end-1: ``GET /v2/``, 200 or 401), empty for one that is not
    kmi's; None if nobody listens. HostError if it is no registry."""
    got = _RESET
    for attempt in range(_RESETS):
        cache, got = _asked()
        if cache is not None or got == _NOBODY:
            return cache
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
    """Hash all that the registry keeps, and drop what is damaged unless its registry is up."""
    folder = settings.cache / "registry"
    if not data(settings).is_dir():
        return ()
    with (folder / "start.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        with (folder / "users.lock").open("a") as users:
            return embedded_data.mend(folder, quick=False, drop=_alone(users) and _asked()[0] != _mark(users))


def _mark(users: TextIO) -> str:
    status = os.fstat(users.fileno())
    return f"{status.st_dev:x}-{status.st_ino:x}"


def _alone(users: TextIO) -> bool:
    """Whether no other process uses the data; if so they are locked for this one, else not at all (flock(2)). An
    address tells nothing of that: a container that shares the cache has a loopback, and a registry, of its own. Ask
    under ``start.lock``."""
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def _start(folder: Path, users: TextIO, log: Path | None, note: Note | None, *, patience: float) -> Background | None:
    """Start the registry unless it is up; None if it is. Either way the caller is one of the ``users`` then. Another
    cache's registry is given ``patience`` seconds to end."""
    mark, deadline = _mark(users), time.monotonic() + patience
    while True:
        _until_free(mark, deadline, note)
        with (folder / "start.lock").open("a") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)  # who holds it alone stops the registry at this moment
            holder = _holder()
            if holder == mark:
                return None
            if holder is None and (server := _launch(folder, users, log, note)):
                return server
        fcntl.flock(users, fcntl.LOCK_UN)


def _until_free(mark: str, deadline: float, note: Note | None) -> None:
    """Return when nobody or the registry of ``mark`` answers."""
    began, beat = time.monotonic(), 0.0
    while (holder := _holder()) not in (None, mark):
        now = time.monotonic()
        if not holder or now >= deadline:
            raise HostError(
                f"another registry answers at {ADDRESS}",
                expected="nobody, or this cache's registry",
                got="the registry of another cache" if holder else "a registry that is not kmi's",
                hint="give the same --cache as the kmi that keeps it up, or end it, or name a registry with "
                "`--to HOST/PATH`" if holder else "end it, or name a registry with `--to HOST/PATH`",
            )  # fmt: skip
        if note and now - began >= beat:
            waited = f" for {duration(now - began)}" if beat else ""
            note(f"waiting{waited}: a kmi with another cache has its registry at {ADDRESS} (Ctrl-C ends it now)")
            beat += HEARTBEAT
        time.sleep(_PAUSE * 5)


def _launch(folder: Path, users: TextIO, log: Path | None, note: Note | None) -> Background | None:
    """Start the registry; None if somebody else was faster at the address. What is damaged in it goes first, unless
    somebody uses it in another container: what is half written there looks damaged. Its own log is that of its last
    start. To be called under ``start.lock``."""
    if _alone(users):
        for damage in embedded_data.mend(folder, quick=True):
            if note:
                note(f"{damage.name} was damaged and is removed ({damage.what}); publish its image again")
    fcntl.flock(users, fcntl.LOCK_SH)
    config, own = folder / "config.yml", folder / "registry.log"
    write_text(config, _config(folder / "data", _mark(users)))
    (folder / "data").mkdir(exist_ok=True)
    own.unlink(missing_ok=True)
    server = Background(["docker-registry", "serve", config], log=log or own)
    try:
        if _up(server, _mark(users)):
            return server
    except BaseException:
        server.stop()
        raise
    server.stop()
    return None


def _config(root: Path, mark: str) -> str:
    """docker-registry's configuration, which is YAML: JSON is. Nothing is ever deleted through the API."""
    return json.dumps(
        {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(root)}, "delete": {"enabled": False}},
            "http": {"addr": ADDRESS, "headers": {_CACHE: [mark]}},
        },
        indent=2,
    )


def _up(server: Background, mark: str) -> bool:
    """Wait until it answers; False if it ended because another registry took the address. BuildError if neither."""
    deadline = time.monotonic() + START_SECONDS
    while _holder() != mark:
        ended = not server.alive()
        if ended and (_holder() is not None or "address already in use" in server.tail()):
            return False
        if ended or time.monotonic() > deadline:
            raise BuildError(
                "the embedded registry did not come up",
                expected=f"an answer at {ADDRESS} within {START_SECONDS:g} s",
                got=server.tail() or "nothing",
                log=server.log,
            )
        time.sleep(_PAUSE / 2)
    return True


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
