#!/usr/bin/env bash
# Turns the chart and the image into a controller in pods, leads it through the life of a release,
# and shows that nothing of it is left.
#
# usage: demo-helm.sh          KEEP=yes leaves the lab as it is before the end, to look around;
#                              `make demo-down` takes it down
#
# Brings up a lab in .lab-helm with a node of its own, imports the image of scripts/image.sh, and
# runs: helm install --wait, examples/acme until all is Ready, helm upgrade with other values, helm
# rollback, the tenant's end, helm uninstall. At each step it says what it is about to do, how long
# it took, and fails where something is not as it should be. A node needs root; where it cannot be,
# the lab says so and runs the controller as a process, and helm installs nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$root/scripts/ready.sh"
cd "$root"

[[ $# -eq 0 ]] || fail "unknown argument $1"
unset BB_KUBECONFIG
lab=.lab-helm
bin=$CARGO_TARGET_DIR/debug
bound=${BB_DEMO_BOUND:-300}
release=bitbuilder
deployment=bitbuilder-controller
namespace=bitbuilder-system
# What helm waits for, in seconds: pods that are there and ready.
patience=120
chart=charts/bitbuilder

# timed WORDS... -- COMMAND...: says what is done, does it, and says how long it took.
timed() {
    local words=() from
    while [[ $1 != -- ]]; do
        words+=("$1")
        shift
    done
    shift
    say "${words[*]}"
    from=$(date +%s%N)
    "$@" >"$lab/said" 2>&1 || { cat "$lab/said" >&2; fail "that did not work"; }
    say "  done in $((($(date +%s%N) - from) / 1000000)) ms"
}

build() {
    say "1 of 8: building the lab and the image (20 to 30 minutes from nothing on 2 cores; seconds when it is built)"
    scripts/tools.sh
    scripts/cluster.sh
    cargo build --quiet -p bb-lab-harness -p bb-lab-vyos -p bb-lab-proxmox -p bb-controller -p bbctl
    if scripts/node.sh --check 2>/dev/null; then
        scripts/node.sh
        scripts/image.sh
    fi
}

bring_up() {
    say "2 of 8: bringing up the lab in $lab, with a node"
    "$bin/bb-lab" --dir $lab down >/dev/null
    trap 'say "ended early: make demo-down takes the lab down"' EXIT
    "$bin/bb-lab" --dir $lab up --node
    # shellcheck disable=SC1090
    source $lab/env
    export HELM_CACHE_HOME=$root/$lab/helm HELM_CONFIG_HOME=$root/$lab/helm HELM_DATA_HOME=$root/$lab/helm
}

# The road of a machine without root: what make demo shows, in this lab.
without_node() {
    say "3 of 8 and the rest: no node, so helm installs nothing here; examples/acme by a process instead"
    kubectl apply -f examples/acme
    wait_until_ready "$bound" "$lab/log/bb-controller.log"
    take_down
    say "the tenant became Ready; run this as root for the chart"
}

# Counts what was sent to routers and clusters to change something.
writes() {
    bb-lab --dir $lab journal | awk 'NR > 1 && NF == 5 {sum += $3} END {print sum + 0}'
}

# revision WANTED: fails unless helm has that revision, deployed.
revision() {
    local have
    have=$(helm list -n $namespace --filter "^$release\$" -o json | sed -E 's/.*"revision":"([0-9]+)".*"status":"([a-z]+)".*/\1 \2/')
    [[ $have == "$1 deployed" ]] || fail "helm has revision $have, and $1 deployed is wanted"
}

pods() {
    kubectl get pods -n $namespace -o wide --no-headers | awk '{print "  " $1, $2, $3, "restarts " $4, "age " $5}'
}

install() {
    say "3 of 8: the release"
    timed "importing target/image/controller.tar into the node" -- \
        "$bin/bb-lab" --dir $lab import target/image/controller.tar
    kubectl create namespace $namespace >/dev/null
    # Nothing in it may ask for more than the strictest standard of Kubernetes allows.
    kubectl label namespace $namespace pod-security.kubernetes.io/enforce=restricted >/dev/null
    timed "helm install --wait" -- helm install $release $chart -n $namespace \
        --wait --timeout ${patience}s
    revision 1
    pods
}

tenant() {
    say "4 of 8: Secrets, Providers and the Region of the lab, then examples/acme"
    kubectl apply -f $lab/objects.json | sed 's/^/  /'
    kubectl apply -f examples/acme | sed 's/^/  /'
    wait_until_ready "$bound" "kubectl logs -n $namespace deployment/$deployment"
    kubectl get instances --all-namespaces -o wide
}

upgrade() {
    local before
    say "5 of 8: another value, by rolling update"
    before=$(writes)
    timed "helm upgrade --wait, log.level=debug" -- helm upgrade $release $chart -n $namespace \
        --wait --timeout ${patience}s --reset-then-reuse-values --set log.level=debug
    revision 2
    pods
    kubectl get deployment $deployment -n $namespace -o yaml | grep -A1 'name: RUST_LOG' | sed 's/^ */  /'
    wait_until_ready "$bound" "kubectl logs -n $namespace deployment/$deployment"

    say "6 of 8: and back"
    timed "helm rollback --wait" -- helm rollback $release 1 -n $namespace --wait --timeout ${patience}s
    revision 3
    pods
    wait_until_ready "$bound" "kubectl logs -n $namespace deployment/$deployment"
    [[ $(writes) == "$before" ]] || fail "$(writes) writes after upgrade and rollback, $before before"
    say "  nothing was written to routers and clusters meanwhile ($before writes before and after)"
}

uninstall() {
    local left
    say "7 of 8: the tenant's end, and the release's"
    timed "kubectl delete tenant acme" -- kubectl delete -f examples/acme --wait --timeout="${bound}s"
    # A Provider goes when its controller has let go of it: before the release, not after.
    timed "kubectl delete providers and regions" -- \
        kubectl delete providers,regions --all --timeout=60s
    timed "helm uninstall --wait" -- helm uninstall $release -n $namespace --wait --timeout ${patience}s
    # helm does not wait for pods that end: they drain.
    timed "waiting for the pods' end" -- \
        kubectl wait pod --all -n $namespace --for=delete --timeout=60s
    left=$(kubectl get pods -n $namespace -o name)
    [[ -z $left ]] || fail "pods are left: $left"
    left=$(kubectl get crds -o name | grep -c bitbuilder.cloud || true)
    say "  no pods are left; $left definitions are kept, as values.yaml says (crds.keep)"
    ((left > 0)) || fail "the definitions went with the release"
    left=$(kubectl get bitbuilder --all-namespaces -o name)
    [[ -z $left ]] || fail "objects are left: $left"
    say "  no object of ours is left"
}

take_down() {
    local left
    "$bin/bb-lab" --dir $lab down
    trap - EXIT
    left=$(grep -alz "^BB_LAB_DIR=$root/$lab\$" /proc/[0-9]*/environ 2>/dev/null || true)
    [[ -z $left ]] || fail "processes are left: $left"
    left=$(find /sys/fs/cgroup -maxdepth 2 -name "$groups" | head -n 1)
    [[ -z $left ]] || fail "a control group is left: $left"
    [[ ! -e $lab ]] || fail "$lab is left"
}

build
bring_up
if [[ ${BB_LAB_NODE:-} != yes ]]; then
    without_node
    exit
fi
# The names of what no folder holds, to look for at the end.
groups=$(basename "$(sed -n 's/.*"cgroupRoot": "\(.*\)",*$/\1/p' $lab/node/kubelet.yaml)")
spaces=$(readlink "/proc/$("$bin/bb-lab" --dir $lab status | awk '$1 == "node" {print $3}')/ns/net")
install
tenant
upgrade
if [[ -n ${KEEP:-} ]]; then
    trap - EXIT
    say "kept: source $lab/env; kubectl logs -n $namespace deployment/$deployment; make demo-down"
    exit
fi
uninstall
say "8 of 8: taking the lab down, and looking for what is left"
take_down
left=$(readlink /proc/[0-9]*/ns/net 2>/dev/null | grep -cF "$spaces" || true)
((left == 0)) || fail "$left processes are left in the node's network"
say "nothing is left: no pod, no process, no namespace, no control group"
