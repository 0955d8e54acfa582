"""The serial console's log, and patience with a guest that is slow but alive."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kmi.errors import Interrupted
from kmi.host.accel import Acceleration
from kmi.host.run import stopping

T = TypeVar("T")

_LINE = 4096

LIMIT = 8 * 1024**2
"""Bytes of both logs together, after which a guest is given up. A boot writes some 100 KiB, a few MiB when it debugs;
a serial port is slow enough that no more than a few MiB come between two looks."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_=>78]|[()][A-Z0-9])")
_LOGIN = re.compile(r"^(?!Last )(?:\S+ )?login: ", re.MULTILINE)
"""Linux's gettys say the host name and the word, those of the BSDs the word alone (gettytab(5), ``lm``)."""
_DEAD_ENDS = (
    re.compile(r"Kernel panic - not syncing[^\n]*"),
    re.compile(r"You are in (?:emergency|rescue) mode[^\n]*"),
    re.compile(r"(?:grub rescue>|GRUB .{0,200}?error:)[^\n]*"),
    re.compile(r"UEFI Interactive Shell[^\n]*"),
    re.compile(r"No bootable (?:device|option or device was found)[^\n]*"),
    re.compile(r"Unable to mount root fs[^\n]*"),
)
_STAGES = (
    ("the login prompt", _LOGIN),
    ("init", re.compile(r"systemd\[1\]: |Welcome to |INIT: version|OpenRC ")),
    ("the kernel", re.compile(r"Linux version |\[ +\d+\.\d{6}\] |EFI stub: |Decompressing Linux")),
    ("the boot loader", re.compile(r"GRUB|Booting `|SYSLINUX|ISOLINUX|Loading Linux|systemd-boot")),
    ("the firmware", re.compile(r"BdsDxe|SeaBIOS|Booting from|UEFI")),
)
"""How far a boot came, the furthest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """In seconds: ``quiet`` without a new byte on the console ends the waiting, ``overall`` ends it in any case,
    ``least`` is granted to every wait even on a console that fell silent long ago."""

    quiet: float
    overall: float
    least: float

    @classmethod
    def of(cls, acceleration: Acceleration) -> Patience:
        """Emulation is 10 to 20 times slower, and the host may be busy."""
        if acceleration.name == "kvm":
            return cls(quiet=120, overall=900, least=30)
        return cls(quiet=300, overall=3600, least=90)


class GaveUp(Exception):
    """The guest did not get there. The text says what was seen instead."""


class Console:
    """What the guest wrote to its serial console so far. ``firmware`` is the log of the firmware's own messages."""

    def __init__(self, path: Path, *, firmware: Path | None = None) -> None:
        self._path = path
        self._firmware = firmware
        self._size = -1
        self._grew = time.monotonic()

    def text(self) -> str:
        """Without terminal control sequences; lines end with ``\\n``."""
        return readable(_begin(self._path))

    def last_line(self) -> str:
        lines = readable(_end(self._path)).split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def size(self) -> int:
        """Bytes in both logs."""
        return sum(path.stat().st_size for path in (self._path, self._firmware) if path and path.exists())

    def silent_for(self) -> float:
        """Seconds since either log last grew, as far as this method was called in between."""
        size = self.size()
        if size != self._size:
            self._size, self._grew = size, time.monotonic()
        return time.monotonic() - self._grew

    def login_prompt(self) -> bool:
        return _LOGIN.search(self.text()) is not None

    def reached(self) -> str:
        """The furthest stage of the boot that left a trace, in words."""
        text = self.text() + self._firmware_text()
        return next((name for name, pattern in _STAGES if pattern.search(text)), "nothing that writes to a console")

    def dead_end(self) -> str | None:
        """A message after which no login prompt can come."""
        text = self.text() + self._firmware_text()
        found = (pattern.search(text) for pattern in _DEAD_ENDS)
        return next((match.group(0).strip()[:200] for match in found if match), None)

    def _firmware_text(self) -> str:
        return "\n" + readable(_begin(self._firmware)) if self._firmware else ""


def readable(data: bytes) -> str:
    """Console bytes as text: escape sequences removed, line ends unified."""
    return _ESCAPES.sub("", data.decode(errors="replace")).replace("\r\n", "\n").replace("\r", "\n")


def _begin(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        return file.read(LIMIT)


def _end(path: Path) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _LINE, 0))
        return file.read(_LINE)


def wait(
    poll: Callable[[], T | None],
    *,
    console: Console,
    alive: Callable[[], bool],
    patience: Patience,
    told: Callable[[str], None],
    pause: float = 1.0,
) -> T:
    """Call ``poll`` until it returns something. GaveUp when the machine ended, the console fell silent, or the time is
    up. ``told`` gets the console's last line. A GaveUp out of ``poll`` goes through."""
    began = time.monotonic()
    while True:
        if stopping():
            raise Interrupted("stopped")
        running = alive()  # before the last look, so that what the guest said while it ended counts
        found = poll()
        if found is not None:
            return found
        told(console.last_line())
        if not running:
            raise GaveUp(f"the machine ended; it came as far as {console.reached()}")
        waited, silent = time.monotonic() - began, console.silent_for()
        if console.size() > LIMIT:
            raise GaveUp(f"the console prints without end; it came as far as {console.reached()}")
        if waited > patience.overall:
            raise GaveUp(f"not there after {waited:.0f} s; the console came as far as {console.reached()}")
        if silent > patience.quiet and waited > patience.least:
            raise GaveUp(f"the console has been silent for {silent:.0f} s; it came as far as {console.reached()}")
        time.sleep(pause)
