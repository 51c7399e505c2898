#!/usr/bin/env bash
# Turns 10,000 instances and 100 changes a second into the figures of "The dashboard" in
# docs/figures.md.
#
# usage: bench-ui.sh [frames|program]     both halves where none is named
#
# Builds in release mode, since times, memory and CPU time are measured; PROFILE=dev takes what is
# built for tests. Needs tmux and no lab. Prints a table, and fails when a goal is missed. With
# BENCH_RECORD=1 the table in docs/figures.md is rewritten. A minute when all is built.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

profile=${PROFILE:-release}
folder=${profile/#dev/debug}
scripts/tools.sh test
cargo build --quiet --profile "$profile" -p bbctl --bin bbctl --example ui_bench
"$CARGO_TARGET_DIR/$folder/examples/ui_bench" "$@"
