"""One cache, many hardships: full disks, other people's files, several runs at once, a clock that is wrong.

All of it with the whole of ``kmi build`` on a disk of 1 MiB. The small disks are tmpfs in a mount namespace.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import tiny
from tests.fault_record import record, repeat
from tests.sound import facts, sound
from tests.tiny import Kmi

BUILT = Path("build") / "tiny-1-amd64"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kmi]:
    root = tmp_path_factory.mktemp("cache")
    made = tiny.make(root / "tiny", "tiny", "other")
    with tiny.served(made.www) as mirrors:
        yield Kmi(folder=root, tiny=made, base=tiny.local_base(root), mirrors=mirrors)


@pytest.fixture
def kmi(world: Kmi, tmp_path: Path) -> Kmi:
    """With an empty cache."""
    return replace(world, folder=tmp_path)


@pytest.fixture
def ready(kmi: Kmi) -> tuple[Kmi, str]:
    """After a first build, with its digest."""
    result = kmi("build", "tiny")
    assert result.returncode == 0, result.stderr
    return kmi, result.stdout.strip()


SMALL = """
mkdir -p "$small"
mount -t tmpfs -o "$options" none "$small"
note() { name=$1; shift; status=0; "$@" >"$name.out" 2>"$name.err" || status=$?; echo $status >"$name"; }
note first "$@" build tiny
note verify "$@" cache verify
mount -o remount,size=2g,nr_inodes=100000 "$small"
note second "$@" build tiny
cp -a "$small" kept
"""


def on_a_small_disk(kmi: Kmi, small: Path, options: str, **environ: str) -> tuple[int, str]:
    """Build while ``small`` is a disk with little room, verify the cache, then make room and build again. Returns how
    the first build ended; the second one has to be right."""
    env = kmi.environ(small=str(small), options=options, **environ)
    env["PATH"] += ":/usr/sbin:/sbin"
    argv = ["unshare", "--mount", "sh", "-eu", "-c", SMALL, "sh", *kmi.argv()]
    subprocess.run(argv, cwd=kmi.folder, env=env, check=True, timeout=300)
    first, verify, second = (int((kmi.folder / name).read_text()) for name in ("first", "verify", "second"))
    assert verify in (0, 7), (kmi.folder / "verify.out").read_text()
    assert second == 0, (kmi.folder / "second.err").read_text()
    kept = kmi.folder / "kept"
    output = kept / BUILT.relative_to("build") if small == kmi.folder / "build" else kmi.folder / BUILT
    sound(output / "oci", (kmi.folder / "second.out").read_text().strip())
    return first, (kmi.folder / "first.err").read_text()


def full(status: int, told: str, small: Path) -> str:
    assert status in (0, 7), told
    if status == 0:
        return "there was room"
    assert "bug" not in told
    assert "full" in told or "room" in told or "disk space" in told, told
    assert str(small) in told, told
    return "exit 7 with the folder's name"


@pytest.mark.parametrize("files", range(3, 75, 3 if repeat() > 1 else 12))
def test_a_cache_that_is_full_after_so_many_files(kmi: Kmi, files: int) -> None:
    """Whichever stage it hits. (Limited by files, for a run does not begin without a gigabyte.)"""
    status, told = on_a_small_disk(kmi, kmi.cache, f"size=2g,nr_inodes={files}")
    result = full(status, told, kmi.cache)
    assert status == 0 or "kmi cache prune --max-size" in told
    assert status == 7 or files > 40
    record("full-disk", "cache", result=result)


@pytest.mark.parametrize("size", ["4k", "16k", "64k", "512k"])
def test_an_output_folder_that_is_full(kmi: Kmi, size: str) -> None:
    status, told = on_a_small_disk(kmi, kmi.folder / "build", f"size={size}")
    assert status == 7
    record("full-disk", "output folder", result=full(status, told, kmi.folder / "build"))


def test_a_cache_without_room_to_begin(kmi: Kmi) -> None:
    status, told = on_a_small_disk(kmi, kmi.cache, "size=1m")
    assert status == 7
    record("full-disk", "cache, before the run", result=full(status, told, kmi.cache))
    assert "kmi cache prune --max-size" in told


def test_a_folder_for_temporary_files_that_is_full(kmi: Kmi) -> None:
    """What kmi and its tools write goes to the cache."""
    folder = kmi.folder / "temporary"
    status, told = on_a_small_disk(kmi, folder, "size=4k,nr_inodes=2", TMPDIR=str(folder))
    record("full-disk", "TMPDIR", result=full(status, told, folder))


def test_prune_works_on_a_full_disk(kmi: Kmi) -> None:
    """It has to: it is what the message tells people to do."""
    script = """
    mkdir -p "$KMI_CACHE"; mount -t tmpfs -o size=2g,nr_inodes=100000 none "$KMI_CACHE"
    "$@" build tiny >/dev/null
    used=$(stat -f -c %c "$KMI_CACHE"); free=$(stat -f -c %d "$KMI_CACHE")
    mount -o remount,nr_inodes=$((used - free)) "$KMI_CACHE"
    ! touch "$KMI_CACHE/x" 2>/dev/null
    "$@" cache prune --max-size 0
    """
    env = kmi.environ()
    env["PATH"] += ":/usr/sbin:/sbin"
    told = subprocess.run(["unshare", "--mount", "sh", "-eu", "-c", script, "sh", *kmi.argv()], cwd=kmi.folder, env=env,
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "went, 0 B left" in told.stderr


@pytest.mark.parametrize("name", ["", "stages", "blobs/sha256", "locks", "tmp"])
def test_a_read_only_cache_is_told(ready: tuple[Kmi, str], name: str) -> None:
    kmi, digest = ready
    script = 'mount --bind "$path" "$path" && mount -o remount,ro,bind "$path" && exec "$@"'
    env = kmi.environ(path=str(kmi.cache / name))
    env["PATH"] += ":/usr/sbin:/sbin"
    told = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *kmi.argv("build", "tiny")], cwd=kmi.folder,
                          env=env, capture_output=True, text=True, timeout=120)  # fmt: skip
    assert "bug" not in told.stderr
    if told.returncode:
        assert told.returncode == 7, told.stderr
        assert "read-only" in told.stderr
        assert str(kmi.cache) in told.stderr
    sound(kmi.folder / BUILT / "oci", digest)


@pytest.mark.parametrize("words", [["ls"], ["verify"], ["prune", "--max-size", "0"]], ids=" ".join)
def test_somebody_elses_cache_is_told(ready: tuple[Kmi, str], words: list[str]) -> None:
    kmi, digest = ready
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        subprocess.run(["cp", "-a", kmi.cache, folder], check=True)
        subprocess.run(["chown", "-R", "65534:65534", f"{folder}/cache"], check=True)
        # Root without its powers over files is anybody, but for the clone, which perhaps only root may read.
        argv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", *kmi.argv("cache", *words)]
        env = kmi.environ(KMI_CACHE=f"{folder}/cache", HOME="/nonexistent")
        told = subprocess.run(argv, cwd="/", env=env, capture_output=True, text=True, timeout=120)
        assert told.returncode == 7, told.stderr
        assert f"{folder}/cache" in told.stderr
        (stage,) = Path(folder, "cache", "stages").glob("index-*")
        assert digest.removeprefix("sha256:") in (stage / "oci" / "index.json").read_text()


def ended(processes: list[subprocess.Popen[str]]) -> list[str]:
    told = [process.communicate(timeout=300)[0] for process in processes]
    for process, text in zip(processes, told, strict=True):
        assert process.returncode == 0, text
    return told


def test_the_same_image_three_times_at_once(kmi: Kmi) -> None:
    for _ in range(repeat()):
        subprocess.run(["rm", "-rf", kmi.cache, kmi.folder / "build"], check=True)
        told = ended([kmi.start("build", "tiny") for _ in range(3)])
        digests = {line for text in told for line in text.splitlines() if line.startswith("sha256:")}
        assert len(digests) == 1, told
        sound(kmi.folder / BUILT / "oci", digests.pop())
        assert sum("finish" in line and "reused" in line for text in told for line in text.splitlines()) == 2
        assert any("another kmi" in text for text in told)
        record("concurrent", "three of the same image, one output folder", result="one builds, two reuse")


def test_the_same_image_for_two_output_folders_at_once(kmi: Kmi) -> None:
    for _ in range(repeat()):
        subprocess.run(["rm", "-rf", kmi.cache], check=True)
        outputs = [kmi.folder / "one", kmi.folder / "two"]
        told = ended([kmi.start("build", "tiny", KMI_OUTPUT=str(output)) for output in outputs])
        digests = {line for text in told for line in text.splitlines() if line.startswith("sha256:")}
        assert len(digests) == 1, told
        for output in outputs:
            sound(output / BUILT.name / "oci", next(iter(digests)))
        record("concurrent", "the same image, two output folders", result="the same digest")


def test_different_images_at_once_while_the_cache_is_pruned(kmi: Kmi) -> None:
    """Nothing goes that a run has asked for."""
    for _ in range(repeat()):
        subprocess.run(["rm", "-rf", kmi.cache, kmi.folder / "build"], check=True)
        running = [kmi.start("build", name, "-j", "2") for name in ("tiny", "other")]
        prunes = 0
        while any(process.poll() is None for process in running):
            pruned = kmi("cache", "prune", "--max-size", "0")
            assert pruned.returncode == 0, pruned.stderr
            prunes += 1
        told = ended(running)
        lost = [line for text in told for line in text.splitlines() if "damaged" in line or "again" in line]
        assert lost == []
        for name, text in zip(("tiny", "other"), told, strict=True):
            (digest,) = (line for line in text.splitlines() if line.startswith("sha256:"))
            sound(kmi.folder / "build" / f"{name}-1-amd64" / "oci", digest)
        record("concurrent", "two images while the cache is pruned again and again", result="both right", prunes=prunes)
    assert kmi("cache", "prune", "--max-size", "0").returncode == 0
    assert json.loads(kmi("cache", "ls", "--json").stdout) == []


FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
CLOCKS = {"20 years ago": "-20y", "in 50 years": "+50y"}


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_that_is_wrong_changes_nothing(ready: tuple[Kmi, str], clock: str) -> None:
    """Only kmi's own clock is: its tools have a clean environment. (``--as-of``, because the week is an input.)"""
    kmi, _ = ready
    wrong = {"LD_PRELOAD": FAKETIME, "FAKETIME": CLOCKS[clock]}
    assert abs(year(wrong) - year({})) >= 20
    digest = kmi("build", "tiny", "--as-of", "2026-W01").stdout.strip()
    if CLOCKS[clock].startswith("-"):  # what was released after today cannot be
        refused = kmi("build", "tiny", "--as-of", "2026-W01", **wrong)
        assert refused.returncode == 4
        assert "the clock of this machine is wrong" in refused.stderr
        record("clock", clock, result="refused with exit 4: the clock is wrong")
        wrong = {}
    again = kmi("build", "tiny", "--as-of", "2026-W01", **wrong)
    assert (again.returncode, again.stdout.strip()) == (0, digest), again.stderr
    receipt = json.loads((kmi.folder / BUILT / "receipt.json").read_text())
    assert {s["stage"] for s in receipt["stages"] if s["reused"]} == {"fetch", "finish", "wrap", "index"}
    assert all(stage["seconds"] < 60 for stage in receipt["stages"])
    new = {"KMI_CACHE": str(kmi.folder / "fresh"), "KMI_OUTPUT": str(kmi.folder / "new")}
    fresh = kmi("build", "tiny", "--as-of", "2026-W01", **new, **wrong)
    assert fresh.returncode == 0, fresh.stderr
    assert facts(kmi.folder / "new" / BUILT.name / "oci") == facts(kmi.folder / BUILT / "oci")
    if wrong:
        record("clock", clock, result="all is reused; a new build is the same but for the day of its download")


def year(environ: dict[str, str]) -> int:
    environ |= {"PATH": os.environ["PATH"]}
    return int(subprocess.run(["date", "+%Y"], env=environ, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("clock", ["-20y", "+50y"])
def test_who_starts_under_a_wrong_clock_sweeps_the_dead_and_not_the_living(kmi: Kmi, clock: str) -> None:
    script = "import sys; from pathlib import Path; from kmi.host.owner import owned; "
    script += "print(owned(Path(sys.argv[1])), flush=True); sys.stdin.read()"
    living, dead = (
        subprocess.Popen([kmi.argv()[0], "-c", script, str(kmi.cache)], env=kmi.environ(), text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
    )  # fmt: skip
    with living, dead:
        folders = [Path(process.stdout.readline().strip()) for process in (living, dead) if process.stdout]
        dead.kill()
        dead.wait()
        assert all(folder.is_dir() for folder in folders)
        result = kmi("cache", "ls", LD_PRELOAD=FAKETIME, FAKETIME=clock)
        assert result.returncode == 0, result.stderr
        assert [folder.is_dir() for folder in folders] == [True, False]
        living.communicate("")
    record("clock", f"a sweep, {clock}", result="the dead owner's folder goes, the living one's stays")
