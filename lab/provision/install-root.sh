#!/usr/bin/env bash
# install-root.sh RELEASE…: what a test of the packages installs into: a directory with
# `base`, a minimal Debian 13 root, and `archive`, the packages of Debian that ours and
# these kernels' headers depend on, with an index, so that apt in the root needs no network.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/roots.sh"

[[ $# -gt 0 ]] || die "usage: install-root.sh RELEASE…"

# What every Debian has that boots; installing systemd makes files that no package owns.
BASE=(apt systemd)
# What our packages depend on, the compiler for a C program, and pkg-config to find its header.
PACKAGES=(dkms rustc systemd libc6-dev gcc pkgconf)
for release in "$@"; do
    PACKAGES+=("linux-headers-$release")
done
# The modules of the first of these kernels.
PACKAGES+=("linux-modules-$1")

# PACKAGE=VERSION of all of them and of what they depend on, on a machine with none.
closure() {
    private_apt apt-get --simulate --quiet=2 --no-install-recommends install "${PACKAGES[@]}" |
        awk '$1 == "Inst" { print $2 "=" substr($3, 2) }' | sort
}

build() {
    local directory=$1
    say "making the root to install into, and its archive (a minute, 0.5 GB)"
    mkdir "$directory/base" "$directory/archive"
    fill_root "$directory/base" install-root "${BASE[@]}"
    (cd "$directory/archive" && private_apt apt-get --quiet=2 download "${exact[@]}" >&2) ||
        die "the download failed: check the network, or run again with HCALL_REFRESH=1 if the archive has moved on"
    index "$directory/archive" >"$directory/archive/Packages"
}

index() {
    cd "$1"
    "$PROVISION/in-root.sh" "$("$PROVISION/packaging-root.sh")" dpkg-scanpackages --multiversion . 2>/dev/null
}

need_index 10
mapfile -t exact < <(closure)
[[ ${#exact[@]} -gt 0 ]] || die "apt cannot say what $* depends on: run again with HCALL_REFRESH=1"
root=$CACHE/install-root/$(sha256sum <<<"${BASE[*]} ${exact[*]}" | cut -c 1-16)
cache_entry "$root" build
printf '%s\n' "$root"
