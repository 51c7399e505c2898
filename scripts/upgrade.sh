#!/usr/bin/env bash
# Turns an older commit and this tree into a verdict on the way from one to the other: settles a
# thousand objects with the old controller, upgrades to this tree's definitions and controller, rolls
# back, upgrades again, and counts what routers, clusters and the API see of it.
#
# usage: upgrade.sh             FROM=REF names the older commit; the first parent of HEAD by default
#                               OBJECTS=N settles that many, 1,000 by default
#        upgrade.sh --build     only builds the older controller, where that is not done yet
#        upgrade.sh --path      prints where it is kept, built or not
#        upgrade.sh --commit    prints the older commit
#
# The older tree lies in the cache folder, and what was built of it by the name of its commit.
# Dependencies are those of `make test`: a new commit takes a minute or two on two cores.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"

place=$cache/upgrade
# As many trees are kept; each takes 40 MB.
keep=5

# The older commit, or why there is none.
older() {
    local from=${FROM:-HEAD^}
    git rev-parse --git-dir >/dev/null 2>&1 || fail "this is no clone of git, so there is no commit before"
    if git rev-parse --verify --quiet "$from^{commit}"; then
        return
    fi
    if [[ $(git rev-parse --is-shallow-repository) == true ]]; then
        fail "the clone is shallow and does not have $from: git fetch --deepen=1, or FROM=REF"
    fi
    fail "there is no commit $from: name another by FROM=REF"
}

build() {
    local commit=$1 kept=$2 tree=$place/tree
    if [[ -e $kept/done ]]; then
        say "the controller of ${commit:0:12} is built: $kept"
        return
    fi
    say "building the controller of ${commit:0:12} in $tree: a minute or two where dependencies are built"
    mkdir -p "$tree"
    # Clones share the tree: one at a time.
    exec 8>"$place/lock"
    flock 8
    # What somebody removed or interrupted meanwhile is written anew.
    rm -f "$place/index.lock"
    [[ -e $tree/Cargo.toml ]] || rm -f "$place/index"
    # No worktree of git's: it would be one more thing that the clone knows of. Files that are the
    # same in the tree that was there before stay, and with them what was built.
    GIT_INDEX_FILE=$place/index git --work-tree="$tree" read-tree --reset -u "$commit"
    (
        cd "$tree"
        # `--examples`, of which there are none, has Cargo choose features as for tests: so the
        # dependencies of `make test` are taken.
        cargo build --quiet --locked --workspace --examples --bin bb-controller
    )
    rm -rf "$kept.new" "$kept"
    mkdir -p "$kept.new"
    strip -o "$kept.new/bb-controller" "$CARGO_TARGET_DIR/debug/bb-controller"
    # Other clones may build in the same folder.
    grep -qF "$tree/controller/src/main.rs" "$CARGO_TARGET_DIR/debug/bb-controller.d" ||
        fail "another clone built its controller in $CARGO_TARGET_DIR at this moment: run it again"
    cp -R "$tree/charts/bitbuilder" "$kept.new/chart"
    printf '%s\n' "$commit" >"$kept.new/done"
    mv "$kept.new" "$kept"
    forget
    say "built"
}

# Removes what was built of all but a few commits.
forget() {
    local old
    find "$place" -mindepth 2 -maxdepth 2 -name done -printf '%T@ %h\n' | sort -rn |
        tail -n "+$((keep + 1))" | cut -d' ' -f2- | while read -r old; do
        rm -rf "$old"
    done
}

commit=$(older) || exit 1
# What is built is the compiler's as well.
kept=$place/${commit:0:12}-$(rustc --version | sha256sum | cut -c1-8)
case ${1:-} in
    --commit) echo "$commit" ;;
    --path) echo "$kept" ;;
    --build) build "$commit" "$kept" ;;
    '')
        scripts/tools.sh
        scripts/cluster.sh
        # The older one first: in a shared folder the programs of this tree have to be the last.
        build "$commit" "$kept"
        say "building this tree's controller, and what compares them"
        cargo build --quiet --workspace --examples --bin bb-controller --bin bb-upgrade
        "$CARGO_TARGET_DIR/debug/bb-upgrade" "$kept" "${OBJECTS:-1000}"
        ;;
    *) fail "unknown argument $1" ;;
esac
