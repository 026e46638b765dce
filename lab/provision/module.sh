#!/usr/bin/env bash
# module.sh [cloud|generic|RELEASE]: builds the kernel module in rust-module/ for a
# stock Debian kernel and prints the path of hcall.ko.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"

[[ $# -le 1 ]] || die "usage: module.sh [cloud|generic|RELEASE]"
[[ -f $CHECKOUT/rust-module/Kbuild ]] || die "$CHECKOUT/rust-module has no Kbuild: nothing to build"

build() {
    local kit=$1 output=$2
    mkdir -p "$output" && cd "$CHECKOUT/rust-module" &&
        "$PROVISION/in-toolchain.sh" timeout 900 \
            make --no-print-directory -C "$kit" M="$CHECKOUT/rust-module" MO="$output" modules >&2
}

release=$(resolve_release "$@")
kit=$("$PROVISION/kit.sh" "$release")
output=$CHECKOUT/target/module/$release
with_lock "module-$release" build "$kit" "$output" ||
    die "the module does not build for $release: the errors are above"
[[ -f $output/hcall.ko ]] || die "the build ended well but made no $output/hcall.ko: does Kbuild name hcall.o in obj-m?"
printf '%s\n' "$output/hcall.ko"
