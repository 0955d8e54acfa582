"""Secrets planted wherever kmi meets them are in no file that a run leaves, in nothing that it prints, and on no
command line, whether the run succeeds or fails: log, receipt, report, crash file, cache, temporary files."""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import tiny
from tests.fault_record import record
from tests.registry import registry
from tests.registry_faults import Faulty, Tokens, faulty

USER = "builder"
REGISTRY, KEY, MIRROR, PROXY, TOKEN, REFRESH = (
    f"canary-{name}-5Gq8xT/p w" for name in ("registry", "key", "mirror", "proxy", "token", "refresh")
)
CRASH = """\
import os
import kmi.publish.promote

def boom(*_, **__):
    secret = os.environ["COSIGN_PASSWORD"]
    raise RuntimeError(f"{secret} {os.environ['GITHUB_TOKEN']} {os.environ['KMI_MIRRORS']}")

kmi.publish.promote.promote = boom
"""


@dataclass(kw_only=True)
class Planted:
    """A kmi with a secret in every place, and what must not be found. ``there`` are the files that hold one rightly."""

    kmi: tiny.Kmi
    proxy: Faulty
    environ: dict[str, str]
    secrets: dict[str, str]
    there: list[Path]
    lines: set[str] = field(default_factory=set)

    def run(self, *words: str, **environ: str) -> tuple[int, str]:
        """Exit status and everything printed; the processes' command lines are kept meanwhile."""
        with watched(self.lines):
            done = self.kmi(*words, **{**self.environ, **environ})
        return done.returncode, done.stdout + done.stderr

    def found(self, printed: str) -> list[str]:
        """Where a secret is that should be nowhere."""
        texts = {"printed": printed.encode(), "a command line": "\n".join(self.lines).encode()}
        places = [path for path in self.kmi.folder.rglob("*") if path.is_file() and path not in self.there]
        texts |= {str(path): path.read_bytes() for path in places}
        texts |= {str(path): str(path).encode() for path in self.kmi.folder.rglob("*")}
        return [
            f"{name} in {where}"
            for where, text in texts.items()
            for name, secret in self.secrets.items()
            for form in forms(secret)
            if form.encode() in text
        ]


def forms(secret: str) -> set[str]:
    pair = base64.b64encode(f"{USER}:{secret}".encode()).decode()
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], pair}


@contextmanager
def watched(lines: set[str]) -> Iterator[None]:
    """Add the command line of every process of this machine that is seen in the block."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.01):
            for process in os.scandir("/proc"):
                if process.name.isdigit():
                    try:
                        lines.add(
                            Path(process.path, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                        )
                    except OSError:  # it ended
                        pass

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    for name in ("kmi/home/.docker", "kmi/tmp", "registry"):
        (tmp_path / name).mkdir(parents=True)
    up = tiny.make(tmp_path / "upstream")
    with tiny.served(up.www) as mirrors, registry(tmp_path / "registry") as behind, faulty(behind) as proxy:
        proxy.guard = tokens = Tokens(proxy, USER, REGISTRY, REFRESH)
        kmi = tiny.Kmi(folder=tmp_path / "kmi", tiny=up, base=tiny.local_base(tmp_path), mirrors=mirrors)
        docker = kmi.folder / "home/.docker/config.json"
        login = base64.b64encode(f"{USER}:{REGISTRY}".encode()).decode()
        docker.write_text(json.dumps({"auths": {proxy.address: {"auth": login}}}))
        environ = {
            "COSIGN_PASSWORD": KEY,
            "GITHUB_TOKEN": TOKEN,
            "https_proxy": f"http://{USER}:{quote(PROXY, safe='')}@127.0.0.1:9",
            "KMI_MIRRORS": mirrors.replace("=http://", f"=http://{USER}:{quote(MIRROR, safe='')}@"),
            "KMI_PATIENCE": "1.5",
            "TMPDIR": str(kmi.folder / "tmp"),
        }
        secrets = {"registry": REGISTRY, "key": KEY, "mirror": MIRROR, "proxy": PROXY, "token": TOKEN}
        secrets |= {"reader": tokens.reader, "writer": tokens.writer}
        yield Planted(kmi=kmi, proxy=proxy, environ=environ, secrets=secrets, there=[docker])


def test_no_secret_is_told(planted: Planted) -> None:
    """One after the other, as failures come: each leaves its traces beside the others'."""
    to = ("run", "tiny", "--to", f"{planted.proxy.address}/x")
    began = time.monotonic()
    statuses = {}

    def run(case: str, *words: str, expected: int, **environ: str) -> str:
        status, printed = planted.run(*(words or to), **environ)
        assert status == expected, (case, printed)
        assert planted.found(printed) == [], case
        statuses[case] = status
        return printed

    disk = planted.kmi.tiny.disk()
    disk.rename(disk.with_name("away"))
    run("the mirror has no disk", expected=6)
    disk.with_name("away").rename(disk)
    run("a dead proxy", expected=6, http_proxy=planted.environ["https_proxy"])
    wrong = planted.there[0].read_text()
    planted.there[0].write_text(wrong.replace(base64.b64encode(f"{USER}:{REGISTRY}".encode()).decode(), "Ym9iOm5vbmU="))
    assert "was used" in run("a wrong login", expected=6)
    planted.there[0].write_text(wrong)
    planted.proxy.fault("500", "PUT", "/manifests/sha256-", agent="cosign")
    run("signing fails", expected=6)
    planted.proxy.heal()
    run("a wrong key password", expected=1, COSIGN_PASSWORD=f"{KEY} wrong")
    folder = planted.kmi.folder.parent / "crash"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CRASH)
    run("a bug", expected=3, PYTHONPATH=f"{folder}{os.pathsep}{tiny.ROOT}")
    assert list(planted.kmi.folder.rglob("*crash*.md")), "no crash report to look into"
    printed = run("success", expected=0)
    reference = printed.split(maxsplit=1)[0]
    run("verify", "verify", reference, "--key", str(planted.kmi.public), expected=0)
    seen = "\n".join(planted.lines)
    assert all(word in seen for word in ("skopeo --debug", "cosign --timeout", "qemu-system")), "nobody was watched"
    private = planted.kmi.public.with_suffix(".key").read_text().splitlines()[1]
    others = [path for path in planted.kmi.folder.rglob("*") if path.is_file() and path.suffix != ".key"]
    assert all(private.encode() not in path.read_bytes() for path in others)
    seconds = round((time.monotonic() - began) / len(statuses), 1)
    for case, status in statuses.items():
        record("canary", case, result="no secret in any file, output or command line", exit=status, seconds=seconds)
