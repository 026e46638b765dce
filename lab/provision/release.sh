#!/usr/bin/env bash
# release.sh [cloud|generic|RELEASE]: prints the exact kernel release that the
# other scripts take for this flavour. release.sh --list: those to choose from.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"

[[ $# -le 1 ]] || die "usage: release.sh [cloud|generic|RELEASE|--list]"
if [[ ${1:-} == --list ]]; then
    need_index
    complete_releases -cloud-amd64
    complete_releases -amd64
    exit
fi
resolve_release "$@"
