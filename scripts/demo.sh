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
source "$root/scripts/ready.sh"
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
wait_until_ready "$bound" .lab/log/bb-controller.log
show
