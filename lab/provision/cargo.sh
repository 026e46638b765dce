#!/usr/bin/env bash
# cargo.sh ARGUMENT…: cargo, the machine's own if its rustc is new enough, else the
# toolchain root's. Arguments from none-target.sh get the environment they need.
. "$(dirname "$0")/common.sh"
. "$PROVISION/own-rust.sh"

[[ $# -gt 0 ]] || die "usage: cargo.sh ARGUMENT…"

# A stable cargo takes -Zbuild-std only so, and Debian names its lld otherwise than rustc expects.
if [[ " $* " == *" -Zbuild-std="* ]]; then
    export RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER=${CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER:-ld.lld}
fi

# Debian's cargo does not look at the variable that other programs take the certificates from.
if [[ -n ${SSL_CERT_FILE:-} ]]; then
    export CARGO_HTTP_CAINFO=${CARGO_HTTP_CAINFO:-$SSL_CERT_FILE}
fi

# run_outside ARGUMENT…: `cargo run` whose program runs on the machine itself, not in
# the root that built it; linked statically, for the machine's C library may be older.
run_outside() {
    local build=() messages program
    while [[ $# -gt 0 && $1 != -- ]]; do
        build+=("$1")
        shift
    done
    if [[ $# -gt 0 ]]; then shift; fi
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS='-C target-feature=+crt-static'
    messages=$("$PROVISION/in-toolchain.sh" cargo build --target x86_64-unknown-linux-gnu \
        --message-format=json-render-diagnostics "${build[@]}")
    program=$(sed -nE 's/.*"executable":"([^"]+)".*/\1/p' <<<"$messages" | tail -n 1)
    [[ -n $program ]] || die "cargo built no program to run"
    unset CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS
    exec "$program" "$@"
}

if own_rust; then
    exec cargo "$@"
elif [[ $1 == run ]]; then
    shift
    run_outside "$@"
fi
exec "$PROVISION/in-toolchain.sh" cargo "$@"
