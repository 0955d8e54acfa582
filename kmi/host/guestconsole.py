"""What an appliance and its guest print: into the log and line by line, whatever bytes they are, and never without end.

The bindings decode the text of an event strictly, and one byte that is not UTF-8 ends the interpreter (seen: libguestfs
1.48, SIGSEGV; a character that a buffer's end cuts in two will do). So the callback is registered with the C library
itself, guestfs_set_event_callback in guestfs(3).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from kmi.errors import BuildError

LIMIT = 16 * 1024**2
"""Bytes. Installing a thousand packages prints less than one of these MiB."""
SILENCE = 1800.0
"""Seconds without a word from a script. Under emulation an initramfs takes a few minutes."""
CALL = 600.0
"""Seconds for any other call: the longest are a check of a file system and its growth, under a minute."""
_LINE = 4096

_CALLBACK = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_char),
    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t,
)  # fmt: skip


class GuestConsole:
    """The events of one handle. ``log`` gets the bytes as they are, up to ``limit``."""

    def __init__(self, log: BinaryIO, *, limit: int = LIMIT, silence: float = SILENCE, call: float = CALL) -> None:
        self._log = log
        self._limit = limit
        self._silence = silence
        self._call = call
        self._size = 0
        self._heard = 0.0
        self._rest = b""
        self._on_line: Callable[[str], None] | None = None
        self._failure: Exception | None = None
        self._callback = _CALLBACK(self._event)  # kept: the library calls it until the handle is closed

    def listen(self, capsule: Any, kinds: int) -> None:
        """Receive the events of a handle; ``capsule`` is how the bindings hold it, ``kinds`` the mask of events."""
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        register = ctypes.CDLL("libguestfs.so.0").guestfs_set_event_callback
        register.restype = ctypes.c_int
        register.argtypes = [ctypes.c_void_p, _CALLBACK, ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p]
        if register(pointer(capsule, b"guestfs_h"), self._callback, kinds, 0, None) < 0:
            raise MemoryError("guestfs_set_event_callback")

    @contextmanager
    def lines(self, on_line: Callable[[str], None]) -> Iterator[None]:
        """Have ``on_line`` told every line that is not blank within the block."""
        self._rest, self._on_line = b"", on_line
        try:
            yield
        finally:
            self._on_line = None

    def feed(self, data: bytes) -> None:
        """Take what was printed. A line that does not end is told in pieces of 4096 bytes."""
        self._heard = time.monotonic()
        self._log.write(data[: max(self._limit - self._size, 0)])
        self._log.flush()
        self._size += len(data)
        if self._on_line is None or self._size > self._limit:
            return
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        while len(self._rest) > _LINE:
            lines.append(self._rest[:_LINE])
            self._rest = self._rest[_LINE:]
        for line in lines:
            if line.strip():
                self._on_line(line[:_LINE].decode(errors="replace"))

    def check(self, since: float) -> None:
        """Raise what went wrong in a callback, or BuildError where a call that began at ``since`` (time.monotonic)
        prints without end or has been silent for too long."""
        if self._failure:
            raise self._failure
        if self._size > self._limit:
            raise BuildError("the guest prints without end", expected=f"at most {self._limit} bytes on its console")
        patience = self._call if self._on_line is None else self._silence
        if time.monotonic() - max(since, self._heard) > patience:
            raise BuildError(
                "the guest does not come to an end",
                expected="an answer, or at least a word on its console",
                got=f"silence for {patience:g} s",
            )

    def _event(self, *words: Any) -> None:
        """Called by the library, in the thread that it works in; an exception must not get back there."""
        buffer, length = words[5], words[6]
        try:
            self.feed(ctypes.string_at(buffer, length))
        except Exception as error:
            self._failure = error
