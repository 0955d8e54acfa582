"""The house rules that a reader relies on, checked on the syntax trees of the whole package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "kmi"
STAGES = {"catalogue", "upstream", "bootstrap", "guest", "wrap", "publish", "boot", "policy", "kubevirt"}
FLOOR = {"host", "oci", "disk"}
GROUND = {"model", "errors", "settings"}
ONLY = {
    "sh": {"host/run.py"},
    "requests": {"host/http.py"},
    "urllib3": {"host/http.py"},
    "guestfs": {"host/guestfs.py"},
    "subprocess": set(),
    "pydantic": {f"catalogue/{path.name}" for path in (PACKAGE / "catalogue").glob("*.py")},
}
MAKERS = {"upstream/fetch.py", "bootstrap/build.py"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "kmi" and len(parts) > 1 else None


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_floors(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    used = {found for dotted in imports(path) if (found := room(dotted))} - {here, "__version__"}
    if here in GROUND:
        assert used <= GROUND
    elif here in FLOOR:
        assert used <= FLOOR | GROUND
    elif here in STAGES:
        assert used <= FLOOR | GROUND, f"a stage imports {used - FLOOR - GROUND}"
    elif here == "pipeline":
        assert "cli" not in used


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_one_wrapper_for_each_effect(path: Path) -> None:
    for dotted in imports(path):
        allowed = ONLY.get(dotted.split(".")[0])
        assert allowed is None or name(path) in allowed, f"{dotted} belongs to {sorted(allowed)}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_verifiers_make_a_verified_image(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "VerifiedImage"]
    assert not made or name(path) in MAKERS


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_command_line_prints_and_exits(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    words = {ast.unparse(call.func) for call in calls}
    if name(path).startswith("cli/"):
        return
    assert not words & {"print", "sys.exit", "exit", "quit", "os._exit"}
    if name(path) != "host/ui.py":
        assert not {word for word in words if word.startswith(("sys.stdout", "sys.stderr"))}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_stays_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300


def test_the_median_module_is_small() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in MODULES if path.name != "__init__.py")
    assert lengths[len(lengths) // 2] <= 100


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_is_a_drawer(path: Path) -> None:
    assert path.stem not in {"utils", "util", "common", "helpers", "helper", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_distribution_is_special(path: Path) -> None:
    compared = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Compare) and "distro" in ast.unparse(node) and any(
            isinstance(part, ast.Constant) and isinstance(part.value, str) for part in node.comparators)
    ]  # fmt: skip
    assert compared == []
