"""The commands of the weekly workflow, as they stand in images.yml, on a catalogue of boot sectors: each job in a
folder of its own as on a machine of its own, artifacts handed on by the names that the workflow gives them.

Simulated are GitHub's parts: containers, artifacts, the registry's login, and keyless signing, for which a key stands.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import tiny
from tests.registry import registry

WORKFLOWS = tiny.ROOT / ".github" / "workflows"
JOBS: dict[str, Any] = yaml.safe_load((WORKFLOWS / "images.yml").read_text())["jobs"]
OF_GITHUB = {"Install git", "Install git and jq", "Set up", "Log in"}
"""Steps that prepare a runner, or need GitHub."""
EXPRESSION = re.compile(r"\$\{\{ (.*?) \}\}")


@dataclass(kw_only=True)
class Runner:
    """A machine for one job: ``values`` are what its expressions come to."""

    folder: Path
    environ: dict[str, str]
    values: dict[str, str]
    stdout: str = ""
    stderr: str = ""
    outputs: dict[str, str] = field(default_factory=dict)

    def __call__(self, job: str) -> int:
        """Run the job's own commands; the exit status of the first that fails, or 0."""
        program = self.folder / ".venv" / "bin" / "kmi"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kmi "$@"\n')
        program.chmod(0o755)
        for step in JOBS[job]["steps"]:
            if "run" not in step or step["name"] in OF_GITHUB:
                continue
            told = {**self.environ, **self._filled(JOBS[job].get("env", {})), **self._filled(step.get("env", {}))}
            told |= {"GITHUB_OUTPUT": f"{self.folder}/output", "GITHUB_STEP_SUMMARY": f"{self.folder}/summary.md"}
            script = self.folder / "script.sh"
            script.write_text(step["run"].replace("--keyless", f"--key {self.environ['KMI_KEY']}"))
            done = subprocess.run(
                ["sh", "-e", script], cwd=self.folder, env=told, capture_output=True, text=True, timeout=300
            )
            self.stdout, self.stderr = self.stdout + done.stdout, self.stderr + done.stderr
            if done.returncode:
                return done.returncode
        if (self.folder / "output").exists():
            self.outputs |= dict(line.split("=", 1) for line in (self.folder / "output").read_text().splitlines())
        return 0

    def _filled(self, mapping: dict[str, str]) -> dict[str, str]:
        return {name: fill(text, self.values) for name, text in mapping.items()}


def fill(text: str, values: dict[str, str]) -> str:
    """The text with its expressions' values; KeyError for one that the test does not know."""
    return EXPRESSION.sub(lambda found: values[found[1]], text)


def uses(job: str, action: str) -> list[dict[str, Any]]:
    return [step["with"] for step in JOBS[job]["steps"] if step.get("uses", "").startswith(f"actions/{action}@")]


class Week:
    """One run of the workflow, machines and artifacts below ``folder``."""

    def __init__(self, folder: Path, kmi: tiny.Kmi, repository: str) -> None:
        self.folder, self.kmi, self.artifacts = folder, kmi, folder / "artifacts"
        self.values = {
            "inputs.selector || '*:*'": "*:*",
            "inputs.arch || vars.KMI_ARCH || 'all'": "all",
            "github.repository": repository,
        }

    def job(self, name: str, row: dict[str, str] | None = None) -> tuple[Runner, int]:
        values = {**self.values, **{f"matrix.{key}": value for key, value in (row or {}).items()}}
        folder = self.folder / "-".join([name, *(row or {}).values()]).replace(":", "-").replace(" ", "-")
        folder.mkdir(parents=True)
        environ = self.kmi.environ(KMI_CACHE=str(folder / "cache"))
        runner = Runner(folder=folder, environ=environ, values=values)
        for given in uses(name, "download-artifact"):
            pattern = fill(given["pattern"], values)
            for artifact in self.artifacts.iterdir():
                if fnmatchcase(artifact.name, pattern):
                    shutil.copytree(artifact, folder / given["path"] / artifact.name)
        return runner, runner(name)

    def upload(self, runner: Runner, job: str) -> None:
        given = uses(job, "upload-artifact")[0]
        name = fill(given["name"], runner.values)
        assert not set(name) & set('":<>|*?\r\n\\/'), "GitHub takes no such artifact name"
        shutil.copytree(runner.folder / fill(given["path"], runner.values), self.artifacts / name)


@pytest.fixture
def week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two images, of which one cannot be built: what its publisher serves is not what it signed."""
    (tmp_path / "registry").mkdir()
    (tmp_path / "artifacts").mkdir()
    up = tiny.make(tmp_path / "upstream", "tiny", "broken")
    with (up.www / "broken" / "SHA256SUMS").open("a") as sums:
        sums.write("\n")
    with tiny.served(up.www) as mirrors, registry(tmp_path / "registry") as address:
        kmi = tiny.Kmi(folder=tmp_path, tiny=up, base=tiny.local_base(tmp_path), mirrors=mirrors)
        found = Week(tmp_path, kmi, "Org/Images")
        # The scripts name ghcr.io; the registry stands for it.
        monkeypatch.setitem(JOBS["publish"]["env"], "REPOSITORY",
                            JOBS["publish"]["env"]["REPOSITORY"].replace("ghcr.io", address))  # fmt: skip
        yield found


def test_a_week_publishes_what_can_be_built_and_nothing_else(week: Week) -> None:
    plan, status = week.job("plan")
    assert status == 0, plan.stderr
    images, releases = (json.loads(plan.outputs[name])["include"] for name in ("images", "releases"))
    assert [row["image"] for row in images] == ["broken:1", "tiny:1"]
    assert releases == [{"name": "broken-1", "arches": "amd64"}, {"name": "tiny-1", "arches": "amd64"}]

    statuses = {}
    for row in images:
        build, statuses[row["id"]] = week.job("build", row)
        if statuses[row["id"]] == 0:
            week.upload(build, "build")
            assert re.search(r"✓ amd64/bios +login-prompt ", build.stderr)
    assert statuses == {"broken-1-amd64": 4, "tiny-1-amd64": 0}

    broken, status = week.job("publish", releases[0])
    assert status == 2 and broken.stdout == "", broken.stderr
    done, status = week.job("publish", releases[1])
    assert status == 0, done.stderr
    repository = fill(JOBS["publish"]["env"]["REPOSITORY"], week.values).lower() + "/tiny"
    assert re.fullmatch(re.escape(repository) + r"@sha256:[0-9a-f]{64}\n", done.stdout)
    assert "as reported" in done.stderr
    assert not list((done.folder / "build").rglob("console-*.log")), "a guest was booted where an identity token is"
    heading, _, head, _, line, *_ = (done.folder / "summary.md").read_text().splitlines()
    assert heading == f"### Published: {done.stdout.strip()}"
    assert head == "| image | tier | digest | size | trust |"
    assert re.fullmatch(r"\| tiny-1-amd64 \| preview \| sha256:\w{64} \| .* KiB \| openpgp:\w{40} \|", line)
    tagged = week.kmi("verify", f"{repository}:1", "--key", week.kmi.public)
    assert (tagged.returncode, tagged.stdout) == (0, done.stdout), tagged.stderr


def test_the_locks_of_others_are_written_where_one_publisher_fails(week: Week) -> None:
    job, status = week.job("locks")
    assert status == 4, job.stderr
    assert [path.name for path in week.kmi.tiny.distros.glob("*.lock.json")] == ["tiny.lock.json"], job.stderr
    assert uses("locks", "upload-artifact")[0]["path"] == "distros/*.lock.json"


def test_who_runs_guests_has_neither_secrets_nor_an_identity() -> None:
    document = yaml.safe_load((WORKFLOWS / "images.yml").read_text())
    assert document["permissions"] == {}
    build = JOBS["build"]
    assert build["permissions"] == {"contents": "read"}
    assert not re.search(r"secrets|github\.token|id-token", json.dumps(build))
    assert [name for name, job in JOBS.items() if "id-token" in job["permissions"]] == ["publish"]
    assert [name for name, job in JOBS.items() if "--test" in json.dumps(job)] == ["build"]
    assert "--report" in json.dumps(JOBS["publish"])
    for name in ("build", "publish"):
        assert JOBS[name]["strategy"]["fail-fast"] is False


def test_the_workflows_pin_the_same_commit_of_each_action() -> None:
    pins: dict[str, set[str]] = {}
    for file in WORKFLOWS.glob("*.yml"):
        for action, commit in re.findall(r"uses: (\S+)@(\S.*)", file.read_text()):
            assert re.fullmatch(r"[0-9a-f]{40} # v\d+\.\d+\.\d+", commit), f"{file.name}: {action}@{commit}"
            pins.setdefault(action, set()).add(commit)
    assert pins and all(len(commits) == 1 for commits in pins.values())


def test_steps_that_are_left_out_here_are_still_there() -> None:
    names = {step.get("name") for job in ("plan", "build", "publish") for step in JOBS[job]["steps"]}
    assert names >= OF_GITHUB
    assert os.access(tiny.ROOT / "hack" / "setup.sh", os.R_OK)
