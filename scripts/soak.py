#!/usr/bin/env python3
"""Runs a real server for a long time at half of what it can, and restarts it now and then.

`just soak MINUTES [sqlite|postgres]`. Writers, readers, exports, followers of a log and a log stream to a
receiver of its own keep the server busy. During the first two thirds it is ended at random moments, by
SIGTERM or by `kill -9`, and started again; the last third is one life, of which memory and file descriptors
must stay flat. At the end each acknowledged event must be in its log, once and in the place that was told,
and `audit-logs verify database` must pass. Standard library only.

Writes docs/soak-<engine>.svg and .json; the samples of each second go to target/soak/<engine>.csv.
"""

import argparse, base64, csv, glob, http.client, http.server, json, os, pwd, random, shutil, signal
import socket, sqlite3, subprocess, sys, tempfile, threading, time
from datetime import datetime, timezone

KEY = "sk_soak_0123456789abcdefghijklmnopqrstuvwxyz"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
ORGANIZATIONS = 8
WRITERS = 4
BATCH = 20
CALIBRATION = 20  # seconds at full load
SETTLING = 60  # seconds of the last life that are not counted
MOST_GROWTH = 8.0  # MiB an hour of resident memory, by the fit
TERM_PATIENCE = 30


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Postgres:
    """A server of our own, with the defaults, fsync among them."""

    def __init__(self, directory):
        binaries = shutil.which("initdb") or sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))[-1]
        self.binaries = os.path.dirname(os.path.realpath(binaries))
        self.user = "postgres" if os.geteuid() == 0 else None
        self.data, self.port = os.path.join(directory, "postgres"), free_port()
        os.mkdir(self.data)
        if self.user:
            os.chmod(directory, 0o755)
            owner = pwd.getpwnam(self.user)
            os.chown(self.data, owner.pw_uid, owner.pw_gid)
        self.run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "-D", self.data)
        options = f"-c port={self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.data}"
        self.run("pg_ctl", "-w", "-D", self.data, "-l", f"{self.data}/log", "-o", options, "start")
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def run(self, program, *arguments):
        command = [os.path.join(self.binaries, program), *arguments]
        return subprocess.run(command, user=self.user, cwd="/", check=True, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout

    def rows(self, sql):
        told = self.run("psql", "-At", "-F", "\t", "-c", sql, self.url)
        return [line.split("\t") for line in told.splitlines()]

    def stop(self):
        self.run("pg_ctl", "-w", "-D", self.data, "-m", "fast", "stop")


class Sqlite:
    def __init__(self, directory):
        self.file = os.path.join(directory, "audit-logs.db")
        self.url = f"sqlite://{self.file}"

    def rows(self, sql):
        with sqlite3.connect(self.file) as database:
            return database.execute(sql).fetchall()

    def stop(self):
        pass


class Receiver(http.server.ThreadingHTTPServer):
    """Takes what the log stream sends, and counts it."""

    daemon_threads = True

    def __init__(self):
        self.seen, self.requests, self.guard = set(), 0, threading.Lock()
        super().__init__(("127.0.0.1", 0), Taker)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        """A server that was killed resets its connections."""


class Taker(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        events = json.loads(body)
        with self.server.guard:
            self.server.requests += 1
            self.server.seen.update(event["event"]["id"] for event in events)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Service:
    """The server, its lives, and the program beside it."""

    def __init__(self, binary, directory, database):
        self.binary, self.directory, self.address = os.path.abspath(binary), directory, ("127.0.0.1", free_port())
        self.environment = {
            "AUDIT_LOGS_LISTEN": "%s:%d" % self.address,
            "AUDIT_LOGS_DATA_DIR": directory,
            "AUDIT_LOGS_DATABASE_URL": database.url,
            "AUDIT_LOGS_BOOTSTRAP_API_KEY": KEY,
            "AUDIT_LOGS_LOG_STREAMS_ALLOW_HTTP": "true",
            "AUDIT_LOGS_LOG_STREAMS_ALLOWED_NETWORKS": "127.0.0.0/8",
            "AUDIT_LOGS_SECRETS_KEY": base64.b64encode(bytes(range(32))).decode(),
            "RUST_LOG": "warn",
        }
        self.log = open(os.path.join(directory, "serve.log"), "ab")
        self.process, self.ready_after, self.dirty = None, [], 0
        self.start()

    def start(self):
        begun = time.monotonic()
        self.process = subprocess.Popen([self.binary, "serve", "--migrate"], env=self.environment,
                                        cwd=self.directory, stdout=self.log, stderr=self.log)
        while True:
            try:
                if call(self.address, "GET", "/readyz", timeout=2)[0] == 200:
                    break
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() - begun > 60:
                sys.exit("the server did not start: " + open(self.log.name).read()[-2000:])
            time.sleep(0.01)
        self.born = time.monotonic()
        self.ready_after.append(self.born - begun)

    def end(self, how):
        self.process.send_signal(how)
        begun = time.monotonic()
        code = self.process.wait(TERM_PATIENCE + 5)
        if how == signal.SIGTERM and code != 0:
            self.dirty += 1
        return time.monotonic() - begun

    def sample(self):
        """Resident memory in MiB, threads, file descriptors."""
        status = dict(line.split(":", 1) for line in open(f"/proc/{self.process.pid}/status"))
        descriptors = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        return int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), descriptors


def call(address, method, path, body=None, timeout=60, connection=None):
    """One request; its status and JSON."""
    link = connection or http.client.HTTPConnection(*address, timeout=timeout)
    try:
        link.request(method, path, None if body is None else json.dumps(body), HEADERS)
        answer = link.getresponse()
        content = answer.read()
        return answer.status, json.loads(content) if content[:1] in b"{[" and content else None
    finally:
        if connection is None:
            link.close()


class Load:
    """Everybody who calls."""

    def __init__(self, service):
        self.service, self.guard, self.over = service, threading.Lock(), threading.Event()
        self.acknowledged, self.doubled, self.wrong = {}, 0, []
        self.latencies, self.retries, self.reads, self.exports = [], 0, 0, 0
        self.rate = None  # batches a second of all writers, or as fast as it goes
        self.threads = []

    def begin(self):
        workers = [(self.write, number) for number in range(WRITERS)] + [(self.read, 0), (self.export, 0)]
        for work, number in workers:
            thread = threading.Thread(target=work, args=(number,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join(120)
            if thread.is_alive():
                self.wrong.append("a caller hangs")

    def persistently(self, method, path, body, connection):
        """Calls until there is an answer; tells whether it came at the first attempt."""
        first = True
        while True:
            try:
                if connection[0] is None:
                    connection[0] = http.client.HTTPConnection(*self.service.address, timeout=60)
                status, answer = call(None, method, path, body, connection=connection[0])
                if status < 300:
                    return answer, first
                if status not in (429, 503):
                    self.wrong.append(f"{method} {path}: {status} {answer}")
                    return None, first
            except (OSError, http.client.HTTPException):
                if connection[0]:
                    connection[0].close()
                connection[0] = None
            first = False
            with self.guard:
                self.retries += 1
            time.sleep(0.05)

    def write(self, number):
        connection, count, due = [None], 0, time.monotonic()
        dice = random.Random(number)
        while not self.over.is_set():
            if self.rate:
                due = max(due + WRITERS / self.rate, time.monotonic() - 1)
                time.sleep(max(0, due - time.monotonic()))
            requests = [event(dice, f"{number}-{count}-{item}") for item in range(BATCH)]
            count += 1
            begun = time.monotonic()
            answer, first = self.persistently("POST", "/v1/events:batch", {"requests": requests}, connection)
            elapsed = time.monotonic() - begun
            with self.guard:
                if first:
                    self.latencies.append(elapsed)
                for request, result in zip(requests, (answer or {}).get("results", [])):
                    self.enter(request, result, first)

    def enter(self, request, result, first):
        if result.get("status") != 200:
            # Part of a batch that met an outage: sent again, alone.
            self.wrong.append(f"{result}") if result.get("status") not in (429, 503) else None
            answer, _ = self.persistently("POST", "/v1/events:batch", {"requests": [request]}, [None])
            return self.enter(request, answer["results"][0], False) if answer else None
        if result["duplicate"] and first:
            self.doubled += 1
        place = (request["organization_id"], int(result["sequence"]))
        if self.acknowledged.setdefault(result["event_id"], place) != place:
            self.wrong.append(f"{result['event_id']} has two places")

    def read(self, _):
        connection, dice = [None], random.Random(7)
        while not self.over.wait(0.05):
            organization = f"org_{dice.randrange(ORGANIZATIONS)}"
            path = f"/v1/events?organization_id={organization}&limit=50"
            self.persistently("GET", path, None, connection)
            self.reads += 1

    def export(self, _):
        connection = [None]
        while not self.over.wait(20):
            body = {"organization_id": "org_0", "range_start": "2026-01-01", "range_end": "2100-01-01"}
            answer, _ = self.persistently("POST", "/audit_logs/exports", body, connection)
            while answer and answer["state"] == "pending" and not self.over.wait(0.5):
                path = f"/audit_logs/exports/{answer['id']}"
                answer, _ = self.persistently("GET", path, None, connection)
            if answer and answer["state"] == "error":
                self.wrong.append(f"export: {answer}")
            self.exports += 1


def event(dice, name):
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "organization_id": f"org_{dice.randrange(ORGANIZATIONS)}",
        "idempotency_key": name,
        "event": {
            "action": "doc.read", "occurred_at": now,
            "actor": {"id": f"usr_{dice.randrange(500)}", "type": "user", "name": "Mira Voss"},
            "targets": [{"id": f"doc_{dice.randrange(5000)}", "type": "document"}],
            "context": {"location": "203.0.113.9", "user_agent": "Firefox/131"},
            "metadata": {"name": name, "note": "x" * dice.randrange(200)},
        },
    }


def prepare(service, receiver):
    schema = {"targets": [{"type": "document"}]}
    assert call(service.address, "POST", "/audit_logs/actions/doc.read/schemas", schema)[0] == 201
    first = {"requests": [dict(event(random, f"first {n}"), organization_id=f"org_{n}")
                          for n in range(ORGANIZATIONS)]}
    results = call(service.address, "POST", "/v1/events:batch", first)[1]["results"]
    stream = {"organization_id": "org_0", "name": "soak", "type": "GenericHttps",
              "config": {"url": f"http://127.0.0.1:{receiver.server_port}/", "format": "json"}}
    status, created = call(service.address, "POST", "/v1/log_streams", stream)
    assert status == 201, created
    return [(item["organization_id"], result) for item, result in zip(first["requests"], results)]


def follow(service):
    """`audit-logs tail`, which resumes by itself."""
    url = "http://%s:%d" % service.address
    followers = []
    for organization in ("org_1", "org_2"):
        command = [service.binary, "tail", "--server", url, "--api-key", KEY, "--organization", organization]
        followers.append(subprocess.Popen(command, cwd=service.directory, stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL))
    return followers


class Sampler(threading.Thread):
    """Writes down each second what the server takes and how it answers."""

    COLUMNS = ["second", "life", "age", "rss_mib", "threads", "fds", "events", "p50_ms", "p99_ms", "retries"]

    def __init__(self, service, load, file):
        super().__init__(daemon=True)
        self.service, self.load, self.rows, self.marks = service, load, [], []
        self.file, self.begun = file, time.monotonic()

    def run(self):
        with open(self.file, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(self.COLUMNS)
            before, retries = 0, 0
            while not self.load.over.wait(1):
                with self.load.guard:
                    latencies, self.load.latencies = sorted(self.load.latencies), []
                    events, tried = len(self.load.acknowledged), self.load.retries
                try:
                    memory, threads, descriptors = self.service.sample()
                except (OSError, KeyError, ValueError):
                    continue  # between two lives
                at = lambda part: round(1000 * latencies[int(part * (len(latencies) - 1))], 2) if latencies else ""
                now = time.monotonic()
                row = [round(now - self.begun, 1), len(self.service.ready_after), round(now - self.service.born, 1),
                       round(memory, 2), threads, descriptors, events - before, at(0.5), at(0.99), tried - retries]
                before, retries = events, tried
                self.rows.append(row)
                writer.writerow(row)
                file.flush()


def slope(points):
    """Of the line of least squares, per unit of x."""
    count = len(points)
    if count < 2:
        return 0.0
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def draw(rows, marks, title, file):
    """Four panels over time, as SVG."""
    width, height, left = 960, 150, 70
    panels = [("resident memory, MiB", 3), ("file descriptors", 5), ("threads", 4),
              ("events a second", 6), ("p99 of a batch, ms", 8)]
    end = rows[-1][0]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width + left + 20} {len(panels) * (height + 40) + 50}" '
             'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
             f'<text x="{left}" y="20" font-size="15">{title}</text>'
             f'<text x="{left}" y="38" fill="#666">a dashed line is a restart: grey by SIGTERM, red by kill -9</text>']
    for index, (name, column) in enumerate(panels):
        top = 60 + index * (height + 40)
        values = [(row[0], row[column]) for row in rows if row[column] != ""]
        most = max(value for _, value in values) * 1.1 or 1
        x = lambda second: left + width * second / end
        y = lambda value: top + height - height * value / most
        parts.append(f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#999"/>')
        parts.append(f'<text x="{left + 4}" y="{top - 5}">{name}</text>')
        for part in (0, 0.5, 1):
            parts.append(f'<text x="{left - 6}" y="{y(most * part) + 4:.0f}" text-anchor="end">{most * part:.0f}</text>')
        for second, how in marks:
            colour = "#aaa" if how == signal.SIGTERM else "#d66"
            parts.append(f'<path d="M{x(second):.1f} {top}v{height}" stroke="{colour}" stroke-dasharray="3 3"/>')
        step = max(1, len(values) // 1200)
        line = " ".join(f"{x(second):.1f},{y(value):.1f}" for second, value in values[::step])
        parts.append(f'<polyline points="{line}" fill="none" stroke="#246"/>')
        for minute in range(0, int(end // 60) + 1, max(1, int(end // 600))):
            parts.append(f'<text x="{x(minute * 60):.0f}" y="{top + height + 14}" text-anchor="middle" fill="#666">{minute} min</text>')
    parts.append("</svg>")
    with open(file, "w") as out:
        out.write("\n".join(parts) + "\n")


def check(service, load, database, first):
    """What was acknowledged against what is stored."""
    for organization, result in first:
        load.acknowledged[result["event_id"]] = (organization, int(result["sequence"]))
    stored = {row[0]: (row[1], int(row[2])) for row in
              database.rows("SELECT id, organization_id, sequence FROM events WHERE organization_id LIKE 'org~_%' ESCAPE '~'")}
    lost = [id for id, place in load.acknowledged.items() if stored.get(id) != place]
    unknown = [id for id in stored if id not in load.acknowledged]
    return stored, lost, unknown


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("minutes", type=float)
    options.add_argument("engine", nargs="?", choices=["sqlite", "postgres"], default="sqlite")
    options.add_argument("--binary", default="target/release/audit-logs")
    options.add_argument("--output", default="docs")
    options.add_argument("--seed", type=int, default=None)
    options = options.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    dice = random.Random(seed)
    print(f"soak: {options.engine}, {options.minutes:g} minutes, seed {seed}", flush=True)
    directory = tempfile.mkdtemp(prefix="audit-logs-soak-")
    database = Postgres(directory) if options.engine == "postgres" else Sqlite(directory)
    receiver, service = Receiver(), Service(options.binary, directory, database)
    first = prepare(service, receiver)
    load, followers = Load(service), follow(service)
    os.makedirs("target/soak", exist_ok=True)
    sampler = Sampler(service, load, f"target/soak/{options.engine}.csv")
    load.begin()
    time.sleep(CALIBRATION)
    most = len(load.acknowledged) / CALIBRATION
    load.rate = most / 2 / BATCH
    print(f"soak: at most {most:.0f} events a second; now half of it", flush=True)
    sampler.start()
    begun, total = time.monotonic(), options.minutes * 60
    while time.monotonic() - begun < total * 2 / 3:
        time.sleep(min(dice.uniform(15, 75), total / 8))
        how = dice.choice([signal.SIGTERM, signal.SIGKILL])
        sampler.marks.append((time.monotonic() - sampler.begun, how))
        took = service.end(how)
        service.start()
        print(f"soak: {how.name}, gone after {took:.2f} s, ready after {service.ready_after[-1]:.2f} s", flush=True)
    time.sleep(max(0, total - (time.monotonic() - begun)))
    load.end()
    ended_alone = service.process.poll() is not None
    organization_0 = {id for id, place in load.acknowledged.items() if place[0] == "org_0"}
    deadline = time.monotonic() + 60
    while not organization_0 <= receiver.seen and time.monotonic() < deadline:
        time.sleep(0.2)
    undelivered = len(organization_0 - receiver.seen)
    for follower in followers:
        follower.terminate()
    service.end(signal.SIGTERM)
    stored, lost, unknown = check(service, load, database, first)
    verified = subprocess.run([service.binary, "verify", "database"], env=service.environment, cwd=directory,
                              capture_output=True, text=True)
    last = len(service.ready_after)
    flat = [row for row in sampler.rows if row[1] == last and row[2] >= min(SETTLING, total / 6)]
    half = [row for row in flat if row[0] >= (flat[0][0] + flat[-1][0]) / 2]
    per_hour = lambda rows, column: 3600 * slope([(row[0], row[column]) for row in rows])
    p99 = sorted(row[8] for row in sampler.rows if row[8] != "")
    summary = {
        "engine": options.engine, "minutes": options.minutes, "seed": seed,
        "most_events_per_second": round(most), "restarts_by_term": sum(how == signal.SIGTERM for _, how in sampler.marks),
        "restarts_by_kill": sum(how == signal.SIGKILL for _, how in sampler.marks),
        "slowest_ready_seconds": round(max(service.ready_after), 2),
        "events_acknowledged": len(load.acknowledged), "events_stored": len(stored), "events_lost": len(lost),
        "events_unknown": len(unknown), "doubled": load.doubled, "retries": load.retries, "reads": load.reads,
        "exports": load.exports, "delivered_to_receiver": len(receiver.seen), "undelivered": undelivered,
        "median_of_p99_ms": p99[len(p99) // 2], "rss_mib_at_most": max(row[3] for row in sampler.rows),
        "rss_mib_at_end": flat[-1][3], "rss_mib_per_hour_last_life": round(per_hour(flat, 3), 2),
        "rss_mib_per_hour_second_half_of_it": round(per_hour(half, 3), 2),
        "fds_at_end": flat[-1][5], "fds_per_hour_last_life": round(per_hour(flat, 5), 2),
        "threads_at_end": flat[-1][4], "verified": verified.returncode == 0, "wrong": load.wrong[:5],
    }
    draw(sampler.rows, sampler.marks, f"Soak on {options.engine}, {options.minutes:g} minutes at half load",
         os.path.join(options.output, f"soak-{options.engine}.svg"))
    with open(os.path.join(options.output, f"soak-{options.engine}.json"), "w") as file:
        json.dump(summary, file, indent=2)
        file.write("\n")
    database.stop()
    print(json.dumps(summary, indent=2))
    # A short run says nothing of an hour: there the lines only inform.
    grows = options.minutes >= 30 and summary["rss_mib_per_hour_second_half_of_it"] > MOST_GROWTH
    leaks = max(row[5] for row in half) > 2 * min(row[5] for row in half)
    bad = lost or unknown or load.doubled or undelivered or load.wrong or service.dirty or ended_alone
    if bad or grows or leaks or verified.returncode:
        sys.exit(f"soak: FAILED; its data is in {directory}\n{verified.stdout[-500:]}{verified.stderr[-500:]}")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
