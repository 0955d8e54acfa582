#!/bin/sh
# All tests. The unit tests run without any network, which proves that nothing in them needs one. The fault runs mostly
# wait, and so run beside the end-to-end tests; what they print comes at the end.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build
unshare --net sh -c 'ip link set lo up; exec .venv/bin/python -m pytest -q tests/unit'
.venv/bin/python -m pytest -q --durations=10 tests/integration
.venv/bin/python -m pytest -q --durations=10 tests/faults > build/faults.log 2>&1 &
faults=$!
trap 'kill "$faults" 2>/dev/null || true' EXIT
failed=0
.venv/bin/python -m pytest -q --durations=10 tests/e2e || failed=$?
wait "$faults" || failed=$?
trap - EXIT
cat build/faults.log
exit "$failed"
