#!/bin/sh
# Prepare a Debian machine (as root) to build, test and publish with kmi. A second run does only what is missing.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

wanted=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' hack/packages.txt | tr -d ' \t')
missing=
for package in $wanted; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        say "these packages are missing, and only root can install them:$missing"
        exit 7
    fi
    say "installing$missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update
    # Services that packages bring (docker, nginx, a registry) are not for this machine to run.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
        trap 'exit 130' INT TERM
    fi
    # shellcheck disable=SC2086 -- a list of words
    apt-get -q -y install --no-install-recommends $missing
fi

stamp=.venv/.kmi-setup
now=$(cat hack/requirements.lock pyproject.toml hack/setup.sh | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$now" ]; then
    say "making the virtual environment"
    .venv/bin/python -m pip --version >/dev/null 2>&1 || /usr/bin/python3 -m venv --clear --system-site-packages .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r hack/requirements.lock
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
    printf '%s' "$now" > "$stamp"
fi
sh hack/cosign.sh .venv
