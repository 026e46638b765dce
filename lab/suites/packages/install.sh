#!/usr/bin/env bash
# install.sh OUTPUT [KERNEL KERNEL]: installs, upgrades and purges the project's packages in a
# minimal Debian 13 root, for two kernels, and reports in KTAP. OUTPUT becomes a directory with what
# of it the lab's guest runs: the module that DKMS built, the commands, modprobe.
. "$(dirname "$0")/../../provision/common.sh"

[[ $# -eq 1 || $# -eq 3 ]] || die "usage: install.sh OUTPUT [KERNEL KERNEL]"

one=$("$PROVISION/release.sh" "${2:-cloud}")
other=$("$PROVISION/release.sh" "${3:-generic}")
first=$("$PROVISION/deb.sh" "$one" "$other")
next=$("$PROVISION/deb.sh" --next "$one" "$other")
prepared=$("$PROVISION/install-root.sh" "$one" "$other")
packaging=$("$PROVISION/packaging-root.sh")
mkdir -p "$1"
output=$(realpath "$1")

# Everything after this is root's, in a mount namespace that ends with it; the work is on
# the disk of the cache.
work=$(mktemp -d "$CACHE/install.XXXXXX")
trap 'remove_tree "$work"' EXIT
as_root unshare --mount "$BASH" "$(dirname "$0")/checks.sh" \
    "$work" "$prepared" "$packaging" "$first" "$next" "$output" "$one" "$other"
as_root chown -R "$(id -u):$(id -g)" "$output"
