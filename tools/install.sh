# Sourced by tools/up, tools/check, tools/fuzz and tools/bench/run: installs the Debian packages of the given purposes
# (tools/packages) that are missing. With nothing missing it takes a moment and needs no network. Without root it only tells.

# packages_missing PURPOSE... : names of the packages that are not installed.
packages_missing() {
    local purpose package
    for purpose in "$@"; do
        for package in $(sed -n "s/^$purpose: //p" "$tools/packages"); do
            case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
                installed) ;;
                *) echo "$package" ;;
            esac
        done
    done | sort -u
}

# install_packages PURPOSE... : 0 when all are there. Services that come with a package are not started: their ports
# may be the ones that we want, and the tests start servers of their own.
install_packages() {
    local missing policy=/usr/sbin/policy-rc.d
    if ! command -v dpkg-query >/dev/null; then
        echo "This is no Debian: install by hand what tools/packages names under: $*" >&2
        return 0
    fi
    missing=$(packages_missing "$@")
    [ -n "$missing" ] || return 0
    missing=$(echo $missing)
    if [ "$(id -u)" != 0 ]; then
        echo "Missing packages. As root: apt-get install --no-install-recommends $missing" >&2
        return 1
    fi
    echo "installing: $missing"
    ( # a shell of its own, so that the policy goes also where this is interrupted
        if [ ! -e "$policy" ]; then
            trap 'rm -f "$policy"' EXIT
            printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
        fi
        # Without lists of packages, or with old ones, the first try fails; the second says what is wrong.
        apt_install $missing 2>/dev/null || { apt-get -qq update && apt_install $missing; }
    ) && return
    echo "could not install: $missing" >&2
    return 1
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 \
        install -y --no-install-recommends "$@" >/dev/null
}

# unpack_packages FOLDER : FOLDER/root holds what is in the packages under `unpacked`. Nothing of it is installed or started.
unpack_packages() {
    local folder=$1 names package
    names=$(sed -n 's/^unpacked: //p' "$tools/packages")
    mkdir -p "$folder"
    {
        flock 9
        [ "$(cat "$folder/names" 2>/dev/null)" != "$names" ] || return 0
        find "$folder" -mindepth 1 -delete
        mkdir "$folder/debs" "$folder/root"
        apt_download "$folder/debs" $names 2>/dev/null ||
            { [ "$(id -u)" = 0 ] && apt-get -qq update && apt_download "$folder/debs" $names; } ||
            { echo "could not download: $names" >&2; return 1; }
        for package in "$folder"/debs/*.deb; do
            dpkg -x "$package" "$folder/root" || return
        done
        rm -r "$folder/debs"
        echo "$names" >"$folder/names"
    } 9>"$folder.lock"
}

apt_download() (
    cd "$1" && shift && apt-get -qq -o APT::Sandbox::User=root download "$@" >/dev/null
)

# build FOLDER MESON-OPTION... : configures once, then builds $ninja_targets, or all; prints only what goes wrong. A folder
# that was made with other options is made anew. One build of a folder at a time; two compilers at once at most.
build() {
    local folder=$1 output
    shift
    mkdir -p "$folder"
    {
        flock 9
        if [ "$(cat "$folder/options" 2>/dev/null)" != "${CC:-} $*" ]; then
            find "$folder" -mindepth 1 -delete
            output=$(meson setup "$folder" "$root" "$@" 2>&1) || { echo "$output"; return 1; }
            echo "${CC:-} $*" >"$folder/options"
        fi
        output=$(ninja -j 2 -C "$folder" ${ninja_targets:-} 2>&1) || { echo "$output" | tail -n 60; return 1; }
    } 9>"$folder.lock"
}

# The programs as people run them, without the tests, in build/release.
build_release() {
    local ninja_targets="proxy/gatepost backends/gatepost-smtpd backends/gatepost-pop3d"
    ninja_targets="$ninja_targets tools/gatepost-user tools/gatepostctl tools/gatepost-fetch"
    build "$root/build/release" --buildtype=release
}
