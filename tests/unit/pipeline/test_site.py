from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from kmi.errors import GateError
from kmi.host.http import Http
from kmi.host.store import Store
from kmi.host.ui import Reporter, Step
from kmi.pipeline.site import Site
from kmi.settings import Settings


def site(tmp_path: Path, out: io.StringIO | None = None) -> Site:
    ui = Reporter(out or io.StringIO(), github=False)
    return Site(settings=Settings(), store=Store(tmp_path / "cache"), http=Http(), ui=ui, folder=tmp_path / "build")


def make(out: Path, step: Step) -> Mapping[str, object]:
    return {"size": 1}


def told(outputs: Mapping[str, object]) -> str:
    return f"{outputs['size']} B"


def test_a_second_run_reuses_and_a_third_says_why_not(tmp_path: Path) -> None:
    for packages, expected in ((["git"], "✓"), (["git"], "="), (["git", "vim"], "✓")):
        out = io.StringIO()
        run = site(tmp_path, out)
        with run.receipts({}):
            run.stage("debian-12-amd64", "customize", {"recipe": {"packages": packages}}, make, told)
        assert out.getvalue().splitlines()[-1].startswith(expected)
        assert ("customize runs again: recipe.packages: +vim" in out.getvalue()) == ("vim" in packages)


def test_the_receipt_is_written_also_when_the_gate_refuses(tmp_path: Path) -> None:
    run = site(tmp_path)
    with pytest.raises(GateError), run.receipts({"qemu-img": "7.2"}) as result:
        run.stage("x", "finish", {"a": 1}, make, told)
        run.failed("x", "test", 1.5, {"image": "sha256:1"}, {"report": "the login prompt did not come"})
        result["half"] = "way"
        raise GateError("x may not be published", got="login-prompt failed")
    receipt = json.loads(run.receipt.read_text())
    assert [stage["stage"] for stage in receipt["stages"]] == ["finish", "test"]
    assert receipt["result"]["error"]["kind"] == "GateError"
    assert receipt["result"]["error"]["got"] == "login-prompt failed"
    assert receipt["tools"] == {"qemu-img": "7.2"}
