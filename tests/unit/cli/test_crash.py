"""A bug leaves one Markdown file that may be pasted as it is, and never hides itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kmi import cli
from kmi.cli import crash
from kmi.cli.context import Context
from kmi.errors import InternalError, ManyErrors, NetworkError, foreign
from kmi.host import redact

ROOT = Path(__file__).parents[3]
Verb = Callable[[Context], int]
Run = Callable[..., tuple[int, str]]
CANARY = "C4n4ry"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``kmi list WORDS`` whose work is another; its exit status and stderr."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KMI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("kmi.host.about.software", lambda: [("kmi", "x")])  # the real one is asked below

    def planted(work: Verb, *words: str) -> tuple[int, str]:
        monkeypatch.setattr("kmi.cli.list.run", lambda _, context: work(context))
        status = cli.main(["list", *words])
        captured = capsys.readouterr()
        assert captured.out == ""
        return status, captured.err

    return planted


def report(folder: Path) -> str:
    (file,) = folder.glob("kmi-crash-*.md")
    assert re.fullmatch(rf"kmi-crash-\d{{8}}T\d{{6}}Z-{os.getpid()}\.md", file.name)
    return file.read_text()


def section(text: str, title: str) -> str:
    """The fenced text below a heading, read as CommonMark does: it ends with a fence as long as the one before it."""
    found = re.search(rf"^## {title}\n\n(`{{3,}})text\n(.*?)\n\1$", text, re.M | re.S)
    assert found, f"no section {title}"
    return found[2]


def unfenced(text: str) -> str:
    """What a reader of Markdown renders as such: a fence ends with one at least as long (CommonMark, 4.5)."""
    fence, outside = 0, []
    for line in text.splitlines():
        ticks = len(line) - len(line.lstrip("`"))
        if fence:
            fence = 0 if ticks >= fence and ticks == len(line) else fence
        elif ticks >= 3:
            fence = ticks
        else:
            outside.append(line)
    assert not fence, "a fence is left open"
    return "\n".join(outside)


def divide(_: Context) -> int:
    raise ZeroDivisionError("the cause")


def test_a_bug_leaves_a_report_and_four_lines(run: Run, tmp_path: Path) -> None:
    status, err = run(divide, "--json")
    assert status == InternalError.exit_code
    assert re.fullmatch(
        r"bug: ZeroDivisionError: the cause\n"
        r"  where    kmi/cli/__init__.py:\d+\n"
        r"  report   \S+/build/kmi-crash-\S+\.md\n"
        r"  hint     kmi has a bug: .* file it at \S.*\n",
        err,
    )
    text = report(tmp_path / "build")
    assert text.startswith("# kmi bug: ZeroDivisionError at kmi/cli/__init__.py:")
    assert section(text, "Command") == "kmi list --json"
    assert section(text, "Traceback").endswith("ZeroDivisionError: the cause")
    assert "in divide" in section(text, "Traceback")
    assert section(text, "Settings that differ from the defaults").split() == ["cache", str(tmp_path / "cache")]
    assert "free at" in section(text, "Machine")


def test_the_stage_its_log_and_what_was_printed(run: Run, tmp_path: Path) -> None:
    logs = tmp_path / "build" / "debian-12-amd64" / "log"
    logs.mkdir(parents=True)
    (logs / "debian-12-amd64-customize.log").write_text("".join(f"line {n}\n" for n in range(200)))
    (logs / "publish.log").write_text("later, and of another stage\n")

    def work(context: Context) -> int:
        context.ui.line("a line before")
        with context.ui.step("debian-12-amd64", "fetch"):
            pass
        with context.ui.step("debian-12-amd64", "customize") as step:
            step.count(3, 7, "packages")
            raise KeyError("agent")

    run(work)
    text = report(tmp_path / "build")
    assert re.fullmatch(
        r"debian-12-amd64 customize: failed after \d+\.\d s 3 of 7 packages",
        section(text, "Stages that run or failed"),
    )
    assert section(text, r"End of .*/debian-12-amd64-customize\.log").splitlines() == [
        f"line {n}" for n in range(150, 200)
    ]
    assert "another stage" not in text
    assert section(text, "Last lines printed").splitlines()[0] == "a line before"


def test_images_side_by_side_are_all_named(run: Run, tmp_path: Path) -> None:
    inside, leave = threading.Event(), threading.Event()

    def work(context: Context) -> int:
        def beside() -> None:
            with context.ui.step("fedora-43-amd64", "fetch"):
                inside.set()
                leave.wait(10)

        other = threading.Thread(target=beside)
        other.start()
        try:
            assert inside.wait(10)
            with context.ui.step("debian-12-amd64", "wrap"):
                raise RuntimeError
        finally:
            threading.Timer(1.0, leave.set).start()

    run(work)
    told = section(report(tmp_path / "build"), "Stages that run or failed")
    assert re.search(r"fedora-43-amd64 fetch: running after .*\ndebian-12-amd64 wrap: failed after", told)


def test_chained_exceptions_and_those_of_several_images(run: Run, tmp_path: Path) -> None:
    def work(_: Context) -> int:
        failures = {}
        for image in ("debian-12", "fedora-43"):
            try:
                try:
                    raise LookupError(f"first {image}")
                except LookupError as error:
                    raise TypeError(f"second {image}") from error
            except TypeError as error:
                failures[image] = foreign(error)
        raise ManyErrors({**failures, "alpine-3": NetworkError("no answer")})

    status, err = run(work)
    assert status == NetworkError.exit_code  # the worst, as ManyErrors says
    assert re.search(r"^error: alpine-3: no answer$", err, re.M)
    assert re.search(r"^bug: debian-12: TypeError: second debian-12$", err, re.M)
    text = report(tmp_path / "build")
    for image in ("debian-12", "fedora-43"):
        told = section(text, f"Traceback of {image}")
        assert f"LookupError: first {image}" in told
        assert f"TypeError: second {image}" in told
    assert "alpine" not in section(text, "Traceback of debian-12")


def test_an_exception_in_a_thread_that_nobody_waits_for(run: Run, tmp_path: Path) -> None:
    def work(_: Context) -> int:
        thread = threading.Thread(target=divide, args=(None,), name="beside")
        thread.start()
        thread.join()
        return 0

    hook = threading.excepthook
    status, err = run(work)
    assert status == InternalError.exit_code
    assert "bug: beside: ZeroDivisionError: the cause" in err
    assert "in divide" in section(report(tmp_path / "build"), "Traceback of beside")
    assert threading.excepthook is hook


@pytest.mark.parametrize(
    "error", [MemoryError(), InternalError("not so", expected="a", got="b"), BrokenPipeError(32, "x")]
)
def test_what_is_a_bug(run: Run, tmp_path: Path, error: Exception) -> None:
    def work(_: Context) -> int:
        raise error

    assert run(work)[0] == InternalError.exit_code
    assert type(error).__name__ in report(tmp_path / "build").splitlines()[0]


def test_an_endless_recursion_makes_no_endless_report(run: Run, tmp_path: Path) -> None:
    def ping(depth: int) -> int:
        return pong(depth + 1)

    def pong(depth: int) -> int:
        return ping(depth + 1)

    assert run(lambda _: ping(0))[0] == InternalError.exit_code
    text = report(tmp_path / "build")
    assert "RecursionError" in text
    assert len(text) < 65_536  # what GitHub takes


def test_hostile_text_stays_in_its_fence(run: Run, tmp_path: Path) -> None:
    logs = tmp_path / "build" / "x-1" / "log"
    logs.mkdir(parents=True)
    (logs / "x-1-fetch.log").write_bytes(
        b"```\n````text\n# heading\n\x1b[2J\xff</details>\n" + b"y" * 10**5 + b"\n`````"
    )

    def work(context: Context) -> int:
        with context.ui.step("x-1", "fetch"):
            raise ValueError("```\n## not a heading\n``````")

    run(work)
    text = report(tmp_path / "build")
    outside = unfenced(text)
    assert [line for line in outside.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if re.match(r"# kmi bug: ValueError|## [A-Z]", line)
    ]
    assert "not a heading" not in outside
    assert "</details>" not in outside
    assert "\x1b" not in text
    assert "# heading" in section(text, r"End of .*/x-1-fetch\.log")
    assert len(text) < 65_536


def test_no_secret_and_no_environment(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", f"{CANARY}-environment")
    monkeypatch.setenv("HARMLESS_BUT_OURS", "harmless-value")
    monkeypatch.setenv("KMI_MIRRORS", f"https://a.example=https://user:{CANARY}-mirror@b.example")
    redact.know(f"{CANARY}-known")
    logs = tmp_path / "home" / "build" / "x-1" / "log"
    logs.mkdir(parents=True)
    secrets = [
        f"Authorization: Bearer {CANARY}-header",
        f"GET https://u:{CANARY}-log@a.example/",
        f"{CANARY}-known",
        f"-----BEGIN PRIVATE KEY-----\n{CANARY}-pem",  # cut off: the redaction must not eat the rest of the report
    ]
    (logs / "x-1-fetch.log").write_text("\n".join(secrets))

    def work(context: Context) -> int:
        context.ui.line(f"password is {CANARY}-environment")
        with context.ui.step("x-1", "fetch") as step:
            step.detail(f"https://u:{CANARY}-detail@a.example/")
            raise ValueError(f"{CANARY}-environment {CANARY}-known https://u:{CANARY}-text@a.example/")

    words = ["--output", str(tmp_path / "home" / "build"), "--distros", f"https://u:{CANARY}-word@a.example/"]
    _, err = run(work, *words)
    text = report(tmp_path / "home" / "build")
    assert CANARY not in text
    assert CANARY not in err
    assert "harmless-value" not in text
    assert str(tmp_path / "home") not in text
    assert "--output" in section(text, "Command")
    assert "~/build" in section(text, "Command")
    assert "ValueError: *** *** https://***@a.example/" in section(text, "Traceback")
    assert section(text, "Machine")


def test_the_next_folder_is_taken_where_one_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "build").write_text("a file")
    _, err = run(divide)
    assert f"{tmp_path}/cache/kmi-crash-" in err
    assert report(tmp_path / "cache")


def test_no_folder_at_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(crash, "write_text", full)
    status, err = run(divide)
    assert status == InternalError.exit_code
    assert "no folder could be written: it follows" in err
    assert section(err, "Traceback").endswith("ZeroDivisionError: the cause")


def test_a_bug_of_the_reporter_does_not_hide_the_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kmi.cli.report._stages", lambda _: [][1])
    status, err = run(divide)
    assert status == InternalError.exit_code
    assert "in divide" in err
    assert "ZeroDivisionError: the cause" in err
    assert "IndexError" in err


def test_a_bug_in_what_blanks_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str) -> str:
        raise IndexError("of the reporter")

    monkeypatch.setattr("kmi.host.ui.redact", broken)
    monkeypatch.setattr("kmi.cli.report.redact", broken)
    status, err = run(divide)
    assert status == InternalError.exit_code
    assert "ZeroDivisionError: the cause" in err


def test_a_bug_while_an_error_is_told(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise IndexError("of the teller")

    def work(_: Context) -> int:
        raise NetworkError("no answer")

    monkeypatch.setattr("kmi.cli.tell", broken)
    assert run(work)[0] == InternalError.exit_code
    told = section(report(tmp_path / "build"), "Traceback")
    assert "IndexError: of the teller" in told
    assert "NetworkError: no answer" in told


def test_a_real_process_names_versions_and_system(tmp_path: Path) -> None:
    """All of it as it is: a new interpreter, the real tools, a secret in the environment, and stop_all before."""
    plant = (
        "import kmi.cli.list, kmi.cli, kmi.host.run\n"
        "def broken(args, context):\n"
        "    kmi.host.run.stop_all()\n"
        "    raise ZeroDivisionError('the ' + __import__('os').environ['MY_SECRET'])\n"
        "kmi.cli.list.run = broken\n"
        "kmi.cli.entry()\n"
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "MY_SECRET": f"{CANARY}-process"}
    argv = [sys.executable, "-c", plant, "list", "--output", str(tmp_path / "out")]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == InternalError.exit_code
    assert "Traceback" not in done.stderr
    (file,) = (tmp_path / "out").glob("kmi-crash-*.md")
    text = file.read_text()
    assert CANARY not in text + done.stderr + done.stdout
    versions = dict(line.split(None, 1) for line in section(text, "Versions").splitlines())
    assert versions["python"] == sys.version.split()[0]
    assert re.search(r"version \d", versions["qemu-img"])
    assert re.search(r"\d", versions["skopeo"])
    assert {"kmi", "system", "kernel", "libguestfs", "cosign"} <= set(versions)
