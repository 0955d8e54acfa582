"""What protects the system is as the distribution configures it: an image that lost its labels, or whose kernel is told
to leave SELinux or AppArmor out, boots and looks well.

SELinux: selinux(8), ``/etc/selinux/config`` against ``/sys/fs/selinux/enforce``. AppArmor: its service against
``/sys/module/apparmor/parameters/enabled`` and the profiles in securityfs (apparmor(7)). Firewalls: a service that is
enabled is active, and ufw, whose service is always enabled, by its own ``ENABLED=`` and ``ufw status`` (ufw(8)).
"""

from __future__ import annotations

from kmi.boot.checks.check import Check, Guest, with_login
from kmi.boot.checks.linux import Facts, ask, eventually
from kmi.boot.console import GaveUp
from kmi.model.checks import SECURITY, SSH

FIREWALLS = ("firewalld", "nftables", "iptables", "ip6tables", "netfilter-persistent", "SuSEfirewall2")

_SCRIPT = rf"""
echo "cmdline=$(cat /proc/cmdline)"
echo "selinux=$(sed -n 's/^[[:space:]]*SELINUX=[[:space:]]*//p' /etc/selinux/config 2>/dev/null | tail -n 1)"
echo "enforce=$(cat /sys/fs/selinux/enforce 2>/dev/null)"
echo "label=$(ls -Zd / 2>/dev/null)"
echo "apparmor=$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)"
sed -n 's/.* (\([a-z]*\))$/profile=\1/p' /sys/kernel/security/apparmor/profiles 2>/dev/null
echo "ufw=$(sed -n 's/^ENABLED=//p' /etc/ufw/ufw.conf 2>/dev/null | tail -n 1)"
if command -v ufw >/dev/null; then echo "ufw-status=$(ufw status 2>&1 | head -n 1)"; fi
for name in apparmor {" ".join(FIREWALLS)}; do
  if command -v systemctl >/dev/null; then
    [ "$(systemctl is-enabled "$name" 2>/dev/null)" = enabled ] || continue
    echo "service=$name $(systemctl is-active "$name")"
  elif command -v rc-service >/dev/null; then
    rc-update show 2>/dev/null | grep -q "^ *$name |" || continue
    if rc-service "$name" status >/dev/null 2>&1; then state=active; else state=stopped; fi
    echo "service=$name $state"
  fi
done
true
"""
_MODES = {"enforcing": "1", "permissive": "0", "disabled": ""}


def judge(facts: Facts) -> str:
    """The state in words. GaveUp with everything that is not as configured."""
    services = dict(row.split(" ", 1) for row in facts.all("service") if " " in row)
    faults = [*_selinux_faults(facts), *_apparmor_faults(facts, services), *_firewall_faults(facts, services)]
    if faults:
        raise GaveUp("; ".join(faults))
    return "; ".join((_module(facts), _firewall(facts, services)))


def _selinux_faults(facts: Facts) -> list[str]:
    configured, enforce = facts.one("selinux").lower(), facts.one("enforce")
    if configured not in _MODES:
        return [f"/etc/selinux/config says SELINUX={configured[:40]}"] if configured else []
    faults = []
    # Without a policy a kernel may still show selinuxfs, with 0 in it.
    if enforce != _MODES[configured] and not (configured == "disabled" and enforce == "0"):
        faults.append(f"SELinux is {_mode(enforce)}, and /etc/selinux/config says {configured}")
    told = {"selinux=0", *({"enforcing=0"} if configured == "enforcing" else ())} & set(facts.one("cmdline").split())
    if told and configured != "disabled":
        faults.append(f"the kernel's command line says {' '.join(sorted(told))}, and /etc/selinux/config {configured}")
    label = facts.one("label").split(" ")[0]
    if enforce and configured != "disabled" and ("unlabeled_t" in label or ":" not in label):
        faults.append(f"the root folder has no SELinux label: {label[:80] or 'none'}")
    return faults


def _apparmor_faults(facts: Facts, services: dict[str, str]) -> list[str]:
    if "apparmor" not in services:
        return []
    if facts.one("apparmor") != "Y":
        told = [word for word in facts.one("cmdline").split() if word in ("apparmor=0", "security=selinux")]
        return [f"AppArmor's service is enabled, and the kernel runs without it ({' '.join(told) or 'as built'})"]
    if not facts.all("profile"):
        return [f"AppArmor's service is enabled ({services['apparmor']}), and no profile is loaded"]
    return [] if services["apparmor"] == "active" else [f"AppArmor's service is enabled and {services['apparmor']}"]


def _firewall_faults(facts: Facts, services: dict[str, str]) -> list[str]:
    faults = [
        f"{name} is enabled and {services[name]}" for name in FIREWALLS if services.get(name, "active") != "active"
    ]
    if facts.one("ufw") == "yes" and facts.one("ufw-status") != "Status: active":
        faults.append(f"ufw is enabled, and says {facts.one('ufw-status')[:80] or 'nothing'}")
    return faults


def _module(facts: Facts) -> str:
    """SELinux or AppArmor, whichever is there."""
    if configured := facts.one("selinux").lower():
        return f"SELinux is {configured}, as configured"
    if enforce := facts.one("enforce"):
        return f"SELinux is {_mode(enforce)} without a configuration"
    profiles = facts.all("profile")
    if profiles:
        return f"AppArmor enforces {profiles.count('enforce')} of {len(profiles)} profiles"
    return "AppArmor without profiles" if facts.one("apparmor") == "Y" else "neither SELinux nor AppArmor is configured"


def _firewall(facts: Facts, services: dict[str, str]) -> str:
    active = [name for name in FIREWALLS if name in services] + ["ufw"] * (facts.one("ufw") == "yes")
    return f"{' and '.join(active)} active" if active else "no firewall is configured"


def _mode(enforce: str) -> str:
    return {mode: name for name, mode in _MODES.items()}.get(enforce, f"in an odd state ({enforce[:20]})")


def _run(guest: Guest) -> str:
    return eventually(guest, lambda: judge(ask(guest, _SCRIPT)))


CHECK = Check(name=SECURITY, skip=with_login, run=_run, after=(SSH,))
