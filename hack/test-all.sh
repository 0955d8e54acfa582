#!/bin/sh
# Every test, with each random fault and kill repeated under seeds of its own, and the report of what was injected.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build
report=$PWD/build/faults.jsonl
rm -f "$report"
export KMI_FAULT_REPEAT="${KMI_FAULT_REPEAT:-2}"
KMI_FAULT_REPORT=$report sh hack/test.sh
exec .venv/bin/python hack/fault_report.py "$report" docs/faults.md
