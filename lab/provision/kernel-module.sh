# shellcheck shell=bash
# Building kernel modules, against a stock kernel's Rust kit or the kernel of our own.
# Sourced after kernel-release.sh.

# for_kernel [cloud|generic|RELEASE|debug]: sets release, tree and variables: which kernel it is,
# the build tree for its modules, and what make is told besides.
for_kernel() {
    variables=()
    if [[ ${1:-${KERNEL:-}} == debug ]]; then
        release=debug
        tree=$("$PROVISION/debug-kernel.sh")/build
        llvm=$("$PROVISION/llvm.sh")
        variables=(ARCH=x86 CROSS_COMPILE=x86_64-linux-gnu- CC="$llvm/bin/clang")
    else
        release=$(resolve_release "$@")
        tree=$("$PROVISION/kit.sh" "$release")
    fi
}

# make_modules SOURCE OUTPUT VARIABLE…: the modules in SOURCE, for that kernel.
make_modules() {
    local source=$1 output=$2
    mkdir -p "$output" && cd "$source" &&
        "$PROVISION/in-toolchain.sh" timeout 900 \
            make --no-print-directory -C "$tree" M="$source" MO="$output" \
            "${variables[@]}" "${@:3}" modules >&2
}
