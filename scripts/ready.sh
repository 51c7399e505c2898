# shellcheck shell=bash
# Turns objects of ours into a wait until all are Ready. To be sourced after lib.sh.

# A line per object: kind/name, True when it is Ready as it is written now, the reason.
readiness() {
    kubectl get tenants,networks,volumes,instances --all-namespaces -o jsonpath="$(
        printf '%s' '{range .items[*]}{.kind}/{.metadata.name} {.metadata.generation} ' \
            '{range .status.conditions[?(@.type=="Ready")]}' \
            '{.observedGeneration} {.status} {.reason}{end}{"\n"}{end}'
    )" | awk '{print $1, ($2 == $3 && $4 == "True" ? "True" : "False"), ($5 ? $5 : "not seen yet")}'
}

# wait_until_ready BOUND WHERE: a line whenever the count changes, and the end when all are Ready;
# after BOUND seconds the reasons, and WHERE more may be found.
wait_until_ready() {
    local bound=$1 where=$2 until=$((SECONDS + $1)) lines ready total shown=
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
            fail "not everything is Ready after $bound s; $where may say why"
        fi
        sleep 0.5
    done
}
