from __future__ import annotations

import shlex

import pytest

from kmi.guest.services import enabling


class Guest:
    """Simulated: which paths there are."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    def exists(self, path: str) -> bool:
        return path in self.paths


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["/usr/bin/systemctl"], ["systemctl", "enable", "x y"]),
        (["/sbin/rc-update"], ["rc-update", "add", "x y", "default"]),
        (["/usr/sbin/rc-update"], ["rc-update", "add", "x y", "default"]),
        (["/sbin/rc-update", "/bin/systemctl"], ["systemctl", "enable", "x y"]),
        ([], ["systemctl", "enable", "x y"]),
    ],
)
def test_a_service_is_enabled_by_the_guests_own_init(paths: list[str], words: list[str]) -> None:
    assert shlex.split(enabling(Guest(*paths), "x y")) == words  # type: ignore[arg-type]
