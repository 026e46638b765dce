# shellcheck shell=bash
# What every provisioning script starts from: strict mode, messages, the cache
# directory, root rights, locks, and cache entries that are never half built.
# Sourced, not run.

set -euo pipefail
umask 022
PATH=$PATH:/usr/sbin:/sbin

PROVISION=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
CHECKOUT=$(cd "$PROVISION/../.." && pwd -P)

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# kbuild cannot work below a path with a space or a colon in it.
usable_path() {
    [[ $1 == /* && $1 != *[[:space:]:]* ]] || die "$2 is '$1': an absolute path without spaces or colons is needed"
}

CACHE=${HCALL_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or HCALL_CACHE}/.cache}/hcall}
usable_path "$CACHE" "the cache directory (HCALL_CACHE)"
usable_path "$CHECKOUT" "the checkout"
mkdir -p "$CACHE" || die "cannot create the cache directory $CACHE: set HCALL_CACHE to a writable place"

as_root() {
    if [[ $EUID -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        die "root is needed to run '$1': run as root, or install sudo"
    fi
}

remove_tree() { rm -rf -- "$1" 2>/dev/null || as_root rm -rf -- "$1"; }

# with_lock NAME COMMAND…: only one process of this cache runs COMMAND under NAME.
with_lock() {
    local lock=$CACHE/locks/$1
    shift
    mkdir -p "${lock%/*}"
    (
        if ! flock --nonblock 9; then
            say "waiting for another run that holds $lock"
            flock --timeout 1800 9 || die "waited 30 minutes for $lock: is another run stuck?"
        fi
        "$@" 9>&-
    ) 9>"$lock"
}

# cache_entry PATH COMMAND…: makes the directory PATH once. COMMAND gets a fresh
# directory as its last argument, which becomes PATH when COMMAND succeeds.
cache_entry() {
    local path=$1
    [[ ! -d $path ]] || return 0
    shift
    mkdir -p "${path%/*}"
    with_lock "$(tr / - <<<"${path#"$CACHE"/}")" build_entry "$path" "$@"
}

# newest_entry KIND: the path of the youngest cache entry of this kind, if there is one.
newest_entry() {
    local newest='' entry
    for entry in "$CACHE/$1"/*; do
        if [[ -d $entry && $entry != *.partial.* && (-z $newest || $entry -nt $newest) ]]; then newest=$entry; fi
    done
    printf '%s' "$newest"
}

build_entry() {
    local path=$1
    PARTIAL=$path.partial.$$
    shift
    [[ ! -d $path ]] || return 0
    # The lock is held, so these are what interrupted runs left.
    local left
    for left in "$path".partial.*; do
        if [[ -e $left ]]; then remove_tree "$left"; fi
    done
    trap 'remove_tree "$PARTIAL"' EXIT
    mkdir "$PARTIAL"
    "$@" "$PARTIAL"
    mv -T "$PARTIAL" "$path"
}

# run_logged LOG COMMAND…: COMMAND's output goes to LOG; its last lines are shown
# when it fails or is ended by timeout(1).
run_logged() {
    local log=$1 status=0
    shift
    mkdir -p "${log%/*}"
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [[ $status -ne 0 ]] || return 0
    tail -n 25 "$log" >&2
    [[ $status -ne 124 ]] || die "not finished in time and ended; the whole log is $log"
    die "failed with status $status; the whole log is $log"
}
