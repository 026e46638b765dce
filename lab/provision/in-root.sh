#!/usr/bin/env bash
# in-root.sh ROOT COMMAND…: runs COMMAND in ROOT, a Debian root of this cache, in the
# current directory, as the calling user. The checkout, the cache and cargo's home are
# there at the same paths; everything else of the root is read-only. The mounts
# live in a mount namespace of their own and end with the command.
. "$(dirname "$0")/common.sh"

[[ $# -gt 1 ]] || die "usage: in-root.sh ROOT COMMAND [ARGUMENT…]"
root=$1
shift

CARGO_HOME=${CARGO_HOME:-${HOME:?}/.cargo}
mkdir -p "$CARGO_HOME"
shared=("$CHECKOUT" "$CACHE" "$CARGO_HOME")
if [[ -n ${CARGO_TARGET_DIR:-} ]]; then
    mkdir -p "$CARGO_TARGET_DIR"
    shared+=("$(realpath "$CARGO_TARGET_DIR")")
fi

# What of the caller's environment reaches the command.
environment() {
    local name
    printf '%s\0' HOME=/tmp LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "CARGO_HOME=$CARGO_HOME"
    for name in $(compgen -e); do
        case $name in
        CARGO_HOME | CARGO_MAKEFLAGS) ;;
        CARGO_* | RUSTFLAGS | RUSTDOCFLAGS | RUST_BACKTRACE | RUST_LOG | RUSTC_BOOTSTRAP | \
            *_proxy | *_PROXY | SSL_CERT_FILE | SSL_CERT_DIR | TERM | SOURCE_DATE_EPOCH | HCALL_*)
            printf '%s=%s\0' "$name" "${!name}"
            ;;
        esac
    done
}

# Certificates that the caller names in the environment, wherever they are.
certificates() {
    local path
    for path in "${SSL_CERT_FILE:-}" "${SSL_CERT_DIR:-}" "${CARGO_HTTP_CAINFO:-}" /etc/ssl/certs; do
        if [[ -n $path && -e $path ]]; then printf '%s\0' "$path"; fi
    done
}

inside_shared() {
    local path
    for path in "${shared[@]}"; do
        if [[ $PWD/ == "$path"/* ]]; then return; fi
    done
    return 1
}

inside_shared || die "the current directory is none of those that the root shares: ${shared[*]}"
as_root unshare --mount true || die "no mount namespace can be made here (a container needs CAP_SYS_ADMIN for it)"
mapfile -d '' -t variables < <(environment)
mapfile -d '' -t files < <(certificates)

# Hidden is cargo's bin: the machine's own cargo-clippy and the like, perhaps rustup's.
as_root unshare --mount "$BASH" "$PROVISION/enter-root.sh" \
    "$root" "$(id -u):$(id -g)" "$(id -G | tr ' ' ',')" "$PWD" "$CARGO_HOME/bin" \
    "${shared[@]}" "${files[@]}" -- env -i "${variables[@]}" "$@"
