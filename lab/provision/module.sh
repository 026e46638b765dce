#!/usr/bin/env bash
# module.sh [cloud|generic|RELEASE|debug]: builds the kernel module in rust-module/ for a
# stock Debian kernel and prints the path of hcall.ko. debug: for the kernel of our own
# (debug-kernel.sh), with KUnit and counting what is executed; beside it lab_coverage.ko,
# which is loaded first.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"
. "$PROVISION/kernel-module.sh"

[[ $# -le 1 ]] || die "usage: module.sh [cloud|generic|RELEASE|debug]"
[[ -f $CHECKOUT/rust-module/Kbuild ]] || die "$CHECKOUT/rust-module has no Kbuild: nothing to build"

build() { make_modules "$CHECKOUT/rust-module" "$1"; }

build_debug() {
    local output=$1 coverage=$CHECKOUT/lab/coverage
    make_modules "$coverage" "$output/coverage" &&
        make_modules "$CHECKOUT/rust-module" "$output" \
            HCALL_COVERAGE="$coverage" KBUILD_EXTRA_SYMBOLS="$output/coverage/Module.symvers" &&
        cp "$output/coverage/lab_coverage.ko" "$output"
}

for_kernel "$@"
if [[ $release == debug ]]; then build=build_debug; else build=build; fi
output=$CHECKOUT/target/module/$release
with_lock "module-$release" "$build" "$output" ||
    die "the module does not build for $release: the errors are above"
[[ -f $output/hcall.ko ]] || die "the build ended well but made no $output/hcall.ko: does Kbuild name hcall.o in obj-m?"
printf '%s\n' "$output/hcall.ko"
