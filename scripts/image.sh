#!/usr/bin/env bash
# Turns the sources into the controller's image and a bill of what is in it; needs no registry.
#
# usage: image.sh            10 minutes on two cores the first time
#        WITH=docker image.sh    (or buildah, podman) lets that pack it by controller/Containerfile
#        VERSION=1.2.3 NAME=registry/name image.sh
#
# Writes to target/image: controller.tar (an OCI image layout, which docker, podman, containerd and
# skopeo read), controller.cdx.json (CycloneDX) and rootfs (what is in it). The same sources,
# compiler and C library give the same bytes. The program is static: nothing else is in the image.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
source scripts/static.sh

[[ $# -eq 0 ]] || fail "unknown argument $1"
out=$root/target/image
version=${VERSION:-$crate_version}
chart=$root/charts/bitbuilder/values.yaml
name=${NAME:-$(sed -n 's/^  repository: //p' "$chart" | head -n 1)}
with=${WITH:-}
if [[ -n $with ]] && ! command -v "$with" >/dev/null; then
    fail "$with is not installed; without WITH nothing of the kind is needed"
fi

build() {
    say "1 of 3: building the controller for $target (10 minutes on two cores the first time)"
    static_build bb-controller image
}

stage() {
    rm -rf "$out"
    mkdir -p "$out/rootfs/etc"
    install -m 755 "$program" "$out/rootfs/bb-controller"
    install -m 644 LICENSE "$out/rootfs/LICENSE"
    echo 'bitbuilder:x:65532:65532::/:/sbin/nologin' >"$out/rootfs/etc/passwd"
    echo 'bitbuilder:x:65532:' >"$out/rootfs/etc/group"
    # What Kubernetes writes into /etc/hosts counts before DNS.
    echo 'hosts: files dns' >"$out/rootfs/etc/nsswitch.conf"
}

bill() {
    say "2 of 3: writing the bill of materials"
    local jemalloc
    # The crate is under another licence than what it builds.
    jemalloc=$(sed -n '/^name = "tikv-jemalloc-sys"/{n;s/^version = ".*+\([0-9.]*\)-.*/\1/p}' Cargo.lock)
    static_bill bb-controller "$out/controller.cdx.json" \
        --with "jemalloc,$jemalloc,BSD-2-Clause,pkg:generic/jemalloc@$jemalloc"
}

pack() {
    local digest=
    say "3 of 3: packing $name:$version${with:+ by $with}"
    case $with in
        "")
            digest=$("$CARGO_TARGET_DIR/debug/bb-image" pack --from "$out/rootfs" \
                --name "$name:$version" --entrypoint /bb-controller \
                --label org.opencontainers.image.title=bb-controller \
                --label "org.opencontainers.image.version=$version" \
                --label org.opencontainers.image.licenses=Apache-2.0 \
                --to "$out/controller.tar")
            ;;
        docker)
            docker build --quiet --file controller/Containerfile --build-arg "VERSION=$version" \
                --tag "$name:$version" "$out"
            docker save --output "$out/controller.tar" "$name:$version"
            ;;
        buildah | podman)
            "$with" build --quiet --timestamp 0 --file controller/Containerfile \
                --build-arg "VERSION=$version" --tag "$name:$version" "$out"
            "$with" push "$name:$version" "oci-archive:$out/controller.tar:$name:$version"
            ;;
        *) fail "WITH is docker, buildah, podman or nothing" ;;
    esac
    say "wrote target/image/controller.tar ($(du -m "$out/controller.tar" | cut -f1) MB)${digest:+ $digest}"
    say "bill of materials: target/image/controller.cdx.json ($(grep -c '"bom-ref"' "$out/controller.cdx.json") parts)"
}

scripts/tools.sh
build
stage
bill
pack
