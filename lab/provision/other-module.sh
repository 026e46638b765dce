#!/usr/bin/env bash
# other-module.sh DIRECTORY [cloud|generic|RELEASE]: builds the kernel modules in DIRECTORY of
# the checkout, which call hcall.ko, and prints the directory with their .ko files.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"

[[ $# -ge 1 && $# -le 2 ]] || die "usage: other-module.sh DIRECTORY [cloud|generic|RELEASE]"
source=$CHECKOUT/${1%/}
[[ -f $source/Kbuild ]] || die "$source has no Kbuild: nothing to build"
shift

build() {
    local kit=$1 output=$2 symbols=$3
    mkdir -p "$output" && cd "$source" &&
        "$PROVISION/in-toolchain.sh" timeout 900 \
            make --no-print-directory -C "$kit" M="$source" MO="$output" \
            KBUILD_EXTRA_SYMBOLS="$symbols" modules >&2
}

release=$(resolve_release "$@")
kit=$("$PROVISION/kit.sh" "$release")
hcall=$("$PROVISION/module.sh" "$release")
output=$CHECKOUT/target/module/$release/other/$(basename "$source")
with_lock "module-$release" build "$kit" "$output" "$(dirname "$hcall")/Module.symvers" ||
    die "$source does not build for $release: the errors are above"
printf '%s\n' "$output"
