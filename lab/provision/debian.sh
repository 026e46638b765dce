# shellcheck shell=bash
# Debian packages without touching the machine's own apt: which versions trixie
# and trixie-backports hold, and downloading them with their signatures checked.
# Sourced after common.sh.

SUITE=trixie
APT=$CACHE/apt
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# private_apt TOOL ARG…: an apt tool on this cache's own state. The machine's
# proxies and other Acquire settings stay in force.
private_apt() {
    local tool=$1
    shift
    timeout --foreground 900 "$tool" \
        -o Dir::State="$APT/state" -o Dir::State::lists="$APT/lists" \
        -o Dir::State::status="$APT/status" -o Dir::Cache="$APT/cache" \
        -o Dir::Etc::sourcelist="$APT/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
        -o APT::Architecture=amd64 -o APT::Default-Release= -o APT::Sandbox::User=root \
        -o APT::Get::List-Cleanup=false -o APT::Update::Error-Mode=any \
        -o Acquire::GzipIndexes=true -o Acquire::Retries=1 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 \
        "$@"
}

# Debian archives in the machine's apt configuration, likeliest first. Whether
# one really is Debian's is settled by the signature on what it serves.
configured_mirrors() {
    if [[ -n ${HCALL_MIRROR:-} ]]; then
        printf '%s\n' "${HCALL_MIRROR%/}"
        return
    fi
    apt-get update --print-uris 2>/dev/null |
        sed -nE "s,^'(.+)/dists/([a-z]+)/(In)?Release' .*,\1,p" |
        awk '!seen[$0]++ { if (/\/debian$/) print; else later = later $0 "\n" } END { printf "%s", later }'
}

write_sources() {
    local options="arch=amd64 lang=none target=Packages signed-by=$KEYRING"
    printf "deb [$options] %s main\n" "$1 $SUITE" "$1 $SUITE-backports" >"$APT/sources.list"
}

# "PACKAGE VERSION" for a package that both suites have: the one in backports.
backports_version() {
    private_apt apt-cache madison "$1" |
        awk -F ' *[|] *' -v name="$1" -v suite="$SUITE-backports" \
            'index($3, " " suite "/") && !found++ { print name, $2 }'
}

# One "PACKAGE VERSION" line for each package that provisioning may ask for.
write_versions() {
    {
        private_apt apt-cache dumpavail |
            awk '/^Package: / { name = $2 }
                 /^Version: / && name ~ /^(linux-(binary|modules|base|headers|kbuild|source)-7\.|(rustc|bindgen|gcc-14|clang-19)$)/ { print name, $2 }'
        backports_version qemu-system-x86
    } >"$APT/versions.new"
    grep -q '^linux-binary-7' "$APT/versions.new" || return 1
    mv "$APT/versions.new" "$APT/versions"
}

try_mirror() {
    write_sources "$1"
    private_apt apt-get --quiet=2 update >&2 && write_versions
}

refresh_index() {
    index_is_newer_than "$1" && return
    [[ -f $KEYRING ]] || die "$KEYRING is missing: apt-get install debian-archive-keyring"
    mkdir -p "$APT/state" "$APT/lists/partial" "$APT/cache/archives/partial"
    touch "$APT/status"
    local mirror mirrors
    mirrors=$(configured_mirrors)
    [[ -n $mirrors ]] || die "apt's configuration names no Debian archive: set HCALL_MIRROR to one's address"
    [[ ! -f $APT/sources.list ]] || cp "$APT/sources.list" "$APT/sources.list.good"
    while read -r mirror; do
        say "reading the package index of $SUITE-backports from $mirror"
        if try_mirror "$mirror"; then
            rm -f "$APT/unreachable"
            return
        fi
    done <<<"$mirrors"
    [[ -f $APT/versions ]] || die "no Debian archive could be read, and nothing is cached: check the network, or set HCALL_MIRROR"
    mv "$APT/sources.list.good" "$APT/sources.list"
    touch "$APT/unreachable"
    say "no Debian archive could be read: going on with the index of $(date -r "$APT/versions" '+%F %H:%M')"
}

is_newer_than() { [[ -n $(find "$2" -mmin "-$1" 2>/dev/null) ]]; }

index_is_newer_than() {
    [[ -z ${HCALL_MIRROR:-} ]] || grep -qsF " ${HCALL_MIRROR%/} " "$APT/sources.list" || return 1
    is_newer_than "$1" "$APT/versions"
}

# An archive that just could not be read is not asked again for a while.
offline() { [[ -z ${HCALL_REFRESH:-} ]] && is_newer_than 10 "$APT/unreachable"; }

# need_index [MINUTES]: the index exists and, network permitting, is not older.
# HCALL_REFRESH=1 asks for a new one; a minute counts as new, so that a command
# that calls several scripts asks once.
need_index() {
    local minutes=${1:-360}
    [[ -z ${HCALL_REFRESH:-} ]] || minutes=1
    if [[ -f $APT/versions ]] && offline; then return; fi
    index_is_newer_than "$minutes" || with_lock apt refresh_index "$minutes"
}

# Prints nothing when the archive does not have the package.
package_version() { awk -v name="$1" '$1 == name { print $2 }' "$APT/versions"; }

# download_exactly DIRECTORY PACKAGE=VERSION…: unpacked into DIRECTORY.
download_exactly() {
    local directory=$1 package
    shift
    mkdir -p "$directory.debs"
    (cd "$directory.debs" && private_apt apt-get --quiet=2 download "$@" >&2) ||
        die "the download failed: check the network, or run again with HCALL_REFRESH=1 if the archive has moved on"
    for package in "$directory.debs"/*.deb; do
        dpkg-deb --extract "$package" "$directory"
    done
    rm -rf -- "$directory.debs"
}

# download_packages DIRECTORY PACKAGE…: exactly the versions in the index, unpacked into DIRECTORY.
download_packages() {
    local directory=$1 package version exact=()
    shift
    for package in "$@"; do
        version=$(package_version "$package")
        [[ -n $version ]] || die "Debian's $SUITE-backports has no package $package (see '$PROVISION/release.sh --list' for the kernels it has)"
        exact+=("$package=$version")
    done
    say "downloading $*"
    download_exactly "$directory" "${exact[@]}"
}

# Sets version and root, as the index has them.
look_up_tool() {
    version=$(package_version "$2")
    root=$CACHE/$1/${version#*:}
}

# packaged_tool KIND PACKAGE COMMAND…: prints the cache entry KIND of PACKAGE's version, which
# COMMAND VERSION DIRECTORY makes.
packaged_tool() {
    local kind=$1 package=$2 version root cached
    shift 2
    need_index
    look_up_tool "$kind" "$package"
    if [[ -z $version ]]; then
        # An earlier checkout wrote this index.
        need_index 0
        look_up_tool "$kind" "$package"
    elif [[ ! -d $root ]]; then
        need_index 10
        look_up_tool "$kind" "$package"
    fi
    if [[ -z $version || ! -d $root ]] && offline; then
        cached=$(newest_entry "$kind")
        [[ -z $cached ]] || say "offline: taking the cached $kind ${cached##*/}"
        root=${cached:-$root}
    fi
    [[ $root != "$CACHE/$kind/" ]] ||
        die "the archive's index has no package $package: run again with HCALL_REFRESH=1"
    cache_entry "$root" "$@" "$version"
    printf '%s\n' "$root"
}
