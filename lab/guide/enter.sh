#!/usr/bin/env bash
# enter.sh ROOT KVM COMMAND…: the part of follow.sh in a mount and a process namespace of its
# own: gives ROOT what a machine has (/proc, /sys, devices), and runs COMMAND in it.
set -euo pipefail

root=$1 kvm=$2
shift 2

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs tmpfs "$root/dev/shm"
devices=(null zero full random urandom tty)
if [[ $kvm != no && -e /dev/kvm ]]; then devices+=(kvm); fi
for device in "${devices[@]}"; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
for file in /etc/resolv.conf /etc/hosts; do
    touch "$root$file"
    mount --bind "$file" "$root$file"
done

exec chroot "$root" "$@"
