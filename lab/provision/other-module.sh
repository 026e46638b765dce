#!/usr/bin/env bash
# other-module.sh DIRECTORY [cloud|generic|RELEASE|debug]: builds the kernel modules in DIRECTORY
# of the checkout, which call hcall.ko, and prints the directory with their .ko files. debug: for
# the kernel of our own.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"

[[ $# -ge 1 && $# -le 2 ]] || die "usage: other-module.sh DIRECTORY [cloud|generic|RELEASE|debug]"
source=$CHECKOUT/${1%/}
[[ -f $source/Kbuild ]] || die "$source has no Kbuild: nothing to build"
shift

# build TREE OUTPUT SYMBOLS VARIABLE…: against the build tree TREE.
build() {
    local tree=$1 output=$2 symbols=$3
    mkdir -p "$output" && cd "$source" &&
        "$PROVISION/in-toolchain.sh" timeout 900 \
            make --no-print-directory -C "$tree" M="$source" MO="$output" \
            KBUILD_EXTRA_SYMBOLS="$symbols" "${@:4}" modules >&2
}

variables=()
if [[ ${1:-} == debug ]]; then
    release=debug
    tree=$("$PROVISION/debug-kernel.sh")/build
    llvm=$("$PROVISION/llvm.sh")
    variables=(ARCH=x86 CROSS_COMPILE=x86_64-linux-gnu- CC="$llvm/bin/clang")
else
    release=$(resolve_release "$@")
    tree=$("$PROVISION/kit.sh" "$release")
fi
hcall=$("$PROVISION/module.sh" "$release")
output=$CHECKOUT/target/module/$release/other/$(basename "$source")
with_lock "module-$release" build "$tree" "$output" "$(dirname "$hcall")/Module.symvers" "${variables[@]}" ||
    die "$source does not build for $release: the errors are above"
printf '%s\n' "$output"
