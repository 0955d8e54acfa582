from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kmi.guest.inventory import dpkg_status, os_release

STATUS = """\
Package: git
Status: install ok installed
Architecture: amd64
Version: 1:2.39.5-0+deb12u2
Description: a tool
 with Package: in its text

Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10

Package: libnss-systemd
Status: install ok installed
Architecture: amd64
Source: systemd (252.1)
Version: 252.1-b1

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def test_installed_packages_with_their_sources() -> None:
    packages = {package.name: package for package in dpkg_status(STATUS)}
    assert list(packages) == ["git", "libc6", "libnss-systemd"]
    assert (packages["git"].source, packages["git"].source_version) == ("git", "1:2.39.5-0+deb12u2")
    assert (packages["libc6"].source, packages["libc6"].source_version) == ("glibc", "2.36-9+deb12u10")
    assert (packages["libnss-systemd"].source, packages["libnss-systemd"].source_version) == ("systemd", "252.1")


def test_os_release_quoting() -> None:
    text = '# x\nID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nBROKEN=\'x\nNO\n=y\nEMPTY=\n'
    assert dict(os_release(text)) == {"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)", "EMPTY": ""}


@given(st.text())
def test_hostile_text_is_only_text(text: str) -> None:
    dpkg_status(text)
    os_release(text)
