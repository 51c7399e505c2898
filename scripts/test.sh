#!/usr/bin/env bash
# Turns the sources into a verdict: builds everything, runs every test, counts them by level.
#
# usage: test.sh [CARGO-TEST-ARGUMENTS...]     say, -p bb-core
#
# From nothing on 2 cores: 5 to 10 minutes for the management cluster, as many for Rust, then the
# tests; a few minutes with warm caches. The whole output is kept in target/test.log, what tests
# sent to routers and clusters in target/journal; every command in it is checked against a router's
# schema where that is at hand. The last line counts the tests of each level.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

say "1 of 5: tools"
scripts/tools.sh test
# Go and Rust after each other: at once they would only fight for two cores and for memory.
say "2 of 5: management cluster"
scripts/cluster.sh
scripts/alerts.sh
say "3 of 5: Python packages"
scripts/venv.sh
# Where there can be no node, the tests that need one say so and are counted as skipped.
if scripts/node.sh --check 2>/dev/null; then
    scripts/node.sh
fi
say "4 of 5: compiling the programs and the tests"
if [[ $# -eq 0 ]]; then
    export BB_WHOLE=1
    set -- --workspace
fi
# One of them starts the controller of the commit before. It is built first: of programs of one name
# in a folder the last one stays.
if [[ -n ${BB_WHOLE:-} || " $* " == *" bb-tests "* ]] && scripts/upgrade.sh --commit >/dev/null 2>&1; then
    scripts/upgrade.sh --build
fi
# The tests start the programs, so all of them are built, whatever tests are asked for.
cargo build --workspace --all-targets

say "5 of 5: running the tests"
mkdir -p target/journal
find target/journal -name '*.jsonl' -delete
rm -rf target/audit target/trace
export BB_VENV=${BB_VENV:-$cache/venv}
status=0
CARGO_TERM_COLOR=never RUST_BACKTRACE=0 cargo test --no-fail-fast "$@" -- --show-output 2>&1 |
    python3 scripts/levels.py target/test.log scripts/check-journal.sh scripts/check-rights.sh \
        scripts/check-secrets.sh || status=$?
exit "$status"
