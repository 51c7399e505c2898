#!/usr/bin/env bash
# Turns two lives of the demo's tenant into the figures of docs/figures.md.
#
# usage: bench.sh
#
# Starts a lab of its own in the build folder, applies examples/acme, waits until all is Ready,
# looks at it while nothing changes, deletes it, and does so again at the pace of real products.
# Prints the figures, writes target/figures.json and the counts in docs/figures.md; with
# BENCH_RECORD=1 also the times there. Fails when a goal is missed. Under three minutes when all
# is built.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

[[ $# -eq 0 ]] || fail "unknown argument $1"
# An existing cluster has no audit log that we could count in.
unset BB_KUBECONFIG

scripts/tools.sh
scripts/cluster.sh
cargo build --quiet -p bb-tests --bin bb-bench
BB_ROOT=$root "$CARGO_TARGET_DIR/debug/bb-bench"
