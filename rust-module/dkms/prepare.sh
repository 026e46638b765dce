#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
# prepare.sh RELEASE HEADERS: makes `tree` in the current directory, a kernel build tree
# with Rust metadata, from Debian's headers and a Rust kit; builds the kit from the kernel's
# source if there is none. Ends with 77, and says what is missing, if this machine cannot.
# prepare.sh --check RELEASE HEADERS: says so without making anything.
set -euo pipefail
umask 022

SCRIPTS=$(cd "$(dirname "$0")" && pwd -P)
# Kits that packages brought, and those that were built here.
KITS=/usr/lib/hcall/kit
OWN_KITS=/var/cache/hcall/kit
RUSTC=/usr/bin/rustc

cannot() {
    printf 'hcall: the module cannot be built for Linux %s:\n' "$RELEASE"
    printf '  %s\n' "$@"
    printf '  When that is mended: dkms autoinstall -k %s\n' "$RELEASE"
    exit 77
}

# What the kernel's configuration says of a tool that built it.
config_text() { sed -nE "s/^CONFIG_$1=\"(.*)\"\$/\\1/p" "$HEADERS/.config"; }

# first_line COMMAND…: of its output; nothing if it is not there.
first_line() { { "$@" 2>/dev/null || true; } | head -n 1; }

# same_tool NAME DUE FOUND PACKAGE: metadata and modules of another compiler do not fit.
same_tool() {
    [[ $2 != "$3" ]] || return 0
    cannot "it was built with the $1" "    $2" "and this machine has" "    ${3:-none}" \
        "Exactly the same is needed. Install the package $4, as Debian had it when it built" \
        "this kernel; for a kernel of backports that is the one of the release below them."
}

check_compilers() {
    [[ -f $HEADERS/.config ]] ||
        cannot "its headers are not at $HEADERS: install the package linux-headers-$RELEASE."
    grep -q '^CONFIG_RUST=y' "$HEADERS/.config" || cannot "it was configured without Rust (CONFIG_RUST)."
    local gcc
    gcc=$(config_text CC_VERSION_TEXT)
    gcc=${gcc%% *}
    same_tool "C compiler" "$(config_text CC_VERSION_TEXT)" "$(first_line "$gcc" --version)" "${gcc#x86_64-linux-gnu-}"
    same_tool "Rust compiler" "$(config_text RUSTC_VERSION_TEXT)" "$(first_line "$RUSTC" --version)" rustc
}

# find_kit: prints the directory of the kit that was made for this very configuration.
find_kit() {
    local kit
    for kit in "$KITS/$RELEASE" "$OWN_KITS/$RELEASE"; do
        if [[ -d $kit ]] && cmp -s "$kit/config" "$HEADERS/.config"; then
            printf '%s\n' "$kit"
            return
        fi
    done
}

installed_version() {
    dpkg-query --showformat='${db:Status-Status} ${Version}' --show "$1" 2>/dev/null |
        sed -n 's/^installed //p'
}

# The packages that building a kit needs and this machine lacks.
missing_packages() {
    local package
    for package in "$SOURCE" rust-src bindgen bc bison flex libelf-dev libssl-dev openssl pahole \
        xz-utils cpio kmod perl python3-minimal make binutils libc6-dev gcc; do
        [[ -n $(installed_version "$package") ]] || printf '%s\n' "$package"
    done
}

check_source() {
    local upstream=${RELEASE%%-*} missing due found
    SOURCE=linux-source-$(cut -d . -f 1,2 <<<"$upstream")
    mapfile -t missing < <(missing_packages)
    [[ ${#missing[@]} -eq 0 ]] || cannot \
        "Debian's headers packages carry no Rust metadata, and there is no Rust kit for this kernel." \
        "Either install the kit, hcall-rust-kit-$RELEASE," \
        "or what it takes to build it here from the kernel's source, in some minutes:" \
        "    apt install ${missing[*]}"
    due=$(installed_version "linux-headers-$RELEASE") found=$(installed_version "$SOURCE")
    [[ $due == "$found" ]] || cannot \
        "there is no Rust kit for it (hcall-rust-kit-$RELEASE), and to build one" \
        "the package $SOURCE has to have the version ${due:-of the headers}; installed is $found."
    same_tool bindgen "$(config_text BINDGEN_VERSION_TEXT)" "$(first_line bindgen --version)" bindgen
}

# Kits of kernels that are gone are of no use any more.
remove_stale_kits() {
    local kit
    for kit in "$OWN_KITS"/*; do
        [[ ! -d $kit || -e /lib/modules/${kit##*/} ]] || rm -rf -- "$kit"
    done
}

build_kit() {
    remove_stale_kits
    mkdir -p "$OWN_KITS"
    rm -rf -- "${OWN_KITS:?}/$RELEASE"
    "$SCRIPTS/make-kit.sh" "$RELEASE" "$HEADERS" "/usr/src/$SOURCE.tar.xz" "$OWN_KITS/$RELEASE" ||
        cannot "there is no Rust kit for it, and building one failed (above)."
}

# The objects' half of Debian's headers, which alone is copied, with the kit laid over it; the
# sources' half stays where it is.
make_tree() {
    local kit=$1 part
    rm -rf tree
    cp -a "$HEADERS/." tree
    for part in scripts tools; do
        [[ -L tree/$part ]] || continue
        rm "tree/$part"
        cp -a "$(readlink -f "$HEADERS/$part")" "tree/$part"
    done
    sed -i "s|^KBUILD_OUTPUT=.*|KBUILD_OUTPUT=$PWD/tree|" tree/Makefile
    ln -s "$kit/rust" tree/rust
    cp "$kit/target.json" tree/scripts
}

check_only=
if [[ ${1:-} == --check ]]; then
    check_only=yes
    shift
fi
[[ $# -eq 2 ]] || {
    echo "usage: prepare.sh [--check] RELEASE HEADERS" >&2
    exit 2
}
RELEASE=$1 HEADERS=$(readlink -f "$2")

check_compilers
kit=$(find_kit)
if [[ -z $kit ]]; then check_source; fi
[[ -z $check_only ]] || exit 0
if [[ -z $kit ]]; then
    build_kit
    kit=$OWN_KITS/$RELEASE
fi
make_tree "$kit"
