"""Runs what compose.yaml says on a machine without container engine: the same commands with the same environment,
each service at a loopback address of its own in place of its network name. Then an event goes through: schema and
event by one replica, read, exported and downloaded by the other; each replica is replaced in turn under load;
`verify database` has the last word.

`just compose-by-hand` builds the program first. Needs PostgreSQL's programs, openssl and, to become the container's
user, root. The collector is that of `just receivers`; without it, it is left out.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "target/debug/audit-logs"
COLLECTOR = ROOT / "target/collector/collector"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
# The container's user, as the Dockerfile has it.
USER = 65532
PATIENCE = 60

# The address of each service: 127.0.53.2 and on.
ADDRESSES = {name: f"127.0.53.{number}" for number, name in enumerate(COMPOSE["services"], 2)}
running = {}


def say(*words):
    print(f"{time.monotonic() - START:6.2f}s ", *words, flush=True)


START = time.monotonic()


def directory():
    """Where containers would have their files: secrets, volumes, configs."""
    made = Path(tempfile.mkdtemp(prefix="audit-logs-compose-"))
    made.chmod(0o755)
    secrets = made / "secrets"
    subprocess.run([ROOT / "deploy/compose/make-secrets.sh", secrets], check=True)
    # As bind mounts: whoever may read the file finds it, whoever owns the directory.
    (made / "run/secrets").mkdir(parents=True)
    for name, entry in COMPOSE["secrets"].items():
        shutil.copy(secrets / Path(entry["file"]).name, made / "run/secrets" / name)
    volume = made / "var/lib/audit-logs"
    volume.mkdir(parents=True)
    os.chown(volume, USER, USER)
    volume.chmod(0o700)
    url = made / "run/secrets/database_url"
    url.write_text(named(url.read_text()))
    return made


def named(text):
    """With addresses in place of the names of the network, and of the ports that are published."""
    for name, address in ADDRESSES.items():
        text = re.sub(rf"(//|@){name}\b", rf"\g<1>{address}", text)
    return text.replace("localhost:50051", f"{ADDRESSES['audit-logs-1']}:50051")


def image_environment():
    """ENV of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text().split("\nENV AUDIT_LOGS", 1)[1]
    return dict(re.findall(r"(AUDIT_LOGS_\w+)=(\S+)", "AUDIT_LOGS" + text))


def environment(name, base):
    service = COMPOSE["services"][name]
    merged = image_environment() | service.get("environment", {})
    values = {}
    for key, value in merged.items():
        # ${NAME:-default}, as compose has it.
        value = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value))
        value = named(value).replace("0.0.0.0", ADDRESSES[name])
        for place in ("/run/secrets", "/var/lib/audit-logs"):
            value = value.replace(place, f"{base}{place}")
        values[key] = value
    return values


def as_container(command):
    """Without rights, as cap_drop, no-new-privileges and USER say."""
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs",
            "--bounding-set=-all", "--inh-caps=-all", *map(str, command)]


def start(name, command, variables, base):
    log = open(base / f"{name}.log", "ab")
    running[name] = subprocess.Popen(command, env=variables, cwd=base, stdout=log, stderr=log)


def stop(name, number=signal.SIGTERM):
    process = running.pop(name)
    process.send_signal(number)
    return process.wait(PATIENCE)


def until(what, look):
    end = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > end:
            raise SystemExit(f"this did not happen: {what}")
        time.sleep(0.05)
    say(what)


def postgres(base):
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
    service = COMPOSE["services"]["postgres"]["environment"]
    data = base / "postgres"
    data.mkdir()
    password = base / "postgres_password"
    shutil.copy(base / "run/secrets/postgres_password", password)
    for path in (data, password):
        shutil.chown(path, "postgres", "postgres")
    drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    # As the image's entrypoint does on an empty volume.
    subprocess.run([*drop, binaries / "initdb", "-D", data, f"--username={service['POSTGRES_USER']}",
                    f"--pwfile={password}", "--auth=scram-sha-256"], check=True, capture_output=True)
    start("postgres", [*drop, binaries / "postgres", "-D", str(data), "-c", f"unix_socket_directories={data}",
                       "-c", f"listen_addresses={ADDRESSES['postgres']}"], {}, base)
    test = COMPOSE["services"]["postgres"]["healthcheck"]["test"][1:]
    test = [binaries / test[0], *(part.replace("127.0.0.1", ADDRESSES["postgres"]) for part in test[1:])]
    until("postgres is healthy", lambda: subprocess.run(test, capture_output=True).returncode == 0)
    secret = {"PGPASSWORD": password.read_text().strip()}
    subprocess.run([binaries / "createdb", "-h", ADDRESSES["postgres"], "-U", service["POSTGRES_USER"],
                    service["POSTGRES_DB"]], env=secret, check=True)


def collector(base):
    """The collector of the tests has another exporter, and takes no metrics."""
    if not COLLECTOR.exists():
        return say("collector LEFT OUT: `just receivers` builds it")
    file = ROOT / COMPOSE["configs"]["collector"]["file"]
    config = yaml.safe_load(file.read_text().replace("0.0.0.0", ADDRESSES["collector"]))
    config["exporters"] = {"lines": {"path": str(base / "telemetry")}}
    pipelines = config["service"]["pipelines"]
    for signals in (["traces", "logs"], ["logs"]):
        config["service"]["pipelines"] = {s: pipelines[s] | {"exporters": ["lines"]} for s in signals}
        (base / "collector.yaml").write_text(yaml.safe_dump(config))
        start("collector", [COLLECTOR, "--config", base / "collector.yaml"], {}, base)
        end = time.monotonic() + 10
        while running["collector"].poll() is None and time.monotonic() < end:
            with socket.socket() as connection:
                if connection.connect_ex((ADDRESSES["collector"], 4317)) == 0:
                    return say("the collector takes", " and ".join(signals))
            time.sleep(0.05)
    raise SystemExit((base / "collector.log").read_text())


def replica(name, base):
    variables = environment(name, base)
    command = as_container([PROGRAM, *COMPOSE["services"][name]["command"]])
    start(name, command, variables, base)
    server = {"AUDIT_LOGS_SERVER": f"http://{ADDRESSES[name]}:50051"}
    # HEALTHCHECK of the Dockerfile.
    check = [PROGRAM, "health"]
    until(f"{name} is healthy",
          lambda: subprocess.run(check, env=server, capture_output=True).returncode == 0)


def call(name, path, key, body=None):
    url = path if path.startswith("http") else f"http://{ADDRESSES[name]}:50051{path}"
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {key}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith("{") else text


def an_event(number):
    return {
        "organization_id": "org_acme",
        "event": {
            "action": "document.signed",
            "occurred_at": "2026-11-21T09:30:00Z",
            "actor": {"id": f"user_{number}", "type": "user"},
            "targets": [{"id": "doc_1", "type": "document"}],
            "context": {"location": "203.0.113.9"},
        },
    }


def an_event_goes_through(key):
    schema = {"targets": [{"type": "document"}]}
    call("audit-logs-1", "/audit_logs/actions/document.signed/schemas", key, schema)
    call("audit-logs-1", "/audit_logs/events", key, an_event(0))
    seen = call("audit-logs-2", "/v1/events?organization_id=org_acme", key)["data"]
    say("written by audit-logs-1, read by audit-logs-2:", seen[0]["id"])
    made = call("audit-logs-2", "/audit_logs/exports", key, {
        "organization_id": "org_acme", "range_start": "2026-11-01T00:00:00Z", "range_end": "2026-12-01T00:00:00Z"})
    export = {}

    def ready():
        export.update(call("audit-logs-1", f"/audit_logs/exports/{made['id']}", key))
        return export["state"] == "ready"

    until("the export is ready", ready)
    text = call("audit-logs-1", export["url"], key)
    say("downloaded:", text.splitlines()[1][:80], "...")


def replacement_under_load(key, base):
    """Callers that try the other replica when one fails, while each is stopped and started."""
    done, answers, stopped = threading.Event(), [], []

    def caller(first):
        names, number = ["audit-logs-1", "audit-logs-2"], first
        while not done.is_set():
            body = an_event(number)
            for name in (names[number % 2], names[1 - number % 2], names[number % 2]):
                try:
                    call(name, "/audit_logs/events", key, body)
                    answers.append(True)
                    break
                except OSError:
                    continue
            else:
                answers.append(False)
            number += 4

    callers = [threading.Thread(target=caller, args=(first,)) for first in range(1, 5)]
    for thread in callers:
        thread.start()
    for name in ("audit-logs-1", "audit-logs-2"):
        begin = time.monotonic()
        stopped.append(stop(name))
        say(f"{name} stopped with exit code {stopped[-1]} after {time.monotonic() - begin:.2f} s")
        replica(name, base)
    done.set()
    for thread in callers:
        thread.join()
    say(f"{len(answers)} events meanwhile, {answers.count(False)} of them failed")
    assert answers and all(answers) and stopped == [0, 0]
    return len(answers)


def main():
    base = directory()
    try:
        for name in COMPOSE["services"]:
            say(f"{name}: {ADDRESSES[name]}")
        key = (base / "run/secrets/bootstrap_api_key").read_text().strip()
        postgres(base)
        collector(base)
        migrate = as_container([PROGRAM, *COMPOSE["services"]["migrate"]["command"]])
        said = subprocess.run(migrate, env=environment("migrate", base), cwd=base, capture_output=True, text=True)
        say("migrate:", said.stdout.strip() or said.stderr.strip(), f"(exit code {said.returncode})")
        assert said.returncode == 0
        for name in ("audit-logs-1", "audit-logs-2"):
            replica(name, base)
        an_event_goes_through(key)
        events = replacement_under_load(key, base) + 1
        for name in ("audit-logs-1", "audit-logs-2"):
            assert stop(name) == 0
        verify = as_container([PROGRAM, "verify", "database"])
        said = subprocess.run(verify, env=environment("migrate", base), cwd=base, capture_output=True, text=True)
        say(said.stdout.strip())
        assert said.returncode == 0 and int(re.search(r"(\d+) events", said.stdout)[1]) >= events
        if (base / "telemetry").exists():
            say("the collector got", (base / "telemetry").stat().st_size, "bytes")
        say("passed")
    except BaseException:
        for log in base.glob("*.log"):
            print(f"--- {log.name}\n{log.read_text()[-2000:]}", file=sys.stderr)
        raise
    finally:
        # PostgreSQL last, and at once.
        for name in sorted(running, key=lambda name: name == "postgres"):
            stop(name, signal.SIGINT)
        shutil.rmtree(base)


main()
