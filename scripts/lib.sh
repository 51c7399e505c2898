# shellcheck shell=bash
# Turns the environment into the places and words that every script here shares. To be sourced.

# shellcheck disable=SC2034  # used by those that source this file
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${BB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bitbuilder}
began=$SECONDS

# Outside of the clone, so that a second clone finds its dependencies built. The crates of the
# workspace are kept apart by scripts/rustc-here.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}
# A machine that clones anew for each run gains nothing from what speeds up the second build.
if [[ ${CI:-} == true ]]; then
    export CARGO_INCREMENTAL=0
fi
# Binaries in a target folder that clones share may come from another one: these are the sources.
export BB_ROOT=$root
# Use the Go and Rust that are here; never fetch another.
export GOTOOLCHAIN=local

# say WORDS...: a line with the seconds since the script began.
say() {
    printf '[%3ds] %s\n' "$((SECONDS - began))" "$*"
}

# fail WORDS...: the reason on standard error, and the end.
fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}
