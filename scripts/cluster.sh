#!/usr/bin/env bash
# Turns lab/cluster (Go) into the executable with the programs of a management cluster.
#
# usage: cluster.sh          builds it where it is missing: 5 to 10 minutes on 2 cores from
#                            nothing, under a minute when Go's build cache is warm
#        cluster.sh --path   prints where it is kept, built or not
#
# It is kept outside of the clone under a name made from the sources, so that clones share it and
# a change to the sources gives another. Beside it lie links named bb-cluster, kubectl, helm and
# so on, which point at the one that was asked for last.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root/lab/cluster"

hash=$(LC_ALL=C sha256sum -- *.go go.mod go.sum | sha256sum | cut -c1-12)
binary=$cache/bin/bb-cluster-$hash

if [[ ${1:-} == --path ]]; then
    echo "$binary"
    exit 0
fi
[[ $# -eq 0 ]] || fail "unknown argument $1"

link_programs() {
    local program
    for program in bb-cluster etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl helm; do
        ln -sfn "$(basename "$binary")" "$cache/bin/$program"
    done
}

# watch_build PID LOG: a line every 20 seconds until the build has ended. `go build -v`
# names each module when it is fetched and each package when it is compiled.
watch_build() {
    local pid=$1 log=$2 ticks=0 fetched compiled
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        ticks=$((ticks + 1))
        if ((ticks % 20 == 0)); then
            fetched=$(grep -c '^go: downloading' "$log" || true)
            compiled=$(grep -vc '^go: ' "$log" || true)
            say "still building: $fetched modules fetched, $compiled of 3,100 packages compiled"
        fi
    done
}

build() {
    command -v go >/dev/null || fail "go is not installed; scripts/tools.sh says which"
    mkdir -p "$cache/bin"
    local version minor package=k8s.io/component-base/version log
    # Without it the API server calls itself v0.0.0-master.
    version=$(sed -n 's|^\tk8s.io/kubernetes \(v[0-9.]*\)$|\1|p' go.mod)
    minor=${version#v*.}
    minor=${minor%%.*}
    log=$cache/bin/build-$hash.log
    say "building Kubernetes $version, etcd and helm into one executable:"
    say "5 to 10 minutes on 2 cores the first time, and 0.8 GB of Go modules are fetched"
    CGO_ENABLED=0 go build -mod=readonly -buildvcs=false -trimpath -v \
        -ldflags "-s -w -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor" \
        -o "$binary.new.$$" . >"$log" 2>&1 &
    local pid=$!
    trap 'kill "$pid" 2>/dev/null || true; rm -f "$binary.new.$$"' EXIT
    watch_build "$pid" "$log"
    if ! wait "$pid"; then
        tail -n 20 "$log" >&2
        fail "the build failed; all it said is in $log"
    fi
    mv "$binary.new.$$" "$binary"
    rm -f "$log"
    trap - EXIT
    say "built $binary"
}

if [[ -x $binary ]]; then
    say "the management cluster is built: $binary"
else
    build
fi
link_programs
