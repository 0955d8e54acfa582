#!/bin/sh
# The main job on what needs nothing but a Debian mirror, then the verify command that it printed.
set -eu
cd "$(dirname "$0")/.."
base=build/local-base
[ -e "$base/index.json" ] || .venv/bin/python containerfiles/base/local_base.py "$base" >&2
reference=$(.venv/bin/kmi run debian:12 --source bootstrap --to local --base "$base")
printf '\n%s\n' "$reference"
sh build/debian-12-amd64/verify.sh
