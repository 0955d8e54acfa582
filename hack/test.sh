#!/bin/sh
# All tests. The unit tests run without any network, which proves that nothing in them needs one.
set -eu
cd "$(dirname "$0")/.."
unshare --net sh -c 'ip link set lo up; exec .venv/bin/python -m pytest -q tests/unit'
exec .venv/bin/python -m pytest -q --durations=15 tests/integration tests/faults tests/e2e
