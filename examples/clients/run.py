#!/usr/bin/env python3
"""Builds the example clients and runs each against a real server: `examples/clients/run.py`.

README.md beside this file says what is checked. Needs the program (`cargo build`), buf and python3;
the languages that the machine does not have are named and left out.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from languages import CLIENTS, HERE, ROOT, Client, run

from engines import KEY, Server  # in tests/sdk, where `languages` has told Python to look

CACHE = ROOT / "target/clients"
"""Where everything is installed, generated and built; buf.gen.yaml names it too."""
CLIENT_SECONDS = 120
AT_ONCE = 2
ORGANIZATION = "org_acme"
EVENTS_BEFORE = 14
"""How many events the log has when a client comes: more than the 10 that it looks back."""


@dataclass
class Told:
    """What came of one client."""

    name: str
    versions: str = "unknown versions"
    passed: int = 0
    complaints: list[str] = field(default_factory=list)
    output: str = ""
    seconds: float = 0

    def check(self, what: str, right: bool):
        if right:
            self.passed += 1
        else:
            self.complaints.append(f"not ok - {what}")


def main() -> int:
    arguments = parse_arguments()
    binary = arguments.binary.resolve()
    if not (arguments.install or binary.is_file()):
        sys.exit(f"{binary} is not there: run `cargo build` first, or name another with --binary")
    os.environ["PATH"] = f"{ROOT / 'tools/bin'}{os.pathsep}{os.environ['PATH']}"
    CACHE.mkdir(parents=True, exist_ok=True)

    clients, left_out = choose(arguments.languages)
    ready, broken = each(clients, lambda client: client.story.prepare(CACHE))
    if not arguments.install:
        generate(ready)
        built, unbuilt = each(ready, lambda client: client.build(CACHE / client.story.name))
        broken |= unbuilt
    failures, passed = len(broken), 0
    for name, why in broken.items():
        print(f"{name}: NOT BUILT: {why}")
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    if arguments.install:
        return 1 if failures else 0
    wanted = arguments.languages or [client.story.name for client in built]
    built = [client for client in built if client.story.name in wanted]
    for told in visit_all(built, binary):
        failures, passed = failures + len(told.complaints), passed + told.passed
        report(told, arguments.show)
    print(f"{passed} passed, {failures} failed")
    return 1 if failures or not passed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE",
                        help="such as go (default: every one)")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/debug/audit-logs")
    parser.add_argument("--install", action="store_true",
                        help="only install the generators, for `buf generate`")
    parser.add_argument("--show", action="store_true", help="print what the clients print")
    return parser.parse_args()


def choose(wanted: list[str]) -> tuple[list[Client], dict[str, str]]:
    """The clients that can be built here, and why others are not."""
    known = [client.story.name for client in CLIENTS]
    if unknown := set(wanted) - set(known):
        sys.exit(f"there is no client in {' or '.join(unknown)}; there are {', '.join(known)}")
    chosen, left_out = [], {}
    for client in CLIENTS:
        # The proxy between client and server is written in Python, so that is always there.
        if wanted and client.story.name not in [*wanted, "python"]:
            continue
        if missing := client.story.missing():
            left_out[client.story.name] = missing
        else:
            chosen.append(client)
    return chosen, left_out


def each(clients: list[Client], work) -> tuple[list[Client], dict[str, str]]:
    """Does something for every client: for which it went well, and what went wrong for the others."""
    done, broken = [], {}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        # What takes longest goes first.
        jobs = {client.story.name: pool.submit(work, client) for client in clients[::-1]}
    for client in clients:
        try:
            jobs[client.story.name].result()
            done.append(client)
        except (RuntimeError, OSError) as error:
            broken[client.story.name] = str(error)
    return done, broken


def generate(clients: list[Client]):
    """Runs `buf generate`, with the plug-ins of the languages that are there."""
    head, plugins = (ROOT / "buf.gen.yaml").read_text().split("plugins:\n")
    entries = re.split(r"^(?=  - )", plugins, flags=re.MULTILINE)[1:]
    folders = [f"out: target/clients/{client.story.name}/gen\n" for client in clients]
    kept = [entry for entry in entries if any(folder in entry for folder in folders)]
    template = CACHE / "buf.gen.yaml"
    template.write_text(f"{head}plugins:\n{''.join(kept)}")
    try:
        run("buf", "generate", "--clean", "--template", template, cwd=ROOT)
    except (RuntimeError, OSError) as error:
        sys.exit(f"nothing was generated (scripts/install-tools.sh installs buf): {error}")


def visit_all(clients: list[Client], binary: Path):
    with tempfile.TemporaryDirectory(prefix="audit-logs-clients") as scratch:
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(lambda client: visit(client, binary, Path(scratch)), clients)


def visit(client: Client, binary: Path, scratch: Path) -> Told:
    """Starts a server with an empty database and a proxy before it, and runs a client against them."""
    start = time.monotonic()
    told = Told(client.story.name)
    server = Server(binary, scratch / told.name, None)
    try:
        fill(server.url)
        file = scratch / f"{told.name}.csv"
        with faulty_proxy(server.url) as proxy:
            address = f"http://127.0.0.1:{proxy.stdout.readline().strip()}"
            try:
                output = call(client, address, KEY, file)
            finally:
                proxy.terminate()
        judge(told, output, server.url, file)
        turned_away = call(client, server.url, "sk_wrong", file)
        told.check(f"a wrong key ends it with 1 and is told: {turned_away.stderr}",
                   turned_away.returncode == 1 and "unauthenticated" in turned_away.stderr.lower())
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        told.complaints.append(f"ended early: {error}\n{server.log_tail()}")
    finally:
        told.check("the server ends in good order", server.stop() == 0)
    shutil.rmtree(scratch / told.name)
    told.seconds = time.monotonic() - start
    return told


def faulty_proxy(url: str) -> subprocess.Popen:
    python = CACHE / "python"
    return subprocess.Popen(
        [python / "venv/bin/python", HERE / "faulty_proxy.py", python / "gen",
         url.removeprefix("http://")],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )


def call(client: Client, address: str, key: str, file: Path) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AUDIT_LOGS_")}
    environment |= {
        "AUDIT_LOGS_SERVER": address,
        "AUDIT_LOGS_API_KEY": key,
        "AUDIT_LOGS_ORGANIZATION": ORGANIZATION,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    return subprocess.run(
        [*client.story.command, file], cwd=CACHE / client.story.name, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=CLIENT_SECONDS,
    )


def judge(told: Told, done: subprocess.CompletedProcess, url: str, file: Path):
    """Holds what the client printed, wrote and stored against what it should have."""
    told.output = done.stdout + done.stderr
    told.check(f"it ends with 0, not {done.returncode}", done.returncode == 0)
    if versions := re.search(r"^client: (.+)$", done.stdout, re.MULTILINE):
        told.versions = versions[1]
    # How a language writes a boolean is its own.
    lines = done.stdout.lower().splitlines()
    own = EVENTS_BEFORE
    event = re.compile(f"event: (audit_event_[0-9a-z]+) is at sequence {own}, duplicate: true").fullmatch
    ids = [found[1] for found in map(event, lines) if found]
    told.check("the retry finds the event that its first attempt stored", len(ids) == 1)
    told.check("the schema is there", "schema: document.signed version 1, new: true" in lines)
    told.check("the reason of the refusal is read",
               "refused: invalid_audit_log_event of auditlogs" in lines)
    field_path = "refused: event.targets[0].metadata.pages: schema_mismatch: "
    told.check("the field that is wrong is read", any(line.startswith(field_path) for line in lines))
    watched = [int(n) for line in lines for n in re.findall(r"^watch: sequence (\d+) is ", line)]
    told.check(f"every event comes by once: {watched}", watched == list(range(own - 10, own + 1)))
    told.check("the watch is resumed where it was cut",
               f"watch: ended with unavailable, resuming at sequence {own - 6}" in lines)
    told.check("the export is ready", f"export: export_state_ready, {own + 1} rows" in lines)
    rows = file.read_text().lower().splitlines()[1:] if file.is_file() else []
    told.check("the file has the event", bool(ids) and sum(ids[0] in row for row in rows) == 1)
    stored = get(f"{url}/v1/events?organization_id={ORGANIZATION}&limit=100")["data"]
    told.check(f"the log has {own + 1} events, not {len(stored)}", len(stored) == own + 1)


def fill(url: str):
    """Records events before the client's own, so that there is something to watch."""
    get(f"{url}/audit_logs/actions/document.read/schemas", {"targets": [{"type": "document"}]})
    for number in range(EVENTS_BEFORE):
        get(f"{url}/audit_logs/events", {
            "organization_id": ORGANIZATION,
            "event": {
                "action": "document.read",
                "occurred_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "actor": {"id": f"user_{number}", "type": "user"},
                "targets": [{"id": "doc_1", "type": "document"}],
                "context": {"location": "203.0.113.9"},
            },
        })


def get(url: str, body: dict | None = None) -> dict:
    request = urllib.request.Request(
        url, data=json.dumps(body).encode() if body else None,
        headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=CLIENT_SECONDS) as response:
        return json.load(response)


def report(told: Told, show: bool):
    state = f"{told.passed} checks passed"
    if told.complaints:
        state += f", {len(told.complaints)} FAILED"
    print(f"{told.name} ({told.versions}): {state} ({told.seconds:.1f} s)", flush=True)
    for complaint in told.complaints:
        print(f"    {complaint}")
    if show or told.complaints:
        for line in told.output.splitlines():
            print(f"    {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
