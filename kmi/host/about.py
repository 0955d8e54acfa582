"""What a report of a bug tells about this kmi and this machine. Nothing here fails: what cannot be found out is said to
be unknown, and no program is waited for longer than ``SECONDS``."""

from __future__ import annotations

import json
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from kmi import __version__
from kmi.host import guestfs
from kmi.host.doctor import NEEDS, Need
from kmi.host.run import run, which
from kmi.host.ui import amount

SECONDS = 10.0
"""All programs together may take so long to tell their versions."""

Rows = list[tuple[str, str]]


def software() -> Rows:
    """kmi with its commit, Python, the system, and the programs that kmi starts."""
    asked: dict[str, Callable[[], str]] = {
        "kmi": _kmi,
        "python": platform.python_version,
        "system": lambda: platform.freedesktop_os_release()["PRETTY_NAME"],
        "kernel": lambda: f"{platform.system()} {platform.release()} {platform.machine()}",
        "libguestfs": guestfs.bindings,
        **{need.name: partial(_version, need) for need in NEEDS if not need.paths},
    }
    return _told(asked)


def surroundings(folders: Iterable[Path]) -> Rows:
    """The space that is left in these folders, and how virtual machines run here as far as one (the cache) knows."""
    asked: dict[str, Callable[[], str]] = {}
    for folder in folders:
        asked[f"free at {folder}"] = partial(_free, folder)
        asked |= {path.stem: partial(_acceleration, path) for path in sorted(folder.glob("accel-*.json"))}
    return _told(asked)


def _told(asked: dict[str, Callable[[], str]]) -> Rows:
    """Ask all at once; a thread that hangs ends with kmi."""
    answers: dict[str, str] = {}

    def ask(name: str, question: Callable[[], str]) -> None:
        try:
            answers[name] = question()
        except Exception as error:
            answers[name] = f"unknown ({type(error).__name__})"

    threads = [threading.Thread(target=ask, args=item, daemon=True) for item in asked.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [(name, answers.get(name, f"no answer within {SECONDS:g} s")) for name in asked]


def _kmi() -> str:
    """The version, and in a checkout the commit, with ``-dirty`` where files were changed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return __version__
    describe = ("describe", "--always", "--dirty", "--abbrev=40")
    told = run(["git", "-c", "safe.directory=*", "-C", root, *describe], timeout=SECONDS).stdout
    return f"{__version__}, commit {told.strip()}"


def _version(need: Need) -> str:
    path = which(need.name)
    if path is None:
        return "not installed"
    if need.probe:
        return need.probe()
    done = run([path, *need.version], ok=tuple(range(256)), timeout=SECONDS)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return next((line for line in lines if any(char.isdigit() for char in line)), "version unknown")[:80]


def _acceleration(path: Path) -> str:
    answer = json.loads(path.read_text(encoding="utf-8"))["answer"]
    return f"{answer['name']}, CPU {answer['cpu']}: {answer['why']}"


def _free(folder: Path) -> str:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return amount(shutil.disk_usage(there).free)
