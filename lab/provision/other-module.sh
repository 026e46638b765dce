#!/usr/bin/env bash
# other-module.sh DIRECTORY [cloud|generic|RELEASE|debug]: builds the kernel modules in DIRECTORY
# of the checkout, which call hcall.ko, and prints the directory with their .ko files. debug: for
# the kernel of our own.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"
. "$PROVISION/kernel-module.sh"

[[ $# -ge 1 && $# -le 2 ]] || die "usage: other-module.sh DIRECTORY [cloud|generic|RELEASE|debug]"
source=$CHECKOUT/${1%/}
[[ -f $source/Kbuild ]] || die "$source has no Kbuild: nothing to build"
shift

for_kernel "$@"
hcall=$("$PROVISION/module.sh" "$release")
output=$CHECKOUT/target/module/$release/other/$(basename "$source")
with_lock "module-$release" make_modules "$source" "$output" \
    KBUILD_EXTRA_SYMBOLS="$(dirname "$hcall")/Module.symvers" ||
    die "$source does not build for $release: the errors are above"
printf '%s\n' "$output"
