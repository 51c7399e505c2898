#!/usr/bin/env bash
# Turns the sources into a verdict on form: format, lints, licences and sources of dependencies.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

scripts/tools.sh check
say "1 of 4: cargo fmt"
cargo fmt --all --check
say "2 of 4: cargo clippy"
# In a folder of this clone's own: clippy takes the place of scripts/rustc-here, which keeps clones
# apart in the shared one.
CARGO_TARGET_DIR=$root/target/check cargo clippy --workspace --all-targets -- -D warnings
say "3 of 4: cargo deny"
"$cache/tools/bin/cargo-deny" --log-level error check licenses bans sources
say "4 of 4: gofmt"
# Not go vet: it would compile all of Kubernetes once more for two files of ours.
[[ -z $(gofmt -l lab/cluster lab/alerts) ]] || fail "gofmt would change something: run gofmt -w lab/cluster lab/alerts"
say "all is in form"
