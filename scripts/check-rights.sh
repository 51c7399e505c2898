#!/usr/bin/env bash
# Turns what controllers asked of the API in tests into a verdict: were they refused anything, and,
# where BB_WHOLE says that all tests were run, does the chart grant them anything that none needed?
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
exec "$CARGO_TARGET_DIR/debug/bb-rights" ${BB_WHOLE:+whole}
