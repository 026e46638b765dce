#!/usr/bin/env bash
# extract-vmlinux.sh BZIMAGE OUTPUT: writes the ELF kernel that a bzImage carries
# compressed, found by the x86 boot protocol's setup header; PVH boot needs it.
. "$(dirname "$0")/common.sh"

[[ $# -eq 2 ]] || die "usage: extract-vmlinux.sh BZIMAGE OUTPUT"
image=$1 output=$2
[[ -r $image ]] || die "cannot read $image"

# number TYPE OFFSET: one little-endian field of the image.
number() { od --address-radix=n --format="$1" --skip-bytes="$2" --read-bytes="${1:1}" "$image" | tr -d ' '; }

[[ $(number x4 0x202) == 53726448 ]] || die "$image is not a bzImage: no boot protocol header"
(($(number u2 0x206) >= 0x208)) || die "$image is a bzImage too old to say where its payload is"
sectors=$(number u1 0x1f1)
offset=$((((sectors == 0 ? 4 : sectors) + 1) * 512 + $(number u4 0x248)))
length=$(number u4 0x24c)

payload() { dd if="$image" bs=64K iflag=skip_bytes,count_bytes skip="$offset" count="$1" status=none; }

# All but gzip are followed by four bytes that say the unpacked size.
case $(payload 4 | od --address-radix=n --format=x1 | tr -d ' ') in
1f8b*) payload "$length" | gzip -dc >"$output" ;;
fd377a58) payload $((length - 4)) | xz -dc >"$output" ;;
28b52ffd) payload $((length - 4)) | zstd -dcq >"$output" ;;
02214c18) payload $((length - 4)) | lz4 -dcq >"$output" ;;
*) die "$image: its payload is compressed in a way this script does not know (gzip, xz, zstd, lz4)" ;;
esac
[[ $(head -c 4 "$output") == $'\x7fELF' ]] || die "$image: what it carries is not an ELF kernel"
