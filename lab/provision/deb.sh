#!/usr/bin/env bash
# deb.sh [--next] [KERNEL…]: builds the Debian packages, and for each KERNEL (cloud and
# generic, unless others are named) its Rust kit; prints the directory with them,
# target/deb. --next builds a later version of the same in target/deb-next, to upgrade to.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"

output=$CHECKOUT/target/deb suffix=
if [[ ${1:-} == --next ]]; then
    output=$CHECKOUT/target/deb-next suffix=+next
    shift
fi
kernels=("$@")
[[ ${#kernels[@]} -gt 0 ]] || kernels=(cloud generic)

# The files that git knows, or would take, as they are; with their times, by which cargo goes.
copy_source() {
    local source=$1
    mkdir -p "$source"
    (
        cd "$CHECKOUT"
        git -c safe.directory="$CHECKOUT" ls-files --cached --others --exclude-standard -z |
            while IFS= read -r -d '' file; do
                if [[ -e $file ]]; then printf '%s\0' "$file"; fi
            done |
            tar --create --null --no-recursion --files-from=- | tar --extract --directory="$source"
    )
}

# A later version than the changelog's first, in a changelog that goes on.
raise_version() {
    local changelog=$1/debian/changelog version
    version=$(sed -nE '1s/.*\(([^)]+)\).*/\1/p' "$changelog")
    {
        printf 'hcall (%s) trixie; urgency=medium\n\n  * The same once more, to upgrade to.\n\n' "$version$suffix"
        sed -n '/^ -- /{p;q}' "$changelog"
        printf '\n'
        cat "$changelog"
    } >"$changelog.new"
    mv "$changelog.new" "$changelog"
}

build_packages() {
    local work=$CHECKOUT/target/deb-work root
    local source=$work/source
    root=$("$PROVISION/packaging-root.sh")
    remove_tree "$work"
    copy_source "$source"
    [[ -z $suffix ]] || raise_version "$source"
    # Kept for the next time, which builds at the same path.
    CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CHECKOUT/target}/packages
    export CARGO_TARGET_DIR
    # What is checked would be build-essential, with a compiler for C++; nothing here is C++.
    (
        cd "$source"
        run_logged "$CACHE/log/deb$suffix.log" "$PROVISION/in-root.sh" "$root" \
            timeout 1800 dpkg-buildpackage --build=binary --no-sign --no-check-builddeps
    )
    remove_tree "$output"
    mkdir -p "$output"
    mv "$work"/*.deb "$output"
    remove_tree "$work"
}

write_control() {
    local release=$1 version=$2
    cat <<CONTROL
Package: hcall-rust-kit-$release
Version: $version
Architecture: amd64
Section: kernel
Priority: optional
Maintainer: $(sed -n 's/^Maintainer: //p' "$CHECKOUT/debian/control")
Depends: linux-headers-$release (= $version), rustc, libc6, libgcc-s1
Enhances: hcall-dkms
Description: Rust metadata of Linux $release, for hcall-dkms
 Debian's headers packages lack what a kernel module in Rust is compiled
 against. This is it: built from linux-source $version
 with the compilers that Debian built that kernel with, so that the kernel
 need not be built on every machine that has the module hcall.
CONTROL
}

write_copyright() {
    cat <<COPYRIGHT
Made from Debian's source of Linux $2, package linux-source-$(cut -d . -f 1,2 <<<"$1"),
and Rust's core library, package rust-src, by make-kit.sh of the package hcall-dkms.

Copyright 1991-2026 Linus Torvalds and the authors of Linux
Copyright 2010-2026 The Rust project's developers

Linux is under the GNU General Public License, version 2
(/usr/share/common-licenses/GPL-2), with exceptions that its files name.
Rust's core library is under the MIT licence or the Apache License, version 2.0
(/usr/share/common-licenses/Apache-2.0).
COPYRIGHT
}

write_changelog() {
    cat <<CHANGELOG
$1 ($2) trixie; urgency=medium

  * Made for linux-headers of this version.

$(sed -n '/^ -- /{p;q}' "$CHECKOUT/debian/changelog")
CHANGELOG
}

build_kit_package() {
    local release=$1 version=$2 directory=$3 name=hcall-rust-kit-$1 kit tree=$3/tree content document
    kit=$("$PROVISION/kit.sh" "$release")
    content=$tree/usr/lib/hcall/kit/$release document=$tree/usr/share/doc/$name
    mkdir -p "$content" "$document" "$tree/DEBIAN"
    cp -a "$kit/rust" "$content"
    cp "$kit/scripts/target.json" "$content"
    cp "$kit/.config" "$content/config"
    # The compiler loads them, and needs no symbols for it.
    strip --strip-unneeded "$content"/rust/*.so
    write_copyright "$release" "$version" >"$document/copyright"
    write_changelog "$name" "$version" | gzip -9n >"$document/changelog.Debian.gz"
    write_control "$release" "$version" >"$tree/DEBIAN/control"
    (cd "$tree" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
    chmod -R u=rwX,go=rX "$tree"
    run_logged "$CACHE/log/$name.log" \
        dpkg-deb --root-owner-group -Zxz -z2 --build "$tree" "$directory/${name}_${version}_amd64.deb"
    rm -rf -- "$tree"
}

# The package of a kit is made once.
kit_package() {
    local release version entry
    release=$(resolve_release "$1")
    need_index
    version=$(package_version "linux-headers-$release")
    [[ -n $version ]] || die "Debian's $SUITE-backports has no headers for $release (release.sh --list says what there is)"
    entry=$CACHE/kit-package/$release-${version//:/%}_$(cksum <"$PROVISION/deb.sh" | cut -d ' ' -f 1)
    cache_entry "$entry" build_kit_package "$release" "$version"
    cp "$entry"/*.deb "$output"
}

with_lock deb build_packages
for kernel in "${kernels[@]}"; do
    kit_package "$kernel"
done
printf '%s\n' "$output"
