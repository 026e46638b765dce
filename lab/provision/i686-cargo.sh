#!/usr/bin/env bash
# i686-cargo.sh COMMAND ARGUMENT…: cargo for 32-bit unikernels, target i686-unknown-none.
# Rust has no such target built in: it is described in hcall-guest/targets, and cargo
# builds its core library from rust-src. Both are unstable, so one compiler does it
# everywhere: the toolchain root's.
. "$(dirname "$0")/common.sh"

[[ $# -gt 0 ]] || die "usage: i686-cargo.sh COMMAND [ARGUMENT…]"

command=$1
shift
export RUSTC_BOOTSTRAP=1
# Debian names its lld otherwise than rustc expects.
export CARGO_TARGET_I686_UNKNOWN_NONE_LINKER=${CARGO_TARGET_I686_UNKNOWN_NONE_LINKER:-ld.lld}
exec "$PROVISION/in-toolchain.sh" cargo "$command" \
    --target "$CHECKOUT/hcall-guest/targets/i686-unknown-none.json" \
    -Zbuild-std=core,compiler_builtins -Zbuild-std-features=compiler-builtins-mem "$@"
