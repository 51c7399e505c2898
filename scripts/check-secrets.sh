#!/usr/bin/env bash
# Turns what the tests left behind into a verdict: does any log, event, status, metric, journal or
# process list show a key or a token that a test set?
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
exec "$CARGO_TARGET_DIR/debug/bb-secrets"
