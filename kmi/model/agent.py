"""The guest agent's commands that KubeVirt uses: customise lets them pass the filter, the boot test looks for them."""

from __future__ import annotations

DEMANDED = frozenset({
    "guest-ping", "guest-get-time", "guest-info", "guest-shutdown", "guest-network-get-interfaces",
    "guest-get-fsinfo", "guest-get-host-name", "guest-get-users", "guest-get-timezone", "guest-get-osinfo",
})  # fmt: skip
"""KubeVirt: pkg/virt-handler/guestagent.go, ``RequiredGuestAgentCommands``."""

KEYS = frozenset({"guest-ssh-get-authorized-keys", "guest-ssh-add-authorized-keys", "guest-ssh-remove-authorized-keys"})
"""The same file, ``SSHRelatedGuestAgentCommands``: without these KubeVirt falls back to guest-exec and guest-file-*,
which distributions block."""

KEYS_BOOLEAN = "virt_qemu_ga_manage_ssh"
"""The SELinux boolean that lets the agent write users' keys (qemu-ga runs as virt_qemu_ga_t)."""
