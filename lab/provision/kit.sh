#!/usr/bin/env bash
# kit.sh [cloud|generic|RELEASE]: makes the "Rust kit" of a stock Debian kernel, the
# directory to give to `make -C`, and prints it. Debian's headers packages carry no
# Rust metadata: it is built here, once per release, from Debian's own source and
# configuration with Debian's own toolchain, and laid over the headers.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"

[[ $# -le 1 ]] || die "usage: kit.sh [cloud|generic|RELEASE]"

check_source_version() {
    local release=$1 source=$2 have need
    have=$(package_version "$source")
    need=$(package_version "linux-headers-$release")
    [[ -n $need ]] || die "Debian's $SUITE-backports has no headers for $release (release.sh --list says what there is)"
    [[ $have == "$need" ]] ||
        die "$release needs $source $need, and the archive has ${have:-none}: take one of release.sh --list"
}

# make_kit RELEASE HEADERS SOURCE KIT: by the module's own script, in the toolchain root.
make_kit() (
    cd "$CHECKOUT"
    "$PROVISION/in-toolchain.sh" timeout 3600 rust-module/dkms/make-kit.sh "$@"
)

# One tree instead of Debian's three that point at each other.
merge_headers() {
    local packages=$1 release=$2 upstream=$3 directory=$4
    cp -a "$packages/usr/lib/linux-kbuild-$upstream/." "$directory"
    local part
    rm "$packages/usr/src/linux-headers-$release/Makefile"
    for part in "$upstream-common" "$release"; do
        rm "$packages/usr/src/linux-headers-$part/"{scripts,tools}
        cp -a "$packages/usr/src/linux-headers-$part/." "$directory"
    done
}

build() {
    local release=$1 directory=$2 work=$2/work
    local upstream=${release%%-*}
    local source
    source=linux-source-$(cut -d . -f 1,2 <<<"$upstream")
    check_source_version "$release" "$source"
    say "building the Rust kit of $release (two to four minutes, once)"
    download_packages "$work/packages" "linux-headers-$release" "linux-headers-$upstream-common" \
        "linux-kbuild-$upstream" "$source"
    run_logged "$CACHE/log/kit-$release.log" make_kit "$release" \
        "$work/packages/usr/src/linux-headers-$release" "$work/packages/usr/src/$source.tar.xz" "$work/kit"
    merge_headers "$work/packages" "$release" "$upstream" "$directory"
    mv "$work/kit/rust" "$directory/rust"
    mv "$work/kit/target.json" "$directory/scripts"
    rm -rf -- "$work"
}

release=$(resolve_release "$@")
[[ -d $CACHE/kit/$release ]] || need_index 10
cache_entry "$CACHE/kit/$release" build "$release"
printf '%s\n' "$CACHE/kit/$release"
