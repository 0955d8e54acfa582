"""``docs/performance.md``: the table, what was compared, and on what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.table import KMI, USUAL, Row, Stage, Times, grid, markdown

_METHOD = """\
Both contenders start from the same disk (Debian 12, bootstrapped by kmi, {disk}), in turn, in one run, on one file
system. They install the same packages from the same archives ({packages}),
with the same acceleration and the same libguestfs appliance, built before the clock starts. Input files are in the page
cache, and everything written before is on the disk, when a stage begins. Each pushes to an empty registry of its own
(docker-registry on the loopback). A stage's time is what a user waits for it; where it ran several times, the median
counts.

- **customise.** Usual: a copy of the disk; `virt-customize --install … --run-command 'systemctl enable …'`, then
  `--delete` and `--truncate` of host keys, package lists, logs and machine-id. kmi (`kmi.guest`): hash the input, then
  one appliance for room, upgrade, packages, services, inventory, scrub and trim.
- **finish.** Usual: `qemu-img resize` to {size} GiB, `virt-sparsify --compress`. kmi (`kmi.disk`): partition table,
  qcow2 with zstd clusters, check, hash.
- **containerise.** Usual: `docker build` of `FROM base` and `ADD --chown=107:107 disk.qcow2 /disk/`. kmi (`kmi.wrap`):
  base, metadata layer, disk layer, index.
- **push.** Usual: `docker push`. kmi (`kmi.publish`): skopeo by digest, manifests read back.
- **sign.** Usual: `cosign sign` and `cosign verify` of the image. kmi: cosign on the index and its image, verification
  of both, tags.

What this does not even out: kmi upgrades all packages, takes an inventory, hashes every disk that it reads or writes,
checks the result, adds metadata and an entrypoint, signs and verifies twice as many digests, and reads everything back.
The usual tools do none of that here; they run with the options of their manual pages. The one addition is that apt
leaves out recommended packages, as kmi's does.

kmi's stages are called from one process; the start of `kmi` itself (a fraction of a second) is in no row, nor is the
boot test of `kmi run`, which the usual tools have no counterpart of. A second `kmi build` reuses every stage; that is
not measured here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Sizes in bytes: of the finished qcow2, and of everything that the registry held after the push."""

    times: Mapping[str, Times]
    finished: Mapping[str, int]
    pushed: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and with what it was measured. ``disk`` is the input's size and ``virtual_size`` the result's, in bytes."""

    day: str
    machine: str
    versions: Mapping[str, str]
    packages: tuple[str, ...]
    disk: int
    virtual_size: int


def sizes(result: Result) -> str:
    """What came out, in decimal megabytes."""
    lines = [("result", USUAL, KMI)]
    for name, found in (("finished disk (qcow2)", result.finished), ("sent to the registry", result.pushed)):
        lines.append((name, _megabytes(found[USUAL]), _megabytes(found[KMI])))
    return grid(lines)


def rounds(result: Result) -> str:
    """Every measurement, in seconds, in the order in which they were made."""
    lines: list[tuple[str, ...]] = [("stage", USUAL, KMI)]
    for stage in Stage:
        lines.append((stage.value, *(" · ".join(f"{t:.2f}" for t in result.times[who][stage]) for who in (USUAL, KMI))))
    return grid(lines)


def page(table: Sequence[Row], result: Result, setting: Setting) -> str:
    """The whole document."""
    method = _METHOD.format(
        disk=_megabytes(setting.disk),
        packages=", ".join(setting.packages),
        size=setting.virtual_size // 1024**3,
    )
    versions = "\n".join(f"- {name} {version}" for name, version in setting.versions.items())
    parts = [
        "# Performance",
        "Written by `make bench` (bench/pipeline.py). The ratio says how many times as fast kmi is.",
        markdown(table),
        sizes(result),
        f"Measured on {setting.day}: {setting.machine}.",
        "## What was compared",
        method,
        "## Every round",
        "In seconds, in the order in which they were made:",
        rounds(result),
        "## Versions",
        versions,
    ]
    return "\n\n".join(parts) + "\n"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
