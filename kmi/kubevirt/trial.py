"""One machine in a cluster for the time of a block: made, waited for, handed out, and always deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmi.errors import BuildError, Interrupted, NetworkError
from kmi.host.run import stopping
from kmi.kubevirt import state
from kmi.kubevirt.api import ApiError
from kmi.kubevirt.console import Recorder
from kmi.kubevirt.evidence import collect
from kmi.kubevirt.objects import LABEL
from kmi.kubevirt.removal import remove
from kmi.kubevirt.resources import Resources
from kmi.kubevirt.state import Trouble
from kmi.kubevirt.tunnel import Tunnel


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All in seconds. ``start`` bounds pull and start; ``settle`` is how long a trouble may last that can pass by
    itself; ``removal`` bounds the wait until all is gone, ``stopped`` the same after Ctrl-C, when little time is left
    (``kmi.cli.stops.GRACE``)."""

    start: float = 1800.0
    settle: float = 30.0
    poll: float = 2.0
    removal: float = 180.0
    stopped: float = 3.5


@dataclass(slots=True, kw_only=True)
class Live:
    """A machine that runs. ``console`` is the file that its serial console goes to, ``ssh_port`` leads to its port 22
    from 127.0.0.1."""

    resources: Resources
    name: str
    uid: str
    console: Path
    recorder: Recorder
    tunnel: Tunnel
    logs: Path
    told: Callable[[str], None]
    poll: float
    _seen: dict[str, Any] = field(default_factory=dict)
    _looked: float = 0.0

    @property
    def ssh_port(self) -> int:
        return self.tunnel.port

    def instance(self) -> dict[str, Any]:
        """As the cluster sees it, no older than ``poll`` seconds; what was seen last while it does not answer."""
        if not self._seen or time.monotonic() - self._looked > self.poll:
            try:
                self._seen = self.resources.get(self.name)
            except NetworkError as error:
                if isinstance(error, ApiError) and error.status == 404:
                    self._seen = {"status": {"phase": "Succeeded"}}
                self.told(f"{error.what}: {error.got}")
            self._looked = time.monotonic()
        return self._seen

    def running(self) -> bool:
        return state.phase(self.instance()) not in ("Failed", "Succeeded")

    def agent_connected(self) -> bool:
        return state.condition(self.instance(), "AgentConnected")

    def guest_os(self) -> dict[str, Any] | None:
        """What the agent says of the system; None while it does not answer."""
        try:
            return self.resources.guest(self.name, "guestosinfo")
        except NetworkError:
            return None

    def collect(self) -> None:
        """Keep what helps to understand a failure."""
        collect(self.resources, self.name, self.uid, self.logs, self.told)


@contextmanager
def trial(
    resources: Resources,
    manifest: dict[str, Any],
    *,
    logs: Path,
    limits: Limits,
    told: Callable[[str], None],
    warn: Callable[[str], None],
) -> Iterator[Live]:
    """Make the instance of ``manifest`` (``objects.instance``) and hand it out once it is ready. Whatever happens, it
    is deleted behind the block; ``warn`` gets what could not be. ``logs`` gets the console, and on failure what the
    cluster says. BuildError if it does not start; NetworkError; Interrupted."""
    test, name = str(manifest["metadata"]["labels"][LABEL]), str(manifest["metadata"]["name"])
    seconds, uid, made = limits.removal, "", True
    try:
        try:
            uid = state.text(resources.create(manifest), "metadata", "uid")
        except ApiError as error:
            made = error.passing  # a request that was refused for good has made nothing
            raise
        _started(resources, name, uid, limits, told, logs)
        console = logs / "console-kubevirt.log"
        recorder = Recorder(lambda: resources.stream(name, "console"), console)
        tunnel = Tunnel(lambda: resources.stream(name, "portforward", "22"))
        with recorder, tunnel:
            yield Live(
                resources=resources, name=name, uid=uid, console=console, recorder=recorder, tunnel=tunnel,
                logs=logs, told=told, poll=limits.poll,
            )  # fmt: skip
    except BaseException as error:
        if stopping() or isinstance(error, Interrupted) or not isinstance(error, Exception):
            seconds = limits.stopped
        elif made:
            collect(resources, name, uid, logs, told)
        raise
    finally:
        if made and (left := remove(resources, test, seconds)):
            warn(f"left in the cluster: {'; '.join(left)}; delete it with `kubectl delete vmi -l {LABEL}={test}`")


def _started(
    resources: Resources, name: str, uid: str, limits: Limits, told: Callable[[str], None], logs: Path
) -> None:
    """Wait until the instance is ready. BuildError with the cluster's own words if it is not."""
    began, since = time.monotonic(), None
    while True:
        if stopping():
            raise Interrupted("stopped")
        vmi = _look(resources, name)
        if state.condition(vmi, "Ready") and state.phase(vmi) == "Running":
            return
        found = _trouble(resources, vmi, uid)
        told(f"{state.phase(vmi)}{f': {found.text}' if found else ''}")
        now = time.monotonic()
        since = (since or now) if found else None
        if found and (found.final or (since is not None and now - since >= limits.settle)):
            raise _not_started(resources, name, found.text, logs, found)
        if now - began >= limits.start:
            seen = f"phase {state.phase(vmi)} after {now - began:.0f} s"
            raise _not_started(resources, name, seen + (f"; {found.text}" if found else ""), logs, found)
        time.sleep(limits.poll)


def _look(resources: Resources, name: str) -> dict[str, Any]:
    try:
        return resources.get(name)
    except ApiError as error:
        if error.status == 404:
            raise BuildError("somebody deleted the machine", where=f"{resources.namespace}/{name}") from error
        raise


def _trouble(resources: Resources, vmi: dict[str, Any], uid: str) -> Trouble | None:
    """Pods and events may be out of sight: then the instance alone has to tell."""
    try:
        pods = resources.pods(uid)
    except NetworkError:
        pods = []
    if state.trouble(vmi, pods, ()) is None:
        return None
    try:
        events = [event for pod in pods for event in resources.events(state.text(pod, "metadata", "uid"))]
        events = events or resources.events(uid)
    except NetworkError:
        events = []
    return state.trouble(vmi, pods, events)


def _not_started(resources: Resources, name: str, seen: str, logs: Path, found: Trouble | None) -> BuildError:
    hint = "every node must reach the registry under this very name; a private one needs a pull secret"
    return BuildError(
        "the cluster did not start the machine",
        expected="a VirtualMachineInstance that is Ready",
        got=seen,
        where=f"{resources.namespace}/{name}",
        hint=hint if found and found.pull else None,
        log=logs,
    )
