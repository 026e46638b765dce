#!/bin/bash
# inside.sh: the part of follow.sh in the clean root. Blocks ```sh of docs/guide.md are
# commands; the block ```text after one is lines of its output, in this order. Blocks ```console
# with the prompt $ are typed at a terminal, by the stage of `make test` that does it elsewhere.
# lab/driver/src/guide/page.rs says who runs the others.
set -euo pipefail

blocks=/srv/guide/blocks
git clone --quiet /srv/hcall.git /root/hcall
cd /root/hcall
rm -rf "$blocks"
mkdir "$blocks"
awk -v directory="$blocks" '
    /^```sh$/ { file = directory "/" (++count + 100) ".sh"; next }
    /^```text$/ && count && !told[count]++ { file = directory "/" (count + 100) ".expected"; next }
    /^```/ { file = ""; next }
    file { print > file }
' docs/guide.md

# The lines of $2, in their order, are the last that $1 has of them.
promised() {
    diff <(grep -xFf "$2" "$1" | tail -n "$(wc -l <"$2")") "$2"
}

failed=0
for block in "$blocks"/*.sh; do
    output=${block%.sh}.output
    echo "----- $(sed 's/^/$ /' "$block")"
    start=$SECONDS
    status=0
    bash -euo pipefail "$block" </dev/null >"$output" 2>&1 || status=$?
    sed 's/^/    /' "$output"
    echo "----- status $status, $((SECONDS - start)) s"
    if [[ $status -ne 0 ]]; then
        echo "FAILED: a block of the guide"
        exit 1
    fi
    if [[ -f ${block%.sh}.expected ]]; then
        if promised "$output" "${block%.sh}.expected"; then
            echo "----- it printed what the guide says"
        else
            echo "FAILED: the guide says that it prints this:"
            cat "${block%.sh}.expected"
            failed=1
        fi
    fi
done
start=$SECONDS
if [[ -e /dev/kvm ]]; then
    make test STAGE='commands of the guide' || failed=1
else
    echo "SKIP: $(grep -A1 '^```console$' docs/guide.md | grep -c '^\$ ') blocks of commands for hcall-vmm: no /dev/kvm"
fi
echo "----- $((SECONDS - start)) s"
echo "the whole guide: $SECONDS s"
exit $failed
