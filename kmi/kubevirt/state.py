"""What the cluster's objects say of a test's progress; pure, and patient with odd shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kmi.host.ui import plain

_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
"""Kubernetes: pkg/kubelet/images/types.go."""
_START = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"})
_TOLD = 500

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a machine does not start. One that is not ``final`` may pass by itself; ``pull`` concerns the image."""

    text: str
    final: bool = False
    pull: bool = False


def at(value: object, *names: str) -> Any:
    """The value at a path of keys, None where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def text(value: object, *names: str) -> str:
    found = at(value, *names)
    return plain(" ".join(found.split()))[:_TOLD] if isinstance(found, str) else ""


def rows(value: object, *names: str) -> list[Object]:
    found = at(value, *names)
    return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []


def phase(vmi: Object) -> str:
    """KubeVirt: ``VirtualMachineInstancePhase``; Pending, Scheduling, Scheduled, Running, Succeeded, Failed."""
    return text(vmi, "status", "phase") or "Pending"


def condition(vmi: Object, kind: str) -> bool:
    """Whether a condition (Ready, AgentConnected, …) is true."""
    return any(text(row, "type") == kind and text(row, "status") == "True" for row in rows(vmi, "status", "conditions"))


def trouble(vmi: Object, pods: Sequence[Object], events: Sequence[Object]) -> Trouble | None:
    """What keeps the machine from starting, the nearest cause first; with the newest warning of the events."""
    found = next(_troubles(vmi, pods), None)
    if found is None:
        return None
    warning = told(events[-1:]) if (events := [one for one in events if text(one, "type") == "Warning"]) else ""
    return Trouble(text=f"{found.text}; {warning}" if warning else found.text, final=found.final, pull=found.pull)


def _troubles(vmi: Object, pods: Sequence[Object]) -> Iterator[Trouble]:
    if phase(vmi) in ("Failed", "Succeeded"):
        why = text(vmi, "status", "reason")
        yield Trouble(text=f"the machine is in phase {phase(vmi)}" + (f": {why}" if why else ""), final=True)
    for pod in pods:
        for row in (*rows(pod, "status", "initContainerStatuses"), *rows(pod, "status", "containerStatuses")):
            reason, message = (text(row, "state", "waiting", key) for key in ("reason", "message"))
            if reason in _PULL | _START:
                yield Trouble(text=f"{reason} of {text(row, 'name')}: {message}", pull=reason in _PULL)
        for row in rows(pod, "status", "conditions"):
            if text(row, "type") == "PodScheduled" and text(row, "status") == "False":
                yield Trouble(text=f"{text(row, 'reason')}: {text(row, 'message')}")
    for row in rows(vmi, "status", "conditions"):
        if text(row, "type") == "Synchronized" and text(row, "status") == "False":
            yield Trouble(text=f"{text(row, 'reason')}: {text(row, 'message')}")


def told(events: Iterable[Object]) -> str:
    """Events as lines: ``Warning FailedScheduling 0/3 nodes are available``."""
    return "\n".join(f"{text(one, 'type')} {text(one, 'reason')} {text(one, 'message')}" for one in events)


def configuration(kubevirts: Sequence[Object]) -> tuple[str, bool | None]:
    """KubeVirt's version and gates for the log, and whether guests are emulated (None: not known)."""
    if not kubevirts:
        return "KubeVirt's configuration is not there", None
    one = kubevirts[0]
    developer = at(one, "spec", "configuration", "developerConfiguration")
    gates = {
        key: [plain(str(gate))[:60] for gate in found[:50]] if isinstance(found := at(developer, key), list) else []
        for key in ("featureGates", "disabledFeatureGates")
    }
    emulated = at(developer, "useEmulation") is True
    version = text(one, "status", "observedKubeVirtVersion") or "of an unknown version"
    words = [f"KubeVirt {version}", f"gates on: {', '.join(gates['featureGates']) or 'none'}"]
    words += [f"off: {', '.join(gates['disabledFeatureGates']) or 'none'}", f"ImageVolume {_image_volume(gates)}"]
    return "; ".join([*words, f"emulation {'allowed' if emulated else 'off'}"]), emulated


def _image_volume(gates: Mapping[str, list[str]]) -> str:
    """KubeVirt: pkg/virt-config/featuregate; Beta since v1.7, and Beta gates are on by themselves since v1.9."""
    if "ImageVolume" in gates["featureGates"]:
        return "on"
    return "off" if "ImageVolume" in gates["disabledFeatureGates"] else "as the version has it (on since v1.9)"
