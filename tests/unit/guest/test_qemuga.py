"""Filters as distributions have them, before and after."""

from __future__ import annotations

import pytest

from kmi.guest.qemuga import admitting
from kmi.model.agent import DEMANDED, KEYS

NEEDED = DEMANDED | KEYS | {"guest-sync", "guest-sync-delimited"}
RHEL8 = """\
# This is a systemd environment file, not a shell script.
# BLACKLIST_RPC=guest-ping
BLACKLIST_RPC=guest-file-open,guest-file-close,guest-exec,guest-exec-status
FSFREEZE_HOOK_PATHNAME=/etc/qemu-ga/fsfreeze-hook
"""
RHEL9 = f'FILTER_RPC_ARGS="--allow-rpcs={",".join(sorted(NEEDED))},guest-fstrim"\n'


@pytest.mark.parametrize(
    "text", ["", RHEL8, RHEL9, "FILTER_RPC_ARGS=\n", "[general]\nverbose=1\nblock-rpcs=guest-exec\n"]
)
def test_a_filter_that_admits_kubevirt_stays_as_it_is(text: str) -> None:
    assert admitting(text) == text


def test_what_kubevirt_needs_leaves_a_list_of_blocked_ones_and_the_rest_stays() -> None:
    text = RHEL8.replace("guest-exec,", "guest-ssh-add-authorized-keys,guest-exec,guest-shutdown,")
    assert admitting(text) == RHEL8


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('FILTER_RPC_ARGS="--block-rpcs=guest-exec,guest-get-users"', 'FILTER_RPC_ARGS="--block-rpcs=guest-exec"'),
        ('BLACKLIST_RPC="guest-get-users,guest-exec"', 'BLACKLIST_RPC="guest-exec"'),
        ("blacklist=guest-exec;guest-ping", "blacklist=guest-exec"),
        ("block-rpcs = guest-ping;guest-exec;guest-file-open", "block-rpcs = guest-exec;guest-file-open"),
        (
            'QEMU_GA_ARGS="--block-rpcs=guest-ping,guest-exec --verbose"',
            'QEMU_GA_ARGS="--block-rpcs=guest-exec --verbose"',
        ),
    ],
)
def test_every_form_of_a_list_of_blocked_ones(before: str, after: str) -> None:
    assert admitting(before) == after


@pytest.mark.parametrize(
    ("before", "lead", "separator", "end"),
    [
        ('FILTER_RPC_ARGS="--allow-rpcs=guest-exec,guest-ping"', 'FILTER_RPC_ARGS="--allow-rpcs=', ",", '"'),
        ('A="--allow-rpcs=guest-exec --verbose"', 'A="--allow-rpcs=', ",", ' --verbose"'),
        ("allow-rpcs=guest-exec;guest-fstrim", "allow-rpcs=", ";", ""),
    ],
)
def test_what_lacks_is_added_to_a_list_of_allowed_ones(before: str, lead: str, separator: str, end: str) -> None:
    after = admitting(before)
    assert (after.startswith(lead), after.endswith(end)) == (True, True)
    names = after.removeprefix(lead).removesuffix(end).split(separator)
    assert NEEDED | {"guest-exec"} <= set(names)
    assert len(names) == len(set(names))
    assert admitting(after) == after
