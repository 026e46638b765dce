#!/usr/bin/env bash
# enter-root.sh ROOT UID:GID GROUPS DIRECTORY HIDDEN PATH… -- COMMAND…: the half of
# in-toolchain.sh that is root, in a mount namespace that holds nothing else.
set -euo pipefail

root=$1 user=$2 groups=$3 directory=$4 hidden=$5
shift 5
paths=(/etc/resolv.conf /etc/hosts)
while [[ $1 != -- ]]; do
    paths+=("$1")
    shift
done
shift

# The root itself stays as it was made: writable are only the shared paths and /tmp.
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for path in "${paths[@]}"; do
    if [[ -d $path ]]; then
        mkdir -p "$root$path"
    else
        mkdir -p "$root${path%/*}"
        [[ -e $root$path ]] || touch "$root$path"
    fi
done
mount -o remount,bind,ro "$root"

mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
for path in "${paths[@]}"; do
    [[ ! -e $path ]] || mount --bind "$path" "$root$path"
done
[[ ! -d $hidden ]] || mount --bind "$root/mnt" "$root$hidden"

# shellcheck disable=SC2016 # expanded by the inner shell
exec chroot --userspec="$user" --groups="$groups" "$root" \
    /bin/sh -c 'cd "$1" && shift && exec "$@"' sh "$directory" "$@"
