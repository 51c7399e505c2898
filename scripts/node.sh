#!/usr/bin/env bash
# Turns Debian's packages into the programs of a Kubernetes node, unpacked in the cache.
#
# usage: node.sh          fetches and unpacks them: 15 seconds and 35 MB the first time
#        node.sh --path   prints where they are, there or not
#        node.sh --check  says why a node cannot run on this machine, if so, and ends with 1
#
# Nothing is installed: containerd, runc, the CNI plugins and nft are fetched by apt-get, with what
# they need and this machine does not have, and unpacked. Beside them lies pause, the program of
# the container that holds a pod's addresses, built from lab/node/pause.rs.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

packages=(containerd runc containernetworking-plugins nftables iproute2)
# A change to this file or to pause.rs gives another folder.
hash=$(cat "$root/scripts/node.sh" "$root/lab/node/pause.rs" | sha256sum | cut -c1-12)
programs=$cache/node/$hash

# why_not: the reason why a node cannot run here; nothing where it can.
why_not() {
    if [[ $(uname -s) != Linux ]]; then
        echo "this is not Linux"
    elif [[ $(id -u) -ne 0 ]]; then
        echo "a node needs root"
    elif ! unshare --net --mount --pid --fork true 2>/dev/null; then
        echo "this machine gives no namespaces"
    elif ! grep -qw overlay /proc/filesystems; then
        echo "the kernel has no overlay file system"
    elif [[ ! -w /sys/fs/cgroup ]]; then
        echo "control groups cannot be written"
    elif [[ ! -f $programs/done ]] && ! command -v apt-get >/dev/null; then
        echo "containerd and what belongs to it come from Debian's packages, and there is no apt-get"
    fi
}

case ${1:-} in
    --path)
        echo "$programs"
        exit 0
        ;;
    --check)
        reason=$(why_not)
        [[ -z $reason ]] || fail "no node on this machine: $reason"
        exit 0
        ;;
    "") ;;
    *) fail "unknown argument $1" ;;
esac

reason=$(why_not)
[[ -z $reason ]] || fail "no node on this machine: $reason"
if [[ -f $programs/done ]]; then
    say "the programs of a node are there: $programs"
    exit 0
fi

say "fetching and unpacking ${packages[*]}"
new=$programs.new.$$
trap 'rm -rf "$new"' EXIT
mkdir -p "$new/debs/partial"
# Lists that are too old, or none: what is asked for cannot be found.
fetch() {
    apt-get -qq install --download-only --reinstall --no-install-recommends -y \
        -o "Dir::Cache::archives=$new/debs" "${packages[@]}" >"$new/apt.log" 2>&1
}
if ! fetch; then
    apt-get -qq update
    fetch || { cat "$new/apt.log" >&2; fail "apt-get cannot fetch the packages of a node"; }
fi
for package in "$new"/debs/*.deb; do
    dpkg-deb --extract "$package" "$new"
done
rustc --edition 2024 -C target-feature=+crt-static -C opt-level=s -C panic=abort -C strip=symbols \
    -o "$new/pause" "$root/lab/node/pause.rs"
rm -rf "$new/debs" "$new/apt.log" "$new/usr/share/doc" "$new/usr/share/man"
touch "$new/done"
rm -rf "$programs"
mv "$new" "$programs"
say "unpacked to $programs ($(du -sm "$programs" | cut -f1) MB)"
