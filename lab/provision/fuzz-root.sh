#!/usr/bin/env bash
# fuzz-root.sh: makes the Debian 13 root in which fuzz targets are built where this machine
# has no Rust that is new enough, and prints its path. Apart from the toolchain root, which
# needs no C++ and which much else is keyed by.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/roots.sh"

[[ $# -eq 0 ]] || die "usage: fuzz-root.sh"

PACKAGES=(cargo rustc gcc g++ libc6-dev ca-certificates)

# The compiler's version, and what else is in the root.
key() {
    local version
    version=$(package_version rustc)
    [[ -n $version ]] || die "Debian's $SUITE has no package rustc"
    printf 'rustc-%s_' "${version//:/%}"
    cksum <<<"${PACKAGES[*]}" | cut -d ' ' -f 1
}

build() {
    say "making the root that builds fuzz targets (about a minute, 1 GB)"
    fill_root "$1" fuzz-root "${PACKAGES[@]}"
}

need_index
root=$CACHE/fuzz-root/$(key)
if [[ ! -d $root ]]; then
    need_index 10
    root=$CACHE/fuzz-root/$(key)
fi
cache_entry "$root" build
printf '%s\n' "$root"
