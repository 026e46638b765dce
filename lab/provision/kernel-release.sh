# shellcheck shell=bash
# From a flavour to the exact kernel release that everything else is keyed by.
# Sourced after debian.sh.

# complete_releases ENDING: releases for which the archive has all that a kernel
# and its Rust kit need at one version (linux-source is there only for the newest
# of a series), oldest first.
complete_releases() {
    awk -v ending="[0-9]$1\$" '
        { version[$1] = $2 }
        END {
            for (name in version) {
                if (name !~ /^linux-binary-7\./ || name ~ /unsigned/ || name !~ ending) continue
                release = upstream = substr(name, length("linux-binary-") + 1)
                sub(/-.*/, "", upstream)
                split(release, number, ".")
                count = split("linux-modules-" release " linux-base-" release \
                    " linux-headers-" release " linux-headers-" upstream "-common" \
                    " linux-kbuild-" upstream " linux-source-" number[1] "." number[2], needed, " ")
                whole = 1
                for (i = 1; i <= count; i++)
                    if (version[needed[i]] != version[name]) whole = 0
                if (whole) print release
            }
        }' "$APT/versions" | sort -V
}

is_cached() { [[ -n $1 && -d $CACHE/kernel/$1 && -d $CACHE/kit/$1 ]]; }

newest_cached() {
    local directory release
    for directory in "$CACHE"/kit/*; do
        release=${directory##*/}
        if [[ $release =~ [0-9]$1$ ]] && is_cached "$release"; then printf '%s\n' "$release"; fi
    done | sort -V | tail -n 1
}

newest_release() {
    local release cached
    need_index
    release=$(complete_releases "$1" | tail -n 1)
    if ! is_cached "$release"; then
        # About to download: what was read hours ago may be gone from the archive.
        need_index 10
        release=$(complete_releases "$1" | tail -n 1)
    fi
    if offline && ! is_cached "$release"; then
        cached=$(newest_cached "$1")
        [[ -z $cached ]] || say "offline: taking $cached, the newest release in the cache"
        release=${cached:-$release}
    fi
    [[ -n $release ]] || die "the archive has no complete set of packages for a 7.x kernel of this flavour"
    printf '%s\n' "$release"
}

# resolve_release [FLAVOUR|RELEASE]: prints the exact release.
resolve_release() {
    local wanted=${1:-${KERNEL:-cloud}}
    case $wanted in
    cloud) newest_release -cloud-amd64 ;;
    generic) newest_release -amd64 ;;
    *)
        [[ $wanted =~ ^[0-9]+\.[0-9.]+[a-z0-9+~.]*-((cloud|rt)-)?amd64$ ]] ||
            die "'$wanted' is neither a flavour (cloud, generic) nor a release such as 7.3.4+deb13-cloud-amd64"
        printf '%s\n' "$wanted"
        ;;
    esac
}
