# What a developer types, and what CI types: `.ci/run` runs these same recipes.
# `scripts/install-tools.sh` puts the tools they need into ./tools/bin, just itself among them.

set shell := ["bash", "-euo", "pipefail", "-c"]

# The pinned tools come before whatever else the machine has.
export PATH := justfile_directory() / "tools/bin" + ":" + env("PATH")

# The commit whose protos callers already use; a branch is compared with its base by
# `just against=origin/main proto`.
against := "HEAD~1"

# Lists the recipes.
default:
    @just --list --unsorted

# Formats the Rust sources and the protos.
fmt:
    cargo fmt --all
    cargo fmt --manifest-path tests/sdk/rust/Cargo.toml
    cargo fmt --manifest-path examples/clients/rust/Cargo.toml
    buf format -w proto

# Fails if `just fmt` would change a Rust source; `just proto` does the same for the protos.
fmt-check:
    cargo fmt --all --check
    cargo fmt --manifest-path tests/sdk/rust/Cargo.toml --check
    cargo fmt --manifest-path examples/clients/rust/Cargo.toml --check

# Treats every warning of clippy and rustdoc as an error.
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --workspace --locked

# Checks the protos: style, format, and that no caller of the parent commit's protos breaks.
proto: && proto-breaking
    buf lint
    buf format --diff --exit-code proto

# Only our own module is compared; without `--exclude-imports` the vendored files would be too.
[private]
proto-breaking:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! git rev-parse --quiet --verify '{{ against }}^{commit}' >/dev/null; then
        echo "proto: breaking changes NOT checked: there is no commit {{ against }} here"
    elif ! git cat-file -e '{{ against }}:buf.yaml' 2>/dev/null ||
        ! git cat-file -e '{{ against }}:proto' 2>/dev/null; then
        echo "proto: breaking changes NOT checked: {{ against }} has no buf.yaml or no proto directory"
    else
        buf breaking proto --exclude-imports --against '.git#ref={{ against }},subdir=proto'
    fi

# Checks what we depend on: bans, licences, sources.
deny:
    cargo deny --locked check --hide-inclusion-graph bans licenses sources

# Checks our dependencies for known vulnerabilities. Not in CI: it needs the advisory database's host.
advisories:
    cargo deny --locked check advisories

# Runs every test; the PostgreSQL half is skipped where no server is installed.
test:
    cargo test --workspace --locked

# Runs the README's own test command, with the PostgreSQL half required, and with the servers that take
# log streams where this machine can have them.
test-all:
    #!/usr/bin/env bash
    set -euo pipefail
    just moto
    export AUDIT_LOGS_TEST_POSTGRES=required AUDIT_LOGS_TEST_DISK=required AUDIT_LOGS_TEST_S3=required
    if just receivers; then
        export AUDIT_LOGS_TEST_RECEIVERS=required
    else
        echo "rsyslog or the OpenTelemetry Collector cannot be installed: their tests are LEFT OUT"
    fi
    just readme-block test

# Lints and tests what only a build with the feature `kafka` has, against a broker.
kafka: receiver-kafka
    cargo clippy --all-targets --features kafka --locked -- -D warnings
    AUDIT_LOGS_TEST_RECEIVERS=required cargo test --features kafka --locked --lib --test it kafka::

# Puts the S3 server of the tests, pinned, into target/moto.
moto:
    #!/usr/bin/env bash
    set -euo pipefail
    pinned=tests/it/object_store/requirements.txt
    if ! cmp --silent "$pinned" target/moto/requirements.txt; then
        python3 -m venv target/moto
        target/moto/bin/pip install --quiet --disable-pip-version-check --requirement "$pinned"
        cp "$pinned" target/moto/requirements.txt
    fi

# rsyslog comes by apt-get, which needs root; the collector is built with go.
# Puts servers that take log streams, pinned, where the tests find them; `just kafka` does so with Kafka.
receivers: receiver-rsyslog receiver-collector

[private]
receiver-rsyslog:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! [[ -x /usr/sbin/rsyslogd && -e /usr/lib/$(uname -m)-linux-gnu/rsyslog/lmnsd_ossl.so ]]; then
        apt-get update --quiet || true
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends \
            rsyslog rsyslog-openssl
    fi

[private]
receiver-collector:
    cd tests/it/receivers/servers/collector && go build -mod=readonly -trimpath -buildvcs=false \
        -o {{ justfile_directory() }}/target/collector/collector .

# From Maven Central; needs Maven and a Java 17.
[private]
receiver-kafka:
    #!/usr/bin/env bash
    set -euo pipefail
    pinned=$PWD/tests/it/receivers/servers/kafka
    mkdir -p target/kafka
    cd target/kafka
    if ! cmp --silent "$pinned/jars.sha256" jars.sha256; then
        rm -rf lib
        mvn --quiet --batch-mode --file "$pinned/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$PWD/lib"
        # Every jar that is there, and no other.
        diff <(cd lib && sha256sum *.jar) "$pinned/jars.sha256"
        cp "$pinned/jars.sha256" .
    fi

# Checks Dockerfile, compose.yaml, the Kubernetes files and the systemd unit as far as no engine is needed.
deploy-lint: deploy-tools
    target/deploy-lint/bin/python deploy/lint.py

# Runs what compose.yaml says without a container engine, as root; it sends events through, and replaces the
# replicas one by one.
compose-by-hand: deploy-tools
    cargo build --workspace --locked --bin audit-logs
    target/deploy-lint/bin/python deploy/compose/by-hand.py

[private]
deploy-tools:
    #!/usr/bin/env bash
    set -euo pipefail
    pinned=deploy/requirements.txt
    if ! cmp --silent "$pinned" target/deploy-lint/requirements.txt; then
        python3 -m venv target/deploy-lint
        target/deploy-lint/bin/pip install --quiet --disable-pip-version-check --requirement "$pinned"
        cp "$pinned" target/deploy-lint/requirements.txt
    fi

# Appends what a new migration makes of the schema to migrations/schema; after a release that never changes.
record-schema:
    AUDIT_LOGS_TEST_POSTGRES=required AUDIT_LOGS_TEST_RECORD_SCHEMA=1 \
        cargo test --locked --test it upgrades::schema

# Breaks the service and its database in every way that the suite knows, 100 times each; the log says
# what was done and found. A seed makes the same random choices: `just torture 100 42`.
torture ROUNDS="100" SEED="":
    #!/usr/bin/env bash
    set -euo pipefail
    export AUDIT_LOGS_TEST_POSTGRES=required AUDIT_LOGS_TEST_DISK=required
    export AUDIT_LOGS_TEST_TORTURE_ROUNDS={{ ROUNDS }}
    if [[ -n '{{ SEED }}' ]]; then export AUDIT_LOGS_TEST_TORTURE_SEED='{{ SEED }}'; fi
    cargo test --locked --test it torture:: -- --nocapture --skip torture::teeth

# Kills the service and takes its receiver away, so many times, while events are recorded; tells how many
# arrived again.
torture-streams ROUNDS="200":
    AUDIT_LOGS_TEST_POSTGRES=required AUDIT_LOGS_TEST_STREAM_ROUNDS={{ ROUNDS }} \
        cargo test --locked --test it log_streams::kills -- --nocapture

# Feeds each decoder with what libFuzzer makes up, for that many seconds. Needs
# `cargo install cargo-fuzz` and a C++ compiler; without sanitizers a stable toolchain will do.
fuzz SECONDS="60" *TARGETS="create_event evidence rest_request stored_event":
    for target in {{ TARGETS }}; do \
        cargo fuzz run --sanitizer none "$target" -- -max_total_time={{ SECONDS }}; \
    done

# The property tests alone, with so many cases each.
properties CASES="20000":
    PROPTEST_CASES={{ CASES }} cargo test --locked --test it properties::

# A real server at half of what it can, restarted now and then; writes docs/soak-<engine>.svg and .json.
soak MINUTES="60" ENGINE="sqlite":
    cargo build --release --locked --bin audit-logs
    python3 scripts/soak.py {{ MINUTES }} {{ ENGINE }}

# Runs the README's own command for the main job. CI runs it, so the README cannot be wrong.
readme-run: (readme-block "run")

# The command is read from the README, not copied: so the block must not name the recipe that runs it.
[private]
readme-block NAME:
    #!/usr/bin/env bash
    set -euo pipefail
    command=$(scripts/readme-block.sh '{{ NAME }}')
    printf 'README.md, block "{{ NAME }}":\n%s\n\n' "$command"
    bash -euo pipefail -c "$command"

# Shows the main job, on a fresh SQLite database.
demo:
    cargo run --release --locked -- demo

# Runs the README's grpcurl session against a real server.
grpcurl-session:
    bash scripts/readme-session.sh

# Runs the official WorkOS SDKs, as their registries have them, against a real server on both engines;
# `just sdk python java` runs some. tests/sdk/README.md says what they check.
sdk *ARGS:
    cargo build --workspace --locked --bin audit-logs
    python3 tests/sdk/run.py {{ ARGS }}

# `just clients go java` runs some, `--show` prints what they print; examples/clients/README.md says more.
# Builds the example clients of five languages and runs each against a real server.
clients *ARGS:
    cargo build --workspace --locked --bin audit-logs
    python3 examples/clients/run.py {{ ARGS }}

# Installs the pinned plug-ins that buf.gen.yaml names, so that `buf generate` works.
clients-plugins:
    python3 examples/clients/run.py --install

# Shows that an export takes constant memory; a PostgreSQL URL may follow the number of events.
export-memory EVENTS="1000000" *URL:
    cargo build --release --locked --bins --example export_memory
    target/release/examples/export_memory {{ EVENTS }} {{ URL }}

# Measures the service beside its peers: `just bench --help`; `--output docs` writes docs/performance.md.
bench *ARGS:
    cargo build --release --locked --bin audit-logs
    target/release/audit-logs bench {{ ARGS }}

# Starts the server; arguments are handed on: `just run --help`.
run *ARGS:
    cargo run --locked -- {{ ARGS }}

# Does exactly what CI does.
ci:
    bash .ci/run
