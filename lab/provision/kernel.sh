#!/usr/bin/env bash
# kernel.sh [cloud|generic|RELEASE]: fetches Debian's stock kernel and prints the
# directory with its vmlinuz, vmlinux (ELF, for PVH), config and modules/: KVM's
# modules as Debian signed them, and in modules/NAME.load their order for insmod.
. "$(dirname "$0")/common.sh"
. "$PROVISION/debian.sh"
. "$PROVISION/kernel-release.sh"

[[ $# -le 1 ]] || die "usage: kernel.sh [cloud|generic|RELEASE]"

# module_files TREE NAME: the files to load for module NAME, in order.
module_files() {
    awk -v wanted="/$2.ko" '
        index($1, wanted) {
            for (i = NF; i > 1; i--) print $i
            sub(/:$/, "", $1)
            print $1
        }' "$1/modules.dep"
}

unpack_module() {
    case $1 in
    *.xz) xz -dc "$1" >"$2" ;;
    *.zst) zstd -dcq "$1" >"$2" ;;
    *.ko) cp "$1" "$2" ;;
    *) die "$1: a module compressed in an unknown way" ;;
    esac
}

pick_modules() {
    local tree=$1 directory=$2 module file name
    mkdir "$directory"
    for module in irqbypass kvm kvm-amd kvm-intel; do
        while read -r file; do
            name=${file##*/}
            name=${name%%.ko*}.ko
            unpack_module "$tree/$file" "$directory/$name"
            printf '%s\n' "$name"
        done < <(module_files "$tree" "$module") >"$directory/$module.load"
        [[ -s $directory/$module.load ]] || die "the kernel's packages have no module $module"
    done
}

build() {
    local release=$1 directory=$2 work=$2/work tree
    download_packages "$work" "linux-binary-$release" "linux-modules-$release" "linux-base-$release"
    mkdir "$work/lib"
    mv "$work/usr/lib/modules" "$work/lib/modules"
    tree=$work/lib/modules/$release
    depmod --basedir="$work" "$release"
    mv "$tree/vmlinuz" "$tree/config" "$directory"
    "$PROVISION/extract-vmlinux.sh" "$directory/vmlinuz" "$directory/vmlinux"
    pick_modules "$tree" "$directory/modules"
    rm -rf -- "$work"
}

release=$(resolve_release "$@")
[[ -d $CACHE/kernel/$release ]] || need_index 10
cache_entry "$CACHE/kernel/$release" build "$release"
printf '%s\n' "$CACHE/kernel/$release"
