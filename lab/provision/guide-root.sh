#!/usr/bin/env bash
# guide-root.sh: makes the Debian 13 root in which docs/guide.md is followed from nothing, and
# prints its path. What it holds is what somebody has who is about to clone the repository.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/roots.sh"

[[ $# -eq 0 ]] || die "usage: guide-root.sh"

PACKAGES=(apt ca-certificates git make)

build() {
    say "making a clean root for the guide"
    fill_root "$1" guide-root "${PACKAGES[@]}"
}

need_index
root=$CACHE/guide-root/$(cksum <<<"${PACKAGES[*]}" | cut -d ' ' -f 1)
cache_entry "$root" build
printf '%s\n' "$root"
