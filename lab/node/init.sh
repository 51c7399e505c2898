#!/usr/bin/env bash
# Turns fresh namespaces into a Kubernetes node: addresses, mounts, containerd, kubelet, kube-proxy.
#
# usage: init.sh    as the first process of new network, mount and pid namespaces; bb-lab starts it
#
# BB_NODE_DIR holds what it writes and what was written for it: kubelet.yaml, containerd.toml,
# kubeconfigs, cni/. BB_NODE_PROGRAMS is where scripts/node.sh unpacked packages, BB_CLUSTER the
# executable with Kubernetes' programs. It ends when one of the programs ends, and the kernel ends
# everything else with it: containers, mounts, addresses.
set -euo pipefail

dir=$BB_NODE_DIR
export PATH=$BB_NODE_PROGRAMS/usr/sbin:$BB_NODE_PROGRAMS/usr/bin:/usr/sbin:/usr/bin:/sbin:/bin
# For nft, whose libraries are unpacked beside it.
libraries=$(printf '%s:' "$BB_NODE_PROGRAMS"/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH=${libraries%:}

# What is mounted here is seen by nobody else.
mount --make-rprivate /
for folder in /run /var/lib /var/log; do
    mount -t tmpfs -o mode=755 "bb-node${folder//\//-}" "$folder"
done
# Kubernetes' own places, which no setting moves: unpacked programs may lie below /var/lib.
mkdir -p /run/lock /var/lib/kubelet /var/log/pods

# The kubelet sets these for the whole machine. It finds them as it wants them, in files of ours.
mkdir -p "$dir/sysctl"
while read -r name value; do
    echo "$value" >"$dir/sysctl/${name//\//.}"
    mount --bind "$dir/sysctl/${name//\//.}" "/proc/sys/$name"
done <<'END'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
END

# The node's address is where pods find the API server, routers and clusters.
ip link set lo up
ip address add "$BB_NODE_ADDRESS/32" dev lo
ip route add "$BB_NODE_SERVICES" dev lo
echo 1 >/proc/sys/net/ipv4/ip_forward

log() {
    exec >>"$dir/../log/node-$1.log" 2>&1
}

(log containerd && exec containerd --config "$dir/containerd.toml") &
for _ in {1..200}; do
    [[ -S /run/containerd/containerd.sock ]] && ctr version >/dev/null 2>&1 && break
    sleep 0.05
done
ctr -n k8s.io images import "$dir/pause.tar" >/dev/null
# The way to the API server is made from outside, once these namespaces are there.
until (exec 3<>"/dev/tcp/$BB_NODE_ADDRESS/$BB_NODE_API_PORT") 2>/dev/null; do
    sleep 0.05
done
(log scheduler && exec "$BB_CLUSTER" kube-scheduler --kubeconfig "$dir/scheduler.kubeconfig" \
    --leader-elect=false --secure-port=0) &
(log kubelet && exec "$BB_CLUSTER" kubelet --config "$dir/kubelet.yaml" \
    --kubeconfig "$dir/kubelet.kubeconfig" --hostname-override "$BB_NODE_NAME" \
    --node-ip "$BB_NODE_ADDRESS") &
(log kube-proxy && exec "$BB_CLUSTER" kube-proxy --config "$dir/proxy.yaml" \
    --hostname-override "$BB_NODE_NAME") &

wait -n
echo "a program of the node has ended: the node ends" >&2
exit 1
