#!/usr/bin/env bash
# Turns lab/alerts (Go) into the executable that judges alerts as Prometheus does.
#
# usage: alerts.sh          builds it where it is missing: half a minute on 2 cores
#        alerts.sh --path   prints where it is kept, built or not
#
# It is kept outside of the clone under a name made from the sources, as scripts/cluster.sh does.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root/lab/alerts"

hash=$(LC_ALL=C sha256sum -- *.go go.mod go.sum | sha256sum | cut -c1-12)
binary=$cache/bin/bb-alerts-$hash

if [[ ${1:-} == --path ]]; then
    echo "$binary"
    exit 0
fi
[[ $# -eq 0 ]] || fail "unknown argument $1"

if [[ ! -x $binary ]]; then
    command -v go >/dev/null || fail "go is not installed; scripts/tools.sh says which"
    mkdir -p "$cache/bin"
    say "building what judges alerts: half a minute"
    CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -ldflags "-s -w" -o "$binary.new.$$" .
    mv "$binary.new.$$" "$binary"
fi
say "what judges alerts is built: $binary"
