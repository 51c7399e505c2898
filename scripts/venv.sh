#!/usr/bin/env bash
# Turns tests/python/requirements.txt into a Python environment outside of the clone.
#
# usage: venv.sh          makes or updates it: 10 seconds the first time, none when it is as it should be
#        venv.sh --path   prints where it is
#
# BB_VENV says where; else it lies in the cache.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

venv=${BB_VENV:-$cache/venv}
wanted=$root/tests/python/requirements.txt
if [[ ${1:-} == --path ]]; then
    echo "$venv"
    exit 0
fi
[[ $# -eq 0 ]] || fail "unknown argument $1"

# A copy of the list is left inside when everything in it is installed.
if cmp -s "$wanted" "$venv/installed.txt"; then
    say "the Python environment is there: $venv"
    exit 0
fi
say "installing the Python packages that tests run: $venv"
rm -f "$venv/installed.txt"
python3 -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
cp "$wanted" "$venv/installed.txt"
say "the Python environment is ready"
