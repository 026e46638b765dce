#!/usr/bin/env bash
# module.sh [cloud|generic|RELEASE|debug]: builds the kernel module in rust-module/ for a
# stock Debian kernel and prints the path of hcall.ko. debug: for the kernel of our own
# (debug-kernel.sh), with KUnit and counting what is executed; beside it lab_coverage.ko,
# which is loaded first.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"

[[ $# -le 1 ]] || die "usage: module.sh [cloud|generic|RELEASE|debug]"
[[ -f $CHECKOUT/rust-module/Kbuild ]] || die "$CHECKOUT/rust-module has no Kbuild: nothing to build"

# make_module TREE SOURCE OUTPUT VARIABLE…: against the build tree TREE.
make_module() {
    local tree=$1 source=$2 output=$3
    mkdir -p "$output" && cd "$source" &&
        "$PROVISION/in-toolchain.sh" timeout 900 \
            make --no-print-directory -C "$tree" M="$source" MO="$output" "${@:4}" modules >&2
}

build() { make_module "$1" "$CHECKOUT/rust-module" "$2"; }

build_debug() {
    local tree=$1 output=$2 llvm coverage=$CHECKOUT/lab/coverage
    llvm=$("$PROVISION/llvm.sh") || return
    local variables=(ARCH=x86 CROSS_COMPILE=x86_64-linux-gnu- CC="$llvm/bin/clang")
    make_module "$tree" "$coverage" "$output/coverage" "${variables[@]}" &&
        make_module "$tree" "$CHECKOUT/rust-module" "$output" "${variables[@]}" \
            HCALL_COVERAGE="$coverage" KBUILD_EXTRA_SYMBOLS="$output/coverage/Module.symvers" &&
        cp "$output/coverage/lab_coverage.ko" "$output"
}

if [[ ${1:-${KERNEL:-}} == debug ]]; then
    release=debug
    tree=$("$PROVISION/debug-kernel.sh")/build
    build=build_debug
else
    release=$(resolve_release "$@")
    tree=$("$PROVISION/kit.sh" "$release")
    build=build
fi
output=$CHECKOUT/target/module/$release
with_lock "module-$release" "$build" "$tree" "$output" ||
    die "the module does not build for $release: the errors are above"
[[ -f $output/hcall.ko ]] || die "the build ended well but made no $output/hcall.ko: does Kbuild name hcall.o in obj-m?"
printf '%s\n' "$output/hcall.ko"
