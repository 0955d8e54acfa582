"""Locks against a publisher with real signatures: written, held to, refused to go back, and whole after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.boot_sector import boot_sector


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.local_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def kmi(tmp_path: Path, base: Path) -> Iterator[tiny.Kmi]:
    (tmp_path / "kmi").mkdir()
    up = tiny.make(tmp_path / "upstream", "a", "b", "c")
    with tiny.served(up.www) as mirrors:
        yield tiny.Kmi(folder=tmp_path / "kmi", tiny=up, base=base, mirrors=mirrors)


def lock(kmi: tiny.Kmi, name: str = "a") -> Path:
    return kmi.tiny.distros / f"{name}.lock.json"


def held(kmi: tiny.Kmi, name: str = "a") -> dict[str, object]:
    return json.loads(lock(kmi, name).read_text())["images"]["1"]["amd64"]


def states(out: str) -> dict[str, str]:
    return {row.split()[0]: row.split()[1] for row in out.splitlines()[1:]}


def test_a_build_takes_what_the_lock_names_and_asks_for_nothing_else(kmi: tiny.Kmi) -> None:
    up = kmi.tiny
    assert kmi("lock", "a").returncode == 0
    assert held(kmi)["evidence"] == {"kind": "openpgp", "value": up.fingerprint}
    for gone in ("SHA256SUMS", "SHA256SUMS.sign", "key.asc"):
        (up.www / "a" / gone).unlink()
    built = kmi("build", "a")
    assert built.returncode == 0, built.stderr
    receipt = json.loads((kmi.folder / "build/a-1-amd64/receipt.json").read_text())
    resolve = next(stage for stage in receipt["stages"] if stage["stage"] == "resolve")
    assert resolve["reused"] is True
    assert resolve["inputs"]["lock"].split("/")[-1] == "a.lock.json:5"
    assert resolve["outputs"]["digest"] == held(kmi)["digest"]
    assert f"openpgp:{up.fingerprint}, as locked in" in built.stderr
    asked = kmi("build", "a", "--unlocked")
    assert asked.returncode == 6  # the documents are gone indeed


def test_another_file_than_the_locked_one_is_refused_until_it_is_locked(kmi: tiny.Kmi) -> None:
    kmi("lock", "a")
    first = kmi.tiny.disk("a").read_bytes()
    kmi.tiny.publish("a", boot_sector(b"\r\nlater login: "))
    refused = kmi("build", "a")
    assert refused.returncode == 4
    assert held(kmi)["digest"] in refused.stderr
    assert "`kmi lock a:1` asks what is current" in refused.stderr
    assert refused.stdout == ""
    assert kmi("build", "a", "--unlocked").returncode == 0
    before = held(kmi)
    assert kmi("lock", "a").returncode == 0
    assert held(kmi)["digest"] != before["digest"]
    assert kmi("build", "a").returncode == 0
    kmi.tiny.disk("a").write_bytes(first)  # the old file again, with the new documents: the cache has the new one
    assert kmi("build", "a").returncode == 0


def test_a_locked_file_that_is_gone_says_how_to_go_on(kmi: tiny.Kmi) -> None:
    kmi("lock", "a")
    kmi.tiny.disk("a").unlink()
    missing = kmi("build", "a")
    assert missing.returncode == 6
    assert "`kmi lock a:1`" in missing.stderr


def test_a_changed_manifest_or_an_edited_lock_is_refused_before_anything_is_fetched(kmi: tiny.Kmi) -> None:
    kmi("lock", "a")
    kmi.tiny.manifests["a"]["cloud_image"]["trust"]["fingerprints"].append("0" * 40)
    kmi.tiny.save("a")
    changed = kmi("build", "a")
    assert (changed.returncode, changed.stdout) == (2, "")
    assert "does not fit its manifest" in changed.stderr
    assert "a.lock.json:5" in changed.stderr
    assert kmi("build", "a", "--unlocked").returncode == 0
    lock(kmi).write_text(lock(kmi).read_text().replace(str(held(kmi)["digest"]), "sha256:" + "ab" * 32))
    edited = kmi("build", "a")
    assert edited.returncode == 2
    assert "not as kmi wrote it" in edited.stderr


def test_an_older_signature_is_refused_unless_told(kmi: tiny.Kmi, tmp_path: Path) -> None:
    old = shutil.copytree(kmi.tiny.www / "a", tmp_path / "old")
    time.sleep(1.1)  # signatures are dated in seconds
    kmi.tiny.publish("a", boot_sector(b"\r\nlater login: "))
    kmi("lock", "a")
    newest = lock(kmi).read_text()
    shutil.copytree(old, kmi.tiny.www / "a", dirs_exist_ok=True)
    for words in (("lock",), ("lock", "--check")):
        back = kmi(*words, "a")
        assert back.returncode == 4
        assert states(back.stdout) == {"a-1-amd64": "rollback"}
        assert "the publisher went back in time" in back.stderr
        assert lock(kmi).read_text() == newest
    assert kmi("lock", "a", "--allow-rollback").returncode == 0
    assert lock(kmi).read_text() != newest


def test_one_bad_and_one_missing_publisher_hide_nothing_of_the_third(kmi: tiny.Kmi, tmp_path: Path) -> None:
    (kmi.tiny.www / "a" / "SHA256SUMS").write_text("0" * 64 + "  disk.img\n")
    (kmi.tiny.www / "b" / "SHA256SUMS").unlink()
    summary = tmp_path / "summary.md"
    told = kmi("lock", "--check", GITHUB_STEP_SUMMARY=str(summary))
    assert told.returncode == 6
    assert states(told.stdout) == {"a-1-amd64": "failed", "b-1-amd64": "failed", "c-1-amd64": "new"}
    assert "refused: a-1-amd64" in told.stderr
    assert "error: b-1-amd64" in told.stderr
    assert [line.split("|")[2].strip() for line in summary.read_text().splitlines()[4:7]] == ["failed", "failed", "new"]
    assert list(kmi.tiny.distros.glob("*.lock.json")) == []
    assert kmi("lock").returncode == 6
    assert [path.name for path in kmi.tiny.distros.glob("*.lock.json")] == ["c.lock.json"]


def test_a_publisher_without_signatures_is_locked_as_such_and_may_be_silent_too_long(kmi: tiny.Kmi) -> None:
    manifest = kmi.tiny.manifests["a"]
    manifest["cloud_image"]["trust"] = {"kind": "tls-only"}
    manifest["max_age"] = "30"
    kmi.tiny.save("a")
    then = time.time() - 40 * 86400
    os.utime(kmi.tiny.disk("a"), (then, then))
    told = kmi("lock", "a")
    assert told.returncode == 0
    assert "a-1-amd64: its publisher has released nothing for 40 days" in told.stderr
    assert held(kmi)["evidence"] == {"kind": "tls-only", "value": ""}
    assert "tls-only" in kmi("build", "a").stderr


KILLED = """
import os, sys
from pathlib import Path
replace = Path.replace
def killed(self, target):
    if str(target).endswith("b.lock.json"):
        if sys.argv[1] == "after":
            replace(self, target)
        os.kill(os.getpid(), 9)
    return replace(self, target)
Path.replace = killed
from kmi import cli
sys.exit(cli.main(["lock", "-j", "1"]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_while_a_lock_is_written_leaves_the_old_or_the_new_one(kmi: tiny.Kmi, when: str) -> None:
    assert kmi("lock").returncode == 0
    old = {name: lock(kmi, name).read_text() for name in "abc"}
    for name in "abc":
        kmi.tiny.publish(name, boot_sector(b"\r\nlater login: "))
    argv = [sys.executable, "-c", KILLED, when]
    died = subprocess.run(argv, cwd=kmi.folder, env=kmi.environ(), capture_output=True, timeout=60)
    assert died.returncode == -signal.SIGKILL
    left = {name: lock(kmi, name).read_text() for name in "abc"}
    assert {name for name in "abc" if left[name] != old[name]} == ({"a"} if when == "before" else {"a", "b"})
    again = kmi("lock")
    assert again.returncode == 0, again.stderr
    assert list(states(again.stdout).values()) == ["same", "changed" if when == "before" else "same", "changed"]
