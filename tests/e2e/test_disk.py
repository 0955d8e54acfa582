"""The disk: what customise did to the verified input, and what finish made of it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from kmi.guest.account import ADDED as ACCOUNT
from kmi.guest.customize import ADDED
from kmi.guest.packages import MANAGERS
from kmi.guest.scrub import ONLY_A_FILE, RULES, Action
from tests.e2e.conftest import AGENT, BUILDER, Run
from tests.e2e.trees import Tree, matches

WANTED = {"qemu-guest-agent", "git", "vim", "tmux", "net-tools", "screenfetch"}
DOCUMENTED = "/usr/share/doc/apt/examples/sources.list"
UNSCRUBBED = (
    "/tmp/kmi-sources.list", "/var/lib/apt/lists/example.org_debian_dists_bookworm_InRelease",
    "/etc/ssh/ssh_host_rsa_key", "/var/lib/cloud/instance", "/root/.cache/pip/http", "/var/lib/dpkg/status-old",
    "/var/log/journal/0123456789abcdef/system.journal", "/var/log/syslog.1",
)  # fmt: skip
"""What scrub removes; none of it may stay, not even empty, and wherever else a declaration has room for it."""


def owned(tree: Tree) -> dict[str, str | None]:
    """Every path that the installed packages list, with the MD5 that they give it (None where they give none), and the
    links that they registered as alternatives."""
    paths: dict[str, str | None] = {}
    info = tree.root / "var/lib/dpkg/info"
    for listing in info.glob("*.list"):
        paths |= {line: None for line in listing.read_text().splitlines() if line != "/."}
    for sums in info.glob("*.md5sums"):
        paths |= {
            "/" + name: digest for digest, name in (line.split(None, 1) for line in sums.read_text().splitlines())
        }
    for choice in (tree.root / "var/lib/dpkg/alternatives").iterdir():
        paths |= {line: None for line in choice.read_text().splitlines() if line.startswith("/")}
    for line in tree.read("/var/lib/dpkg/status").decode().splitlines():
        if found := re.fullmatch(r" (/\S+) ([0-9a-f]{32})", line):
            paths[found[1]] = found[2]
    return paths


def merged(path: str) -> str:
    """The packages' own spelling of a path under the merged /usr."""
    return re.sub(r"^/usr(?=/(bin|sbin|lib|lib64)/)", "", path)


@dataclass(frozen=True, kw_only=True)
class Planted(Tree):
    """A tree with files in it that are not in the disk."""

    files: dict[str, bytes]

    def read(self, path: str) -> bytes:
        return self.files[path] if path in self.files else super().read(path)


def plant(tree: Tree, files: dict[str, bytes]) -> Planted:
    plain = tree.nodes["/etc/hostname"]
    nodes = {path: replace(plain, content=hashlib.sha256(data).hexdigest()) for path, data in files.items()}
    return Planted(root=tree.root, nodes={**tree.nodes, **nodes}, partitions=tree.partitions, files=files)


def scrubbed(path: str, how: str, after: Tree) -> bool | None:
    """Whether scrub did to the path what its table says: what should be gone is gone, what should be empty is. None if
    the table does not speak of it."""
    rules = [rule for rule in RULES if matches(path, rule.pattern) or matches(path, f"{rule.pattern}/**")]
    if path == ONLY_A_FILE or any(rule.action is Action.REMOVE for rule in rules):
        return how == "removed"
    node = after.nodes.get(path)
    if node is None or node.kind != "-" or not any(matches(path, rule.pattern) for rule in rules):
        return None
    return node.content == hashlib.sha256(b"").hexdigest()


def strangers(before: Tree, after: Tree) -> dict[str, str]:
    """The differences that neither a package nor a declaration accounts for."""
    packages = owned(after)
    declared = [*MANAGERS["apt"].records, *ADDED, *ACCOUNT]

    def accounted(path: str, how: str) -> bool:
        done = scrubbed(path, how, after)
        if done is not None:
            return done
        if any(matches(path, pattern) for pattern in declared):
            return True
        spelled = next((name for name in (path, merged(path)) if name in packages), None)
        if spelled is None or how == "removed":
            return False
        digest = packages[spelled]
        return digest is None or hashlib.md5(after.read(path)).hexdigest() == digest

    differences = before.changed(after)
    return {path: how for path, how in sorted(differences.items()) if not accounted(path, how)}


def test_every_difference_belongs_to_a_package_or_is_declared(before: Tree, after: Tree) -> None:
    assert strangers(before, after) == {}


def test_the_difference_is_seen(before: Tree, after: Tree) -> None:
    """The comparison is able to fail: it sees what customise did, and a foreign path in it."""
    differences = before.changed(after)
    assert differences["/usr/bin/git"] == "added"
    assert differences["/etc/machine-id" if before.read("/etc/machine-id") else "/var/lib/dpkg/status"] == "changed"
    files = {
        "/etc/stranger": b"a file of nobody",
        "/usr/bin/git": b"not what the package holds",
        "/etc/machine-id": b"0123456789abcdef0123456789abcdef\n",
        "/var/log/backdoor.sh": b"#!/bin/sh\n",
        **dict.fromkeys(UNSCRUBBED, b""),
    }
    tree = plant(after, files)
    tree.nodes.pop("/usr/bin/sudo")
    tree.nodes.pop("/etc/hosts")
    earlier = plant(before, {"/etc/machine-id": b""})
    found = strangers(earlier, tree)
    assert {*files, "/usr/bin/sudo", "/etc/hosts"} - found.keys() == set()
    assert (found["/etc/stranger"], found["/usr/bin/sudo"]) == ("added", "removed")


def test_the_boot_partitions_are_as_they_were(before: Tree, after: Tree) -> None:
    assert before.partitions.keys() == after.partitions.keys() == {1, 14, 15}
    assert {n: before.partitions[n] for n in (14, 15)} == {n: after.partitions[n] for n in (14, 15)}
    assert before.partitions[1] != after.partitions[1]


def test_packages_are_installed_and_in_the_inventory(bootstrapped: Run, after: Tree) -> None:
    (customize,) = (stage for stage in bootstrapped.receipt["stages"] if stage["stage"] == "customize")
    inventory = customize["outputs"]["inventory"]
    names = {package["name"]: package for package in inventory["packages"]}
    assert names.keys() >= WANTED
    assert names["git"]["source"] == "git"
    assert names["libc6"]["source"] == "glibc"
    assert dict(inventory["os_release"])["ID"] == "debian"
    assert inventory["kernels"]
    assert inventory["archives"]
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", archive["digest"]) for archive in inventory["archives"])
    status = after.read("/var/lib/dpkg/status").decode()
    assert set(re.findall(r"^Package: (\S+)$", status, re.M)) == names.keys()


def hosts(urls: Iterable[str]) -> set[str]:
    """The names in the URLs that are not every machine's own."""
    return {name for url in urls if (name := urlsplit(url).hostname)} - {"localhost", "127.0.0.1", "::1"}


def network(documented: bytes, mirrors: str, configuration: str) -> set[str]:
    """The hosts that only the builder uses: of its mirrors (one URL in each line) those that the guest's documented
    sources do not name, and of the proxies in what ``apt-config dump`` tells."""
    own = re.findall(r"^deb(?:-src)? (\S+)", documented.decode(), re.M)
    proxies = re.findall(r'^Acquire::\S*Proxy\S* "([^"]+)";$', configuration, re.M)
    return hosts(mirrors.splitlines()) - hosts(own) | hosts(proxies)


def traces(tree: Tree, needles: set[str]) -> set[tuple[str, str]]:
    """The files that hold one of the needles, outside of what only packages write."""
    return {
        (path, needle)
        for path, node in tree.nodes.items()
        if node.kind == "-" and path.startswith(("/etc/", "/var/", "/root/", "/boot/", "/usr/local/"))
        for needle in needles
        if needle.encode() in tree.read(path)
    }


def apt(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_nothing_of_the_builder_is_in_the_disk(bootstrapped: Run, after: Tree) -> None:
    nameservers = re.findall(r"^nameserver\s+(\S+)", Path("/etc/resolv.conf").read_text(), re.M)
    assert nameservers
    assert AGENT in (bootstrapped.output / "log/debian-12-amd64-bootstrap.log").read_text(), "the bait was not taken"
    mirrors = apt("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    needles = network(after.read(DOCUMENTED), mirrors, apt("apt-config", "dump"))
    needles |= {BUILDER, AGENT, *nameservers, "Acquire::http::Proxy", "99mmdebstrap", "kmi-sources"}
    assert traces(after, needles) == set()
    assert b"signed-by=" not in after.read("/etc/apt/sources.list")


def test_a_trace_of_the_builder_is_seen(after: Tree) -> None:
    mirrors = "http://mirror.example.org:8080/debian/\nhttp://localhost:3142/debian/\n"
    own = re.findall(r"^deb (\S+)", after.read(DOCUMENTED).decode(), re.M)
    configuration = 'Acquire::http::Proxy "http://proxy.example.org:3128/";\nAcquire::https::Proxy "DIRECT";\n'
    needles = network(after.read(DOCUMENTED), mirrors + "\n".join(own), configuration)
    assert needles == {"mirror.example.org", "proxy.example.org"}
    files = {
        "/etc/apt/sources.list": b"deb [trusted=yes] http://mirror.example.org:8080/debian bookworm main\n",
        "/etc/apt/apt.conf.d/99mmdebstrap": f'Acquire::http::User-Agent "{AGENT}";\n'.encode(),
        "/var/log/setup.log": b"using http://proxy.example.org:3128/\n",
    }
    found = traces(plant(after, files), needles | {AGENT})
    assert found == set(zip(files, ["mirror.example.org", AGENT, "proxy.example.org"], strict=True))


def test_the_guest_has_its_distributions_own_sources(after: Tree) -> None:
    documented = after.read(DOCUMENTED).decode().splitlines()
    archives = {tuple(line.split()[1:3]) for line in documented if line.startswith("deb ")}
    given = {tuple(line.split()[1:3]) for line in after.read("/etc/apt/sources.list").decode().splitlines()}
    assert archives
    assert given == archives
    assert [path for path in after.nodes if path.startswith("/etc/apt/sources.list.d/")] == []
    assert after.nodes["/etc/resolv.conf"].content == "../run/systemd/resolve/stub-resolv.conf"


def test_identity_is_left_to_the_machine(after: Tree) -> None:
    assert after.read("/etc/machine-id") == b""
    assert [path for path in after.nodes if path.startswith("/etc/ssh/ssh_host_")] == []
    assert "/var/lib/systemd/random-seed" not in after.nodes
    assert [path for path in after.nodes if path.startswith("/var/lib/cloud/")] == []
    logs = [path for path, node in after.nodes.items() if path.startswith("/var/log/") and node.kind == "-"]
    assert [path for path in logs if after.read(path)] == []


def test_the_finished_disk(bootstrapped: Run) -> None:
    disk = bootstrapped.stage("finish") / "disk.qcow2"
    info = json.loads(
        subprocess.run(["qemu-img", "info", "--output", "json", disk], check=True, capture_output=True).stdout
    )
    assert info["format"] == "qcow2"
    assert info["virtual-size"] == 20 * 1024**3
    assert info["format-specific"]["data"]["compression-type"] == "zstd"
    assert "backing-filename" not in info
    check = subprocess.run(["qemu-img", "check", "--output", "json", disk], check=True, capture_output=True)
    report = json.loads(check.stdout)
    assert report["compressed-clusters"] > 0.9 * report["allocated-clusters"]
    assert report.get("corruptions", 0) == report.get("leaks", 0) == 0


def test_the_partition_table_fits_the_new_size(bootstrapped: Run, tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    disk = bootstrapped.stage("finish") / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw], check=True)
    verdict = subprocess.run(["sgdisk", "--verify", raw], check=True, capture_output=True, text=True).stdout
    assert "No problems found" in verdict, verdict


def test_finish_gives_the_same_bytes_again(bootstrapped: Run, tmp_path: Path) -> None:
    from kmi.disk.finish import finish
    from kmi.host.store import hash_file
    from kmi.host.ui import Reporter
    from kmi.model.stages import CustomDisk

    custom = CustomDisk(
        id=None, path=bootstrapped.stage("customize") / "disk.raw", format="raw",  # type: ignore[arg-type]
        origin=None, inventory=None, customizer="appliance",  # type: ignore[arg-type]
    )  # fmt: skip
    with Reporter().step("test", "finish") as step:
        again = finish(custom, virtual_size=20 * 1024**3, out=tmp_path, log=tmp_path / "log", step=step)
    assert again.digest == hash_file(bootstrapped.stage("finish") / "disk.qcow2")


def test_no_larger_than_virt_sparsify_makes_it(bootstrapped: Run, tmp_path: Path) -> None:
    small = tmp_path / "sparsified.qcow2"
    subprocess.run(
        ["virt-sparsify", "--compress", "--quiet", "--tmp", tmp_path, "--format", "raw", "--convert", "qcow2",
         bootstrapped.stage("customize") / "disk.raw", small],
        check=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path), "LIBGUESTFS_BACKEND": "direct",
                         "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"},
    )  # fmt: skip
    assert (bootstrapped.stage("finish") / "disk.qcow2").stat().st_size <= small.stat().st_size
