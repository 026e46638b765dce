#!/usr/bin/env bash
# checks.sh WORK PREPARED PACKAGING FIRST NEXT OUTPUT RELEASE RELEASE: the checks of
# install.sh, for two kernels. As root, in a mount namespace of its own; reports in KTAP.
# shellcheck disable=SC2317 # the functions are called by their names in CHECKS
set -euo pipefail
umask 022

work=$1 prepared=$2 packaging=$3 first=$4 next=$5 output=$6
kernels=("$7" "$8")
root=$work/root

# What the packages' purge leaves, and may: PATTERN of whole paths, and why.
ALLOWED=(
    # Their content is other packages' affair, and changes with every run of apt or ldconfig.
    './var/(cache|lib|log)/(apt|debconf|dpkg|ldconfig|dpkg\.log|alternatives\.log).*'
    # Debian keeps users and groups, lest a number be given to another; group hcall too.
    './etc/(group|gshadow|passwd|shadow|subgid|subuid)-?'
)

# inside COMMAND…: in the root.
inside() {
    env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TERM=dumb \
        DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"
}

# readers COMMAND…: in the root that has lintian, mandoc and the shells; it sees the root at /mnt.
readers() {
    env -i HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$packaging" "$@"
}

apt_get() { inside apt-get -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root --yes --no-install-recommends "$@"; }

version_of() { dpkg-deb --field "$1" Version; }

# What there is in the root, with rights and owners.
inventory() {
    (cd "$root" && find . -xdev -printf '%p %y %m %u:%g %l\n' | sort)
}

prepare() {
    cp -a "$prepared/base" "$root"
    mount --bind "$root" "$root"
    mkdir -p "$root/mnt/archive" "$root/mnt/first" "$root/mnt/next"
    rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/* "$root"/etc/apt/apt.conf.d/*fetch*
    echo 'deb [trusted=yes] file:/mnt/archive ./' >"$root/etc/apt/sources.list"
    # Nothing is started in here.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    apt_update
    inventory >"$work/before"
}

apt_update() {
    mount --bind "$prepared/archive" "$root/mnt/archive"
    mount --bind "$first" "$root/mnt/first"
    mount --bind "$next" "$root/mnt/next"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --bind "$root" "$packaging/mnt"
    mount -t tmpfs -o mode=1777 tmpfs "$packaging/tmp"
    apt_get update
}

# What is at /mnt/DIRECTORY in the root.
all_packages() { (cd "$root/mnt" && printf '/mnt/%s\n' "$1"/*.deb); }

installs() {
    mapfile -t packages < <(all_packages first)
    apt_get install "${packages[@]}" "${kernels[@]/#/linux-headers-}" "linux-modules-${kernels[0]}"
    [[ -z $(inside dpkg --audit) ]]
}

is_built() {
    local version=$1 release file
    for release in "${kernels[@]}"; do
        file=/lib/modules/$release/updates/dkms/hcall.ko
        inside dkms status -m hcall -k "$release" | tee /dev/stderr |
            grep -qxF "hcall/$version, $release, x86_64: installed"
        # Compressed as the kernel's own modules are, where those are there.
        [[ -e $root$file ]] || file=$file.xz
        [[ $(inside modinfo --field vermagic "$file") == "$release "* ]]
    done
    # Of the first kernel the modules are there, and depmod's lists of them.
    inside modprobe --set-version "${kernels[0]}" --show-depends hcall |
        grep -F "insmod /lib/modules/${kernels[0]}/updates/dkms/hcall.ko.xz"
}

built() { is_built "$(version_of "$first"/hcall-dkms_*.deb)"; }

# Each file where its readers look for it.
in_place() {
    local file missing=0 version
    version=$(version_of "$first"/hcall-dkms_*.deb)
    for file in usr/bin/hcall usr/bin/hcall-vmm usr/include/hcall.h usr/include/hcall_plugin.h usr/share/pkgconfig/hcall.pc \
        usr/lib/udev/rules.d/60-hcall.rules usr/lib/sysusers.d/hcall-tools.conf \
        usr/share/bash-completion/completions/{hcall,hcall-vmm} \
        usr/share/zsh/vendor-completions/{_hcall,_hcall-vmm} \
        usr/share/fish/vendor_completions.d/{hcall,hcall-vmm}.fish \
        usr/share/man/man1/hcall{,-info,-call,-echo,-log,-batch,-stats,-trace,-bench,-restrict,-vmm,-vmm-run,-vmm-probe}.1.gz \
        usr/share/man/man4/hcall.4.gz usr/src/hcall-"$version"/{dkms.conf,rust-module/Kbuild,hcall-abi/src/ioctl.rs} \
        usr/share/doc/{hcall-dkms,hcall-tools,hcall-vmm,libhcall-dev}/{copyright,changelog.gz} \
        usr/share/doc/hcall-dkms/README.Debian usr/share/doc/libhcall-dev/examples/echo.c; do
        [[ -s $root/$file ]] || { echo "/$file is missing" && missing=1; }
    done
    return "$missing"
}

group_and_rule() {
    inside getent group hcall
    grep -qF 'GROUP="hcall", MODE="0660"' "$root/usr/lib/udev/rules.d/60-hcall.rules"
    readers udevadm verify --resolve-names=never /mnt/usr/lib/udev/rules.d/60-hcall.rules
}

commands_run() {
    local version
    version=$(version_of "$first"/hcall-tools_*.deb)
    [[ $(inside hcall --version) == "hcall $version" && $(inside hcall-vmm --version) == "hcall-vmm $version" ]]
    # There is no host here, and that is what it says.
    { inside hcall info 2>&1 || true; } | grep -F 'is the module hcall loaded?'
}

c_program() {
    # shellcheck disable=SC2016 # expanded inside
    inside sh -euc 'gcc -std=c11 -D_POSIX_C_SOURCE=200809L -pedantic -Wall -Wextra -Werror \
        $(pkg-config --cflags hcall) /usr/share/doc/libhcall-dev/examples/echo.c -o /tmp/echo
        /tmp/echo 42 2>&1 | grep -F "cannot open /dev/hcall: No such file or directory"
        rm /tmp/echo'
}

pages() {
    local page said
    for page in "$root"/usr/share/man/man[14]/hcall*; do
        page=/mnt${page#"$root"}
        # The generator puts more space about lists of values than mandoc thinks is needed.
        said=$(readers mandoc -T lint -W warning "$page" | grep -v 'skipping paragraph macro: br' || true)
        printf '%s\n' "$said"
        [[ -z $said ]]
        [[ -z $(readers env MANROFFSEQ= man --warnings --local-file "$page" 2>&1 >/dev/null) ]]
    done
}

completions() {
    local file
    for file in "$root"/usr/share/bash-completion/completions/hcall*; do readers bash -n "/mnt${file#"$root"}"; done
    for file in "$root"/usr/share/zsh/vendor-completions/_hcall*; do readers zsh -n "/mnt${file#"$root"}"; done
    for file in "$root"/usr/share/fish/vendor_completions.d/hcall*; do readers fish --no-execute "/mnt${file#"$root"}"; done
    # shellcheck disable=SC2016 # expanded inside
    [[ $(readers fish --no-config --command 'source /mnt/usr/share/fish/vendor_completions.d/hcall.fish
        complete --do-complete "hcall ben"' | cut -f 1) == bench ]]
}

lintian_clean() {
    mount --bind "$first" "$packaging/mnt"
    local status=0
    readers sh -c 'lintian --allow-root --fail-on error,warning /mnt/*.deb' || status=$?
    umount "$packaging/mnt"
    return "$status"
}

# What the guest of the lab runs: each file at its place, links resolved.
hand_out() {
    rm -rf -- "${output:?}"/*
    local tree=/tmp/hand-out
    # shellcheck disable=SC2016 # expanded inside
    inside bash -euc '
        tree=$1 release=$2
        mkdir -p "$tree"
        files=(/usr/bin/hcall /usr/bin/hcall-vmm /usr/sbin/modprobe)
        mapfile -t libraries < <(ldd "${files[@]}" | grep -oE "/lib[^ ]+" | sort -u)
        # Which modprobe opens by its name, for a module that is compressed.
        libraries+=(/lib/x86_64-linux-gnu/liblzma.so.5)
        modules=(/lib/modules/"$release"/modules.* /lib/modules/"$release"/updates)
        cp -rL --parents "${files[@]}" "${libraries[@]}" "${modules[@]}" "$tree"
    ' bash "$tree" "${kernels[0]}"
    mv "$root$tree"/* "$output"
    rmdir "$root$tree"
}

upgrades() {
    local old new
    old=$(version_of "$first"/hcall-dkms_*.deb) new=$(version_of "$next"/hcall-dkms_*.deb)
    mapfile -t packages < <(all_packages next)
    apt_get install "${packages[@]}"
    is_built "$new"
    [[ ! -e $root/usr/src/hcall-$old && ! -e $root/var/lib/dkms/hcall/$old ]]
}

# dkms_refuses RELEASE TEXT…: DKMS does not build, says so, and why is in its log.
dkms_refuses() {
    local release=$1 version status=0 text
    shift
    version=$(version_of "$next"/hcall-dkms_*.deb)
    inside dkms uninstall -m hcall -v "$version" -k "$release" || true
    inside dkms unbuild -m hcall -v "$version" -k "$release" || true
    inside dkms build -m hcall -v "$version" -k "$release" || status=$?
    [[ $status -eq 77 ]]
    cat "$root/var/lib/dkms/hcall/$version/build/make.log"
    for text in "$@"; do
        grep -qF "$text" "$root/var/lib/dkms/hcall/$version/build/make.log"
    done
}

no_kit() {
    local release=${kernels[1]} series
    series=$(cut -d . -f 1,2 <<<"$release")
    apt_get remove "hcall-rust-kit-$release"
    dkms_refuses "$release" \
        "the module cannot be built for Linux $release" "install the kit, hcall-rust-kit-$release" \
        "apt install linux-source-$series rust-src bindgen" "dkms autoinstall -k $release"
    # The same on the terminal, and the package is installed for all that.
    inside dpkg-reconfigure hcall-dkms 2>&1 | tee /dev/stderr | grep -F "hcall-rust-kit-$release"
    [[ -z $(inside dpkg --audit) ]]
    apt_get install "/mnt/next/$(basename "$next"/hcall-rust-kit-"$release"_*.deb)"
    inside dkms autoinstall -k "$release"
    is_built "$(version_of "$next"/hcall-dkms_*.deb)"
}

# prepare_refuses SED TEXT…: for headers whose configuration is changed so.
prepare_refuses() {
    local change=$1 release=${kernels[0]} text status=0 said sources
    shift
    sources=/usr/src/hcall-$(version_of "$next"/hcall-dkms_*.deb)
    cp -a "$root/usr/src/linux-headers-$release" "$root/tmp/headers"
    sed -i -E "$change" "$root/tmp/headers/.config"
    said=$(inside "$sources/rust-module/dkms/prepare.sh" --check "$release" /tmp/headers) || status=$?
    rm -rf "$root/tmp/headers"
    printf '%s\n' "$said"
    [[ $status -eq 77 ]]
    for text in "$@"; do [[ $said == *"$text"* ]]; done
}

other_rust() {
    prepare_refuses 's/^(CONFIG_RUSTC_VERSION_TEXT=).*/\1"rustc 1.84.0 (Debian)"/' \
        'built with the Rust compiler' 'rustc 1.84.0 (Debian)' 'rustc 1.85' 'Install the package rustc'
}

other_gcc() {
    prepare_refuses 's/^(CONFIG_CC_VERSION_TEXT=").*/\1x86_64-linux-gnu-gcc-13 (Debian 13.3.0-1) 13.3.0"/' \
        'built with the C compiler' 'gcc-13' 'and this machine has' 'none' 'Install the package gcc-13'
}

no_rust() { prepare_refuses 's/^CONFIG_RUST=y/# CONFIG_RUST is not set/' 'configured without Rust'; }

# A kit of another build of the same release is none.
other_configuration() {
    prepare_refuses 's/^CONFIG_HZ=.*/CONFIG_HZ=12345/' "there is no Rust kit for this kernel"
}

purges() {
    # shellcheck disable=SC2016 # expanded by dpkg-query
    mapfile -t packages < <(inside dpkg-query --showformat='${Package}\n' --show 'hcall*' 'libhcall*')
    apt_get purge "${packages[@]}" "${kernels[@]/#/linux-headers-}" "linux-modules-${kernels[0]}"
    # What something left suggests or recommends would stay else.
    apt_get -o APT::AutoRemove::SuggestsImportant=false -o APT::AutoRemove::RecommendsImportant=false \
        autoremove --purge
    inventory >"$work/after"
    local pattern='' allowed left
    for allowed in "${ALLOWED[@]}"; do pattern+="${pattern:+|}$allowed"; done
    left=$({ diff "$work/before" "$work/after" || true; } | sed -n 's/^[<>] //p' |
        { grep -vE "^($pattern) " || true; })
    printf '%s\n' "$left"
    [[ -z $left ]]
}

CHECKS=(
    'a minimal Debian 13|prepare'
    'apt installs the packages and headers of two kernels|installs'
    'DKMS has built the module for both|built'
    'every file is in its place|in_place'
    'the group, and the rule for the node|group_and_rule'
    'the commands run|commands_run'
    'a program in C is compiled and runs|c_program'
    'man and mandoc have nothing to say against the pages|pages'
    'bash, zsh and fish read their completions|completions'
    'lintian has no error and no warning|lintian_clean'
    'what the guest of the lab runs is handed out|hand_out'
    'an upgrade builds the module anew for both|upgrades'
    'without a kit: what to install is said, and nothing is broken|no_kit'
    'another Rust compiler than the kernel was built with|other_rust'
    'another C compiler|other_gcc'
    'a kernel without Rust|no_rust'
    'a kit of another configuration|other_configuration'
    'a purge leaves nothing|purges'
)

printf 'KTAP version 1\n1..%d\n' "${#CHECKS[@]}"
status=0
for number in "${!CHECKS[@]}"; do
    IFS='|' read -r name check <<<"${CHECKS[number]}"
    # In a shell of its own, where what fails ends it; a condition would switch that off.
    set +e
    (set -e; "$check") >"$work/log" 2>&1 </dev/null
    result=$?
    set -e
    if [[ $result -eq 0 ]]; then
        printf 'ok %d %s\n' "$((number + 1))" "$name"
    else
        tail -n 30 "$work/log" | sed 's/^/# /'
        printf 'not ok %d %s\n' "$((number + 1))" "$name"
        status=1
    fi
done
exit "$status"
