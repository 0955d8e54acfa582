"""The packages that the manifest adds are installed, by the word of the guest's own package manager, and their programs
start: a program that was built for another release or architecture, or whose library is missing, does not.

Programs are started with ``--version`` alone, so that no daemon runs; what they make of it is their own business, as
long as the loader and the kernel do not refuse them (exit statuses 126 and 127: POSIX, Shell Command Language 2.8.2).
"""

from __future__ import annotations

import re
import shlex

from kmi.boot.checks.check import Check, Guest, Inapplicable, with_login
from kmi.boot.checks.linux import Facts, number, script
from kmi.boot.console import GaveUp
from kmi.model.checks import PACKAGES, SSH
from kmi.model.metadata import Metadata

PROGRAMS = 6
"""Of each package, so that a package with hundreds of them does not take hours under emulation."""
MOST = 200
"""Packages that are looked at. Labels of foreign images are anybody's words."""
_SECONDS = 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:/@-]{0,127}")
_REFUSED = re.compile(
    r"error while loading shared libraries|[Ee]rror (?:loading shared library|relocating)|symbol lookup error"
    r"|version `[^']{1,80}' not found|ModuleNotFoundError|cannot execute"
)
"""What glibc's loader, musl's, Python and shells say."""
_CRASHES = {132: "an illegal instruction", 134: "an abort", 135: "a bus error", 139: "a segmentation fault"}

_SCRIPT = r"""
package=%(package)s
if command -v dpkg-query >/dev/null; then
  echo manager=dpkg
  version=$(dpkg-query -W -f='${db:Status-Status} ${Version}\n' "$package" 2>/dev/null | sed -n 's/^installed //p')
  list() { dpkg-query -L "$package"; }
elif command -v rpm >/dev/null; then
  echo manager=rpm
  version=$(rpm -q --whatprovides --qf '%%{VERSION}-%%{RELEASE}\n' "$package" 2>/dev/null) || version=
  list() { rpm -q --whatprovides -l "$package"; }
elif command -v apk >/dev/null; then
  echo manager=apk
  if apk info -e "$package" >/dev/null; then version=$(apk info -v "$package" 2>/dev/null | head -n 1); fi
  list() { apk info -q -L "$package" | sed 's,^/*,/,'; }
elif command -v pacman >/dev/null; then
  echo manager=pacman
  version=$(pacman -Q "$package" 2>/dev/null)
  list() { pacman -Qlq "$package"; }
elif command -v qlist >/dev/null; then
  echo manager=portage
  version=$(qlist -Ive "$package")
  list() { qlist -e "$package"; }
elif command -v pkg >/dev/null; then
  echo manager=pkg
  version=$(pkg query %%v "$package" 2>/dev/null)
  list() { pkg info -lq "$package"; }
fi
echo "version=$(echo "$version" | head -n 1)"
[ -n "$version" ] || exit 0
limit=
if command -v timeout >/dev/null; then limit="timeout %(seconds)d"; fi
list 2>/dev/null | grep -E '/s?bin/[^/]+$' | sort -u | while read -r file; do
  if [ -f "$file" ] && [ -x "$file" ]; then echo "$file"; fi
done | head -n %(programs)d | while read -r file; do
  said=$($limit "$file" --version </dev/null 2>&1); status=$?
  echo "ran=$status $file $(echo "$said" | grep -E 'rror|annot|not found|ailed|o such file' | head -n 3 | tr '\n' ' ')"
done
true
"""


def judge(facts: Facts, package: str) -> int:
    """The number of the package's programs that were seen to start."""
    if not (manager := facts.one("manager")):
        raise Inapplicable("the guest has no package manager that kmi knows")
    if not facts.one("version"):
        raise GaveUp(f"{package} is not installed, says {manager}")
    rows = [row.split(" ", 2) for row in facts.all("ran")]
    for status, file, *said in (row for row in rows if len(row) > 1):
        _started(number(status, f"exit status of {file[:80]}"), file, said[0] if said else "")
    return len(rows)


def _started(status: int, file: str, said: str) -> None:
    if crash := _CRASHES.get(status):
        raise GaveUp(f"{file} --version ends by {crash}")
    if status in (126, 127) or _REFUSED.search(said):
        raise GaveUp(f"{file} does not start: exit status {status}, {said[:200] or 'without a word'}")


def named(metadata: Metadata) -> list[str]:
    """The packages' names. GaveUp for a record that no manifest of kmi's can have made."""
    names = metadata["packages"].split()
    odd = next((name for name in names if not _NAME.fullmatch(name)), None)
    if odd or len(names) > MOST:
        raise GaveUp(f"the image's label names {odd[:80]!r} as a package" if odd else f"more than {MOST} packages")
    return names


def _run(guest: Guest) -> str:
    names, started = named(guest.metadata), 0
    for name in names:
        body = _SCRIPT % {"package": shlex.quote(name), "seconds": _SECONDS, "programs": PROGRAMS}
        limit = guest.patience.least + _SECONDS * PROGRAMS
        started += judge(Facts.of(guest.ask(script(body), seconds=limit)), name)
    return f"{len(names)} packages are installed, and {started} of their programs start: {', '.join(names)}"


def _skip(metadata: Metadata) -> str | None:
    return with_login(metadata) or (None if metadata["packages"].split() else "the recipe installs nothing")


CHECK = Check(name=PACKAGES, skip=_skip, run=_run, after=(SSH,))
