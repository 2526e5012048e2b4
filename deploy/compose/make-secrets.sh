#!/usr/bin/env bash
# Makes the secrets that compose.yaml names, each once: what is there stays. Keep a copy of them; docs/backup.md
# says why. Another directory may be given.
set -euo pipefail
directory=${1:-$(dirname "${BASH_SOURCE[0]}")/secrets}

# Nobody else gets into the directory. The files are readable because the container's user reads them, whose id
# is none of this machine.
mkdir -p "$directory"
chmod 700 "$directory"

# secret NAME COMMAND... writes what the command prints, if there is no such file.
secret() {
    local file=$directory/$1
    shift
    if [[ ! -e $file ]]; then
        "$@" >"$file.part"
        chmod 644 "$file.part"
        mv "$file.part" "$file"
    fi
}

letters() { openssl rand -hex 24; }
api_key() { printf 'sk_%s\n' "$(openssl rand -hex 24)"; }
database_url() {
    printf 'postgres://audit_logs:%s@postgres:5432/audit_logs\n' "$(<"$directory/postgres_password")"
}

secret postgres_password letters
secret database_url database_url
secret bootstrap_api_key api_key
secret secrets_key openssl rand -base64 32
secret signing_key openssl genpkey -algorithm ed25519
printf 'The secrets are in %s. The API key is in %s/bootstrap_api_key.\n' "$directory" "$directory"
