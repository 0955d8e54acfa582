"""cloud-init found the seed and finished without errors, by its own record (docs: reference/status, result.json).

The record is read through the guest agent where it may execute, else over SSH. Where the guest lets nobody in, the
final message on the console has to do.
"""

from __future__ import annotations

import json
import re

from kmi.boot.agent import AgentError
from kmi.boot.checks.check import Check, Guest
from kmi.boot.console import GaveUp
from kmi.boot.ssh import execute
from kmi.model.checks import CLOUD_INIT
from kmi.model.metadata import Metadata

RESULT = "/run/cloud-init/result.json"
"""Written once, when the last stage ends."""

_FINISHED = re.compile(r"Cloud-init v\. \S+ finished at [^\n]*")
_TROUBLE = re.compile(r"Traceback|ERROR|CRITICAL|WARNING|[Ff]ailed")
_PATIENT_LOOKS = 5


def judge(record: str) -> str:
    """What ``result.json`` says, for the report. GaveUp if it has errors or another data source than the seed."""
    try:
        result = json.loads(record)["v1"]
        source, errors = str(result["datasource"]), list(result["errors"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise GaveUp(f"{RESULT} is not what cloud-init writes: {record[:200]!r}") from error
    if errors:
        raise GaveUp(f"cloud-init finished with errors: {'; '.join(map(str, errors))[:500]}")
    if not source.startswith("DataSourceNoCloud"):
        raise GaveUp(f"cloud-init did not use the NoCloud disk but {source}")
    return f"finished without errors from {source}"


def judge_console(text: str) -> str | None:
    """The same from the console: None while the final message is not there."""
    finished = _FINISHED.search(text)
    if finished is None:
        return None
    for line in text.split("\n"):
        _, named, rest = line.partition("cloud-init")
        if named and _TROUBLE.search(rest):
            raise GaveUp(f"cloud-init finished with trouble on the console: {line.strip()[:300]}")
    if "DataSourceNoCloud" not in finished.group(0):
        raise GaveUp(f"cloud-init did not use the NoCloud disk: {finished.group(0)[:300]}")
    return "finished (by its message on the console only: neither agent nor SSH gives access)"


def _skip(metadata: Metadata) -> str | None:
    if metadata["init"] == "cloud-init":
        return None
    return f"the image is provisioned by {metadata['init'] or 'nothing'}"


def _run(guest: Guest) -> str:
    looks = 0

    def finished() -> str | None:
        nonlocal looks
        if record := _read(guest):
            return judge(record)
        if _FINISHED.search(guest.console.text()):
            looks += 1
        return judge_console(guest.console.text()) if looks > _PATIENT_LOOKS else None

    return guest.wait(finished, pause=2.0)


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
