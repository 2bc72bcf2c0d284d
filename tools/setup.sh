# Sourced by the scripts beside it: makes sure that what a build needs is there, and says how to get what it can't
# install itself. Leaves the shell in the repository's root.

say() { printf '%s\n' "$*" >&2; }
die() { printf '\nFAILED: %s\n' "$*" >&2; exit 1; }

need_swift() {
    if ! command -v swift >/dev/null 2>&1; then
        case "$(uname -s)" in
            Darwin)
                die "Swift is missing. Install Xcode 26.4 or later, or swiftly: https://www.swift.org/install/macos/" ;;
            *)
                die "Swift is missing. Swiftly installs it in a minute:

    curl -O https://download.swift.org/swiftly/linux/swiftly-$(uname -m).tar.gz
    tar zxf swiftly-$(uname -m).tar.gz && ./swiftly init && . ~/.local/share/swiftly/env.sh

More ways: https://www.swift.org/install/linux/"
                ;;
        esac
    fi
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | head -n 1)
    # shellcheck disable=SC2086
    set -- $version
    if [ "${1:-0}" -lt 6 ] || { [ "$1" -eq 6 ] && [ "${2:-0}" -lt 3 ]; }; then
        die "Swift 6.3 or later is needed, this is ${1:-unknown}.${2:-}. 'swiftly install latest' gets it."
    fi
}

install_debian() {
    local runner=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 ||
            die "These packages are missing and there is no sudo: $*. Install them as root."
        runner=(sudo)
    fi
    say "Installing $*"
    "${runner[@]}" apt-get update -qq || die "apt-get update failed; check the network and the package sources."
    DEBIAN_FRONTEND=noninteractive "${runner[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null \
        || die "apt-get could not install $*; the lines above say why."
}

need_libraries() {
    local missing=()
    case "$(uname -s)" in
        Darwin)
            command -v brew >/dev/null 2>&1 || die "Homebrew is missing; see https://brew.sh, then run this again."
            command -v pkg-config >/dev/null 2>&1 || missing+=(pkgconf)
            [ -e "$(brew --prefix)/include/lz4.h" ] || missing+=(lz4)
            [ ${#missing[@]} -eq 0 ] || brew install --quiet "${missing[@]}" ||
                die "brew could not install ${missing[*]}."
            ;;
        *)
            command -v cc >/dev/null 2>&1 || command -v clang >/dev/null 2>&1 || missing+=(gcc)
            [ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
            command -v git >/dev/null 2>&1 || missing+=(git ca-certificates)
            command -v pkg-config >/dev/null 2>&1 || missing+=(pkg-config)
            pkg-config --exists liblz4 2>/dev/null || missing+=(liblz4-dev)
            if [ ${#missing[@]} -gt 0 ]; then
                command -v apt-get >/dev/null 2>&1 \
                    || die "These are missing: ${missing[*]}. Install what your system calls them and run this again."
                install_debian "${missing[@]}"
            fi
            ;;
    esac
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
need_swift
need_libraries
