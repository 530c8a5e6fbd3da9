# shellcheck shell=bash disable=SC2034
# packages.sh - sourced by the scripts beside it: which Debian packages imp needs, and installing those that are missing.

BUILD_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config libjansson-dev libpcre2-dev libutf8proc-dev libedit-dev libmicrohttpd-dev)
FETCH_PACKAGES=(ca-certificates python3 python3-pip)
TEST_PACKAGES=(chromium clang libclang-rt-dev llvm libcmocka-dev python3-venv util-linux tmux groff-base zsh)

# Installs the packages named that are not there, as root or through sudo. Where there is no apt-get it leaves the search
# to CMake, which names what it misses.
install_packages() {
    local package missing=() root=()
    command -v apt-get >/dev/null || return 0
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    echo "Installing ${missing[*]}" >&2
    "${root[@]}" apt-get update -qq >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}
