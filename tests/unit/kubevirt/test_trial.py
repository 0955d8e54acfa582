"""One machine for the time of a block: whatever goes wrong, nothing is left, and the cluster's words are told."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kmi.errors import BuildError, Interrupted, KmiError, NetworkError
from kmi.host import run
from kmi.kubevirt.objects import Drive, Seed, instance
from kmi.kubevirt.removal import sweep
from kmi.kubevirt.resources import Resources
from kmi.kubevirt.trial import Limits, Live, trial
from kmi.model.platform import Arch, Firmware
from tests.kubevirt_api import TOKEN, Faults, Simulated, waited

QUICK = Limits(start=1.0, settle=0.1, poll=0.02, removal=3.0, stopped=2.0)


@dataclass(kw_only=True)
class Bench:
    """A trial that can be started, and what it told."""

    cluster: Simulated
    resources: Resources
    logs: Path
    limits: Limits = QUICK
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    @contextmanager
    def machine(self) -> Iterator[Live]:
        manifest = instance(
            "registry.example/x@sha256:" + "0" * 64, arch=Arch.AMD64, firmware=Firmware.BIOS,
            seed=Seed(drive=Drive.NOCLOUD, user_data="#cloud-config\n"), test=str(uuid.uuid4()),
            began=datetime.now(UTC),
        )  # fmt: skip
        with trial(
            self.resources, manifest, logs=self.logs, limits=self.limits, told=self.said.append, warn=self.warned.append
        ) as live:
            yield live

    def fails(self) -> KmiError:
        """What stops it before the block; nothing may be left."""
        with pytest.raises(KmiError) as caught:
            with self.machine():
                pytest.fail("it started")
        assert self.cluster.objects == {} and self.warned == []
        return caught.value

    def kept(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.logs.iterdir()}


@pytest.fixture
def bench(cluster: Simulated, resources: Resources, tmp_path: Path) -> Bench:
    logs = tmp_path / "logs"
    logs.mkdir()
    return Bench(cluster=cluster, resources=resources, logs=logs)


def test_a_machine_is_handed_out_when_it_is_ready_and_goes_with_the_block(bench: Bench) -> None:
    with bench.machine() as live:
        assert live.running() and set(bench.cluster.objects) == {live.name}
        assert waited(live.agent_connected)
        found = live.guest_os()
        assert found and found["os"]["prettyName"].startswith("Debian")
        assert waited(lambda: b"login: " in live.console.read_bytes())
    assert bench.cluster.objects == {} and bench.warned == []
    (made,) = bench.cluster.made
    assert uuid.UUID(made["metadata"]["labels"]["kmi.dev/test"])
    assert bench.said[:3] == ["Scheduling", "Scheduled", "Running"][: len(bench.said[:3])]


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_pulled_is_told_with_the_event(bench: Bench, reason: str) -> None:
    bench.cluster.faults.waiting = reason
    began = time.monotonic()
    error = bench.fails()
    assert time.monotonic() - began < QUICK.start, "it does not wait for the end of its time"
    assert isinstance(error, BuildError)
    assert reason in str(error.got) and "manifest unknown" in str(error.got) and "registry" in str(error.hint)


def test_a_trouble_that_passes_is_borne(bench: Bench) -> None:
    bench.limits = replace(QUICK, settle=5.0)
    bench.cluster.faults.waiting = "ErrImagePull"
    reads = bench.resources.get

    def get(name: str, **options: object) -> dict[str, object]:
        if bench.cluster.looks[name] > 5:
            bench.cluster.faults.waiting = ""
        return reads(name)

    bench.resources.get = get  # type: ignore[method-assign, assignment]
    with bench.machine() as live:
        assert live.running()
    assert any("ErrImagePull" in line for line in bench.said)


def test_a_pod_without_a_node_is_told(bench: Bench) -> None:
    bench.cluster.faults.unschedulable = True
    error = bench.fails()
    assert "Unschedulable" in str(error.got) and "0/1 nodes" in str(error.got) and error.hint is None


def test_a_machine_that_is_never_ready_is_given_up(bench: Bench) -> None:
    bench.cluster.faults.never_ready = True
    assert "phase Running after" in str(bench.fails().got)


def test_a_machine_that_somebody_deletes(bench: Bench) -> None:
    bench.cluster.faults.statuses["GET virtualmachineinstances"] = [404]
    assert bench.fails().what == "somebody deleted the machine"


def test_what_a_failure_leaves_to_read(bench: Bench) -> None:
    bench.cluster.faults.never_ready = True
    bench.fails()
    kept = bench.kept()
    assert set(kept) == {
        "kubevirt-instance.json", "kubevirt-events.txt", "kubevirt-pods.json", "kubevirt-compute.log",
        "kubevirt-volumerootdisk.log",
    }  # fmt: skip
    assert "VirtualMachineInstance started." in kept["kubevirt-events.txt"]
    assert kept["kubevirt-compute.log"] == "log of compute, authorization: ***\n"
    assert not any(TOKEN in text for text in (*kept.values(), *bench.said))


def test_what_cannot_be_read_is_told_and_passed_over(bench: Bench) -> None:
    bench.cluster.faults.never_ready = True
    bench.cluster.faults.forbid |= {"GET pods", "GET events"}
    bench.fails()
    assert set(bench.kept()) == {"kubevirt-instance.json"}
    assert any("kubevirt-events.txt could not be had" in line for line in bench.said)


def test_a_create_that_is_refused_leaves_nothing_to_delete(bench: Bench) -> None:
    bench.cluster.faults.forbid.add("POST virtualmachineinstances")
    error = bench.fails()
    assert isinstance(error, NetworkError) and "status 403" in str(error.got)
    assert not any(line.startswith("DELETE") for line in bench.cluster.asked)
    assert bench.kept() == {}


ALL: dict[str, Callable[[Faults], None]] = {
    "create's answer is lost": lambda faults: setattr(faults, "lost_create", True),
    "errors at creating": lambda faults: faults.statuses.update({"POST virtualmachineinstances": [500, 503]}),
    "a delete that is refused once": lambda faults: faults.statuses.update(
        {"DELETE virtualmachineinstances": [403]}),
    "a delete that conflicts": lambda faults: faults.statuses.update({"DELETE virtualmachineinstances": [409]}),
    "errors at deleting": lambda faults: faults.statuses.update({"DELETE virtualmachineinstances": [500, 500]}),
    "pods out of sight": lambda faults: faults.forbid.update({"GET pods", "GET events", "GET log"}),
    "no console": lambda faults: faults.forbid.add("GET console"),
    "a cut console": lambda faults: setattr(faults, "cut_console", 99),
    "a hanging console": lambda faults: setattr(faults, "hang", "GET console"),
    "a frame without end": lambda faults: setattr(faults, "huge_frame", True),
}  # fmt: skip


KINDS = (RuntimeError, BuildError, KeyboardInterrupt, Interrupted, None)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [*((fault, KINDS[number % 3]) for number, fault in enumerate(ALL)), *(("a cut console", kind) for kind in KINDS)],
)
def test_nothing_is_left_whatever_goes_wrong(bench: Bench, fault: str, kind: type[BaseException] | None) -> None:
    ALL[fault](bench.cluster.faults)
    if kind is None:
        with bench.machine() as live:
            assert live.running()
    else:
        with pytest.raises(kind):
            with bench.machine():
                raise kind("stop")
    assert bench.cluster.objects == {} and bench.warned == []


def test_a_hanging_create_is_deleted_when_the_user_gives_up(bench: Bench) -> None:
    """The request was taken, its answer never comes; Ctrl-C arrives meanwhile."""
    sent = bench.resources.create

    def create(manifest: dict[str, object]) -> dict[str, object]:
        sent(manifest)
        raise KeyboardInterrupt

    bench.resources.create = create  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        with bench.machine():
            pytest.fail("it started")
    assert bench.cluster.objects == {}


def test_a_request_to_stop_ends_the_waiting_and_still_deletes(bench: Bench) -> None:
    bench.cluster.faults.never_ready = True

    class Stopping(list[str]):
        def append(self, line: str) -> None:
            run.stop_all()

    bench.said = Stopping()
    try:
        with pytest.raises(Interrupted):
            with bench.machine():
                pytest.fail("it started")
    finally:
        run.restart()
    assert bench.cluster.objects == {} and bench.kept() == {}


def test_what_stays_is_told_in_bounded_time(bench: Bench) -> None:
    bench.limits = replace(QUICK, removal=0.8)
    bench.cluster.faults.stays = True
    began = time.monotonic()
    with bench.machine() as live:
        name = live.name
    assert time.monotonic() - began < 5
    (line,) = bench.warned
    assert f"tests/{name}" in line and "kubectl delete vmi -l kmi.dev/test=" in line
    assert sum(one.startswith("DELETE") for one in bench.cluster.asked) == 1, "asked once, then waited for"


def test_a_cluster_that_falls_silent_is_told(bench: Bench) -> None:
    bench.limits = replace(QUICK, removal=1.0)
    with bench.machine():
        bench.cluster.token = "changed"
    (line,) = bench.warned
    assert "the cluster does not know this login" in line and TOKEN not in line


def test_a_machine_that_ends_is_seen(bench: Bench) -> None:
    bench.cluster.faults.ends = True
    with bench.machine() as live:
        assert waited(lambda: not live.running())


NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def left(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_what_killed_runs_left_is_told_and_deleted_when_old(cluster: Simulated, resources: Resources) -> None:
    cluster.add("old", left(7))
    cluster.add("young", left(5))
    cluster.add("lies", left(900), created=left(1))
    cluster.add("lies-too", left(1), created=left(900))
    cluster.add("future", left(-9000))
    cluster.add("no-date", "yesterday")
    cluster.add("not-ours", left(99), label="app")
    cluster.add("foreign", left(99))
    del cluster.objects["foreign"]["metadata"]["annotations"]
    said: list[str] = []
    sweep(resources, NOW, said.append)
    assert set(cluster.objects) == {"young", "lies", "lies-too", "future", "no-date", "not-ours", "foreign"}
    assert [line for line in said if "deleting" in line] == [
        "deleting tests/old, which a test left at 2026-11-20 05:00 UTC"
    ]
    assert sum("another test runs" in line for line in said) == 4


def test_a_leftover_that_cannot_be_deleted_is_no_obstacle(cluster: Simulated, resources: Resources) -> None:
    cluster.add("old", left(7))
    cluster.faults.forbid.add("DELETE virtualmachineinstances")
    said: list[str] = []
    sweep(resources, NOW, said.append)
    assert "could not be deleted" in said[-1] and "status 403" in said[-1]
