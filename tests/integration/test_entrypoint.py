"""entrypoint.sh in every shell that a base may have: as uid 107, on a read-only root, with nothing but ``cat``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kmi.host.run import Result, run, which
from kmi.model.metadata import BY_NAME
from kmi.oci.layer import Entry
from kmi.wrap import metadata_layer
from tests.wrapping import EULA, LICENCE, record

SHELLS = {"dash": ["/bin/dash"], "bash": ["/bin/bash", "--posix"], "busybox": ["/shell/busybox", "sh"]}
POINTS = ("usr", "lib", "lib64", "bin", "shell", "path")
Entrypoint = Callable[..., Result]


def unpack(entries: tuple[Entry, ...], root: Path) -> None:
    for entry in entries:
        path = root / entry.name
        if entry.data is None:
            path.mkdir(parents=True)
        else:
            path.write_bytes(entry.data)
        path.chmod(entry.mode)


@pytest.fixture(params=SHELLS)
def entrypoint(request: pytest.FixtureRequest, tmp_path: Path) -> Entrypoint:
    """Run the script in a sandbox whose PATH is a folder with one program; ``eula`` says whether there is one."""
    path, shell = tmp_path / "path", tmp_path / "shell"
    for folder in (path, shell):
        folder.mkdir(mode=0o755)
    shutil.copy("/bin/cat", path)
    shutil.copy(which("busybox") or "", shell / "busybox")

    def invoke(*args: str, eula: bool = False, env: tuple[str, ...] = (), ok: int = 0) -> Result:
        root = tmp_path / f"image-{eula}"
        if not root.exists():
            root.mkdir(mode=0o755)
            unpack(metadata_layer.entries(record(), LICENCE, EULA if eula else None), root)
            for point in POINTS:
                (root / point).mkdir()
        argv = ["bwrap", "--unshare-all", "--uid", "107", "--gid", "107", "--die-with-parent", "--clearenv"]
        argv += ["--ro-bind", str(root), "/"]
        for source, point in (("/usr", "usr"), ("/lib", "lib"), ("/lib64", "lib64"), ("/bin", "bin"),
                              (str(shell), "shell"), (str(path), "path")):  # fmt: skip
            argv += ["--ro-bind-try", source, f"/{point}"]
        for pair in ("PATH=/path", *env):
            argv += ["--setenv", *pair.split("=", 1)]
        return run([*argv, *SHELLS[request.param], "/entrypoint.sh", *args], ok=(ok,))

    return invoke


def test_without_arguments_prints_everything(entrypoint: Entrypoint) -> None:
    told = entrypoint()
    assert told.stdout == metadata_layer.table(record())
    assert told.stderr == ""


def test_prints_one_field_and_several(entrypoint: Entrypoint) -> None:
    assert entrypoint("source").stdout == "the source\n"
    assert entrypoint("kernel", "title", "kernel").stdout == "the kernel\nthe title\nthe kernel\n"


def test_prints_json(entrypoint: Entrypoint) -> None:
    assert json.loads(entrypoint("--json").stdout) == {name: value for name, value in record().items() if value}


def test_prints_the_licence_and_has_no_agreement(entrypoint: Entrypoint) -> None:
    text = entrypoint("licence").stdout
    assert text.startswith("Debian Free Software\nhttps://example.org/licence\n") and "You may share it." in text
    refused = entrypoint("eula", ok=2)
    assert refused.stdout == "" and "unknown field: eula" in refused.stderr


def test_prints_the_agreement(entrypoint: Entrypoint) -> None:
    assert entrypoint("eula", eula=True).stdout == "Terms\nhttps://example.org/eula\n\nBe kind.\n"


@pytest.mark.parametrize(
    "name", ["nonsense", "", "-x", "../licence", "metadata/title", "title*", ".", "codename", "a b"]
)
def test_an_unknown_field_exits_2_and_lists_the_known(entrypoint: Entrypoint, name: str) -> None:
    refused = entrypoint("title", name, ok=2)
    assert refused.stdout == ""
    lines = refused.stderr.splitlines()
    assert lines[:2] == [f"unknown field: {name}", "known fields:"]
    assert {line.strip() for line in lines[2:]} == {field for field in BY_NAME if record()[field]}


def test_help_tells_the_fields(entrypoint: Entrypoint) -> None:
    told = entrypoint("--help").stdout
    assert told.startswith("usage:") and "  virtual-size\n" in told and "codename" not in told


def test_another_folder_of_metadata(entrypoint: Entrypoint) -> None:
    assert entrypoint("title", env=("KMI_METADATA=/kmi",)).stdout == "the title\n"
    assert entrypoint("title", env=("KMI_METADATA=/nowhere",), ok=2).stdout == ""
