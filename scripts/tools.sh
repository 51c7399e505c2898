#!/usr/bin/env bash
# Turns a fresh machine into one that can build: says what is missing and installs what Debian has.
#
# usage: tools.sh          what building and the demo need: a C compiler, Rust, Go, make
#        tools.sh test     and what the tests need beyond: Python with venv, a terminal (tmux), OpenSSH,
#                        zsh and fish
#        tools.sh check    and cargo-deny, built into the cache (2 to 4 minutes the first time)
#
# Toolchains are not installed: the Rust and Go that are here are used, never others fetched.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

deny_version=0.20.2

# at_least WANTED HAVE: tells whether a version is new enough.
at_least() {
    [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]
}

need_toolchains() {
    local rust go
    command -v cargo >/dev/null || fail "Rust is missing: install 1.95 or later from your system or by rustup"
    rust=$(rustc --version | cut -d' ' -f2)
    at_least 1.95 "$rust" || fail "Rust $rust is too old: 1.95 or later is needed"
    command -v go >/dev/null || fail "Go is missing: install 1.26 or later (it builds the management cluster)"
    go=$(go env GOVERSION)
    at_least 1.26 "${go#go}" || fail "Go ${go#go} is too old: 1.26 or later is needed"
}

# need PACKAGE...: installs Debian packages by apt-get, or says what to install.
need() {
    if ! command -v apt-get >/dev/null; then
        fail "missing: install what your system calls $*"
    fi
    [[ $(id -u) -eq 0 ]] || fail "missing: run  sudo apt-get install $*"
    say "installing $*"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -y "$@" >/dev/null
}

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v make >/dev/null || missing+=(make)
command -v setpriv >/dev/null || missing+=(util-linux)
if [[ ${1:-} == test ]]; then
    command -v python3 >/dev/null || missing+=(python3)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    command -v tmux >/dev/null || missing+=(tmux)
    # Completions are loaded by the shells that they are for.
    command -v zsh >/dev/null || missing+=(zsh)
    command -v fish >/dev/null || missing+=(fish)
    { command -v ssh && command -v ssh-keygen && command -v ssh-agent; } >/dev/null || missing+=(openssh-client)
fi
if ((${#missing[@]})); then
    need "${missing[@]}"
fi
need_toolchains

if [[ ${1:-} == check ]]; then
    if [[ ! -x $cache/tools/bin/cargo-deny ]]; then
        say "building cargo-deny $deny_version into the cache: 2 to 4 minutes, once"
        # Unoptimized: it reads one lock file, and an optimized build takes three times as long.
        cargo install --quiet --debug --locked --root "$cache/tools" "cargo-deny@$deny_version"
    fi
fi
say "the tools are here"
