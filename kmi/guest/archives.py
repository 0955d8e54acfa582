"""Other package archives than the guest's own, for the time of the installation; none of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kmi.guest.files import put, read
from kmi.guest.packages import OPTIONS, SOURCES, PackageManager
from kmi.host.guestfs import Appliance
from kmi.model.spec import BuildArchives

_LIMIT = 1024 * 1024
"""Bytes of one source file."""


@dataclass(frozen=True, slots=True)
class Archives:
    """Either ``given`` archives in place of the guest's, or the guest's own by way of ``mirrors`` (URL prefixes)."""

    given: BuildArchives
    mirrors: tuple[tuple[str, str], ...]

    @contextmanager
    def used(self, guest: Appliance, manager: PackageManager) -> Iterator[bool]:
        """Have the package manager use them within the block; yields whether it needs its ``override`` options.

        If the block fails nothing is put back: the caller throws the working disk away.
        """
        if self.given.lines:
            put(guest, SOURCES, "\n".join(self.given.lines) + "\n")
            put(guest, OPTIONS, "".join(f"{option};\n" for option in self.given.options))
            yield True
            guest.rm_f(SOURCES)
            guest.rm_f(OPTIONS)
            return
        originals = self._mirrored(guest, manager)
        yield False
        for path, content in originals.items():
            put(guest, path, content)

    def _mirrored(self, guest: Appliance, manager: PackageManager) -> dict[str, bytes]:
        """Rewrite the guest's source files; returns what they were."""
        originals = {}
        for path in (path for glob in manager.sources for path in guest.glob_expand(glob, directoryslash=False)):
            if self.mirrors and guest.is_file(path, followsymlinks=False):
                before = read(guest, path, limit=_LIMIT)
                after = rewritten(before, self.mirrors)
                if after != before:
                    originals[path] = before
                    guest.write(path, after)
        return originals


def rewritten(text: bytes, mirrors: tuple[tuple[str, str], ...]) -> bytes:
    """The text with every mirrored URL prefix replaced, the longest first, each place once."""
    for number, (before, _) in enumerate(by_length := sorted(mirrors, key=lambda pair: -len(pair[0]))):
        text = text.replace(before.encode(), b"\0%d\0" % number)
    for number, (_, after) in enumerate(by_length):
        text = text.replace(b"\0%d\0" % number, after.encode())
    return text
