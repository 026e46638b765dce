#!/usr/bin/env bash
# debug-kernel.sh: builds the kernel of our own, from Debian's source and with
# lab/kernels/debug.config, and prints the directory: vmlinux (ELF, for PVH), and build/, the
# tree for modules. clang compiles it: gcc has no KASAN beside Rust.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"

[[ $# -eq 0 ]] || die "usage: debug-kernel.sh"

FRAGMENT=$CHECKOUT/lab/kernels/debug.config

# make_kernel LLVM TREE TARGET…: in the toolchain root, in TREE itself, so that TREE can be
# moved: a tree of its own for the output would name the source's place.
make_kernel() (
    cd "$2"
    "$PROVISION/in-toolchain.sh" timeout 3600 \
        nice make -j"$(nproc)" ARCH=x86 CROSS_COMPILE=x86_64-linux-gnu- CC="$1/bin/clang" \
        KBUILD_BUILD_USER=hcall KBUILD_BUILD_HOST=lab "${@:3}"
)

# Every line of the fragment must be in force: Kconfig drops silently what it cannot have.
check_config() {
    local line missing=()
    while read -r line; do
        grep --quiet --line-regexp --fixed-strings -e "$line" "$1" || missing+=("$line")
    done < <(grep -E '^(# )?CONFIG_' "$FRAGMENT")
    [[ ${#missing[@]} -eq 0 ]] || die "the kernel cannot be configured with: ${missing[*]}"
}

# What modules are built with is kept, 1.5 GB of source and objects are not.
keep_build_tree() {
    local tree=$1 kept=$2 part
    mkdir -p "$kept/arch" "$kept/rust" "$kept/tools/objtool"
    for part in Makefile .config Module.symvers include scripts; do
        mv "$tree/$part" "$kept"
    done
    mv "$tree/arch/x86" "$kept/arch"
    mv "$tree/rust/Makefile" "$tree/rust/"*.rmeta "$tree/rust/"*.so "$kept/rust"
    mv "$tree/tools/objtool/objtool" "$kept/tools/objtool"
    find "$kept/arch" "$kept/scripts" \( -name '*.o' -o -name '*.a' -o -name '*.c' -o -name '*.S' \) \
        ! -name module-common.c ! -path '*/include/*' -delete
}

build() {
    local release=$1 llvm=$2 directory=$3 work=$3/work source tree
    source=linux-source-$(cut -d . -f 1,2 <<<"${release%%-*}")
    say "building the kernel of our own (six to fifteen minutes, once)"
    download_packages "$work" "$source"
    tree=$work/linux
    mkdir "$tree"
    tar --extract --strip-components=1 --directory="$tree" --file="$work/usr/src/$source.tar.xz"
    cp "$FRAGMENT" "$tree/fragment"
    run_logged "$CACHE/log/debug-kernel-config.log" \
        make_kernel "$llvm" "$tree" KCONFIG_ALLCONFIG=fragment allnoconfig
    check_config "$tree/.config"
    run_logged "$CACHE/log/debug-kernel.log" make_kernel "$llvm" "$tree" vmlinux modules
    strip --strip-all -o "$directory/vmlinux" "$tree/vmlinux"
    keep_build_tree "$tree" "$directory/build"
    rm -rf -- "$work"
}

release=$(resolve_release cloud)
llvm=$("$PROVISION/llvm.sh")
toolchain=$("$PROVISION/toolchain.sh")
key=${release%%+*}_$(cat "$FRAGMENT" <(printf '%s\n' "$release" "${llvm##*/}" "${toolchain##*/}") | cksum | cut -d ' ' -f 1)
[[ -d $CACHE/debug-kernel/$key ]] || need_index 10
cache_entry "$CACHE/debug-kernel/$key" build "$release" "$llvm"
printf '%s\n' "$CACHE/debug-kernel/$key"
