"""What the stages share on one machine in one run: settings, cache, network, reporter, and the record of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kmi import __version__
from kmi.errors import KmiError
from kmi.host.accel import Acceleration, probe
from kmi.host.http import Http
from kmi.host.locks import locked
from kmi.host.redact import redacted
from kmi.host.store import Stage, Store, write_json
from kmi.host.ui import Reporter, Step
from kmi.model.codec import encode
from kmi.model.platform import Arch
from kmi.pipeline.explain import changes
from kmi.pipeline.releases import Release, folder
from kmi.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One stage of one image in this run, as the receipt tells it. Time in seconds."""

    image: str
    stage: str
    reused: bool
    seconds: float
    key: str
    inputs: Mapping[str, object]
    outputs: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One run for one release: where it works, where its result lies (``folder``), whether committed locks are passed
    over (``unlocked``), the user's own ``disk`` if one is taken, and what it has done so far."""

    settings: Settings
    store: Store
    http: Http
    ui: Reporter
    folder: Path
    unlocked: bool = False
    disk: Path | None = None
    records: list[Record] = field(default_factory=list)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def receipt(self) -> Path:
        return self.folder / "receipt.json"

    def acceleration(self, arch: Arch) -> Acceleration:
        return probe(arch, self.settings.cache)

    def stage(
        self,
        image: object,
        name: str,
        inputs: Mapping[str, object],
        build: Callable[[Path, Step], Mapping[str, object]],
        told: Callable[[Mapping[str, Any]], str],
    ) -> Stage:
        """Run a cached stage, say why it runs again if it does, and record it."""
        encoded = encode(dict(inputs))
        with self.ui.step(str(image), name) as step:

            def work(out: Path) -> Mapping[str, object]:
                for line in changes(self._before(str(image), name), redacted(encoded)):
                    step.note(f"{name} runs again: {line}")
                return dict(encode(build(out, step)))

            blocked = lambda: step.note("another kmi is making the same thing; waiting for it")  # noqa: E731
            stage = self.store.stage(name, encoded, work, blocked=blocked)
            outcome = told(stage.outputs)
            step.reuse(outcome) if stage.reused else step.done(outcome)
        self.record(image, name, step, stage.key, encoded, stage.outputs)
        return stage

    def record(
        self, image: object, name: str, step: Step, key: str, inputs: Mapping[str, object], outputs: object
    ) -> None:
        """Note a stage that ended well."""
        self.records.append(
            Record(
                image=str(image),
                stage=name,
                reused=step.reused,
                seconds=round(step.seconds, 3),
                key=key,
                inputs=inputs,
                outputs=encode(outputs),
            )
        )

    def failed(self, image: object, name: str, seconds: float, inputs: Mapping[str, object], outputs: object) -> None:
        """Note a stage that ran to its end and found something wrong; it is in the receipt, and in no cache."""
        self.records.append(
            Record(
                image=str(image), stage=name, reused=False, seconds=round(seconds, 3), key="",
                inputs=encode(dict(inputs)), outputs=encode(outputs),
            )
        )  # fmt: skip

    @contextmanager
    def receipts(self, tools: Mapping[str, str]) -> Iterator[dict[str, object]]:
        """Write ``receipt.json`` when the block ends, also when it fails: every stage's inputs, outputs, digests and
        times, the tools' versions, and the result that the block fills in. Others wait for the folder meanwhile."""
        result: dict[str, object] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        busy = lambda: self.ui.note(f"another kmi works in {self.folder}; waiting for it")  # noqa: E731
        with locked(self.folder / ".lock", blocked=busy):
            yield from self._recorded(result, tools)

    def _recorded(self, result: dict[str, object], tools: Mapping[str, str]) -> Iterator[dict[str, object]]:
        try:
            yield result
        except KmiError as error:
            result["error"] = {"kind": type(error).__name__, "what": error.what, **dict(error.facts())}
            raise
        finally:
            write_json(
                self.receipt,
                redacted(
                    {
                        "kmi": __version__,
                        "began": encode(self.began),
                        "ended": encode(datetime.now(UTC)),
                        "tools": dict(tools),
                        "result": encode(result),
                        "stages": encode(self.records),
                    }
                ),
            )

    def _before(self, image: str, name: str) -> Mapping[str, object] | None:
        """The inputs that the stage had in the last run that wrote a receipt here."""
        try:
            stages = json.loads(self.receipt.read_text(encoding="utf-8"))["stages"]
            return next(dict(s["inputs"]) for s in stages if s["image"] == image and s["stage"] == name)
        except (FileNotFoundError, ValueError, KeyError, TypeError, StopIteration):
            return None


def at(
    settings: Settings, store: Store, http: Http, ui: Reporter, release: Release, *, unlocked: bool = False,
    disk: Path | None = None,
) -> Site:  # fmt: skip
    """The site of one release of this run."""
    where = folder(settings.output, release)
    return Site(settings=settings, store=store, http=http, ui=ui, folder=where, unlocked=unlocked, disk=disk)
