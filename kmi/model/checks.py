"""The names of the boot checks and the criterion that each one stands for. Boot runs them, policy gates on them."""

from __future__ import annotations

LOGIN_PROMPT = "login-prompt"
GUEST_AGENT = "guest-agent"
CLOUD_INIT = "cloud-init"
SSH = "ssh"

CRITERIA: dict[str, str] = {
    LOGIN_PROMPT: "boots from the firmware to a login prompt on the serial console",
    GUEST_AGENT: "the QEMU guest agent answers and offers the commands that KubeVirt demands",
    CLOUD_INIT: "cloud-init finds KubeVirt's NoCloud disk and finishes without errors",
    SSH: "takes the default user's SSH key",
}
"""Every check, in the order in which they run."""

TRUST, UPSTREAM_CATALOG = "trust", "upstream-catalog"

WAIVABLE = frozenset({CLOUD_INIT, UPSTREAM_CATALOG, TRUST})
"""The only criteria (``kmi.policy.criteria``) that a manifest may waive, each to a date: the field's own two, and
kmi's for publishers who sign nothing."""
