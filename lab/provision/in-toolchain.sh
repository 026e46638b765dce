#!/usr/bin/env bash
# in-toolchain.sh COMMAND…: runs COMMAND in the toolchain root; see in-root.sh.
. "$(dirname "$0")/common.sh"

[[ $# -gt 0 ]] || die "usage: in-toolchain.sh COMMAND [ARGUMENT…]"
root=$("$PROVISION/toolchain.sh")
exec "$PROVISION/in-root.sh" "$root" "$@"
