"""The usual tools: virt-customize, qemu-img resize and virt-sparsify, docker build, docker push, cosign.

Each is called as its manual shows it, defaults kept. The one addition is that apt takes the same packages from the
same archives as kmi's does, through a file that is removed again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from bench.contender import Job, execute
from bench.table import USUAL
from kmi.publish import keys

BASE = "bench-base:latest"
_DOCKERFILE = f"FROM {BASE}\nADD --chown=107:107 disk.qcow2 /disk/\n"
_SOURCES, _APT = "/etc/apt/bench.list", "/etc/apt/apt.conf.d/99bench"
_APT_OPTIONS = f"""\
Dir::Etc::SourceList "{_SOURCES}";
Dir::Etc::SourceParts "/dev/null";
APT::Install-Recommends "false";
"""
_NO_TRANSPARENCY_LOG = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {},
    "tsaConfig": {},
}
_ROOT = {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}


class UsualTools:
    """``engine`` is the address of a Docker Engine whose data lie on the disk that is measured."""

    name = USUAL

    def __init__(self, job: Job, engine: str) -> None:
        self._job = job
        self._log = job.log / "usual.log"
        self._customised = self._folder = job.work
        self._tag = ""
        home = job.work / "usual-home"
        home.mkdir()
        self._docker_env = {"DOCKER_HOST": engine, "DOCKER_CONFIG": str(home)}
        self._cosign_env = {"HOME": str(home), "DOCKER_CONFIG": str(home), "COSIGN_PASSWORD": job.pair.password}
        self._cosign_files = home / "signing-config.json", home / "trusted-root.json"
        for path, value in zip(self._cosign_files, (_NO_TRANSPARENCY_LOG, _ROOT), strict=True):
            path.write_text(json.dumps(value), encoding="ascii")
        to = ["--dest-daemon-host", engine, f"oci:{job.base}", f"docker-daemon:{BASE}"]
        execute(["skopeo", "--insecure-policy", "copy", *to], log=self._log)

    def customise(self, folder: Path) -> None:
        disk = folder / "disk.qcow2"
        shutil.copyfile(self._job.image.path, disk)
        sources, options = folder / "sources.list", folder / "apt.conf"
        sources.write_text("\n".join(self._job.archives.lines) + "\n", encoding="utf-8")
        options.write_text(_APT_OPTIONS + "".join(f"{one};\n" for one in self._job.archives.options), encoding="utf-8")
        recipe = self._job.spec.recipe
        argv: list[str | Path] = ["virt-customize", "--format", "qcow2", "-a", disk]
        if self._job.archives.lines:
            argv += ["--upload", f"{sources}:{_SOURCES}", "--upload", f"{options}:{_APT}"]
        argv += ["--install", ",".join(recipe.packages)]
        for unit in recipe.enable:
            argv += ["--run-command", f"systemctl enable {unit}"]
        if self._job.archives.lines:
            argv += ["--delete", _SOURCES, "--delete", _APT]
        argv += ["--run-command", "apt-get clean && rm -rf /var/lib/apt/lists/*", "--delete", "/etc/ssh/ssh_host_*"]
        argv += ["--truncate-recursive", "/var/log", "--truncate", "/etc/machine-id"]
        self._guestfs(argv, folder)
        self._customised = disk

    def customised(self) -> Path:
        return self._customised

    def begin(self, folder: Path, registry: str) -> None:
        """``qemu-img resize`` works in place, so every round gets its own copy, outside the clock."""
        self._folder, self._tag = folder, f"{registry}/usual/{self._job.spec.id.distro}:{self._job.spec.id.release}"
        shutil.copyfile(self._customised, folder / "customised.qcow2")

    def finish(self) -> None:
        grown, target = self._folder / "customised.qcow2", self.finished()
        target.parent.mkdir()
        execute(["qemu-img", "resize", "-f", "qcow2", grown, str(self._job.spec.virtual_size)], log=self._log)
        self._guestfs(["virt-sparsify", "--format", "qcow2", "--compress", grown, target], self._folder)

    def finished(self) -> Path:
        return self._folder / "context" / "disk.qcow2"

    def containerise(self) -> None:
        context = self.finished().parent
        (context / "Dockerfile").write_text(_DOCKERFILE, encoding="ascii")
        self._docker("build", "--no-cache", "--tag", self._tag, context)

    def push(self) -> None:
        self._docker("push", self._tag)

    def sign(self) -> None:
        (digest,) = json.loads(self._docker("inspect", "--format", "{{json .RepoDigests}}", self._tag))
        config, root = self._cosign_files
        argv: list[str | Path] = ["cosign", "sign", "--yes", "--key", self._job.pair.private]
        argv += ["--signing-config", config, "--trusted-root", root, digest]
        with keys.held(self._job.pair):
            execute(argv, log=self._log, env=self._cosign_env)
        argv = ["cosign", "verify", "--key", self._job.pair.public, "--insecure-ignore-tlog=true", digest]
        execute(argv, log=self._log, env=self._cosign_env)

    def end(self) -> None:
        self._docker("image", "rm", "--force", self._tag)

    def _docker(self, *words: str | Path) -> str:
        return execute(["docker", *words], log=self._log, env=self._docker_env)

    def _guestfs(self, argv: list[str | Path], folder: Path) -> None:
        """With the appliance that kmi uses too, already built, and with emulation where KVM does not work."""
        settings = "force_tcg" if self._job.acceleration.name == "tcg" else ""
        env = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": settings, "TMPDIR": str(folder)}
        execute(argv, log=self._log, env={**env, "LIBGUESTFS_CACHEDIR": str(self._job.cache / "appliance")})
