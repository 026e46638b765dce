#!/usr/bin/env bash
# follow.sh: follows docs/guide.md literally in a clean Debian 13 root: clones the repository,
# runs each block of commands in order as it is written, those of hcall-vmm after the others,
# and looks for what the guide says that it prints. Says how long each block took. Nothing of this machine's caches is used, so it
# takes as long as it would take a newcomer, and fetches as much. (`make guide`)
#
# HCALL_GUIDE_KVM=no hides /dev/kvm. HCALL_GUIDE_KEEP=1 keeps the root, to look into.
HERE=$(cd "$(dirname "$0")" && pwd -P)
. "$HERE/../provision/common.sh"

[[ $# -eq 0 ]] || die "usage: follow.sh"
git -C "$CHECKOUT" rev-parse HEAD >/dev/null || die "the guide is followed in a clone, and this is no repository"
[[ -z $(git -C "$CHECKOUT" status --porcelain) ]] || say "what is not committed is not in the clone"

base=$("$PROVISION/guide-root.sh")
mkdir -p "$CACHE/guide"
work=$(mktemp -d "$CACHE/guide/XXXXXX")
clean_up() { [[ -n ${HCALL_GUIDE_KEEP:-} ]] || remove_tree "$work"; }
trap clean_up EXIT
say "working in $work"
as_root cp -a --reflink=auto "$base" "$work/root"

# The repository, the network's settings and the machine's certificates: what a newcomer has.
as_root git clone --quiet --bare "$CHECKOUT" "$work/root/srv/hcall.git"
as_root git -C "$work/root/srv/hcall.git" update-ref refs/heads/guide "$(git -C "$CHECKOUT" rev-parse HEAD)"
as_root git -C "$work/root/srv/hcall.git" symbolic-ref HEAD refs/heads/guide
as_root mkdir -p "$work/root/srv/guide"
as_root cp "$HERE/inside.sh" "$work/root/srv/guide"
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
if [[ -f $certificates ]]; then
    as_root cp "$certificates" "$work/root/srv/guide/certificates.crt"
    echo 'Acquire::https::CAInfo "/srv/guide/certificates.crt";' |
        as_root tee "$work/root/etc/apt/apt.conf.d/90guide" >/dev/null
fi
variables=(HOME=/root LANG=C.UTF-8 USER=root TERM=dumb PATH=/usr/sbin:/usr/bin:/sbin:/bin
    SSL_CERT_FILE=/srv/guide/certificates.crt)
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [[ -z ${!name:-} ]] || variables+=("$name=${!name}")
done

as_root unshare --mount --pid --fork --kill-child "$BASH" "$HERE/enter.sh" \
    "$work/root" "${HCALL_GUIDE_KVM:-yes}" env -i "${variables[@]}" /bin/bash /srv/guide/inside.sh
