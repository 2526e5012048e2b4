"""What the Python stories share: the story's data, how a check is told, and the CSV."""

import copy
import csv
import io
import json
import os
import re
import time
import traceback
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

URL = os.environ["AUDIT_LOGS_URL"]
KEY = os.environ["AUDIT_LOGS_KEY"]
SUITE = Path(os.environ["AUDIT_LOGS_SUITE"])
STORY = json.loads((SUITE / "story.json").read_text())
EVENTS = STORY["events"]

COLUMNS = (
    "id organization_id action version occurred_at received_at actor_id actor_type actor_name "
    "actor_metadata targets context_location context_user_agent metadata sequence"
).split()
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
STARTED = datetime.now(timezone.utc)

_failed = 0


def check(name: str, actual, expected=True):
    """Tells whether `actual` is what was expected, as a line of TAP."""
    global _failed
    if actual == expected:
        print(f"ok - {name}")
    else:
        _failed += 1
        print(f"not ok - {name}: got {actual!r}, expected {expected!r}")


def refused(name: str, kind: type, call):
    """The exception of `kind` that the call must raise, or None."""
    try:
        answer = call()
    except kind as error:
        check(name, type(error), kind)
        return error
    except Exception as error:  # whatever it is, it is not what was expected
        check(name, repr(error), kind)
    else:
        check(name, answer, kind)
    return None


def run(*chapters):
    """Runs the chapters in order; one that breaks off is a failed check, not the end."""
    for chapter in chapters:
        try:
            chapter()
        except Exception as error:
            where = [f"{f.name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)][1:4]
            check(f"{chapter.__name__} ends well", f"{error!r} {error} at {where}", "")
    raise SystemExit(1 if _failed else 0)


def refusals(*abilities: str):
    """The events that must be refused, as far as the SDK can express them."""
    for refusal in STORY["refusals"]:
        if refusal.get("needs") not in (None, *abilities):
            continue
        event = copy.deepcopy(EVENTS[0]) | refusal.get("change", {})
        event.pop(refusal.get("remove"), None)
        yield refusal, event


def names_what_is_wrong(refusal: dict, errors: list) -> bool:
    """Whether an entry of `errors` points at what is wrong with the refused event."""
    def fits(entry):
        if "instance_path" in refusal:
            return entry["instancePath"] == refusal["instance_path"]
        right_code = entry["code"] == refusal.get("code", entry["code"])
        return right_code and entry["field"].startswith(refusal["field"])

    return any(fits(entry) for entry in errors)


def poll(get_export, export):
    """Asks until the export is no longer pending."""
    deadline = time.monotonic() + 30
    while export.state == "pending" and time.monotonic() < deadline:
        time.sleep(0.05)
        export = get_export(export.id)
    return export


def download(url: str) -> list[dict]:
    """The rows of a CSV that is fetched by its link alone."""
    with urllib.request.urlopen(url) as response:
        text = response.read().decode("utf-8")
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows = list(reader)
    assert reader.fieldnames == COLUMNS, reader.fieldnames
    return rows


def check_rows(name: str, rows: list[dict], organization: str, indices: list[int]):
    """Compares every cell with what was sent."""
    check(f"{name}: rows", len(rows), len(indices))
    for row, index in zip(rows, indices):
        cells, expected = _told_apart(row), _expected(EVENTS[index], organization)
        check(f"{name}: event {index}", cells, expected)


def _expected(event: dict, organization: str) -> dict:
    guard = lambda text: "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
    actor, context = event["actor"], event["context"]
    return {
        "id": True,
        "organization_id": organization,
        "action": event["action"],
        "version": str(event.get("version", 1)),
        "occurred_at": _instant(event["occurred_at"]),
        "received_at": True,
        "actor_id": actor["id"],
        "actor_type": actor["type"],
        "actor_name": guard(actor.get("name", "")),
        "actor_metadata": actor.get("metadata"),
        "targets": event["targets"],
        "context_location": guard(context["location"]),
        "context_user_agent": context.get("user_agent", ""),
        "metadata": event.get("metadata"),
        "sequence": True,
    }


def _told_apart(row: dict) -> dict:
    """The cells with JSON parsed, and what only the server knows held against its form."""
    parsed = {
        name: json.loads(row[name]) if row[name] else None
        for name in ("actor_metadata", "targets", "metadata")
    }
    received, slack = _instant(row["received_at"]), timedelta(seconds=5)
    return row | parsed | {
        "id": bool(re.fullmatch(r"audit_event_[0-9A-HJKMNP-TV-Z]{26}", row["id"])),
        "occurred_at": _instant(row["occurred_at"]),
        "received_at": STARTED - slack <= received <= datetime.now(timezone.utc) + slack,
        "sequence": row["sequence"].isdecimal(),
    }


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
