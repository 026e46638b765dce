#!/usr/bin/env bash
# fuzz.sh: builds the fuzz targets as cargo-fuzz would, without it and without a nightly
# toolchain, and prints the directory with the programs and, on a line of its own, what
# watches them: "AddressSanitizer" where the toolchain has its runtime, else "no sanitizer".
. "$(dirname "$0")/common.sh"
. "$PROVISION/own-rust.sh"

[[ $# -eq 0 ]] || die "usage: fuzz.sh"
TARGET=x86_64-unknown-linux-gnu

# What libFuzzer sees of the program: edges, and the operands of comparisons.
FLAGS=(
    --cfg fuzzing
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
)

has_address_sanitizer() {
    compgen -G "$(rustc --print sysroot)/lib/rustlib/$TARGET/lib/librustc*_rt.asan.a" >/dev/null
}

cd "$CHECKOUT"
watch='no sanitizer'
inside=()
if ! own_rust; then
    inside=("$PROVISION/in-root.sh" "$("$PROVISION/fuzz-root.sh")")
elif has_address_sanitizer; then
    watch=AddressSanitizer
    FLAGS+=(-Zsanitizer=address)
    export RUSTC_BOOTSTRAP=1
fi

CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CHECKOUT/target}/fuzz/${watch// /-}
export CARGO_TARGET_DIR CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="${FLAGS[*]}"
programs=$CARGO_TARGET_DIR/$TARGET/release
"${inside[@]}" cargo build --locked --release --target "$TARGET" --manifest-path fuzz/Cargo.toml --bins >&2

# What was built in the root runs there, for it wants its C library: libFuzzer takes the place
# of functions of that, and can therefore not be linked statically.
if [[ ${#inside[@]} -gt 0 ]]; then
    mkdir -p "$programs/inside"
    for target in fuzz/fuzz_targets/*.rs; do
        name=$(basename "$target" .rs)
        printf '#!/bin/sh\nexec %s %s "$@"\n' "${inside[*]}" "$programs/$name" >"$programs/inside/$name"
        chmod +x "$programs/inside/$name"
    done
    programs+=/inside
fi
printf '%s\n' "$programs" "$watch"
