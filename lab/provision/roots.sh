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
