#!/usr/bin/env bash
# host-packages.sh: installs the Debian packages that this machine itself needs and
# lacks. Without the right to install, prints the one line to run and fails.
. "$(dirname "$0")/common.sh"
. "$PROVISION/own-rust.sh"

[[ $# -eq 0 ]] || die "usage: host-packages.sh"

# python3-minimal: for the example of a handler.
NEEDED=(
    git make gcc g++ libc6-dev ca-certificates
    debian-archive-keyring mmdebstrap
    bochs bochs-term bochsbios vgabios grub-pc-bin grub-common xorriso mtools
    cpio kmod xz-utils zstd shellcheck python3-minimal
)
RUST=(cargo rustc rust-src rustfmt rust-clippy lld)

is_installed() { [[ $(dpkg-query --showformat='${Status}' --show "$1" 2>/dev/null) == *' ok installed' ]]; }

# The machine's Rust is Debian's, or could be because the release's is new enough.
takes_debian_rust() {
    if [[ ${HCALL_RUST:-} == toolchain ]] || command -v rustup >/dev/null; then return 1; fi
    if own_rust; then
        [[ $(command -v rustc) == /usr/bin/rustc ]]
        return
    fi
    local candidate
    candidate=$(apt-cache policy rustc | sed -n 's/^ *Candidate: //p')
    [[ -n $candidate ]] && dpkg --compare-versions "$candidate" ge "$MINIMUM_RUST"
}

missing() {
    local package
    for package in "$@"; do
        is_installed "$package" || printf '%s\n' "$package"
    done
}

all_missing() {
    missing "${NEEDED[@]}"
    if takes_debian_rust; then missing "${RUST[@]}"; fi
}

may_install() { [[ $EUID -eq 0 ]] || { command -v sudo >/dev/null && sudo --non-interactive true 2>/dev/null; }; }

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 --yes --quiet=2 "$@" </dev/null
}

command -v apt-get >/dev/null || die "this is no Debian: install what these packages hold: ${NEEDED[*]}"
mapfile -t packages < <(all_missing)
[[ ${#packages[@]} -gt 0 ]] || exit 0
may_install || die "packages are missing; run: sudo apt-get update && sudo apt-get install --no-install-recommends ${packages[*]}"

# One unreadable third-party archive is no reason to stop: the installation decides.
apt_get update >&2 || say "apt-get update had errors (above); going on with what it could read"
mapfile -t packages < <(all_missing)
say "installing ${packages[*]}"
run_logged "$CACHE/log/host-packages.log" apt_get --no-install-recommends install "${packages[@]}"
