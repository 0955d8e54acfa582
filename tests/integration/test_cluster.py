"""``--on kubevirt`` from the reference to the report, against a *simulated* cluster (tests/kubevirt_api.py): no guest
runs here. What one would answer over SSH is simulated too, behind the port that is really forwarded.

.github/workflows/cluster.yml does the same with kind, KubeVirt and a guest.
"""

from __future__ import annotations

import io
import json
import signal
import socket
import socketserver
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kmi.boot.console import Patience
from kmi.boot.seed import SeedKind
from kmi.errors import BuildError, NetworkError, UsageError
from kmi.host.run import Result
from kmi.host.ui import Reporter
from kmi.kubevirt.trial import Limits
from kmi.model.metadata import of_labels
from kmi.model.platform import Arch
from kmi.model.stages import TestReport
from kmi.oci.reference import parse
from kmi.pipeline import cluster, cluster_checks
from tests import living, tiny
from tests.answering import answering
from tests.kubevirt_api import TOKEN, Simulated, simulated, waited

DIGEST = "sha256:" + "1" * 64
REFERENCE = f"registry.example/kmi/debian@{DIGEST}"
RECORD = '{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb]", "errors": []}}'
METADATA = {**of_labels({}), "init": "cloud-init", "user": "debian", "agent": "installed", "firmware": "uefi bios"}
QUICK = Limits(start=5.0, settle=0.3, poll=0.05, removal=5.0, stopped=3.0)
HASTY = Patience(quiet=3.0, overall=6.0, least=2.0)


@dataclass(kw_only=True)
class Guest:
    """What answers behind the forwarded port 22: a line in, an answer out. ``answers`` by command."""

    answers: dict[str, str] = field(
        default_factory=lambda: {"id -un": "debian\n", "cat /run/cloud-init/result.json": RECORD}
    )
    asked: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Bench:
    cluster: Simulated
    guest: Guest
    folder: Path
    printed: io.StringIO = field(default_factory=io.StringIO)

    def test(self, reference: str = REFERENCE, **options: Any) -> TestReport:
        scratch = self.folder / "scratch"
        scratch.mkdir()
        words = {"limits": QUICK, "patience": HASTY, "metadata": METADATA, **options}
        return cluster.tested_on_cluster(
            parse(reference), arch=Arch.AMD64, name="debian-12-amd64", scratch=scratch, logs=self.logs,
            ui=Reporter(self.printed, github=False), **words,
        )  # fmt: skip

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def outcomes(self, report: TestReport) -> dict[str, str]:
        return {result.check: str(result.outcome) for result in report.results}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    guest = Guest()

    class Answers(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked = self.rfile.readline().decode().strip()
            guest.asked.append(asked)
            self.wfile.write(guest.answers.get(asked, "").encode())

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Answers)
    monkeypatch.setattr(cluster_checks, "execute", _simulated_ssh)
    with simulated(tmp_path / "cluster") as cluster, answering(server):
        cluster.target = server.server_address[1]
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig()))
        yield Bench(cluster=cluster, guest=guest, folder=tmp_path)


def _simulated_ssh(script: str, *, user: str, port: int, key: object) -> Result:
    """In place of ssh: no server here speaks its protocol."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"{script}\n".encode())
        found = b""
        while data := connection.recv(4096):
            found += data
    if not found:
        return Result(status=255, stdout="", stderr="Connection closed")
    if found.startswith(b"denied"):
        return Result(status=255, stdout="", stderr="debian@127.0.0.1: Permission denied (publickey).")
    return Result(status=0, stdout=found.decode(), stderr="")


def test_a_good_guest_passes_and_the_report_says_simulated(bench: Bench) -> None:
    report = bench.test()
    assert bench.outcomes(report) == dict.fromkeys(("login-prompt", "guest-agent", "cloud-init", "ssh"), "passed")
    assert (str(report.subject), report.runner, report.simulated) == (DIGEST, "kubevirt", True)
    assert {result.machine for result in report.results} == {"amd64/kubevirt"}
    assert report.began
    assert bench.cluster.objects == {}
    (made,) = bench.cluster.made
    assert made["spec"]["volumes"][0]["containerDisk"]["image"] == REFERENCE
    assert made["spec"]["domain"]["firmware"] == {"bootloader": {"bios": {}}}
    assert "ssh_authorized_keys" in made["spec"]["volumes"][1]["cloudInitNoCloud"]["userData"]
    printed = bench.printed.getvalue()
    assert "KubeVirt v1.8.4; gates on: Sidecar; off: ImageVolume; ImageVolume off; emulation allowed" in printed
    assert "(simulated)" in printed
    assert (bench.logs / "console-kubevirt.log").read_bytes() == bench.cluster.console
    assert not list(bench.logs.glob("kubevirt-*")), "nothing to explain"


def test_only_a_server_that_says_so_is_simulated(bench: Bench) -> None:
    bench.cluster.version = "v1.35.8"
    assert not bench.test().simulated


def test_the_token_is_nowhere(bench: Bench) -> None:
    bench.cluster.faults.no_agent = True
    report = bench.test()
    kept = [path.read_text(errors="replace") for path in bench.logs.rglob("*") if path.is_file()]
    assert kept
    for text in (*kept, bench.printed.getvalue(), repr(report)):
        assert TOKEN not in text


@pytest.mark.parametrize(
    ("fault", "value", "failed", "says"),
    [
        ("no_agent", True, "guest-agent", "silent"),
        ("old_agent", True, "guest-agent", "does not support the commands"),
    ],
)
def test_each_check_can_fail_alone(bench: Bench, fault: str, value: Any, failed: str, says: str) -> None:
    setattr(bench.cluster.faults, fault, value)
    report = bench.test()
    assert [check for check, outcome in bench.outcomes(report).items() if outcome != "passed"] == [failed]
    assert says in next(result.detail for result in report.results if result.check == failed)
    assert (bench.logs / "kubevirt-instance.json").exists() and (bench.logs / "kubevirt-compute.log").exists()
    assert bench.cluster.objects == {}


def test_a_guest_that_never_offers_a_login(bench: Bench) -> None:
    bench.cluster.console, bench.cluster.entered = b"Linux version 6.1\r\n", b""
    found = bench.test()
    assert bench.outcomes(found)["login-prompt"] == "failed"
    assert "it came as far as the kernel" in found.results[0].detail


def test_a_guest_that_dies_in_a_panic(bench: Bench) -> None:
    bench.cluster.console = b"Linux version 6.1\r\nKernel panic - not syncing: VFS\r\n"
    assert "Kernel panic" in bench.test().results[0].detail


def test_a_console_that_cannot_be_had_is_told_as_that(bench: Bench) -> None:
    bench.cluster.faults.forbid.add("GET console")
    detail = bench.test().results[0].detail
    assert "the console's connection" in detail and "403" in detail


def test_a_console_that_is_cut_is_connected_again(bench: Bench) -> None:
    bench.cluster.faults.cut_console = 1
    assert bench.outcomes(bench.test(patience=Patience(quiet=8, overall=20, least=8)))["login-prompt"] == "passed"


def test_an_ssh_server_that_takes_no_key(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_checks, "_DENIALS", 1)
    bench.guest.answers["id -un"] = "denied"
    found = {result.check: result for result in bench.test().results}
    assert found["ssh"].outcome == "failed" and "was refused 1 times" in found["ssh"].detail
    assert found["cloud-init"].outcome == "passed"


def test_a_cloud_init_that_has_errors(bench: Bench) -> None:
    bench.guest.answers["cat /run/cloud-init/result.json"] = RECORD.replace("[]", '["boom"]')
    found = {result.check: result for result in bench.test().results}
    assert found["cloud-init"].outcome == "failed" and "boom" in found["cloud-init"].detail


def test_what_does_not_apply_is_skipped(bench: Bench) -> None:
    found = bench.outcomes(bench.test(metadata={**METADATA, "agent": "absent", "user": "", "init": "none"}))
    assert found == {"login-prompt": "passed", "guest-agent": "skipped", "cloud-init": "skipped", "ssh": "skipped"}
    assert [volume["name"] for volume in bench.cluster.made[0]["spec"]["volumes"]] == ["rootdisk", "spare"]


@pytest.mark.parametrize("kind", [SeedKind.IGNITION, SeedKind.CONFIGDRIVE])
def test_other_seeds_lie_on_a_config_drive(bench: Bench, kind: SeedKind) -> None:
    bench.guest.answers["cat /etc/kmi-test"] = "not the nonce\n"
    report = bench.test(seed=kind)
    assert "instead of what the seed says" in next(one.detail for one in report.results if one.check == "cloud-init")
    data = bench.cluster.made[0]["spec"]["volumes"][1]["cloudInitConfigDrive"]["userData"]
    assert ("ignition" in json.loads(data)) if kind is SeedKind.IGNITION else data.startswith("#cloud-config\n")


def test_what_a_guest_says_of_itself_does_not_steer_a_terminal(bench: Bench) -> None:
    bench.cluster.faults.hostile = True
    detail = next(result.detail for result in bench.test().results if result.check == "guest-agent")
    assert detail.isprintable() and len(detail) <= 600


def test_a_tag_is_refused_before_anything_is_asked(bench: Bench) -> None:
    with pytest.raises(UsageError, match="named by digest"):
        bench.test("registry.example/kmi/debian:12")
    assert bench.cluster.asked == []


def test_a_tag_beside_the_digest_is_left_out(bench: Bench) -> None:
    bench.test(f"registry.example/kmi/debian:12@{DIGEST}")
    assert bench.cluster.made[0]["spec"]["volumes"][0]["containerDisk"]["image"] == REFERENCE


def test_a_cluster_without_kubevirt(bench: Bench) -> None:
    bench.cluster.kubevirts = None
    with pytest.raises(NetworkError, match="has no KubeVirt"):
        bench.test()
    assert bench.cluster.made == []


def test_a_configuration_that_may_not_be_read_is_told(bench: Bench) -> None:
    bench.cluster.faults.forbid.add("GET kubevirts")
    assert bench.outcomes(bench.test())["login-prompt"] == "passed"
    assert "may not be read (status 403)" in bench.printed.getvalue()


def test_a_pull_that_fails_is_the_machinery_s_failure(bench: Bench) -> None:
    bench.cluster.faults.waiting = "ImagePullBackOff"
    with pytest.raises(BuildError, match="did not start") as caught:
        bench.test()
    assert "manifest unknown" in str(caught.value.got) and caught.value.log == bench.logs
    assert bench.cluster.objects == {}


def test_another_user_s_leftovers_are_told(bench: Bench) -> None:
    bench.cluster.add("kmi-test-old", "2020-01-01T00:00:00Z")
    bench.test()
    assert "deleting tests/kmi-test-old" in bench.printed.getvalue()
    assert bench.cluster.objects == {}


def test_verification_that_is_off_is_warned_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.folder / "insecure"
    path.write_text(
        (bench.cluster.folder / "kubeconfig").read_text().replace(
            '"certificate-authority": "ca.pem"', '"insecure-skip-tls-verify": "true"'
        )
    )  # fmt: skip
    monkeypatch.setenv("KUBECONFIG", str(path))
    bench.test()
    assert "any server is to be believed" in bench.printed.getvalue()


RUN = """
import sys
from pathlib import Path
from kmi.boot.console import Patience
from kmi.cli import stops
from kmi.host.ui import Reporter
from kmi.kubevirt.trial import Limits
from kmi.model.platform import Arch
from kmi.oci.reference import parse
from kmi.pipeline.cluster import tested_on_cluster
stops.obey()
metadata = dict(pair.split("=") for pair in sys.argv[3:])
try:
    tested_on_cluster(parse(sys.argv[1]), metadata, Arch.AMD64, name="x", scratch=Path(sys.argv[2]),
                      logs=Path(sys.argv[2]) / "logs", ui=Reporter(), limits=Limits(poll=0.1))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("stage", ["starting", "running"])
def test_a_stopped_run_leaves_nothing(bench: Bench, number: signal.Signals, stage: str) -> None:
    bench.cluster.faults.never_ready = stage == "starting"
    bench.cluster.faults.no_agent = True
    process = _start(bench)
    made = lambda: bool(bench.cluster.objects)  # noqa: E731
    running = lambda: any("/console" in line for line in bench.cluster.asked)  # noqa: E731
    assert waited(made if stage == "starting" else running, 30), _ended(process)
    time.sleep(0.3)
    process.send_signal(number)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130, told
    assert bench.cluster.objects == {}, told
    assert TOKEN not in told


def test_a_killed_run_leaves_what_the_next_one_tells(bench: Bench) -> None:
    bench.cluster.faults.never_ready = True
    process = _start(bench)
    assert waited(lambda: bool(bench.cluster.objects), 30), _ended(process)
    process.kill()
    process.communicate(timeout=20)
    (name,) = bench.cluster.objects
    assert bench.cluster.objects[name]["metadata"]["annotations"]["kmi.dev/began"]
    bench.cluster.faults.never_ready = False
    bench.test()
    assert f"another test runs, or was killed: tests/{name}" in bench.printed.getvalue()
    assert set(bench.cluster.objects) == {name}, "its own is gone"


def _ended(process: subprocess.Popen[str]) -> str:
    process.kill()
    return process.communicate()[1]


def _start(bench: Bench) -> subprocess.Popen[str]:
    scratch = bench.folder / "run"
    scratch.mkdir()
    facts = [f"{name}={value}" for name, value in METADATA.items()]
    return subprocess.Popen(
        [*living.OBEDIENT, sys.executable, "-c", RUN, REFERENCE, str(scratch), *facts],
        cwd=tiny.ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
