"""The package managers that kmi drives, one row for each: their commands, as their own documentation has them.

apt is run in kmi's tests. The rows of dnf, zypper, pacman and apk follow dnf(8), zypper(8), pacman(8) with the Arch
wiki, and apk(8), and were not run against a real archive: no image of theirs was within reach.
"""

from __future__ import annotations

from dataclasses import dataclass

SOURCES = "/tmp/kmi-sources.list"  # noqa: S108 -- in the guest; removed after the installation
OPTIONS = "/tmp/kmi-options.conf"  # noqa: S108 -- likewise
PLAN = "/tmp/kmi-upgrade.plan"  # noqa: S108 -- likewise
KEYS = "/tmp/kmi-keyring"  # noqa: S108 -- likewise
POLICY = "/usr/sbin/policy-rc.d"

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageManager:
    """One family. Each command (``Words``) is an argv, an empty one is left out.

    ``sources`` are globs of the guest's own source files. ``override`` is added to every command when the build uses
    other archives, which then lie in ``SOURCES``, with options in ``OPTIONS``; a row without it knows none.
    ``security_list`` is a command that tells what an upgrade would do, and the sed(1) expression that finds the names
    with a security update in it, which are added to ``upgrade_security``; without it these commands find them
    themselves, and None says that the manager cannot. ``before`` and ``after`` are run around everything. ``fine`` are
    exit statuses beside 0 of a command that did its work. ``indexes`` are globs of the archives' indexes that go into
    the inventory; ``database`` is what its parser in ``kmi.guest.inventory`` reads, empty where libguestfs does, and
    ``release`` is then what stands before a package's release. ``records`` are globs of paths that the manager and its
    packages' scripts keep themselves, beside the files that packages ship.
    """

    name: str
    sources: Words
    refresh: Words
    upgrade_all: Words
    upgrade_security: tuple[Words, ...] | None
    install: Words
    indexes: Words
    environment: tuple[tuple[str, str], ...] = ()
    override: Words = ()
    security_list: tuple[Words, str] | None = None
    before: tuple[Words, ...] = ()
    after: tuple[Words, ...] = ()
    fine: tuple[int, ...] = ()
    database: str = ""
    release: str = "-"
    records: Words = ()


_APT = ("apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3",
        "-o", "Acquire::Languages=none", "-o", "Dpkg::Options::=--force-confold",
        "-o", "Dpkg::Options::=--force-unsafe-io")  # fmt: skip
_DNF = ("dnf", "-y", "--setopt=install_weak_deps=False")
_ZYPPER = ("zypper", "--non-interactive")
_PACMAN = ("pacman", "--noconfirm", "--noprogressbar", "--gpgdir", KEYS)
_APK = ("apk", "--no-progress")

_ROWS = (
    PackageManager(
        name="apt",
        environment=(("DEBIAN_FRONTEND", "noninteractive"), ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
                     ("NEEDRESTART_SUSPEND", "1")),
        sources=("/etc/apt/sources.list", "/etc/apt/sources.list.d/*", "/etc/apt/mirrors/*"),
        override=("-c", OPTIONS, "-o", f"Dir::Etc::SourceList={SOURCES}", "-o", "Dir::Etc::SourceParts=/dev/null"),
        refresh=(*_APT, "update"),
        upgrade_all=(*_APT, "dist-upgrade"),
        security_list=((*_APT, "--simulate", "dist-upgrade"), r"s/^Inst \([^ ]*\) .*-[Ss]ecurity.*/\1/p"),
        upgrade_security=((*_APT, "install", "--only-upgrade"),),
        install=(*_APT, "install"),
        indexes=("/var/lib/apt/lists/*_InRelease",),
        database="/var/lib/dpkg/status",
        records=(
            "/var/lib/dpkg/**", "/var/lib/apt/extended_states", "/var/cache/debconf/*", "/etc/alternatives/*",
            "/var/lib/ucf/**", "/var/lib/pam/**", "/etc/ld.so.cache", "/var/cache/man/**", "/etc/rc?.d/*",
            "/var/lib/systemd/deb-systemd-helper-enabled/**", "/etc/systemd/system/*.wants/*", "/etc/shells",
            "/var/lib/shells.state", "/usr/share/**/__pycache__/**", "/usr/lib/python3/**/__pycache__/**",
            "/usr/share/info/dir", "/usr/share/mime/**", "/usr/share/applications/mimeinfo.cache",
        ),
    ),
    PackageManager(
        name="dnf",
        sources=("/etc/yum.repos.d/*.repo",),
        refresh=(*_DNF, "--refresh", "makecache"),
        upgrade_all=(*_DNF, "upgrade"),
        upgrade_security=((*_DNF, "upgrade", "--security"),),
        install=(*_DNF, "install"),
        indexes=("/var/cache/dnf/*/repodata/repomd.xml", "/var/cache/libdnf5/*/repodata/repomd.xml"),
    ),
    PackageManager(
        name="zypper",
        sources=("/etc/zypp/repos.d/*.repo",),
        refresh=(*_ZYPPER, "refresh"),
        # A rolling release is upgraded with nothing else; elsewhere it comes to the same as long as vendors stay.
        upgrade_all=(*_ZYPPER, "dist-upgrade", "--no-recommends", "--no-allow-vendor-change",
                     "--auto-agree-with-licenses"),
        # A patch of zypper itself ends the first one, with status 103.
        upgrade_security=((*_ZYPPER, "patch", "--category", "security", "--auto-agree-with-licenses"),) * 2,
        install=(*_ZYPPER, "install", "--no-recommends", "--auto-agree-with-licenses"),
        fine=(102, 103),
        indexes=("/var/cache/zypp/raw/*/repodata/repomd.xml",),
    ),
    PackageManager(
        name="pacman",
        sources=("/etc/pacman.conf", "/etc/pacman.d/mirrorlist"),
        # The guest makes a keyring of its own, with a secret of its own in it, so the build takes another.
        before=(("pacman-key", "--gpgdir", KEYS, "--init"), ("pacman-key", "--gpgdir", KEYS, "--populate")),
        refresh=(*_PACMAN, "-Syu"),  # partial upgrades are not supported: to refresh is to upgrade everything
        upgrade_all=(),
        upgrade_security=(),
        install=(*_PACMAN, "-S", "--needed"),
        after=(("gpgconf", "--homedir", KEYS, "--kill", "all"),),
        indexes=("/var/lib/pacman/sync/*.db",),
    ),
    PackageManager(
        name="apk",
        sources=("/etc/apk/repositories",),
        refresh=(*_APK, "update"),
        upgrade_all=(*_APK, "upgrade"),
        upgrade_security=None,
        release="-r",
        install=(*_APK, "add"),
        indexes=("/var/cache/apk/APKINDEX.*.tar.gz",),
    ),
)  # fmt: skip

MANAGERS: dict[str, PackageManager] = {row.name: row for row in _ROWS}
"""By the name that libguestfs's inspection gives (guestfs(3), inspect_get_package_management)."""
