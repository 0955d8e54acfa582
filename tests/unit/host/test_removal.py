"""Removing trees without leaving them: no link is followed, no mount is crossed. The mounts are real."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kmi.host.removal import mounted, remove

ROOT = Path(__file__).parents[3]
IN_A_NAMESPACE = """
import sys
from pathlib import Path
from kmi.host.store import Store
root = Path(sys.argv[1])
Store(root, warn=print)
"""


def test_links_are_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "link").symlink_to(outside)
    assert remove(inside, pytest.fail)
    (tmp_path / "link").symlink_to(outside)
    assert remove(tmp_path / "link", pytest.fail)
    assert remove(tmp_path / "never there", pytest.fail)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "file").read_text() == "x"


@pytest.mark.parametrize("options", [["-t", "tmpfs", "none"], ["--bind", "theirs"]], ids=["tmpfs", "bind"])
def test_the_sweep_stops_at_a_mount_and_names_it(tmp_path: Path, options: list[str]) -> None:
    """A bind mount of the same file system shows as no other device."""
    dead = tmp_path / "cache" / "tmp" / "run-dead0000"
    point = dead / "a b" / "mnt"
    point.mkdir(parents=True)
    (dead / "owner.lock").touch()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("x")
    source = [str(theirs) if word == "theirs" else word for word in options]
    script = 'mount "$@" || exit 9; touch "$point/inside"; exec "$python" -c "$program" "$cache"'
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *source, str(point)],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "point": str(point), "python": sys.executable,
             "program": IN_A_NAMESPACE, "cache": str(tmp_path / "cache")},
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert str(point) in result.stdout
    assert "unmount" in result.stdout
    assert point.is_dir()
    assert (theirs / "file").read_text() == "x"
    assert (theirs / "inside").exists() == ("--bind" in options)


def test_the_mounts_of_this_machine_are_seen() -> None:
    assert "/proc" in mounted(Path("/proc"))
    assert mounted(Path("/proc/self/fd")) == []
