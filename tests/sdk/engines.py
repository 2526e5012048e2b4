"""The servers that the stories talk to: `audit-logs serve`, each on a database of its own."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

KEY = "sk_sdk_story_" + "0123456789abcdefghijklmnopqrstuv"
START_SECONDS = 60


class Server:
    """A running `audit-logs serve` on a free port, with a new data directory."""

    def __init__(self, binary: Path, scratch: Path, database_url: str | None):
        scratch.mkdir(parents=True)
        self.log = scratch / "serve.log"
        # Settings of whoever runs this must not reach the server.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AUDIT_LOGS_")}
        environment.pop("RUST_LOG", None)
        environment["AUDIT_LOGS_BOOTSTRAP_API_KEY"] = KEY
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", scratch / "data",
                   "--log-format", "json"]
        if database_url:
            environment["AUDIT_LOGS_DATABASE_URL"] = database_url
            command.append("--migrate")
        self.process = subprocess.Popen(
            command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=self.log.open("wb"),
        )
        try:
            self.url = "http://" + self._wait_for(self._address)
            self._wait_for(self._is_ready)
        except BaseException:
            self.stop()
            raise

    def _address(self) -> str | None:
        found = re.search(r'"message":"listening","address":"([^"]+)"', self.log.read_text())
        return found and found[1]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz") as response:
                return response.status == 200
        except urllib.error.HTTPError:
            return False

    def _wait_for(self, answer):
        """Asks until there is an answer, or the server has ended."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := answer():
                return found
            time.sleep(0.02)
        raise RuntimeError(f"the server did not start:\n{self.log_tail()}")

    def log_tail(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-15:])

    def stop(self) -> int:
        """Asks the server to end, and returns its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Cluster:
    """A PostgreSQL of our own, like that of `tests/it/support/cluster.rs`."""

    def __init__(self, binaries: Path):
        self.binaries = binaries
        self.directory = Path(tempfile.mkdtemp(prefix="audit-logs-sdk-pg"))
        # PostgreSQL refuses to run as root.
        self.user = {"user": _unprivileged(), "group": _unprivileged()} if os.geteuid() == 0 else {}
        if self.user:
            os.chown(self.directory, self.user["user"], self.user["group"])
        self.port = _free_port()
        data = self.directory / "data"
        self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync",
                  "-D", data)
        # The shell stops the server and cleans up when our end of the pipe closes, however we end.
        script = (
            f"'{binaries}/postgres' -D '{data}' -c fsync=off -c max_connections=400 "
            f"-c port={self.port} -c listen_addresses=127.0.0.1 "
            f"-c unix_socket_directories='{self.directory}' >>'{self.directory}/log' 2>&1 & "
            f"server=$!; read -r _; kill -QUIT $server 2>/dev/null; wait $server; "
            f"rm -rf '{self.directory}'"
        )
        self.guard = subprocess.Popen(
            ["sh", "-c", script], cwd=self.directory, stdin=subprocess.PIPE,
            start_new_session=True, **self.user,
        )
        self.databases = 0
        self._wait()

    def _run(self, program: str, *arguments, check: bool = True):
        return subprocess.run(
            [self.binaries / program, *arguments], cwd=self.directory, check=check,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **self.user,
        )

    def _wait(self):
        deadline = time.monotonic() + START_SECONDS
        while self._run("pg_isready", "-q", *self._where(), check=False).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text())
            time.sleep(0.05)

    def _where(self):
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        self.databases += 1
        name = f"story_{self.databases}"
        self._run("createdb", *self._where(), name)
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def stop(self):
        self.guard.stdin.close()
        self.guard.wait(30)
        # The directory belongs to the unprivileged user, its parent does not.
        shutil.rmtree(self.directory, ignore_errors=True)


def postgres_binaries() -> Path | None:
    """The directory of PostgreSQL's programs; Debian keeps it off PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    programs = ("initdb", "postgres", "createdb", "pg_isready")
    return next((d for d in debian + on_path if all((d / p).is_file() for p in programs)), None)


def _unprivileged() -> int:
    import pwd

    names = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return names.get("postgres", names.get("nobody", 65534))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
