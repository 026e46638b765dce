# shellcheck shell=bash
# Whether the machine's own Rust will do, or the toolchain root's has to; with
# HCALL_RUST=toolchain it has to in any case.
# Sourced after common.sh.

MINIMUM_RUST=1.85

own_rust() {
    local version
    [[ ${HCALL_RUST:-} != toolchain ]] || return 1
    command -v cargo >/dev/null && version=$(rustc --version 2>/dev/null) || return 1
    version=${version#rustc }
    printf '%s\n' "$MINIMUM_RUST" "${version%% *}" | sort --version-sort --check=quiet
}
