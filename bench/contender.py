"""What the two contenders have in common: the job they are given, and how a stage of theirs is run and timed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.table import Stage
from kmi.host.accel import Acceleration
from kmi.host.run import environment, which
from kmi.model.spec import BuildArchives, ImageSpec
from kmi.model.stages import VerifiedImage
from kmi.publish.keys import KeyPair

_CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The same for both. ``archives`` are the package sources to install from, ``base`` is an OCI layout, ``cache``
    holds the libguestfs appliance, ``work`` is a folder on the disk that is measured."""

    spec: ImageSpec
    image: VerifiedImage
    archives: BuildArchives
    mirrors: tuple[tuple[str, str], ...]
    acceleration: Acceleration
    base: Path
    pair: KeyPair
    cache: Path
    work: Path

    @property
    def log(self) -> Path:
        return self.work / "log"


class Contender(Protocol):
    """``customise`` fills an empty folder with a customised disk, which the other stages then start from, in
    a folder of their own that ``begin`` is given."""

    name: str

    def customise(self, folder: Path) -> None: ...

    def customised(self) -> Path: ...

    def begin(self, folder: Path, registry: str) -> None: ...

    def finish(self) -> None: ...

    def finished(self) -> Path: ...

    def containerise(self) -> None: ...

    def push(self) -> None: ...

    def sign(self) -> None: ...

    def end(self) -> None: ...


def after_customise(contender: Contender) -> Mapping[Stage, Callable[[], None]]:
    """The stages that start from a customised disk, as calls without arguments."""
    return {
        Stage.FINISH: contender.finish,
        Stage.CONTAINERISE: contender.containerise,
        Stage.PUSH: contender.push,
        Stage.SIGN: contender.sign,
    }


def timed(work: Callable[[], None]) -> float:
    """Seconds that ``work`` takes, once the disk has nothing left to write from what went before."""
    os.sync()
    began = time.monotonic()
    work()
    return time.monotonic() - began


def warm(path: Path) -> None:
    """Read a file's data into the page cache, holes left out."""
    with path.open("rb", buffering=0) as file:
        end = os.fstat(file.fileno()).st_size
        position = 0
        while position < end:
            try:
                position = os.lseek(file.fileno(), position, os.SEEK_DATA)
            except OSError:  # nothing but a hole is left
                return
            stop = os.lseek(file.fileno(), position, os.SEEK_HOLE)
            os.lseek(file.fileno(), position, os.SEEK_SET)
            while position < stop and (read := len(file.read(min(_CHUNK, stop - position)))):
                position += read


def execute(
    argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a program, its output added to ``log``; returns its stdout. RuntimeError if it fails."""
    program = which(str(argv[0]))
    if program is None:
        raise RuntimeError(f"{argv[0]} is not installed: make setup")
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(program), *map(str, argv[1:])]
    result = subprocess.run(
        words, cwd=cwd, env=environment(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
    )
    with log.open("a", encoding="utf-8") as file:
        file.write(f"+ {' '.join(words)}\n{result.stdout}{result.stderr}")
    if result.returncode:
        raise RuntimeError(f"{words[0]} ended with {result.returncode}:\n{(result.stderr or result.stdout)[-2000:]}")
    return result.stdout
