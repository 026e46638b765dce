# shellcheck shell=bash
# Debian roots of this cache. Sourced after debian.sh.

# The machine's apt settings for fetching (proxies and the like), for the apt that fills the root.
write_fetch_settings() {
    apt-config dump | sed -nE '/^Acquire::((http|https)::|Check-|Retries)/p' >"$1"
}

# fill_root DIRECTORY LOG PACKAGE…: a minimal root with these packages; LOG names its log.
fill_root() {
    local root=$1 log=$2 settings
    shift 2
    settings=$(mktemp)
    write_fetch_settings "$settings"
    # mmdebstrap fills a directory only when it is root's own.
    rmdir "$root"
    run_logged "$CACHE/log/$log.log" as_root timeout --foreground 1800 \
        mmdebstrap --mode=root --variant=minbase --format=directory \
        --aptopt="$settings" --include="$*" "$SUITE" "$root" "$APT/sources.list"
    rm -f "$settings"
}

# rust_root NAME COST PACKAGE…: prints the path of the root NAME with these packages, one of which
# is Debian's rustc, and makes it if it is not there; COST says what that takes. A root is of one
# version of the compiler and one list of packages.
rust_root() {
    local name=$1 cost=$2 root
    shift 2
    need_index
    root=$CACHE/$name/$(rust_root_key "$@")
    if [[ ! -d $root ]]; then
        need_index 10
        root=$CACHE/$name/$(rust_root_key "$@")
    fi
    cache_entry "$root" build_rust_root "$name" "$cost" "$@"
    printf '%s\n' "$root"
}

rust_root_key() {
    local version
    version=$(package_version rustc)
    [[ -n $version ]] || die "Debian's $SUITE has no package rustc"
    printf 'rustc-%s_' "${version//:/%}"
    cksum <<<"$*" | cut -d ' ' -f 1
}

# build_rust_root NAME COST PACKAGE… DIRECTORY
build_rust_root() {
    local name=$1 cost=$2 directory=${!#}
    local packages=("${@:3:$#-3}")
    say "making the $name ($cost)"
    fill_root "$directory" "$name" "${packages[@]}"
}
