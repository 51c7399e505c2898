# shellcheck shell=bash
# Turns a crate into a program that needs nothing of the machine it runs on, and a bill of what is
# in it. To be sourced after lib.sh.

target=$(rustc --version --verbose | sed -n 's/^host: //p')
case $target in
    *-linux-gnu) ;;
    *) fail "a static program is built on Linux with glibc, and rustc here is for $target" ;;
esac
crate_version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)

# static_build CRATE PROFILE: builds it, and sets `program` to where it is.
static_build() {
    local home=${CARGO_HOME:-$HOME/.cargo}
    # The target is named, although it is this machine's: else the flags would also be for what
    # runs in the compiler, which cannot be static. The paths of this machine are no one's business.
    RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$home=/cargo" \
        CFLAGS="${CFLAGS:-} -ffile-prefix-map=$home=/cargo" \
        cargo build --quiet --locked --profile "$2" --target "$target" -p "$1"
    program=$CARGO_TARGET_DIR/$target/$2/$1
    # A program with an interpreter looks for a loader and libraries, and there are none.
    if LC_ALL=C readelf -l "$program" | grep -q INTERP; then
        fail "$program is not static"
    fi
}

# static_bill CRATE FILE [--with PART]...: writes what is in it as CycloneDX.
static_bill() {
    local crate=$1 file=$2 glibc gcc rust
    shift 2
    cargo build --quiet --locked -p bb-lab-image
    glibc=$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)
    gcc=$(cc -dumpfullversion -dumpversion)
    rust=$(rustc --version | cut -d' ' -f2)
    "$CARGO_TARGET_DIR/debug/bb-image" bill --crate "$crate" --target "$target" \
        --with "glibc,$glibc,LGPL-2.1-or-later,pkg:generic/glibc@$glibc" \
        --with "libgcc,$gcc,GPL-3.0-or-later WITH GCC-exception-3.1,pkg:generic/libgcc@$gcc" \
        --with "rust-std,$rust,MIT OR Apache-2.0,pkg:generic/rust-std@$rust" \
        "$@" --to "$file"
}
