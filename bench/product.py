"""kmi, by the stage functions that ``kmi run`` calls, with what it checks and records around them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bench.contender import Job
from bench.table import KMI
from kmi.disk import finish as disk_finish
from kmi.guest import customize as guest
from kmi.host.store import Store, hash_file
from kmi.host.ui import Reporter, Step
from kmi.model.stages import CustomDisk, Disk, OciIndex, Published
from kmi.pipeline.describe import describe
from kmi.publish.promote import promote
from kmi.publish.push import push
from kmi.publish.sign import sign
from kmi.publish.tags import plan_tags
from kmi.settings import Settings
from kmi.wrap import base as wrap_base
from kmi.wrap import image as wrap_image
from kmi.wrap.index import join


class Kmi:
    """Reruns would be cached; here every stage writes to a new folder and does its whole work."""

    name = KMI

    def __init__(self, job: Job) -> None:
        self._job = job
        self._log = job.log / "kmi.log"
        self._store = Store(job.cache)
        self._settings = Settings(cache=job.cache, base=str(job.base))
        self._folder = job.work
        self._repository = ""
        self._custom: CustomDisk | None = None
        self._disk: Disk | None = None
        self._index: OciIndex | None = None
        self._published: Published | None = None

    def customise(self, folder: Path) -> None:
        """With the hash of the input, which kmi takes before it uses a cached disk."""
        image, spec = self._job.image, self._job.spec
        if hash_file(image.path) != image.digest:
            raise RuntimeError("the input disk changed during the run")
        self._custom = guest.customize(
            image,
            spec.recipe,
            virtual_size=spec.virtual_size,
            archives=self._job.archives,
            mirrors=self._job.mirrors,
            acceleration=self._job.acceleration,
            cache=self._job.cache,
            out=folder,
            log=self._log,
            step=self._step("customize"),
        )

    def customised(self) -> Path:
        assert self._custom
        return self._custom.path

    def begin(self, folder: Path, registry: str) -> None:
        self._folder, self._repository = folder, f"{registry}/kmi/{self._job.spec.id.distro}"

    def finish(self) -> None:
        assert self._custom
        size, step = self._job.spec.virtual_size, self._step("finish")
        self._disk = disk_finish.finish(self._custom, virtual_size=size, out=self._folder, log=self._log, step=step)

    def finished(self) -> Path:
        assert self._disk
        return self._disk.path

    def containerise(self) -> None:
        assert self._custom and self._disk
        spec = self._job.spec
        base = wrap_base.resolve(self._settings.base, spec.id.arch, store=self._store)
        as_of = datetime.now(UTC).strftime("%G-W%V")
        named = ("local", base.digest)
        metadata = describe(spec, self._custom, self._disk, base=named, as_of=as_of, settings=self._settings)
        image = wrap_image.wrap(
            self._disk,
            metadata=metadata,
            licence=spec.licence,
            eula=spec.eula,
            base=base,
            released_at=self._custom.origin.released_at,
            arch=spec.id.arch,
            out=self._folder / "image",
            step=self._step("wrap"),
        )
        self._index = join((image,), metadata=metadata, out=self._folder / "index")

    def push(self) -> None:
        assert self._index
        self._published = push(self._index, self._repository, log=self._log, step=self._step("push"))

    def sign(self) -> None:
        """Sign the index and its image, verify both, and give the tags, which docker push has given already."""
        assert self._published
        spec, pair = self._job.spec, self._job.pair
        plan = plan_tags(
            self._published,
            release=spec.id.release,
            codename=spec.codename,
            default=spec.default,
            day=datetime.now(UTC).date(),
            public_key=pair.public,
            log=self._log,
        )
        promote(sign(self._published, plan, pair, log=self._log, step=self._step("sign")), log=self._log)

    def end(self) -> None:
        self._disk = self._index = self._published = None

    def _step(self, name: str) -> Step:
        return Step(Reporter(), str(self._job.spec.id), name)
