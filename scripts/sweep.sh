#!/usr/bin/env bash
# Turns every crash point of a tenant's life into a verdict: at each the controller is killed.
#
# usage: sweep.sh        SWEEP_POINT='create|c1|POST ...|1|after' for one point, as a report names
#                        it; SWEEP_PART=0/3 for a third; SWEEP_LABS=4 tenants at once
#
# Starts labs of its own in the build folder. Prints the number of points, how many were reached,
# and what was doubled, lost or left over; what differs at a point is kept in target/sweep. Fails
# when anything is otherwise than without a crash. Up to 20 minutes on two cores.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

[[ $# -eq 0 ]] || fail "unknown argument $1"
# An existing cluster is not ours to put a proxy before.
unset BB_KUBECONFIG

scripts/tools.sh
scripts/cluster.sh
cargo build --quiet -p bb-controller -p bb-tests --bin bb-controller --bin bb-sweep
rm -rf target/sweep
BB_ROOT=$root "$CARGO_TARGET_DIR/debug/bb-sweep"
