"""Run the same work by kmi and by the usual tools, in turn, on the same disk; print a table of stages with ratios.

``python -m bench.pipeline`` (as root: it starts a Docker Engine of its own) writes docs/performance.md. Exit status 1
if a ratio that the project asks of itself was missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench import source
from bench.contender import Contender, Job, after_customise, timed, warm
from bench.machine import machine, versions
from bench.product import Kmi
from bench.registry import held, registry
from bench.report import Result, Setting, page, sizes
from bench.table import Stage, markdown, rows
from bench.usual import UsualTools
from kmi import settings as site
from kmi.host.accel import probe
from kmi.host.guestfs import appliance
from kmi.publish import keys
from tests.integration.docker_engine import engine

Measured = dict[str, dict[Stage, list[float]]]


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    if os.geteuid():
        sys.exit("the benchmark starts a Docker Engine: run it as root")
    with _folder(args.work) as work, engine(work / "docker") as address:
        job = prepare(args.disk, work)
        contenders: tuple[Contender, ...] = (UsualTools(job, address), Kmi(job))
        result = measure(job, contenders, customise_rounds=args.customise_rounds, rounds=args.rounds)
        setting = Setting(
            day=f"{datetime.now(UTC):%Y-%m-%d}",
            machine=machine(job.acceleration),
            versions=versions(address, job.log / "versions.log"),
            packages=job.spec.recipe.packages,
            disk=job.image.path.stat().st_size,
            virtual_size=job.spec.virtual_size,
        )
    table = rows(*(result.times[contender.name] for contender in contenders))
    args.report.write_text(page(table, result, setting), encoding="utf-8")
    print(f"{setting.machine}\n\n{markdown(table)}\n\n{sizes(result)}\n\nwritten to {args.report}")
    return 0 if all(row.met for row in table) else 1


def prepare(disk: Path | None, work: Path) -> Job:
    """Everything that both need, before any clock starts."""
    settings, spec = site.load(Path.cwd(), os.environ, {}), source.spec()
    base = source.local_base(work / "base")
    _say("the input disk")
    if disk:
        image = source.given(spec, disk.absolute())
    else:
        image = source.bootstrapped(spec, base, settings.cache, work / "output")
    job = Job(
        spec=spec,
        image=image,
        archives=source.archives(spec, settings),
        mirrors=settings.package_mirrors,
        acceleration=probe(spec.id.arch, settings.cache),
        base=base,
        pair=keys.ensure(work / "key" / "cosign.key", {}),
        cache=settings.cache,
        work=work,
    )
    _say("the appliance")
    tiny = work / "tiny.raw"
    tiny.write_bytes(bytes(1 << 20))
    with appliance([tiny], acceleration=job.acceleration, cache=job.cache, log=job.log / "appliance.log"):
        pass
    return job


def measure(job: Job, contenders: Sequence[Contender], *, customise_rounds: int, rounds: int) -> Result:
    """Time every stage of every contender, in turn."""
    times: Measured = {contender.name: defaultdict(list) for contender in contenders}
    for number in range(customise_rounds):
        for contender in contenders:
            folder = job.work / f"customised-{number}-{contender.name.replace(' ', '-')}"
            folder.mkdir()
            warm(job.image.path)
            _time(contender, Stage.CUSTOMISE, partial(contender.customise, folder), times)
    finished, pushed = {}, {}
    for _ in range(rounds):
        for contender in contenders:
            finished[contender.name], pushed[contender.name] = _round(job, contender, times)
    return Result(times=times, finished=finished, pushed=pushed)


def _round(job: Job, contender: Contender, times: Measured) -> tuple[int, int]:
    """From the customised disk to a signed image, once; returns the sizes of the disk and of what was pushed."""
    folder, pushed = job.work / "round", 0
    folder.mkdir()
    try:
        with registry(folder / "registry") as address:
            contender.begin(folder, address)
            warm(contender.customised())
            for stage, work in after_customise(contender).items():
                _time(contender, stage, work, times)
                if stage is Stage.PUSH:
                    pushed = held(folder / "registry")
            size = contender.finished().stat().st_size
            contender.end()
        return size, pushed
    finally:
        shutil.rmtree(folder)


def _time(contender: Contender, stage: Stage, work: Callable[[], None], times: Measured) -> None:
    seconds = timed(work)
    times[contender.name][stage].append(seconds)
    _say(f"{contender.name:<12} {stage:<13} {seconds:8.2f} s")


@contextmanager
def _folder(parent: Path) -> Iterator[Path]:
    """A new folder for everything that is written, gone at the end; the logs stay if something fails."""
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="run-", dir=parent)).absolute()
    try:
        yield work
    except BaseException:
        if (work / "log").exists():
            shutil.copytree(work / "log", parent / "log", dirs_exist_ok=True)
            _say(f"the logs are in {parent / 'log'}")
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=__doc__)
    parser.add_argument("--disk", type=Path, help="a Debian 12 qcow2 to start from (default: kmi bootstraps one)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of finish to sign (default: 3)")
    parser.add_argument("--customise-rounds", type=int, default=1, metavar="N", help="of customise (default: 1)")
    parser.add_argument("--work", type=Path, default=source.ROOT / "build/bench", metavar="DIR",
                        help="folder on the disk to measure (default: build/bench)")  # fmt: skip
    parser.add_argument("--report", type=Path, default=source.ROOT / "docs/performance.md", metavar="FILE")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
