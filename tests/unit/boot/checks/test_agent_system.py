"""What agents of real distributions say of their system (their os-release files), held against the manifests' words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kmi.boot.agent import AgentError
from kmi.boot.checks import agent_system
from kmi.boot.checks.agent_system import judge
from kmi.boot.checks.check import Inapplicable
from kmi.boot.console import GaveUp


def record(distro: str, title: str, release: str, architecture: str = "amd64") -> dict[str, str]:
    return {
        "distro": distro, "release": release, "architecture": architecture, "agent": "installed",
        "title": f"{title} {release} for KubeVirt",
    }  # fmt: skip


def osinfo(id_: str, name: str, version: str, machine: str = "x86_64") -> dict[str, str]:
    return {"id": id_, "name": name, "version-id": version, "machine": machine, "pretty-name": f"{name} {version}"}


DEBIAN = record("debian", "Debian", "12")
BOOKWORM = osinfo("debian", "Debian GNU/Linux", "12")


@pytest.mark.parametrize(
    ("found", "metadata"),
    [
        (BOOKWORM, DEBIAN),
        (osinfo("debian", "Debian GNU/Linux", "12", "aarch64"), record("debian", "Debian", "12", "arm64")),
        (osinfo("centos", "CentOS Stream", "10"), record("centos-stream", "CentOS Stream", "10")),
        (osinfo("ol", "Oracle Linux Server", "10.0"), record("oraclelinux", "Oracle Linux", "10")),
        (osinfo("almalinux", "AlmaLinux", "10.2"), record("almalinux", "AlmaLinux", "10")),
        (osinfo("amzn", "Amazon Linux", "2023"), record("amazonlinux", "Amazon Linux", "2023")),
        (osinfo("ubuntu", "Ubuntu", "24.04"), record("ubuntu-minimal", "Ubuntu Minimal", "24.04")),
        (osinfo("alpine", "Alpine Linux", "3.24.1"), record("alpine", "Alpine Linux", "3.24")),
        (osinfo("arch", "Arch Linux", ""), record("archlinux", "Arch Linux", "rolling")),
        (osinfo("kali", "Kali GNU/Linux", "2026.3"), record("kali", "Kali Linux", "rolling")),
    ],
)
def test_the_same_system_by_its_own_words_passes(found: dict[str, str], metadata: dict[str, str]) -> None:
    assert found["name"] in judge(found, metadata)


@pytest.mark.parametrize(
    ("found", "metadata", "words"),
    [
        (osinfo("ubuntu", "Ubuntu", "12"), DEBIAN, "another system"),
        (osinfo("rocky", "Rocky Linux", "10"), record("oraclelinux", "Oracle Linux", "10"), "another system"),
        (osinfo("centos", "CentOS Linux", "10"), record("centos-stream", "CentOS Stream", "10"), "another system"),
        (osinfo("", "", "12"), DEBIAN, "another system"),
        (osinfo("debian", "Debian GNU/Linux", "13"), DEBIAN, "another release"),
        (osinfo("debian", "Debian GNU/Linux", "1"), DEBIAN, "another release"),
        (osinfo("debian", "Debian GNU/Linux", "120"), DEBIAN, "another release"),
        (osinfo("debian", "Debian GNU/Linux", ""), DEBIAN, "another release"),
        (osinfo("debian", "Debian GNU/Linux", "12", "aarch64"), DEBIAN, "another architecture"),
        ({"id": "debian", "version-id": "12"}, DEBIAN, "another architecture"),
        ({}, DEBIAN, "another system"),
    ],
)
def test_another_one_fails_by_its_words(found: dict[str, str], metadata: dict[str, str], words: str) -> None:
    with pytest.raises(GaveUp, match=words):
        judge(found, metadata)


def test_an_agent_that_does_not_tell_fails(guest) -> None:
    def refuse() -> dict[str, str]:
        raise AgentError("the guest agent refuses guest-get-osinfo: disabled", refused=True)

    with pytest.raises(GaveUp, match="refuses guest-get-osinfo"):
        agent_system.CHECK.run(guest(agent=SimpleNamespace(osinfo=refuse), metadata=DEBIAN))


def test_an_image_that_claims_nothing_is_not_judged(guest) -> None:
    empty = {"distro": "", "release": "", "architecture": "amd64", "title": ""}
    with pytest.raises(Inapplicable):
        agent_system.CHECK.run(guest(agent=SimpleNamespace(osinfo=lambda: BOOKWORM), metadata=empty))
