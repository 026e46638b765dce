#!/usr/bin/env bash
# packaging-root.sh: makes the Debian 13 root in which the project's packages are built
# and looked at, and prints its path.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/roots.sh"

[[ $# -eq 0 ]] || die "usage: packaging-root.sh"

# As in debian/control. mandoc, zsh, fish, udev, lintian: they read what the packages hold.
PACKAGES=(
    dpkg-dev debhelper dh-dkms cargo rustc gcc libc6-dev ca-certificates
    man-db mandoc bash-completion zsh fish udev lintian
)

# The compiler's version, which is what the packages' programs depend on, and what else is in it.
key() {
    local version
    version=$(package_version rustc)
    [[ -n $version ]] || die "Debian's $SUITE has no package rustc"
    printf 'rustc-%s_' "${version//:/%}"
    cksum <<<"${PACKAGES[*]}" | cut -d ' ' -f 1
}

build() {
    say "making the root that builds packages (about a minute and a half, 1.3 GB)"
    fill_root "$1" packaging-root "${PACKAGES[@]}"
}

need_index
root=$CACHE/packaging-root/$(key)
if [[ ! -d $root ]]; then
    need_index 10
    root=$CACHE/packaging-root/$(key)
fi
cache_entry "$root" build
printf '%s\n' "$root"
