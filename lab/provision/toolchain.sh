#!/usr/bin/env bash
# toolchain.sh: makes the Debian 13 root that holds the very compiler, bindgen and
# gcc that Debian's 7.x kernels were built with, and prints its path.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/roots.sh"

[[ $# -eq 0 ]] || die "usage: toolchain.sh"

# openssl: kconfig asks it what it can sign; without it .config changes.
# libc6-dev-i386, lib32gcc: for programs of 32 bits. lld: links x86_64-unknown-none.
# rustfmt, rust-clippy: for the tests' cargo.
PACKAGES=(
    make gcc-14 gcc binutils libc6-dev bc bison flex libelf-dev libssl-dev openssl
    pahole xz-utils cpio kmod perl python3-minimal
    libc6-dev-i386 lib32gcc-14-dev
    rustc rust-src bindgen cargo rustfmt rust-clippy lld
)

# The compilers' exact versions and what else is in the root.
key() {
    local package version
    for package in rustc bindgen gcc-14; do
        version=$(package_version "$package")
        [[ -n $version ]] || die "Debian's $SUITE has no package $package"
        printf '%s-%s_' "$package" "${version//:/%}"
    done
    cksum <<<"${PACKAGES[*]}" | cut -d ' ' -f 1
}

installed_version() {
    dpkg-query --admindir="$1/var/lib/dpkg" --showformat='${Version}' --show "$2"
}

build() {
    local root=$1 package
    say "making the toolchain root (about a minute and a half, 1.8 GB)"
    fill_root "$root" toolchain "${PACKAGES[@]}"
    for package in rustc bindgen gcc-14; do
        [[ $(installed_version "$root" "$package") == "$(package_version "$package")" ]] ||
            die "the archive's $package changed meanwhile: run again with HCALL_REFRESH=1"
    done
}

need_index
root=$CACHE/toolchain/$(key)
if [[ ! -d $root ]]; then
    need_index 10
    root=$CACHE/toolchain/$(key)
fi
if [[ ! -d $root ]] && offline; then
    cached=$(newest_entry toolchain)
    [[ -z $cached ]] || say "offline: taking the cached ${cached##*/}"
    root=${cached:-$root}
fi
cache_entry "$root" build
printf '%s\n' "$root"
