"""What objects say of a machine, of every shape that a server may send."""

from __future__ import annotations

from typing import Any

import pytest

from kmi.kubevirt import state

ODD: list[Any] = [{}, {"status": None}, {"status": []}, {"status": {"conditions": {}}},
                  {"status": {"conditions": [None, 3, {"type": 4}], "phase": 7}}]  # fmt: skip


def vmi(phase: str = "Scheduling", **conditions: str) -> dict[str, Any]:
    rows = [{"type": kind, "status": value, "reason": "R", "message": "M"} for kind, value in conditions.items()]
    return {"status": {"phase": phase, "conditions": rows}}


def waiting(reason: str, group: str = "containerStatuses") -> dict[str, Any]:
    return {"status": {group: [{"name": "disk", "state": {"waiting": {"reason": reason, "message": "why"}}}]}}


def test_conditions_are_true_only_if_they_say_so() -> None:
    assert state.condition(vmi(Ready="True"), "Ready")
    assert not state.condition(vmi(Ready="False"), "Ready")
    assert not state.condition(vmi(AgentConnected="True"), "Ready")


@pytest.mark.parametrize("odd", ODD)
def test_odd_shapes_say_nothing(odd: Any) -> None:
    assert state.phase(odd) == "Pending"
    assert not state.condition(odd, "Ready")
    assert state.trouble(odd, [odd], [odd]) is None
    assert state.configuration([odd])[1] is False


@pytest.mark.parametrize("group", ["containerStatuses", "initContainerStatuses"])
@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_pulled(reason: str, group: str) -> None:
    found = state.trouble(vmi(), [waiting(reason, group)], [{"type": "Normal"}, {"type": "Warning", "reason": "Failed",
                                                             "message": "manifest unknown"}])  # fmt: skip
    assert found and found.pull and not found.final
    assert found.text == f"{reason} of disk: why; Warning Failed manifest unknown"


def test_waiting_to_be_created_is_no_trouble() -> None:
    assert state.trouble(vmi(), [waiting("PodInitializing"), waiting("ContainerCreating")], []) is None


def test_a_pod_without_a_node() -> None:
    pod = {"status": {"conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}]}}  # fmt: skip
    found = state.trouble(vmi(), [pod], [])
    assert found and found.text == "Unschedulable: no node" and not found.pull


def test_an_instance_that_ended_or_cannot_be_made() -> None:
    assert (found := state.trouble(vmi("Failed"), [], [])) and found.final
    assert (found := state.trouble(vmi(Synchronized="False"), [], [])) and found.text == "R: M" and not found.final


def test_what_a_server_says_does_not_steer_a_terminal() -> None:
    found = state.trouble(
        vmi(), [waiting("ErrImagePull")], [{"type": "Warning", "message": "\x1b[2J\n\u202eevil" * 999}]
    )
    assert found and found.text.isprintable() and len(found.text) < 1200


@pytest.mark.parametrize(
    ("on", "off", "word"),
    [
        ([], [], "as the version has it"),
        (["ImageVolume"], [], "ImageVolume on"),
        ([], ["ImageVolume"], "ImageVolume off"),
    ],
)
def test_the_gates_are_told(on: list[str], off: list[str], word: str) -> None:
    developer = {"featureGates": on, "disabledFeatureGates": off, "useEmulation": True}
    one = {
        "spec": {"configuration": {"developerConfiguration": developer}},
        "status": {"observedKubeVirtVersion": "v1.9.0"},
    }
    told, emulated = state.configuration([one])
    assert told.startswith("KubeVirt v1.9.0; ") and word in told and emulated is True
    assert state.configuration([])[1] is None
