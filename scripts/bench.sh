#!/usr/bin/env bash
# Turns a run of the demo's tenant into the figures of docs/figures.md.
#
# usage: bench.sh
#
# Brings up a lab of its own in target/bench, applies examples/acme, waits until all is Ready,
# deletes it again, and takes the lab down. Prints a table and writes target/figures.json. With
# BB_UPDATE=1 the table in docs/figures.md is replaced. Under five minutes when all is built.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

dir=$root/target/bench
bin=$CARGO_TARGET_DIR/debug
kinds=tenants,networks,volumes,instances
bound=${BB_DEMO_BOUND:-300}

now() { date +%s.%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN {printf "%.2f", to - from}'; }

# count PATTERN: how many lines of the tenant's manifests match.
count() { cat examples/acme/*.yaml | grep -cE "$1"; }

# ready_count: how many objects of ours are Ready, and how many there are.
ready_count() {
    kubectl get "$kinds" --all-namespaces -o jsonpath='{range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
        awk '{total++} $1 == "True" {ready++} END {print ready + 0, total + 0}'
}

# wait_for WORDS COMMAND...: runs the command until it succeeds, within the bound.
wait_for() {
    local words=$1 until=$((SECONDS + bound))
    shift
    until "$@"; do
        ((SECONDS < until)) || fail "$words not within $bound s; logs are in $dir/log"
        sleep 0.2
    done
}

all_ready() {
    local ready total
    read -r ready total < <(ready_count)
    ((total > 0 && ready == total))
}
all_gone() {
    local ready total
    read -r ready total < <(ready_count)
    ((total == 0))
}

scripts/tools.sh
scripts/cluster.sh
cargo build --quiet -p bb-lab-harness -p bb-lab-vyos -p bb-lab-proxmox -p bb-controller -p bbctl
mkdir -p target
"$bin/bb-lab" --dir "$dir" down
trap '"$bin/bb-lab" --dir "$dir" down >/dev/null' EXIT

say "1 of 4: bringing up a lab"
from=$(now)
log=$root/target/bench-up.log
"$bin/bb-lab" --dir "$dir" up | tee "$log"
up=$(since "$from")
api=$(sed -n 's/^\[ *\([0-9]*\)s\] kube-apiserver ready/\1/p' "$log")
# shellcheck disable=SC1091
source "$dir/env"

say "2 of 4: applying examples/acme"
from=$(now)
kubectl apply -f examples/acme >/dev/null
wait_for "all Ready" all_ready
ready=$(since "$from")
rm -rf "$root/target/bench-run"
mkdir -p "$root/target/bench-run"
cp -r "$dir/journal" "$dir/audit.jsonl" "$root/target/bench-run/"

say "3 of 4: deleting the tenant with all it has"
from=$(now)
kubectl delete --wait=false -f examples/acme >/dev/null
wait_for "all gone" all_gone
gone=$(since "$from")

say "4 of 4: figures"
table=$("$bin/bb-lab" figures --journal target/bench-run/journal --audit target/bench-run/audit.jsonl \
    --instances "$(count '^kind: Instance$')" --networks "$(count '^kind: Network$')" \
    --objects "$(count '^kind: (Tenant|Network|Volume|Instance)$')" \
    --phase "seconds until the API is ready=$api" --phase "seconds until the lab is up=$up" \
    --phase "seconds until the tenant is Ready=$ready" --phase "seconds until the tenant is gone=$gone" \
    --json target/figures.json)
printf '%s\n' "$table"
if [[ ${BB_UPDATE:-} == 1 ]]; then
    {
        # What is written by hand stands above the table.
        sed '/^| figure /,$d' docs/figures.md 2>/dev/null || true
        printf '%s\n' "$table"
    } >target/figures.md.new
    mv target/figures.md.new docs/figures.md
fi
