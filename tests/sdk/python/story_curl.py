"""The story, told by the commands of `tests/sdk/curl/commands.sh`, over HTTP/1.1 and, where nothing
is sent, over HTTP/2 as well."""

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from shapes import misfits
from support import KEY, SUITE, URL, check, run

HEADING = re.compile(r"^### (.+) -> (\d+) (\w+)$", re.MULTILINE)
DIRECTIVE = re.compile(r"^# (\w+): (.+)$", re.MULTILINE)
TYPES = {"csv": "text/csv"}
kept = {}

curl_version = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout
print(f"# sdk curl {curl_version.split()[1]}")


def commands():
    """Name, status, shape, directives and text of each command."""
    parts = HEADING.split((SUITE / "curl" / "commands.sh").read_text())[1:]
    for name, status, shape, text in zip(*[iter(parts)] * 4):
        command = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        yield name, int(status), shape, dict(DIRECTIVE.findall(text)), command.strip()


def ask(command: str, *settings: str) -> tuple[int, str, str]:
    """Status, content type and body; what curl is told besides comes by its settings file."""
    there = command.replace("https://api.workos.com", URL).replace("sk_example_123456789", KEY)
    with tempfile.TemporaryDirectory() as home:
        rules = ["silent", "show-error", 'write-out = "\\n%{http_code} %{content_type}"', *settings]
        (Path(home) / ".curlrc").write_text("\n".join(rules))
        done = subprocess.run(
            ["bash", "-euc", there], env=os.environ | kept | {"CURL_HOME": home},
            capture_output=True, text=True, check=True, timeout=60,
        )
    body, _, line = done.stdout.rpartition("\n")
    status, _, content_type = line.partition(" ")
    return int(status), content_type, body


def has(part, whole) -> bool:
    """Whether `whole` has everything that `part` says."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and has(v, whole[k]) for k, v in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(has, part, whole))
    return part == whole


def follow(name: str, status: int, shape: str, directives: dict, command: str, *settings: str):
    deadline = time.monotonic() + 30
    while True:
        answer = ask(command, *settings)
        member, _, value = directives.get("until", "").partition(" = ")
        if not member or json.loads(answer[2])[member] == value or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    check(f"{name}: status", answer[0], status)
    expected_type = TYPES.get(shape, "application/json")
    check(f"{name}: content type", answer[1], f"{expected_type}; charset=utf-8")
    if shape == "csv":
        check(f"{name}: rows", len(answer[2].splitlines()), 2)
        return
    body = json.loads(answer[2])
    check(f"{name}: shape {shape}", misfits(shape, body), [])
    expected = json.loads(directives.get("body", "{}"))
    check(f"{name}: body", body if not has(expected, body) else expected, expected)
    if "keep" in directives:
        variable, _, member = directives["keep"].partition(" = ")
        kept[variable] = body[member]


def told_commands():
    for command in commands():
        follow(*command)


def told_over_http_2():
    if "HTTP2" not in curl_version:
        print("# this curl has no HTTP/2")
        return
    for name, status, shape, directives, text in commands():
        if "--data" not in text:
            # The retention was set in the meantime.
            rest = {k: v for k, v in directives.items() if v != '{"retention_period_in_days": null}'}
            follow(f"HTTP/2: {name}", status, shape, rest, text, "http2-prior-knowledge")


run(told_commands, told_over_http_2)
