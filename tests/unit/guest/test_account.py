"""The script that makes the default user, run by a real shell and Python. cloud-init is simulated: a package that has
what the script uses of it (cloudinit: stages.py, util.py, distros/ug_util.py, config/cc_users_groups.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kmi.guest import account

PARTS = {
    "stages.py": """
class Init:
    cfg, distro = None, "debian"
    def read_cfg(self):
        self.cfg = {"users": ["default"]}
""",
    "util.py": """
import os
def is_user(name):
    return name in os.environ["USERS"].split()
""",
    "distros/ug_util.py": """
def normalize_users_groups(cfg, distro):
    assert (cfg, distro) == ({"users": ["default"]}, "debian")
    return {"debian": {"default": True}}, {}
def extract_default(users):
    return next(iter(users.items()))
""",
    "config/cc_users_groups.py": """
def handle(name, cfg, cloud, args):
    print("handle", cfg, cloud.distro, cloud.get_public_ssh_keys(), args)
""",
}
OLDER = PARTS["config/cc_users_groups.py"].replace("cloud, args)", "cloud, log, args)", 1)
OLDEST = (
    PARTS["config/cc_users_groups.py"].replace("cloud, args)", "cloud, _log, _args)", 1).replace(", args)", ", _args)")
)


def printed(folder: Path, *, users: str = "root", **parts: str) -> str:
    """What the script prints in a guest with this cloud-init. It must never fail a build."""
    package = folder / "lib/cloudinit"
    for name, text in ({**PARTS, **parts}).items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (package / "__init__.py").touch()
    program = folder / "bin/cloud-init"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable} -s\n")
    program.chmod(0o755)
    scripts: list[str] = []
    guest = SimpleNamespace(
        exists=lambda path: path == "/usr/bin/cloud-init", shell=lambda script, *, on_line: scripts.append(script)
    )
    account.default_user(guest, print)  # type: ignore[arg-type]
    env = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(folder / "lib"), "USERS": users}
    done = subprocess.run(["sh", "-c", f"set -eu\n{scripts[0]}"], env=env, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("module", [PARTS["config/cc_users_groups.py"], OLDER, OLDEST])
def test_the_user_is_made_as_cloud_init_is_configured(tmp_path: Path, module: str) -> None:
    told = "handle {'users': ['default']} debian [] []\nmade the default user debian\n"
    assert printed(tmp_path, **{"config/cc_users_groups.py": module}) == told


def test_a_user_that_is_there_is_left_alone(tmp_path: Path) -> None:
    assert printed(tmp_path, users="root debian") == ""


@pytest.mark.parametrize("name", sorted(PARTS))
def test_another_cloud_init_is_told_and_does_not_end_the_build(tmp_path: Path, name: str) -> None:
    assert printed(tmp_path, **{name: "\n"}).startswith("cloud-init does not make its default user")


def test_without_cloud_init_nothing_happens() -> None:
    """Such a guest may not even have a shell."""
    account.default_user(SimpleNamespace(exists=lambda path: False), print)  # type: ignore[arg-type]
