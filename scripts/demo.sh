#!/usr/bin/env bash
# Turns a clone into a running cloud with a tenant in it, and shows what that took.
#
# usage: demo.sh
#
# Builds what is missing, brings up the lab in .lab (management cluster, two routers, two Proxmox
# clusters, the controller), applies examples/acme, waits until everything is Ready, and shows the
# objects, the guests and what was sent. A second run starts and changes only what is missing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

# How long the tenant may take until everything is Ready, in seconds.
bound=${BB_DEMO_BOUND:-300}
bin=$CARGO_TARGET_DIR/debug

build() {
    say "1 of 4: building (10 to 20 minutes from nothing on 2 cores; seconds when it is built)"
    scripts/tools.sh
    scripts/cluster.sh
    cargo build -p bb-lab-harness -p bb-lab-vyos -p bb-lab-proxmox -p bb-controller -p bbctl
}

bring_up() {
    say "2 of 4: bringing up the lab in .lab"
    "$bin/bb-lab" --dir .lab up
    # shellcheck disable=SC1091
    source .lab/env
}

# A line per object: kind/name, True when it is Ready as it is written now, the reason.
readiness() {
    kubectl get tenants,networks,volumes,instances --all-namespaces -o jsonpath="$(
        printf '%s' '{range .items[*]}{.kind}/{.metadata.name} {.metadata.generation} ' \
            '{range .status.conditions[?(@.type=="Ready")]}' \
            '{.observedGeneration} {.status} {.reason}{end}{"\n"}{end}'
    )" | awk '{print $1, ($2 == $3 && $4 == "True" ? "True" : "False"), ($5 ? $5 : "not seen yet")}'
}

# wait_until_ready: a line whenever the count changes, and the end when all are Ready.
wait_until_ready() {
    local until=$((SECONDS + bound)) lines ready total shown=
    while true; do
        lines=$(readiness)
        total=$(grep -c . <<<"$lines" || true)
        ready=$(awk '$2 == "True"' <<<"$lines" | grep -c . || true)
        if [[ "$ready" != "$shown" ]]; then
            say "$ready of $total Ready"
            shown=$ready
        fi
        if ((total > 0 && ready == total)); then
            return
        fi
        if ((SECONDS >= until)); then
            awk '$2 != "True" {kind = $1; $1 = $2 = ""; print "  not Ready: " kind " (" substr($0, 3) ")"}' <<<"$lines" >&2
            fail "not everything is Ready after $bound s; .lab/log/bb-controller.log may say why"
        fi
        sleep 0.5
    done
}

show() {
    say "4 of 4: what there is now"
    printf '\n'
    kubectl get bitbuilder --all-namespaces
    printf '\nThe guests, and where they are:\n\n'
    kubectl get instances --all-namespaces -o wide
    printf '\nWhat was sent to routers (r) and clusters (c) since the lab is up:\n\n'
    bb-lab --dir .lab journal
    printf '\nThe last of what router r2 was told:\n\n'
    bb-lab --dir .lab journal --target r2 --last 40 | tail -n +3
    cat <<'END'

To look around:
  source .lab/env                     # KUBECONFIG, kubectl, helm, bbctl
  bbctl get instances -n acme -o wide
  bbctl describe network web -n acme
  kubectl get bitbuilder -A
  bb-lab --dir .lab journal --last 60 # what was sent to change something
  bb-lab --dir .lab status            # what runs, and where it logs
To take it down:
  make demo-down
END
}

build
bring_up
say "3 of 4: applying examples/acme"
kubectl apply -f examples/acme
wait_until_ready
show
