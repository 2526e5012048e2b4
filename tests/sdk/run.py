#!/usr/bin/env python3
"""Runs the official WorkOS SDKs against a real server: `tests/sdk/run.py [--engine E] [STORY...]`.

README.md beside this file says what is told and checked. Needs the program (`cargo build`), and
python3; the languages that the machine does not have are named and left out.
"""

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engines import KEY, Cluster, Server, postgres_binaries
from stories import HERE, NOT_WRITTEN, STORIES, LeftOut, Story

ROOT = HERE.parent.parent
STORY_SECONDS = 120
AT_ONCE = 2


@dataclass
class Told:
    """What came of one story on one engine."""

    passed: int
    complaints: list[str]
    sdk: str
    seconds: float


def main() -> int:
    arguments = parse_arguments()
    binary = arguments.binary.resolve()
    if not binary.is_file():
        sys.exit(f"{binary} is not there: run `cargo build` first, or name another with --binary")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    failures, passed = 0, 0
    stories, left_out = choose(arguments.stories)
    prepared, broken = prepare(stories, arguments.cache, left_out)
    for name, why in broken.items():
        failures += 1
        print(f"{name}: NOT INSTALLED: {why}")
    with tempfile.TemporaryDirectory(prefix="audit-logs-sdk") as scratch:
        for line, told in tell_all(prepared, arguments, binary, Path(scratch), left_out):
            print(line, flush=True)
            for complaint in told.complaints:
                print(f"    {complaint}", flush=True)
            failures += len(told.complaints)
            passed += told.passed
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    print(f"{passed} passed, {failures} failed")
    return 1 if failures or not passed else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stories", nargs="*", metavar="STORY",
                        help="such as python, or python-5 (default: every one)")
    parser.add_argument("--engine", choices=["sqlite", "postgres"], help="only this one")
    parser.add_argument("--binary", type=Path, default=ROOT / "target/debug/audit-logs")
    parser.add_argument("--cache", type=Path, default=ROOT / "target/sdk",
                        help="where the SDKs are installed")
    parser.add_argument("--require-postgres", action="store_true",
                        help="fail where PostgreSQL is not installed")
    return parser.parse_args()


def choose(wanted: list[str]) -> tuple[list[Story], dict[str, str]]:
    """The stories that can be told here, and why others are not."""
    known = {name for story in STORIES for name in (story.name, story.language)}
    for name in wanted:
        if name not in known | set(NOT_WRITTEN):
            sys.exit(f"there is no story {name}; there are {', '.join(sorted(known))}")
    chosen, left_out = [], {}
    for story in STORIES:
        if wanted and not {story.name, story.language} & set(wanted):
            continue
        missing = story.missing()
        if missing:
            left_out[story.name] = missing
        else:
            chosen.append(story)
    left_out |= {k: v for k, v in NOT_WRITTEN.items() if not wanted or k in wanted}
    return chosen, left_out


def prepare(stories: list[Story], cache: Path, left_out: dict[str, str]):
    """Installs what the stories need: where each is then, and what went wrong."""
    prepared, broken = {}, {}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        # What takes longest goes first.
        waiting = {story.name: (story, pool.submit(story.prepare, cache)) for story in stories[::-1]}
    for story in stories:
        try:
            prepared[story.name] = (story, waiting[story.name][1].result())
        except LeftOut as why:
            left_out[story.name] = str(why)
        except (RuntimeError, OSError) as error:
            broken[story.name] = str(error)
    return prepared, broken


def tell_all(prepared: dict, arguments, binary: Path, scratch: Path, left_out: dict[str, str]):
    """Tells every story on every engine; yields a line and what came of it, in order."""
    cluster = None
    engines = [arguments.engine] if arguments.engine else ["sqlite", "postgres"]
    if "postgres" in engines:
        binaries = postgres_binaries()
        if binaries:
            cluster = Cluster(binaries)
        elif arguments.require_postgres:
            sys.exit("PostgreSQL is required, but initdb is not found")
        else:
            engines.remove("postgres")
            left_out["postgres"] = "PostgreSQL is not installed"
    try:
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            waiting = []
            for engine in engines:
                for story, folder in prepared.values():
                    url = cluster.new_database() if engine == "postgres" else None
                    data = scratch / f"{story.name}-{engine}"
                    job = pool.submit(tell, story, folder, binary, data, url)
                    waiting.append((story, engine, job))
            for story, engine, job in waiting:
                told = job.result()
                state = f"{told.passed} checks passed"
                if told.complaints:
                    state += f", {len(told.complaints)} FAILED"
                yield f"{story.name} ({told.sdk}) on {engine}: {state} ({told.seconds:.1f} s)", told
    finally:
        if cluster:
            cluster.stop()


def tell(story: Story, folder: Path, binary: Path, data: Path, database_url: str | None) -> Told:
    """Starts a server with an empty database and tells it one story."""
    start = time.monotonic()
    server = Server(binary, data, database_url)
    try:
        output, problem = listen(story, folder, server.url)
    finally:
        code = server.stop()
    lines = output.splitlines()
    complaints = [line for line in lines if line.startswith("not ok ")]
    if problem:
        complaints.append(f"the story ended early: {problem}\n{server.log_tail()}")
    if code:
        complaints.append(f"the server ended with {code}:\n{server.log_tail()}")
    if not any(line.startswith("ok ") for line in lines):
        complaints.append("the story checked nothing")
    sdk = next((line[6:] for line in lines if line.startswith("# sdk ")), "unknown version")
    passed = sum(line.startswith("ok ") for line in lines)
    shutil.rmtree(data)
    return Told(passed, complaints, sdk, time.monotonic() - start)


def listen(story: Story, folder: Path, url: str) -> tuple[str, str | None]:
    """Runs the story's program: what it printed, and what is wrong if it broke off."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AUDIT_LOGS_", "WORKOS_"))}
    environment |= {
        "AUDIT_LOGS_URL": url,
        "AUDIT_LOGS_KEY": KEY,
        "AUDIT_LOGS_SUITE": str(HERE),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    try:
        done = subprocess.run(
            story.command, cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            timeout=STORY_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        # What was printed until then comes as bytes, whatever was asked for.
        return (late.stdout or b"").decode(errors="replace"), f"it took longer than {STORY_SECONDS} s"
    # A story ends with 1 when a check failed, and says which; anything else is told by no check.
    if done.returncode > 1 or done.returncode < 0 or done.returncode and "not ok " not in done.stdout:
        return done.stdout, f"exit code {done.returncode}: {done.stderr[-3000:]}"
    return done.stdout, None


if __name__ == "__main__":
    sys.exit(main())
