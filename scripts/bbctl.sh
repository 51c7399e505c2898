#!/usr/bin/env bash
# Turns the sources into bbctl as people load it down: one static program with its pages.
#
# usage: bbctl.sh            10 minutes on two cores the first time
#
# Writes to target/bbctl: bbctl-linux-ARCH.tar.gz with the program, man pages, completions and the
# licence; the same as files; the archive's SHA-256; and bbctl.cdx.json (CycloneDX), a bill of what is
# in the program. The same sources, compiler and C library give the same bytes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
source scripts/static.sh

[[ $# -eq 0 ]] || fail "unknown argument $1"
out=$root/target/bbctl
case $target in
    x86_64-*) arch=amd64 ;;
    aarch64-*) arch=arm64 ;;
    *) arch=${target%%-*} ;;
esac
name=bbctl-linux-$arch

scripts/tools.sh
say "1 of 2: building bbctl $crate_version for $target (10 minutes on two cores the first time)"
static_build bbctl image

say "2 of 2: writing its pages and packing it"
rm -rf "$out"
mkdir -p "$out/$name/completions"
install -m 755 "$program" "$out/$name/bbctl"
install -m 644 LICENSE "$out/$name/LICENSE"
"$program" man "$out/$name/man" >/dev/null
for shell in bash zsh fish powershell; do
    "$program" completion "$shell" >"$out/$name/completions/bbctl.$shell"
done
static_bill bbctl "$out/bbctl.cdx.json"
tar --create --directory "$out/$name" --sort=name --owner=0 --group=0 --numeric-owner \
    --mtime=@0 --mode=go-w . | gzip --no-name --best >"$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
say "wrote target/bbctl/$name.tar.gz ($(stat -c %s "$out/$name.tar.gz") bytes; the program has $(stat -c %s "$program"))"
say "to install it: install -m 755 target/bbctl/$name/bbctl ~/.local/bin/bbctl"
