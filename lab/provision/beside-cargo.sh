#!/usr/bin/env bash
# beside-cargo.sh COMMAND…: runs COMMAND where cargo.sh runs cargo: on the machine itself, or
# in the toolchain root. Without COMMAND, prints where that has its root.
. "$(dirname "$0")/common.sh"
. "$PROVISION/own-rust.sh"

if [[ $# -eq 0 ]]; then
    if own_rust; then printf '/\n'; else exec "$PROVISION/toolchain.sh"; fi
elif own_rust; then
    exec "$@"
else
    exec "$PROVISION/in-toolchain.sh" "$@"
fi
