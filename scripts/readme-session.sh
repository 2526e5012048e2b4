#!/usr/bin/env bash
# Runs the grpcurl session that README.md shows (the block `<!-- ci: session -->`) against a real
# server, and checks what it prints. The commands are read from the README, so it cannot be wrong.
# Then exports enough events to see an export's progress while it is written.
#
# Needs grpcurl and curl. Builds the program in release mode. The server gets a free port and a
# directory of its own, and both are gone afterwards.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ADDRESS_IN_README=localhost:50051
readonly CSV_HEADER="id,organization_id,action,version,occurred_at,received_at,actor_id,actor_type,\
actor_name,actor_metadata,targets,context_location,context_user_agent,metadata,sequence"

# An export tells its progress every half second, so it must take a second or so. How many events
# that needs depends on the machine: more are loaded until there is progress to be seen.
readonly BATCH_EVENTS=1000
readonly BATCHES=100
readonly ROUNDS=5
readonly CONCURRENT_CALLS=4

say() { printf 'readme-session: %s\n' "$*"; }
fail() {
    printf 'readme-session: error: %s\n' "$*" >&2
    exit 1
}

server=""
finish() {
    local code=$?
    if [[ -n "$server" ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    if [[ $code -ne 0 && -s "$scratch/serve.log" ]]; then
        printf '\nreadme-session: the end of the log of the server:\n' >&2
        tail -n 20 "$scratch/serve.log" >&2
    fi
    rm -rf "$scratch"
}

# wait_for WHAT COMMAND... runs the command until it succeeds.
wait_for() {
    local what=$1 attempt
    shift
    for ((attempt = 0; attempt < 300; attempt++)); do
        "$@" && return
        kill -0 "$server" 2>/dev/null || fail "the server ended before $what"
        sleep 0.1
    done
    fail "the server did not get as far as this: $what"
}

# Prints the address that the server's log tells.
server_address() {
    sed -n 's/.*"message":"listening","address":"\([^"]*\)".*/\1/p' "$scratch/serve.log"
}

is_listening() { [[ -n "$(server_address)" ]]; }
is_ready() { curl --fail --silent --output /dev/null "http://$address/readyz"; }

# Starts a server and sets `server` and `address`.
start_server() {
    : >"$scratch/serve.log"
    # The port is the system's choice; settings of whoever runs this must not reach the server.
    # shellcheck disable=SC2086 # names have no blanks
    unset ${!AUDIT_LOGS_@} RUST_LOG
    (
        cd "$scratch"
        export AUDIT_LOGS_BOOTSTRAP_API_KEY=$KEY
        exec "$binary" serve --listen 127.0.0.1:0 --data-dir data --log-format json
    ) >"$scratch/serve.out" 2>"$scratch/serve.log" &
    server=$!
    wait_for "it listens" is_listening
    address=$(server_address)
    wait_for "it is ready" is_ready
}

# expect WHAT TEXT checks that the session printed the text.
expect() {
    grep -qF -- "$2" "$scratch/session.txt" || fail "the session did not print $1: $2"
    say "printed: $1"
}

run_session() {
    local commands=${block//$ADDRESS_IN_README/$address}
    printf '%s\n' "${commands//cargo run --locked --/"$binary"}" >"$scratch/session.sh"
    (cd "$scratch" && bash -euo pipefail session.sh 2>&1) | tee "$scratch/session.txt" ||
        fail "a command of the session failed"
    printf '\n'
    expect "the services" "auditlogs.v1.AuditLogs"
    expect "the health service" "grpc.health.v1.Health"
    expect "the place of the event" '"sequence": "0"'
    expect "a duplicate" '"duplicate": true'
    expect "the field that is wrong" "event.targets[0].metadata.pages"
    expect "the reason of the refusal" "INVALID_AUDIT_LOG_EVENT"
    expect "an export that waits" "EXPORT_STATE_PENDING"
    expect "an export that is ready" "EXPORT_STATE_READY"
    expect "the CSV" "$CSV_HEADER"
    expect "the key of the log" '"verifierKey": "audit-logs/org_acme+'
    expect "what the receipt proves" "org_acme"
    expect "the event over REST" '{"success":true}'
    expect "the log over REST" '"object":"list"'
    expect "the second event over REST" '"id":"user_2"'
    [[ "$(grep -c '^audit_event_' "$scratch/session.txt")" -eq 1 ]] ||
        fail "the CSV should have one row: the repeated event is there once, the refused one is not"
}

# call METHOD sends standard input to a method of the server.
call() {
    grpcurl -plaintext -H "authorization: Bearer $KEY" -d @ "$address" "auditlogs.v1.AuditLogs/$1"
}

# Prints a batch of events that fit the schema of the session. They have no idempotency keys, so it
# can be sent again and again.
print_batch() {
    awk -v events="$BATCH_EVENTS" 'BEGIN {
        printf "{\"atomic\": true, \"requests\": ["
        for (i = 0; i < events; i++) {
            if (i) printf ","
            printf "{\"organization_id\": \"org_large\", \"event\": {"
            printf "\"action\": \"document.signed\", "
            printf "\"occurred_at\": \"2026-11-%02dT%02d:%02d:00Z\", ", i % 28 + 1, i % 24, i % 60
            printf "\"actor\": {\"id\": \"user_%d\", \"type\": \"user\"}, ", i % 50
            printf "\"targets\": [{\"id\": \"doc_%d\", \"type\": \"document\", ", i
            printf "\"metadata\": {\"pages\": %d}}], ", i % 9 + 1
            printf "\"context\": {\"location\": \"203.0.113.9\"}}}"
        }
        printf "]}"
    }'
}

send_batch() { call BatchCreateEvents <"$scratch/batch.json" >/dev/null; }

load_events() {
    export KEY address scratch
    export -f call send_batch
    seq "$BATCHES" | xargs -P "$CONCURRENT_CALLS" -I{} bash -euo pipefail -c send_batch
}

# Prints a field of an export, from each message of the file.
field() { sed -n "s/^ *\"$1\": \"\([^\"]*\)\".*/\1/p" "$2"; }

# Exports everything and writes the messages of the stream to a file.
watch_export() {
    local selection id
    selection='"range_start": "2026-11-01T00:00:00Z", "range_end": "2026-12-01T00:00:00Z"'
    call CreateExport <<<"{\"organization_id\": \"org_large\", $selection}" >"$scratch/created.json"
    id=$(field id "$scratch/created.json")
    call GetExport <<<"{\"export_id\": \"$id\"}" >"$scratch/frames.json"
}

# Whether a message told of rows before the export was ready.
told_progress() {
    awk -F '"' '
        $2 == "state" { pending = $4 == "EXPORT_STATE_PENDING" }
        $2 == "rowsWritten" && pending && $4 > 0 { found = 1 }
        END { exit !found }
    ' "$scratch/frames.json"
}

# Checks that the export has every event, and that the file has every row.
check_export() {
    local events=$1 url lines
    [[ "$(field state "$scratch/frames.json" | tail -n 1)" == EXPORT_STATE_READY ]] ||
        fail "the stream did not end with a file that is ready"
    [[ "$(field rowsWritten "$scratch/frames.json" | tail -n 1)" -eq "$events" ]] ||
        fail "the export does not have $events rows"
    url=$(field url "$scratch/frames.json" | sed 's/\\u0026/\&/g')
    lines=$(curl --fail --silent --show-error "$url" | wc -l)
    [[ "$lines" -eq $((events + 1)) ]] || fail "the file has $lines lines, not $events and a header"
}

run_large_export() {
    local round events=0
    print_batch >"$scratch/batch.json"
    for ((round = 1; round <= ROUNDS; round++)); do
        load_events
        events=$((events + BATCHES * BATCH_EVENTS))
        watch_export
        check_export "$events"
        if told_progress; then
            say "an export of $events events told its progress:"
            grep -E '"(state|rowsWritten|estimatedRows)"' "$scratch/frames.json"
            return
        fi
        say "an export of $events events was ready before it told its progress: more events"
    done
    fail "no export told its progress while it was written"
}

export PATH="$PWD/tools/bin:$PATH"
for tool in grpcurl curl; do
    command -v "$tool" >/dev/null ||
        fail "$tool is not installed; scripts/install-tools.sh builds grpcurl where there is go"
done
block=$(scripts/readme-block.sh session)
[[ "$block" == *"$ADDRESS_IN_README"* ]] || fail "the session does not use $ADDRESS_IN_README"
readonly binary="$PWD/target/release/audit-logs"
cargo build --release --locked

scratch=$(mktemp -d)
trap finish EXIT
KEY=sk_$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')
export KEY

start_server
run_session
run_large_export

kill "$server"
ended=$server server=""
wait "$ended" || fail "the server did not end in good order"
say "passed, $SECONDS s"
