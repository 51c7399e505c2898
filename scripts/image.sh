#!/usr/bin/env bash
# Turns the sources into the controller's image and a bill of what is in it; needs no registry.
#
# usage: image.sh            5 minutes on two cores the first time
#        WITH=docker image.sh    (or buildah, podman) lets that pack it by controller/Containerfile
#        VERSION=1.2.3 NAME=registry/name image.sh
#
# Writes to target/image: controller.tar (an OCI image layout, which docker, podman, containerd and
# skopeo read), controller.cdx.json (CycloneDX) and rootfs (what is in it). The same sources,
# compiler and C library give the same bytes. The program is static: nothing else is in the image.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

[[ $# -eq 0 ]] || fail "unknown argument $1"
out=$root/target/image
target=$(rustc --version --verbose | sed -n 's/^host: //p')
crate_version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
version=${VERSION:-$crate_version}
chart=$root/charts/bitbuilder/values.yaml
name=${NAME:-$(sed -n 's/^  repository: //p' "$chart" | head -n 1)}
with=${WITH:-}
case $target in
    *-linux-gnu) ;;
    *) fail "the image is built on Linux with glibc, and rustc here is for $target" ;;
esac
if [[ -n $with ]] && ! command -v "$with" >/dev/null; then
    fail "$with is not installed; without WITH nothing of the kind is needed"
fi

build() {
    local home=${CARGO_HOME:-$HOME/.cargo}
    say "1 of 3: building the controller for $target (5 minutes on two cores the first time)"
    # The target is named, although it is this machine's: else the flags would also be for what
    # runs in the compiler, which cannot be static. The paths of this machine are no one's business.
    RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$home=/cargo" \
        CFLAGS="${CFLAGS:-} -ffile-prefix-map=$home=/cargo" \
        cargo build --quiet --locked --profile image --target "$target" -p bb-controller
    cargo build --quiet --locked -p bb-lab-image
    program=$CARGO_TARGET_DIR/$target/image/bb-controller
    # A program with an interpreter looks for a loader and libraries, and there are none.
    if LC_ALL=C readelf -l "$program" | grep -q INTERP; then
        fail "$program is not static"
    fi
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
    local glibc gcc rust jemalloc
    glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
    gcc=$(cc -dumpfullversion -dumpversion)
    rust=$(rustc --version | cut -d' ' -f2)
    # The crate is under another licence than what it builds.
    jemalloc=$(sed -n '/^name = "tikv-jemalloc-sys"/{n;s/^version = ".*+\([0-9.]*\)-.*/\1/p}' Cargo.lock)
    "$CARGO_TARGET_DIR/debug/bb-image" bill --crate bb-controller --target "$target" \
        --with "glibc,$glibc,LGPL-2.1-or-later,pkg:generic/glibc@$glibc" \
        --with "libgcc,$gcc,GPL-3.0-or-later WITH GCC-exception-3.1,pkg:generic/libgcc@$gcc" \
        --with "jemalloc,$jemalloc,BSD-2-Clause,pkg:generic/jemalloc@$jemalloc" \
        --with "rust-std,$rust,MIT OR Apache-2.0,pkg:generic/rust-std@$rust" \
        --to "$out/controller.cdx.json"
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
