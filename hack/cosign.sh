#!/bin/sh
# Put cosign into PREFIX/bin. Debian 12 has no cosign, so the package comes from a newer Debian suite (it needs no more
# than the C library of Debian 12). The mirror is the one that apt already uses on this host, the proxy too; the package
# is proved by apt itself: signed suite, then the package's digest. The host's apt state and sources stay as they are.
set -eu

OLDEST=3.0.6 # earlier ones accept an attestation of another type (GHSA-w6c6-c85g-mmv6)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

if [ $# -ne 1 ]; then
  echo "usage: $0 PREFIX" >&2
  exit 2
fi
prefix=$1
target=$prefix/bin/cosign

# Debian's build calls itself "devel", so the version says nothing: ask for the option that kmi needs.
fit() {
  [ -x "$1" ] && "$1" attest-blob --help 2>/dev/null | grep -q -- --statement
}

if fit "$target"; then
  echo "cosign: $target is there"
  exit 0
fi

mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL) $(CODENAME)' 'Created-By: Packages' |
  awk '$2 == "Debian" && $3 == "Debian" && $4 !~ /-/ { print $1; exit }')
if [ -z "$mirror" ]; then
  echo "cosign: apt knows no Debian archive on this host (has 'apt-get update' run?)" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

own_apt() {
  apt-get -qq \
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
    -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o APT::Default-Release= \
    -o Dir::State="$work/state" -o Dir::State::lists="$work/state/lists" -o Dir::Cache="$work/cache" \
    -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root "$@"
}

fetch() { # suite
  rm -rf "$work/state" "$work/cache" "$work/root"
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
  echo "deb [signed-by=$KEYRING] $mirror $1 main" >"$work/sources.list"
  own_apt update && (cd "$work" && rm -f cosign_*.deb && own_apt download cosign) || return 1
  version=$(dpkg-deb -f "$work"/cosign_*.deb Version)
  if ! dpkg --compare-versions "$version" ge "$OLDEST"; then
    echo "cosign: $1 has $version, older than $OLDEST" >&2
    return 1
  fi
  dpkg-deb -x "$work"/cosign_*.deb "$work/root" && fit "$work/root/usr/bin/cosign"
}

for suite in forky sid; do
  if fetch "$suite"; then
    mkdir -p "$prefix/bin"
    install -m 755 "$work/root/usr/bin/cosign" "$target.new"
    mv -f "$target.new" "$target"
    echo "cosign: $version of Debian $suite installed as $target"
    exit 0
  fi
done
echo "cosign: neither forky nor sid of the host's Debian mirror gave cosign $OLDEST or newer" >&2
exit 1
