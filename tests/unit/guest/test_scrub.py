from __future__ import annotations

import pytest

from kmi.guest.scrub import RULES, covers


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        ("/tmp/*", "/tmp/x", True),
        ("/tmp/*", "/tmp/x/y", False),
        ("/tmp/.[!.]*", "/tmp/.x", True),
        ("/tmp/.[!.]*", "/tmp/..", False),
        ("/var/log/*/*.gz", "/var/log/a/b.gz", True),
        ("/var/log/*/*.gz", "/etc/a/b.gz", False),
        ("/etc/machine-id", "/etc/machine-id", True),
        ("/etc/machine-id", "/ETC/machine-id", False),
    ],
)
def test_a_star_stops_at_a_slash(pattern: str, path: str, covered: bool) -> None:
    assert covers(pattern, path) is covered


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/usr/bin/sh", "/bin/sh", "/boot/vmlinuz", "/root/x"])
def test_no_rule_covers_what_a_system_needs(path: str) -> None:
    assert not [rule.pattern for rule in RULES if covers(rule.pattern, path)]
