"""A full disk is told with its name. The disks are small ones of their own."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kmi.errors import BuildError, HostError, foreign
from kmi.host import space
from kmi.host.run import run

ROOT = Path(__file__).parents[3]
FILL = """
import sys
from pathlib import Path
from kmi.errors import HostError, foreign
from kmi.host import run, space
small, other = map(Path, sys.argv[1:])
try:
    (small / "file").write_bytes(bytes(1 << 20))
except OSError as error:
    print("python:", space.full(foreign(error), (other, small), small))
try:
    run.run(["dd", "if=/dev/zero", f"of={small}/more"])
except HostError as error:
    print("program:", error)
try:
    run.run(["echo", "x" * 9999], log=small / "log" / "x.log")
except OSError as error:
    print("log:", space.full(foreign(error), (other, small), small))
"""


def test_the_disk_that_is_full_is_named(tmp_path: Path) -> None:
    small = tmp_path / "small"
    (small / "log").mkdir(parents=True)
    script = 'mount -t tmpfs -o size=64k none "$1" && mkdir "$1/log" && exec "$python" -c "$fill" "$@"'
    environ = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "fill": FILL, "python": sys.executable}
    told = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", small, tmp_path], env=environ,
                          capture_output=True, text=True, cwd=ROOT)  # fmt: skip
    assert told.returncode == 0, told.stderr
    for name in ("python: the disk is full", "program: the disk is too full for dd", "log: the disk is full"):
        assert name in told.stdout, told.stdout
    assert told.stdout.count(f"where    {small}") == 3
    assert told.stdout.count("kmi cache prune --max-size") == 3
    assert told.stdout.count("0 B free at") == 3


def test_another_error_stays_what_it_is() -> None:
    for error in (BuildError("x"), foreign(OSError(errno.EACCES, "no", "/x"))):
        assert space.full(error, (Path("/"),), Path("/")) is error


def test_a_registry_that_is_full_is_not_this_host(tmp_path: Path) -> None:
    """skopeo repeats what the other side says."""
    words = "blob upload: 500 Internal Server Error: write /var: no space left on device"
    assert space.starved(["skopeo", "copy", f"oci:{tmp_path}/x"], words, tmp_path) is None
    assert space.starved(["ssh", "-p", "1", "127.0.0.1"], words, tmp_path) is None  # a guest's word
    assert isinstance(space.starved(["qemu-img", "convert", f"{tmp_path}/x"], words, tmp_path), HostError)
    assert space.starved(["qemu-img"], "Permission denied", tmp_path) is None


def test_a_tool_that_finds_a_disk_full_is_a_matter_of_the_host(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="too full for dd"):
        run(["dd", "if=/dev/zero", "of=/dev/full", "count=1"], cwd=tmp_path)


def test_advice_is_for_the_disk_that_is_short() -> None:
    here, proc = space.look(Path("/")), space.look(Path("/proc"))
    assert "prune" in space.advice(here, Path("/"))
    assert "prune" not in space.advice(proc, Path("/"))
    assert space.look(Path("/not/there/yet")).folder == Path("/")
