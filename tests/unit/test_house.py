"""The house rules that a reader relies on, checked on the syntax trees of the whole package."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "kmi"
STAGES = {"catalogue", "upstream", "bootstrap", "guest", "wrap", "publish", "boot", "policy", "kubevirt"}
FLOOR = {"host", "oci", "disk"}
GROUND = {"model", "errors", "documents", "settings"}
ONLY = {
    "sh": {"host/run.py"},
    "requests": {"host/wire.py"},
    "urllib3": {"host/wire.py"},
    "guestfs": {"host/guestfs.py"},
    "websocket": {"host/websockets.py"},
    **{module: set() for module in ("subprocess", "_posixsubprocess", "posix", "multiprocessing", "pty", "asyncio")},
    "pydantic": {f"catalogue/{path.name}" for path in (PACKAGE / "catalogue").glob("*.py")},
}
STARTERS = re.compile(r"os\.(system|popen|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|fork|forkpty)|.*ProcessPoolExecutor")
"""What starts a program or a process, beside the modules that ``ONLY`` keeps out."""
MAKERS = {"upstream/fetch.py", "upstream/adopt.py", "bootstrap/build.py"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def renamed(module: ast.Module) -> set[str]:
    """What is imported under another name, which the rules below would not recognise."""
    found = [node for node in ast.walk(module) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.name for node in found for alias in node.names if alias.asname}


def starters(module: ast.Module) -> set[str]:
    """Ways around ``host.run`` to start a program."""
    words = {ast.unparse(node) for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    used = {word for word in (*words, *imports(module)) if STARTERS.fullmatch(word)}
    return used | (renamed(module) & {"os"})


def forgeries(module: ast.Module) -> set[str]:
    """What could make a ``VerifiedImage``: every use of the name but in an annotation, and ``replace`` beside it."""
    if not any(dotted.endswith(".VerifiedImage") for dotted in imports(module)) and "VerifiedImage" not in names(
        module
    ):
        return set()
    hints = {id(part) for hint in annotations(module) for part in ast.walk(hint)}
    used = {
        ast.unparse(node)
        for node in ast.walk(module)
        if isinstance(node, ast.Name | ast.Attribute)
        and id(node) not in hints
        and ast.unparse(node).endswith("VerifiedImage")
    }
    copied = {dotted for dotted in imports(module) if dotted in ("dataclasses.replace", "copy.replace")}
    copied |= names(module) & {"dataclasses.replace", "copy.replace"}
    return used | copied | (renamed(module) & {"VerifiedImage", "dataclasses", "copy"})


def names(module: ast.Module) -> set[str]:
    words = {ast.unparse(node) for node in ast.walk(module) if isinstance(node, ast.Name | ast.Attribute)}
    return words | {"VerifiedImage" for word in words if word.endswith(".VerifiedImage")}


def annotations(module: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns:
            yield node.returns
        elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            yield node.annotation


def room(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "kmi" and len(parts) > 1 else None


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_floors(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    used = {found for dotted in imports(tree(path)) if (found := room(dotted))} - {here, "__version__"}
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
    for dotted in imports(tree(path)):
        allowed = ONLY.get(dotted.split(".")[0])
        assert allowed is None or name(path) in allowed, f"{dotted} belongs to {sorted(allowed)}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_programs_are_started_in_one_place(path: Path) -> None:
    assert name(path) == "host/run.py" or starters(tree(path)) == set()


@pytest.mark.parametrize(
    "line",
    [
        "import os; os.system('true')",
        "import os; start = os.popen",
        "import os; os.execvp('true', [])",
        "import os; os.spawnlp(0, 'true')",
        "import os; os.posix_spawn('/bin/true', [], {})",
        "import os; os.fork()",
        "from os import system",
        "from os import posix_spawnp as p",
        "import os as o",
        "from concurrent.futures import ProcessPoolExecutor",
        "import concurrent.futures; concurrent.futures.ProcessPoolExecutor()",
    ],
)
def test_no_way_around_that_place_is_overlooked(line: str) -> None:
    assert starters(ast.parse(line))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_only_the_verifiers_make_a_verified_image(path: Path) -> None:
    assert name(path) in MAKERS or forgeries(tree(path)) == set()


def test_the_verifiers_do_make_it() -> None:
    assert {name(path) for path in MODULES if "VerifiedImage" in forgeries(tree(path))} == MAKERS


@pytest.mark.parametrize(
    "line",
    [
        "from kmi.model.stages import VerifiedImage; VerifiedImage(id=1)",
        "from kmi.model import stages; stages.VerifiedImage(id=1)",
        "from kmi.model.stages import VerifiedImage as Image; Image(id=1)",
        "from kmi.model.stages import VerifiedImage; decode(VerifiedImage, {})",
        "from kmi.model.stages import VerifiedImage; make = VerifiedImage",
        "from dataclasses import replace\nfrom kmi.model.stages import VerifiedImage\n"
        "def f(image: VerifiedImage): return replace(image, format='raw')",
        "import dataclasses\nfrom kmi.model import stages\n"
        "def f(image: stages.VerifiedImage): return dataclasses.replace(image, format='raw')",
        "import dataclasses as d\nfrom kmi.model.stages import VerifiedImage",
    ],
)
def test_no_forgery_is_overlooked(line: str) -> None:
    assert forgeries(ast.parse(line))


def test_a_verified_image_may_be_taken_and_handed_on() -> None:
    text = (
        "from kmi.model.stages import VerifiedImage\ndef f(image: VerifiedImage) -> VerifiedImage | None: return image"
    )
    assert forgeries(ast.parse(text)) == set()


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
