#!/usr/bin/env bash
# Turns a running demo into nothing: no process, nothing outside of the clone and the caches.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

lab=$CARGO_TARGET_DIR/debug/bb-lab
[[ -x $lab ]] || cargo build -p bb-lab-harness
"$lab" --dir .lab down
if [[ -d .lab-helm ]]; then
    "$lab" --dir .lab-helm down
fi
