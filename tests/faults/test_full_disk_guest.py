"""A guest whose disk file cannot grow: QEMU stops it and tells nobody. kmi does, at once, with the folder's name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kmi.host import appliance
from tests.fault_record import record
from tests.tiny import ROOT

FILL = """
import sys, time
from pathlib import Path
from kmi.errors import HostError
from kmi.host.accel import Acceleration
from kmi.host.guestfs import appliance
small, cache = map(Path, sys.argv[1:])
with (small / "disk.raw").open("wb") as file:
    file.truncate(200 << 20)
tcg = Acceleration(name="tcg", cpu="max", why="")
try:
    with appliance([small / "disk.raw"], acceleration=tcg, cache=cache, log=cache / "log") as guest:
        guest.mkfs("ext4", "/dev/sda")
        guest.mount("/dev/sda", "/")
        began = time.monotonic()
        guest.fill(65, 60 << 20, "/x")
        guest.sync()
except HostError as error:
    print(error, f"after {time.monotonic() - began:.0f} s")
    assert time.monotonic() - began < 60
"""


def test_a_disk_that_fills_up_under_a_guest(tmp_path: Path) -> None:
    small, cache = tmp_path / "small", tmp_path / "cache"
    small.mkdir()
    cache.mkdir()
    script = 'mount -t tmpfs -o size=20m none "$1" && exec "$python" -c "$fill" "$@"'
    environ = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": str(tmp_path), "python": sys.executable,
               "fill": FILL}  # fmt: skip
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(small), str(cache)]
    told = subprocess.run(argv, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    assert "the disk is full" in told.stdout
    assert str(small) in told.stdout
    assert appliance.wrong(cache) is None, "what the launch has built is recorded"
    record("full-disk", "a guest's disk while it is customised", result="exit 7 with the folder's name")
