#!/usr/bin/env bash
# llvm.sh: fetches clang and the tools that read its coverage, of the LLVM that Debian's
# rustc is built with, and prints the directory with their bin/. They run in the toolchain
# root, on its libraries (in-toolchain.sh).
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"

[[ $# -eq 0 ]] || die "usage: llvm.sh"

LLVM=19
PACKAGES=("clang-$LLVM" "libclang-cpp$LLVM" "libclang-common-$LLVM-dev" "llvm-$LLVM")
PROGRAMS=(clang "clang-$LLVM" llvm-cov llvm-profdata)

build() {
    local version=$1 directory=$2 work=$2/work program exact=()
    mapfile -t exact < <(printf "%s=$version\n" "${PACKAGES[@]}")
    say "downloading clang and LLVM's tools $version (31 MB)"
    download_exactly "$work" "${exact[@]}"
    mkdir "$directory/bin" "$directory/lib"
    for program in "${PROGRAMS[@]}"; do
        mv "$work/usr/lib/llvm-$LLVM/bin/$program" "$directory/bin"
    done
    mv "$work/usr/lib/llvm-$LLVM/lib/clang" "$work/usr/lib/x86_64-linux-gnu/"libclang-cpp.so.* "$directory/lib"
    rm -rf -- "$work"
}

packaged_tool llvm "clang-$LLVM" build
