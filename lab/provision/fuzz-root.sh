#!/usr/bin/env bash
# fuzz-root.sh: makes the Debian 13 root in which fuzz targets are built where this machine
# has no Rust that is new enough, and prints its path. Apart from the toolchain root, which
# needs no C++ and which much else is keyed by.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/roots.sh"

[[ $# -eq 0 ]] || die "usage: fuzz-root.sh"

PACKAGES=(cargo rustc gcc g++ libc6-dev ca-certificates)

rust_root fuzz-root "about a minute, 1 GB" "${PACKAGES[@]}"
