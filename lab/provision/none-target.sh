#!/usr/bin/env bash
# none-target.sh: makes x86_64-unknown-none buildable with cargo.sh, and prints the
# arguments to add: cargo.sh build --target x86_64-unknown-none $(none-target.sh)
# It prints an empty line where the target's libraries are installed, or rustup can
# install them; where they are not to be had (Debian), cargo builds them from rust-src.
. "$(dirname "$0")/common.sh"
. "$PROVISION/own-rust.sh"

[[ $# -eq 0 ]] || die "usage: none-target.sh"
TARGET=x86_64-unknown-none
BUILD_STD='-Zbuild-std=core,alloc,compiler_builtins -Zbuild-std-features=compiler-builtins-mem'

is_installed() { compgen -G "$(rustc --print target-libdir --target "$TARGET")/libcore-*.rlib" >/dev/null; }

can_build_std() {
    [[ -d $(rustc --print sysroot)/lib/rustlib/src/rust/library ]] && command -v ld.lld >/dev/null
}

cd "$CHECKOUT"
if ! own_rust; then
    printf '%s\n' "$BUILD_STD"
elif is_installed; then
    echo
elif command -v rustup >/dev/null && rustup target add "$TARGET" >&2; then
    echo
elif can_build_std; then
    printf '%s\n' "$BUILD_STD"
else
    die "rustc has no libraries for $TARGET: rustup target add $TARGET, or on Debian: apt-get install rust-src lld"
fi
