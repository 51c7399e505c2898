#!/usr/bin/env bash
# Turns thousands of objects into the figures of "At scale" in docs/figures.md.
#
# usage: scale.sh [SCENARIO...]     all of them where none is named
#
# Builds the controller as it is shipped, since memory and CPU time are measured, and what fills
# the lab in release mode: 20 minutes on two cores the first time. Starts a lab of its own in the build folder for each scenario, prints a table, and
# fails when a goal is missed. With SCALE_RECORD=1 the tables in docs/figures.md are rewritten.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
source scripts/static.sh

# An existing cluster has no audit log that we could count in, and no parts to restart.
unset BB_KUBECONFIG

scripts/tools.sh
scripts/cluster.sh
static_build bb-controller image
cargo build --quiet --release -p bb-tests --bin bb-scale
export BB_CONTROLLER=$program
BB_ROOT=$root "$CARGO_TARGET_DIR/release/bb-scale" "$@"
