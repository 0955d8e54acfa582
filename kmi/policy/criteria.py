"""The criteria of the stable tier, one table: the 22 that the field's image libraries ask for, and kmi's own on trust.

Each row says what proves it. Nothing here is believed because a person says so, but for what only a person can judge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from kmi.model.checks import (
    AGENT_KEYS,
    CHECKS,
    CLOUD_INIT,
    ESSENTIAL,
    GUEST_AGENT,
    LOGIN_PROMPT,
    PROVISIONED,
    SECURITY,
    SSH,
    TRUST,
    UPSTREAM_CATALOG,
    WAIVABLE,
)
from kmi.model.metadata import Metadata
from kmi.model.spec import ImageSpec
from kmi.model.stages import CheckResult, Outcome
from kmi.policy.pages import Page

LAYER_LIMIT = 10_000_000_000
"""Bytes: GitHub's registry takes layers of at most 10 GB, the smallest limit of the large public ones."""

AGENT = "qemu-guest-agent"
DEFAULTS = {
    "git": frozenset({"git", "git-core", "dev-vcs/git"}),
    "vim": frozenset({"vim", "vim-enhanced", "app-editors/vim"}),
    "tmux": frozenset({"tmux", "app-misc/tmux"}),
    "net-tools": frozenset({"net-tools", "net-tools-deprecated", "sys-apps/net-tools"}),
    "a fetch tool": frozenset({"screenfetch", "neofetch", "fastfetch", "app-misc/fastfetch"}),
    AGENT: frozenset({"qemu-guest-agent", "qemu-ga", "app-emulation/qemu-guest-agent"}),
}
"""The default packages by the names that the families of distributions give them."""


class Standing(StrEnum):
    MET = "met"
    UNMET = "not met"
    WAIVED = "waived"
    UNKNOWN = "not seen yet"


class Proof(StrEnum):
    """What tells whether a criterion holds."""

    METADATA = "the image's metadata"
    MANIFEST = "the manifest"
    BOOT = "the boot test"
    SIGNATURES = "the signatures, verified before tags move"
    ENTRYPOINT = "kmi's own test with Docker Engine"
    PAGE = "the image's page"
    PERSON = "a person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is known of an image. ``record`` and ``results`` are of its last build here, None where there was none."""

    spec: ImageSpec
    today: date
    record: Metadata | None = None
    results: tuple[CheckResult, ...] | None = None
    signed: str = ""
    page: Page = field(default_factory=Page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one criterion stands, and why."""

    criterion: str
    standing: Standing
    evidence: str


Judge = Callable[[Case], tuple[Standing, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """``id`` is used in waivers; only a ``waivable`` one may be waived (``kmi.model.checks``). ``checks`` are the boot
    checks that have to pass for it."""

    id: str
    text: str
    judge: Judge
    proof: Proof = Proof.METADATA
    checks: tuple[str, ...] = ()

    @property
    def waivable(self) -> bool:
        return self.id in WAIVABLE


def judge(case: Case) -> tuple[Finding, ...]:
    """Every criterion in the table's order. A waiver counts up to and including its last day."""
    return tuple(_judge(criterion, case) for criterion in CRITERIA)


def _judge(criterion: Criterion, case: Case) -> Finding:
    standing, evidence = criterion.judge(case)
    waiver = next((waiver for waiver in case.spec.waivers if waiver.criterion == criterion.id), None)
    if standing is not Standing.MET and waiver:
        if case.today <= waiver.until:
            standing, evidence = Standing.WAIVED, f"until {waiver.until}: {waiver.reason}"
        else:
            evidence += f" (the waiver ended on {waiver.until})"
    return Finding(criterion=criterion.id, standing=standing, evidence=evidence)


_NOT_BUILT = (Standing.UNKNOWN, "not built here yet")


def _recorded(*names: str) -> Judge:
    """The fields of the metadata record are there."""

    def judge(case: Case) -> tuple[Standing, str]:
        if case.record is None:
            return _NOT_BUILT
        missing = [name for name in names if case.record.get(name, "") in ("", "unversioned")]
        if missing:
            return Standing.UNMET, f"no {', '.join(missing)} in the image's metadata"
        return Standing.MET, "; ".join(f"{name}: {case.record[name]}" for name in names)

    return judge


def _passed(*checks: str) -> Judge:
    """The boot checks passed wherever they apply; at least one does."""

    def judge(case: Case) -> tuple[Standing, str]:
        if case.results is None:
            return Standing.UNKNOWN, "not booted here yet"
        seen = [result for result in case.results if result.check in checks]
        passed = [result for result in seen if result.outcome is Outcome.PASSED]
        bad = [f"{r.check} on {r.machine} {r.outcome}: {r.detail}" for r in seen if _refused(r)]
        absent = [name for name in checks if name not in {result.check for result in seen}]
        if bad or absent:
            return Standing.UNMET, "; ".join(bad + [f"{name} was not run" for name in absent])
        if not passed:
            return Standing.UNMET, "; ".join(sorted({f"{r.check} skipped: {r.detail}" for r in seen}))
        names = [name for name in checks if name in {result.check for result in passed}]
        return Standing.MET, f"{', '.join(names)} on {', '.join(sorted({r.machine for r in passed}))}"

    return judge


def _refused(result: CheckResult) -> bool:
    """Being skipped is no excuse for an essential check."""
    return result.outcome is Outcome.FAILED or (result.outcome is Outcome.SKIPPED and result.check in ESSENTIAL)


def _commit(case: Case) -> tuple[Standing, str]:
    standing, evidence = _recorded("revision")(case)
    if case.record and case.record.get("revision", "").endswith("-dirty"):
        return Standing.UNMET, f"built from changed files: {evidence}"
    return standing, evidence


def _signed(case: Case) -> tuple[Standing, str]:
    return (Standing.MET, case.signed) if case.signed else (Standing.UNKNOWN, "not published here yet")


def _size(case: Case) -> tuple[Standing, str]:
    if case.record is None:
        return _NOT_BUILT
    size = int(case.record["disk-size"])
    return (Standing.MET if size < LAYER_LIMIT else Standing.UNMET), f"the disk has {size} of {LAYER_LIMIT} bytes"


def _format(case: Case) -> tuple[Standing, str]:
    if case.record is None:
        return _NOT_BUILT
    form = case.record["disk-format"]
    return (Standing.MET if form == "qcow2" else Standing.UNMET), f"{form}, compressed, unused blocks left out"


def _packages(case: Case) -> tuple[Standing, str]:
    recipe = case.spec.recipe
    if recipe is None:
        return Standing.UNMET, f"nothing is installed: {case.spec.untouched}"
    upstream = case.spec.agent == "upstream"
    missing = [name for name, known in DEFAULTS.items()
               if not known & set(recipe.packages) and not (upstream and name == AGENT)]  # fmt: skip
    if missing:
        return Standing.UNMET, f"without {', '.join(missing)}"
    return Standing.MET, " ".join(recipe.packages)


def _additions(case: Case) -> tuple[Standing, str]:
    recipe = case.spec.recipe
    if recipe is None:
        return Standing.MET, "the publisher's disk as it is"
    usual = frozenset().union(*DEFAULTS.values())
    added = [name for name in recipe.packages if name not in usual]
    added += [file.path for file in recipe.files] + [f"run: {command.splitlines()[0]}" for command in recipe.run]
    if added:
        return Standing.UNMET, f"to be looked at by a person: {', '.join(added)}"
    return Standing.MET, "nothing but the default packages"


def _base(case: Case) -> tuple[Standing, str]:
    if case.record is None:
        return _NOT_BUILT
    base = case.record["base"]
    return (Standing.MET if "ubi" in base and "micro" in base else Standing.UNMET), f"base image: {base}"


def _trust(case: Case) -> tuple[Standing, str]:
    if case.record is None:
        return _NOT_BUILT
    kind = case.record["trust"]
    return (Standing.UNMET if kind in ("tls-only", "user") else Standing.MET), kind


def _entrypoint(case: Case) -> tuple[Standing, str]:
    return (Standing.MET, "in every image (tested with Docker Engine)") if case.record else _NOT_BUILT


def _try_me(case: Case) -> tuple[Standing, str]:
    return (Standing.MET, case.page.name) if case.page.try_me else (Standing.UNMET, "no page with a Try me section")


def _uses(case: Case) -> tuple[Standing, str]:
    return (Standing.MET, case.page.name) if case.page.uses else (Standing.UNMET, "nobody has written about its uses")


def _booted(name: str, text: str, *checks: str) -> Criterion:
    """A criterion that boot checks stand for."""
    return Criterion(id=name, text=text, judge=_passed(*checks), proof=Proof.BOOT, checks=checks)


_OWN = frozenset({LOGIN_PROMPT, GUEST_AGENT, SSH, CLOUD_INIT, PROVISIONED, AGENT_KEYS, SECURITY})
"""The checks that stand for a criterion of their own; all others are basics."""

CRITERIA: tuple[Criterion, ...] = (
    Criterion(id="source", text="the image names its source", judge=_recorded("source")),
    Criterion(id="commit", text="the commit that it was built from is included", judge=_commit),
    Criterion(id="pulled", text="the date on which it was fetched from its publisher", judge=_recorded("pulled")),
    Criterion(id="checksum", text="the publisher's checksum was validated", judge=_recorded("checksum")),
    Criterion(id="documentation", text="a link to the documentation", judge=_recorded("documentation")),
    Criterion(id="download", text="a link to the publisher's download", judge=_recorded("download")),
    Criterion(id="licence", text="licence and agreements are included", judge=_recorded("licence", "licence-url")),
    Criterion(id="signature", text="signed with cosign, verified as a stranger would", judge=_signed,
              proof=Proof.SIGNATURES),
    Criterion(id="entrypoint", text="the entrypoint prints any or all metadata", judge=_entrypoint,
              proof=Proof.ENTRYPOINT),
    Criterion(id="registry-size", text="within the limits of public registries", judge=_size),
    Criterion(id="qcow2", text="qcow2, sparsified", judge=_format),
    Criterion(id="default-packages", text="git, vim, tmux, net-tools, a fetch tool, agent", judge=_packages,
              proof=Proof.MANIFEST),
    Criterion(id="additions", text="what else the recipe adds was looked at", judge=_additions, proof=Proof.MANIFEST),
    _booted("agent-ssh-keys", "the guest agent takes SSH keys", AGENT_KEYS),
    Criterion(id="ubi-micro", text="published in the UBI-micro container", judge=_base),
    _booted("baseline-boot", "boots as KubeVirt boots it", LOGIN_PROMPT, GUEST_AGENT, SSH),
    _booted("security-policy", "SELinux, AppArmor and firewall as the distro ships them", SECURITY),
    _booted(CLOUD_INIT, "cloud-init configures guest and users", CLOUD_INIT, PROVISIONED),
    _booted("basics", "storage, network and system behave", *(name for name in CHECKS if name not in _OWN)),
    Criterion(id="try-me", text="a page with a VirtualMachine to try", judge=_try_me, proof=Proof.PAGE),
    Criterion(id="uses", text="the page tells common uses", judge=_uses, proof=Proof.PAGE),
    Criterion(id=UPSTREAM_CATALOG, text="ready for the catalogue of kubevirt/containerdisks",
              judge=lambda _: (Standing.UNMET, "a person judges that"), proof=Proof.PERSON),
    Criterion(id=TRUST, text="traced to a key of its publisher", judge=_trust),
)  # fmt: skip
