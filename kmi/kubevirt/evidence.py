"""What a failed test leaves for people to read: the instance's state, its events, and virt-launcher's logs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kmi.errors import NetworkError
from kmi.host import redact
from kmi.kubevirt import state
from kmi.kubevirt.resources import Resources

SECONDS = 90.0
"""For all of it; what a slow cluster has not given then is left there."""
_MOST = 20
"""Containers whose logs are kept."""


def collect(resources: Resources, name: str, uid: str, logs: Path, told: Callable[[str], None]) -> None:
    """Into ``logs``: ``kubevirt-instance.json``, ``kubevirt-events.txt``, ``kubevirt-<container>.log``. What cannot be
    had is told and passed over."""

    deadline = time.monotonic() + SECONDS

    def keep(file: str, text: Callable[[], str]) -> None:
        if time.monotonic() > deadline:
            return
        try:
            (logs / file).write_text(redact.redact(text()), encoding="utf-8", errors="replace")
        except NetworkError as error:
            told(f"{file} could not be had: {error.got}")

    keep("kubevirt-instance.json", lambda: json.dumps(resources.get(name, once=True), indent=2) + "\n")
    if not uid:
        return
    keep("kubevirt-events.txt", lambda: state.told(resources.events(uid)) + "\n")
    try:
        pods = resources.pods(uid)
    except NetworkError as error:
        told(f"virt-launcher's pod could not be looked at: {error.got}")
        return
    keep("kubevirt-pods.json", lambda: json.dumps(pods, indent=2) + "\n")
    found = [(one, container) for one in pods for container in _containers(one)]
    for pod, container in found[:_MOST]:
        keep(f"kubevirt-{container}.log", partial(_log, resources, pod, container))


def _containers(pod: state.Object) -> list[str]:
    """Those that have run, by names that are safe as file names (RFC 1123 labels)."""
    statuses = (*state.rows(pod, "status", "containerStatuses"), *state.rows(pod, "status", "initContainerStatuses"))
    names = [state.text(row, "name") for row in statuses if not state.at(row, "state", "waiting")]
    return [name for name in names if name.replace("-", "").isalnum()]


def _log(resources: Resources, pod: state.Object, container: str) -> str:
    return resources.log(state.text(pod, "metadata", "name"), container).decode(errors="replace")
