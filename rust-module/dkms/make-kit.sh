#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0 OR GPL-2.0
# make-kit.sh RELEASE HEADERS SOURCE KIT: makes the directory KIT, the Rust metadata of a stock
# Debian kernel, from its headers and its SOURCE (linux-source-….tar.xz), with the
# toolchain that Debian built it with: `rust/`, `target.json`, and as `config` what it is for.
set -euo pipefail
umask 022

[[ $# -eq 4 ]] || {
    echo "usage: make-kit.sh RELEASE HEADERS SOURCE KIT" >&2
    exit 2
}
release=$1 headers=$2 source=$3 kit=$4
gcc=$(sed -nE 's/^CONFIG_CC_VERSION_TEXT="([^ ]+) .*/\1/p' "$headers/.config")
work=$kit.work.$$

# make_kernel TARGET: with Debian's own variables.
make_kernel() {
    make -C "$work/linux" -j"$(nproc)" O="$work/build" ARCH=x86 CROSS_COMPILE=x86_64-linux-gnu- \
        CC="$gcc" KERNELRELEASE="$release" KBUILD_BUILD_USER=hcall KBUILD_BUILD_HOST=kit "$1"
}

# The metadata fits only if configuring changes nothing: a difference here means another
# compiler or another tool than Debian's.
configure() {
    cp "$headers/.config" "$headers/Module.symvers" "$headers/vmlinux" "$work/build"
    make_kernel olddefconfig
    diff -u "$headers/.config" "$work/build/.config" && return
    echo "the tools of this machine configure the kernel otherwise than Debian's did (above)"
    exit 1
}

trap 'rm -rf -- "$work"' EXIT
mkdir -p "$work/linux" "$work/build" "$work/kit/rust"
tar --extract --strip-components=1 --directory="$work/linux" --file="$source"
configure
make_kernel modules_prepare
cp "$work/build/rust/"*.rmeta "$work/build/rust/"*.so "$work/kit/rust"
cp "$work/build/scripts/target.json" "$work/kit"
cp "$headers/.config" "$work/kit/config"
mv -T "$work/kit" "$kit"
