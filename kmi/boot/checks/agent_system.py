"""The system that the guest agent names (guest-get-osinfo, which reads os-release(5)) is the one that the image claims.

KubeVirt shows it in the VirtualMachineInstance (``status.guestOSInfo``). Distributions have other identifiers than the
manifests (``ol`` for Oracle Linux), so that beside those the names count: CentOS Stream, Oracle Linux Server.
"""

from __future__ import annotations

from collections.abc import Mapping

from kmi.boot.agent import AgentError
from kmi.boot.checks.check import Check, Guest, Inapplicable, with_agent
from kmi.boot.console import GaveUp
from kmi.model.checks import AGENT_SYSTEM, GUEST_AGENT
from kmi.model.metadata import Metadata
from kmi.model.platform import Arch


def judge(found: Mapping[str, str], metadata: Metadata) -> str:
    """For the report. GaveUp for another distribution, release or architecture than the image's record names; a
    rolling release has no number to compare."""
    ours = f"{metadata['distro']} {metadata['release']} for {metadata['architecture']}"
    told = ", ".join(f"{name} {found.get(name, '')!r}" for name in ("id", "name", "version-id", "machine"))
    if found.get("id") != metadata["distro"] and not _named(found, metadata):
        raise GaveUp(f"the agent names another system than {ours}: {told}")
    if metadata["release"][:1].isdigit() and not _within(found.get("version-id", ""), metadata["release"]):
        raise GaveUp(f"the agent names another release than {ours}: {told}")
    if found.get("machine") not in {Arch(metadata["architecture"]).machine, metadata["architecture"]}:
        raise GaveUp(f"the agent names another architecture than {ours}: {told}")
    return f"the agent names {found.get('pretty-name') or found.get('name', '')} on {found['machine']}"


def _named(found: Mapping[str, str], metadata: Metadata) -> bool:
    """Whether the words of one name begin the other one: the manifest's title (the record's, as far as its release),
    and the system's. Ubuntu Minimal calls itself Ubuntu, Oracle Linux is Oracle Linux Server."""
    title = metadata["title"].casefold().split()
    if metadata["release"].casefold() in title:
        title = title[: title.index(metadata["release"].casefold())]
    names = [found.get(key, "").casefold().split() for key in ("name", "pretty-name")]
    return any(title and name and (name[: len(title)] == title or title[: len(name)] == name) for name in names)


def _within(version: str, release: str) -> bool:
    """10.1 is of release 10; 1 is not, nor is 101."""
    return version == release or version.startswith(f"{release}.")


def _run(guest: Guest) -> str:
    if not all(guest.metadata[name] for name in ("distro", "release", "architecture")):
        raise Inapplicable("the image does not say which system it is")
    try:
        return judge(guest.agent.osinfo(), guest.metadata)
    except AgentError as error:
        raise GaveUp(str(error)) from error


CHECK = Check(name=AGENT_SYSTEM, skip=with_agent, run=_run, after=(GUEST_AGENT,))
