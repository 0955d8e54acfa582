"""Provisioning found the seed and finished without errors, by its own record.

cloud-init's (docs: reference/status, result.json) is read through the guest agent where it may execute, else over SSH;
where the guest lets nobody in, the final message on the console has to do. Ignition's is root's alone, so it is read
over SSH; it runs in the initramfs, and an error there keeps the machine from starting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from kmi.boot.agent import AgentError
from kmi.boot.checks.check import Check, Guest
from kmi.boot.console import GaveUp
from kmi.boot.seed import SeedKind
from kmi.boot.ssh import execute
from kmi.model.checks import CLOUD_INIT
from kmi.model.metadata import Metadata

RESULT = "/run/cloud-init/result.json"
"""Written once, when the last stage ends."""

IGNITION_RESULT = "/etc/.ignition-result.json"
"""Written by its last stage (coreos/ignition: internal/distro/distro.go, ``ResultFilePath``)."""

SOURCES = {SeedKind.NOCLOUD: "DataSourceNoCloud", SeedKind.CONFIGDRIVE: "DataSourceConfigDrive"}
"""cloud-init's own names for where it found the seed."""

_FINISHED = re.compile(r"Cloud-init v\. \S+ finished at [^\n]*")
_TROUBLE = re.compile(r"Traceback|ERROR|CRITICAL|WARNING|[Ff]ailed")
_PATIENT_LOOKS = 5
_UNITS = "systemctl list-units --all --plain --no-legend --state=failed 'ignition*' 'coreos-ignition*' 2>/dev/null"
_IGNITION_SCRIPT = f"cat {IGNITION_RESULT}\necho\n{_UNITS} || :\n"


def judge(record: str, source: str = SOURCES[SeedKind.NOCLOUD]) -> str:
    """What ``result.json`` says, for the report. GaveUp if it has errors or another data source than the seed."""
    try:
        result = json.loads(record)["v1"]
        found, errors = str(result["datasource"]), list(result["errors"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise GaveUp(f"{RESULT} is not what cloud-init writes: {record[:200]!r}") from error
    if errors:
        raise GaveUp(f"cloud-init finished with errors: {'; '.join(map(str, errors))[:500]}")
    if not _is(found, source):
        raise GaveUp(f"cloud-init did not use the seed ({source}) but {found[:200]}")
    return f"finished without errors from {found}"


def judge_ignition(said: str) -> str:
    """What Ignition's record and then the names of its failed units say. GaveUp if it had no configuration of the
    user's, ran more than once, or a unit failed."""
    try:
        result, end = json.JSONDecoder().raw_decode(said)
        provided, again = result["userConfigProvided"], result.get("previousReport")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GaveUp(f"{IGNITION_RESULT} is not what Ignition writes: {said[:200]!r}") from error
    if provided is not True:
        raise GaveUp("Ignition found no configuration on the config drive")
    if again is not None:
        raise GaveUp("Ignition ran before in this image")
    if failed := [line.split()[0] for line in said[end:].split("\n") if line.strip()]:
        raise GaveUp(f"units of Ignition failed: {', '.join(failed)[:300]}")
    return "Ignition applied the configuration from the config drive"


def judge_console(text: str, source: str = SOURCES[SeedKind.NOCLOUD]) -> str | None:
    """cloud-init's state from the console: None while the final message is not there."""
    finished = _FINISHED.search(text)
    if finished is None:
        return None
    for line in text.split("\n"):
        _, named, rest = line.partition("cloud-init")
        if named and _TROUBLE.search(rest):
            raise GaveUp(f"cloud-init finished with trouble on the console: {line.strip()[:300]}")
    if not any(_is(word, source) for word in finished.group(0).split()):
        raise GaveUp(f"cloud-init did not use the seed ({source}): {finished.group(0)[:300]}")
    return "finished (by its message on the console only: neither agent nor SSH gives access)"


def _is(found: str, source: str) -> bool:
    """cloud-init adds how it got there: ``DataSourceNoCloud [seed=/dev/vdb]``, ``DataSourceNoCloudNet``."""
    return found.startswith(source)


def _cloud_init(guest: Guest) -> str:
    source = SOURCES[guest.given.kind if guest.given else SeedKind.NOCLOUD]
    looks = 0

    def finished() -> str | None:
        nonlocal looks
        if record := _read(guest):
            return judge(record, source)
        if _FINISHED.search(guest.console.text()):
            looks += 1
        return judge_console(guest.console.text(), source) if looks > _PATIENT_LOOKS else None

    return guest.wait(finished, pause=2.0)


def _ignition(guest: Guest) -> str:
    def reached() -> bool | None:
        found = execute("true", user=guest.metadata["user"], port=guest.machine.ssh_port, key=guest.key)
        return True if found.status == 0 else None

    guest.wait(reached, pause=3.0)
    return judge_ignition(guest.ask(_IGNITION_SCRIPT))


_PROVISIONERS: dict[str, Callable[[Guest], str]] = {"cloud-init": _cloud_init, "ignition": _ignition}
"""By what the image says of its ``init``."""


def _skip(metadata: Metadata) -> str | None:
    if metadata["init"] in _PROVISIONERS:
        return None
    return f"the image is provisioned by {metadata['init'] or 'nothing'}"


def _run(guest: Guest) -> str:
    return _PROVISIONERS[guest.metadata["init"]](guest)


def _read(guest: Guest) -> str | None:
    """The record, None while it is not there or nobody gets in."""
    if guest.metadata["agent"] not in ("", "absent"):
        try:
            status, text = guest.agent.exec(["cat", RESULT])
            return text if status == 0 else None
        except AgentError:
            pass  # SELinux policies and agent filters forbid guest-exec
    if not guest.metadata["user"]:
        return None
    found = execute(f"cat {RESULT}", user=guest.metadata["user"], port=guest.machine.ssh_port, key=guest.key)
    return found.stdout if found.status == 0 else None


CHECK = Check(name=CLOUD_INIT, skip=_skip, run=_run)
