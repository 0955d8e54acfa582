"""The only importer of the libguestfs bindings: one appliance, launched once, for one disk.

libguestfs runs a small virtual machine that sees nothing but the disk, so a hostile file system meets that machine's
kernel and never the host's (guestfs-security(1)). The bindings come with the distribution (python3-guestfs); they are
not on the Python index.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kmi.errors import BuildError, HostError, Interrupted
from kmi.host.accel import Acceleration
from kmi.host.appliance import kept
from kmi.host.guestconsole import GuestConsole
from kmi.host.run import arm, stopping
from kmi.host.sink import TAIL_LINES
from kmi.host.space import hold
from kmi.host.store import owned

MEMORY = 1024
"""The appliance's memory in MiB; apt's resolver and initramfs generators need more than libguestfs's default."""

LAUNCH_SECONDS = 600.0
"""For building the appliance and booting it. Quiet hosts take some 5 s with KVM, 10 s to 40 s under emulation."""


class Appliance:
    """A running appliance. Calls go to libguestfs by name; an error of libguestfs becomes a BuildError."""

    def __init__(
        self, handle: Any, log: Path, worker: ThreadPoolExecutor, console: GuestConsole, disks: Sequence[Path] = ()
    ) -> None:
        self._handle = handle
        self._worker = worker
        self._console = console
        self._disks = tuple(disk.parent for disk in disks)
        self._thread = worker.submit(threading.get_native_id).result()
        self.log = log

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._handle, name)

        def call(*args: object, **options: object) -> Any:
            # In a thread of its own, because Python cannot deliver a signal to a thread that is inside libguestfs.
            future, began = self._worker.submit(method, *args, **options), time.monotonic()
            try:
                while not wait([future], timeout=0.5).done:
                    if stopping():
                        raise Interrupted("stopped")
                    self._console.check(began)
                    hold(self._disks)
                    if name == "launch" and time.monotonic() > began + LAUNCH_SECONDS:
                        raise BuildError("libguestfs: launch failed", got=f"nothing after {LAUNCH_SECONDS:g} s")
                return future.result()
            except RuntimeError as error:
                what, colon, rest = str(error).partition(": ")
                got = rest or ("no message" if colon else what)
                raise BuildError(f"libguestfs: {name} failed", got=got, where=str(args)[:200], log=self.log) from error
            except UnicodeDecodeError as error:
                got = f"{error.object[:200]!r}"
                raise BuildError(
                    f"libguestfs: {name} failed", expected="UTF-8", got=got, where=str(args)[:200], log=self.log
                ) from error
            except BaseException:
                while not wait([future], timeout=0.1).done:
                    self.kill()
                raise

        return call

    def shell(self, script: str, *, on_line: Callable[[str], None] | None = None) -> str:
        """Run a shell script in the guest's root (``set -eu``), what it prints shown line by line.

        BuildError with the end of the output if it fails. With ``on_line`` the output goes to the guest's console while
        the script runs, and the returned text is empty.
        """
        if on_line is None:
            return str(self.sh(f"set -eu\n{script}"))
        last: deque[str] = deque(maxlen=TAIL_LINES)

        def both(line: str) -> None:
            last.append(line)
            on_line(line)

        with self._console.lines(both):
            try:
                return str(self.sh(f"exec >/dev/console 2>&1\nset -eu\n{script}"))
            except BuildError as error:
                got = "\n           ".join([str(error.got or error.what), *last])
                raise BuildError("a command in the guest failed", got=got, log=self.log) from error

    def kill(self) -> None:
        """End what libguestfs has started by now, the appliance or what builds it; the running call fails.

        While a call runs, libguestfs answers nothing. So the kernel is asked what the thread of this handle has started
        (proc(5), /proc/pid/task/tid/children).
        """
        with suppress(FileNotFoundError):  # a kernel without CONFIG_PROC_CHILDREN: the call must end by itself
            for pid in Path(f"/proc/self/task/{self._thread}/children").read_text(encoding="ascii").split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def bindings() -> str:
    """The version of libguestfs behind the Python bindings. HostError if they cannot be imported."""
    version = _module().GuestFS(python_return_dict=True).version()
    return f"{version['major']}.{version['minor']}.{version['release']}"


@contextmanager
def appliance(
    disks: Sequence[Path],
    *,
    acceleration: Acceleration,
    cache: Path,
    log: Path,
    readonly: bool = False,
    network: bool = False,
    format: str = "raw",  # noqa: A002 -- libguestfs's own word
) -> Iterator[Appliance]:
    """Launch an appliance with the disks as /dev/sda, /dev/sdb … and shut it down at the end, flushed.

    ``cache`` holds the built appliance, ``log`` gets its console. HostError if it cannot be launched.
    """
    arm()
    for folder in (cache / "appliance", log.parent):
        folder.mkdir(parents=True, exist_ok=True)
    # One thread makes, uses and closes the handle: libguestfs keeps its error handler for each thread, and that of the
    # others prints to the terminal.
    with log.open("ab") as file, ThreadPoolExecutor(1) as worker:
        handle = worker.submit(_module().GuestFS, python_return_dict=True).result()
        kinds = _module().EVENT_APPLIANCE | _module().EVENT_LIBRARY | _module().EVENT_WARNING
        console = GuestConsole(file)
        console.listen(handle._o, kinds)
        _configure(handle, acceleration, cache, network)
        running = Appliance(handle, log, worker, console, disks)
        try:
            for disk in disks:
                discard = "disable" if readonly else "besteffort"
                handle.add_drive(str(disk), format=format, readonly=readonly, discard=discard, cachemode="unsafe")
            with kept(cache):
                _launch(running)
            yield running
            running.umount_all()
            running.shutdown()
        except BaseException:
            running.kill()  # nobody uses a disk that was not finished, so it need not be flushed
            raise
        finally:
            worker.submit(handle.close).result()


def _configure(handle: Any, acceleration: Acceleration, cache: Path, network: bool) -> None:
    handle.set_backend("direct")
    handle.set_backend_settings(["force_tcg"] if acceleration.name == "tcg" else [])
    handle.set_cachedir(str(cache / "appliance"))
    handle.set_tmpdir(str(owned(cache)))
    handle.set_memsize(MEMORY)
    handle.set_smp(min(os.cpu_count() or 1, 4))
    handle.set_network(network)


def _launch(running: Appliance) -> None:
    try:
        running.launch()
    except BuildError as error:
        tail = running.log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        raise HostError(
            "the libguestfs appliance does not start",
            expected=f"a running appliance within {LAUNCH_SECONDS:g} s",
            got="\n           ".join([str(error.got), *tail]),
            hint="`kmi doctor` checks it",
            log=running.log,
        ) from error


def _module() -> Any:
    try:
        import guestfs
    except ImportError as error:
        raise HostError(
            "the libguestfs bindings cannot be imported",
            expected="package python3-guestfs, and kmi on the distribution's own Python",
            got=error,
            hint="make setup",
        ) from error
    return guestfs
