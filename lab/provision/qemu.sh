#!/usr/bin/env bash
# qemu.sh: fetches the QEMU of Debian's backports with every library that it is linked
# to, and prints the directory with qemu-system-x86_64, which runs on them: the same
# emulator whatever this machine has installed, and nothing is installed on it.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"

[[ $# -eq 0 ]] || die "usage: qemu.sh"

# The emulator, and the BIOS that it only recommends to have.
PACKAGES=(qemu-system-x86 seabios)

# PACKAGE=VERSION of the packages and of all that they depend on, on a machine with none.
closure() {
    private_apt apt-get --simulate --quiet=2 --no-install-recommends \
        --target-release "$SUITE-backports" install "${PACKAGES[@]}" |
        awk '$1 == "Inst" { print $2 "=" substr($3, 2) }'
}

write_launcher() {
    cat >"$1" <<'LAUNCHER'
#!/bin/sh
# Runs QEMU on the libraries and with the firmware beside it, not this machine's.
here=$(dirname "$(readlink -f "$0")")
export QEMU_MODULE_DIR="$here/lib/qemu"
exec "$here/lib/ld-linux-x86-64.so.2" --inhibit-cache --library-path "$here/lib" \
    "$here/bin/qemu-system-x86_64" -L "$here/share/qemu" -L "$here/share/seabios" "$@"
LAUNCHER
    chmod +x "$1"
}

build() {
    local version=$1 directory=$2 work=$2/work exact
    mapfile -t exact < <(closure)
    [[ " ${exact[*]} " == *" qemu-system-x86=$version "* ]] ||
        die "the archive's QEMU is not $version any more, or cannot be had whole: run again with HCALL_REFRESH=1"
    say "downloading QEMU $version and its libraries (37 MB)"
    download_exactly "$work" "${exact[@]}"
    mkdir "$directory/bin" "$directory/share"
    mv "$work/usr/bin/qemu-system-x86_64" "$directory/bin"
    mv "$work/usr/lib/x86_64-linux-gnu" "$directory/lib"
    mv "$work/usr/share/qemu" "$work/usr/share/seabios" "$directory/share"
    rm -rf -- "$work"
    write_launcher "$directory/qemu-system-x86_64"
    "$directory/qemu-system-x86_64" --version >&2 || die "the QEMU that was fetched does not run here"
}

packaged_tool qemu qemu-system-x86 build
