import pytest

from kmi.boot.checks import security
from kmi.boot.console import GaveUp

DEBIAN = """system=Linux
cmdline=BOOT_IMAGE=/boot/vmlinuz-6.1.0-39-cloud-amd64 root=UUID=1 ro console=ttyS0
selinux=
enforce=
label=? /
apparmor=Y
profile=enforce
profile=enforce
profile=complain
ufw=
service=apparmor active
"""
FEDORA = """system=Linux
cmdline=BOOT_IMAGE=(hd0,gpt3)/vmlinuz root=UUID=1 rw console=ttyS0
selinux=enforcing
enforce=1
label=system_u:object_r:root_t:s0 /
apparmor=
ufw=
service=firewalld active
"""
UBUNTU = DEBIAN.replace("ufw=", "ufw=yes\nufw-status=Status: active")
BARE = "system=Linux\ncmdline=console=ttyS0\nselinux=\nenforce=\nlabel=? /\napparmor=\nufw=\n"


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (DEBIAN, "AppArmor enforces 2 of 3 profiles; no firewall is configured"),
        (FEDORA, "SELinux is enforcing, as configured; firewalld active"),
        (UBUNTU, "AppArmor enforces 2 of 3 profiles; ufw active"),
        (BARE, "neither SELinux nor AppArmor is configured; no firewall is configured"),
        (FEDORA.replace("enforcing\nenforce=1", "permissive\nenforce=0"), "SELinux is permissive, as configured;"),
        (
            FEDORA.replace("enforcing\nenforce=1", "disabled\nenforce=").replace("rw", "rw selinux=0"),
            "SELinux is disabled, as configured;",
        ),
        (FEDORA.replace("enforcing\nenforce=1", "disabled\nenforce=0"), "SELinux is disabled, as configured;"),
        (BARE.replace("enforce=", "enforce=1"), "SELinux is enforcing without a configuration;"),
    ],
)
def test_what_runs_as_configured_passes_in_words(guest, said, state):
    assert security.CHECK.run(guest(said)).startswith(state)


@pytest.mark.parametrize(
    ("said", "old", "new", "words"),
    [
        (FEDORA, "enforce=1", "enforce=0", "SELinux is permissive, and /etc/selinux/config says enforcing"),
        (FEDORA, "enforce=1", "enforce=", "SELinux is disabled, and /etc/selinux/config says enforcing"),
        (FEDORA, "enforce=1", "enforce=\x02", "in an odd state"),
        (FEDORA, "selinux=enforcing", "selinux=none", "says SELINUX=none"),
        (FEDORA, "rw ", "rw enforcing=0 ", "command line says enforcing=0"),
        (FEDORA, "rw ", "rw selinux=0 ", "command line says selinux=0"),
        (FEDORA, "root_t", "unlabeled_t", "has no SELinux label: system_u:object_r:unlabeled_t"),
        (FEDORA, "system_u:object_r:root_t:s0 /", "? /", r"has no SELinux label: \?"),
        (FEDORA, "firewalld active", "firewalld failed", "firewalld is enabled and failed"),
        (DEBIAN, "apparmor=Y", "apparmor=N", r"kernel runs without it \(as built\)"),
        (DEBIAN.replace("ro ", "ro apparmor=0 "), "apparmor=Y", "apparmor=", r"without it \(apparmor=0\)"),
        (DEBIAN.replace("profile=complain\n", ""), "profile=enforce\n", "", "no profile is loaded"),
        (DEBIAN, "service=apparmor active", "service=apparmor failed", "AppArmor's service is enabled and failed"),
        (DEBIAN, "service=", "service=nftables inactive\nservice=", "nftables is enabled and inactive"),
        (UBUNTU, "Status: active", "Status: inactive", "ufw is enabled, and says Status: inactive"),
        (UBUNTU, "ufw-status=Status: active\n", "", "ufw is enabled, and says nothing"),
    ],
)
def test_what_does_not_run_as_configured_fails(guest, said, old, new, words):
    assert old in said
    with pytest.raises(GaveUp, match=words):
        security.CHECK.run(guest(said.replace(old, new)))


def test_all_faults_are_told_at_once(guest):
    broken = FEDORA.replace("enforce=1", "enforce=0").replace("firewalld active", "firewalld failed")
    with pytest.raises(GaveUp, match=r"SELinux is permissive.*; firewalld is enabled"):
        security.CHECK.run(guest(broken))
