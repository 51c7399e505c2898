#!/usr/bin/env bash
# Turns ten thousand instances and a hundred changes a second into the figures of the dashboard.
#
# usage: bench-ui.sh
#
# Measures how long a frame takes, and the program in a terminal before a server that plays the API.
# Prints the figures and fails when a goal is missed. Builds in release mode, since times are
# measured; with BENCH_UI_DEBUG=1 what `cargo build` makes is measured in its place, slower by far.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

[[ $# -eq 0 ]] || fail "unknown argument $1"
scripts/tools.sh test
mode=release
flags=(--release)
if [[ ${BENCH_UI_DEBUG:-} == 1 ]]; then
    mode=debug
    flags=()
fi
cargo build --quiet -p bbctl "${flags[@]}" --bin bbctl --example ui_bench
"$CARGO_TARGET_DIR/$mode/examples/ui_bench"
