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

rust_root packaging-root "about a minute and a half, 1.3 GB" "${PACKAGES[@]}"
