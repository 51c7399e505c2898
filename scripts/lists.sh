#!/usr/bin/env bash
# Turns lists of 1,000 instances by bbctl and by kubectl into figures.
#
# usage: lists.sh
#        KUBECTL=/path/to/kubectl lists.sh     another kubectl than that of the lab
#        BBCTL=/path/to/bbctl lists.sh         a bbctl that is built already
#
# Builds bbctl as it is shipped: 10 minutes on two cores the first time. Runs both programs in turn
# against an API server of its own, prints medians and bbctl's size, and fails when a goal is
# missed: half of kubectl's time, the first byte of a table within 100 ms, 20 MB.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

[[ $# -eq 0 ]] || fail "unknown argument $1"
# What is measured must not meet what others do there.
unset BB_KUBECONFIG

scripts/tools.sh
scripts/cluster.sh
if [[ -z ${BBCTL:-} ]]; then
    scripts/bbctl.sh
    BBCTL=$(echo "$root"/target/bbctl/bbctl-linux-*/bbctl)
fi
cargo build --quiet -p bb-tests --bin bb-lists
BB_ROOT=$root BBCTL=$BBCTL KUBECTL=${KUBECTL:-} "$CARGO_TARGET_DIR/debug/bb-lists"
