"""The story, told by requests written by hand: every answer is held against its shape, and the
oddities that SDKs send (fact sheet 3.2, 4, 10) must be taken."""

import concurrent.futures
import copy
import json
import uuid
from importlib.metadata import version
from urllib.parse import quote

from support import (
    EVENTS,
    STORY,
    check,
    check_rows,
    download,
    names_what_is_wrong,
    poll,
    refusals,
    run,
)
from wire import call, hold, send

print(f"# sdk http.client, shapes by jsonschema {version('jsonschema')}")

ACTION = f"/audit_logs/actions/{STORY['action']}/schemas"
UNKNOWN = STORY["unknown_organization"]
EVERYTHING = STORY["exports"][0]
# More than any list here has: a server that never says that a list is at its end fails, not hangs.
MOST_PAGES = 50

acme = call("a new organization", 201, "organization", "POST", "/organizations", {"name": "Acme"})["id"]


class Export(dict):
    """An export with its members as attributes, as the helpers take it."""

    __getattr__ = dict.get


def create_event(name: str, event: dict, organization: str = acme, **options):
    body = {"organization_id": organization, "event": event}
    return call(name, 200, "event_created", "POST", "/audit_logs/events", body, **options)


def get_export(id: str) -> Export:
    answer = send("GET", f"/audit_logs/exports/{id}")
    export = Export(json.loads(answer.body))
    # How often one must ask is chance, and the number of checks shall not be.
    return export if export.state == "pending" else Export(hold("an export", 200, "export", answer))


def create_export(name: str, wanted: dict, organization: str = acme, **options) -> Export:
    filters = {k: v for k, v in wanted.items() if k not in ("name", "from", "to", "events")}
    body = {"organization_id": organization, "range_start": wanted["from"],
            "range_end": wanted["to"]} | filters
    return Export(call(name, 201, "export", "POST", "/audit_logs/exports", body, **options))


def count(organization: str) -> int:
    """The number of the organization's events, by an export."""
    export = create_export("to count", EVERYTHING, organization)
    return len(download(poll(get_export, export).url))


def told_organizations():
    path = f"/organizations/{acme}"
    call("got", 200, "organization", "GET", path)
    call("renamed", 200, "organization", "PUT", path, {"name": "Acme Incorporated"})
    call("unknown", 404, "error_not_found", "GET", f"/organizations/{UNKNOWN}")
    call("unknown, renamed", 404, "error_not_found", "PUT", f"/organizations/{UNKNOWN}", {"name": "x"})
    call("without a name", 422, "error_fields", "POST", "/organizations", {})
    rich = {"name": "Globex", "external_id": "crm-17", "metadata": {"tier": "gold"},
            "allow_profiles_outside_organization": True,
            "domain_data": [{"domain": "globex.example", "state": "pending"}]}
    made = call("with everything", 201, "organization", "POST", "/organizations", rich)
    found = call("by external id", 200, "organization", "GET", "/organizations/external_id/crm-17")
    check("the same", found, made)
    call("by an unknown external id", 404, "error_not_found", "GET",
         "/organizations/external_id/crm-18")
    call("with nulls", 201, "organization", "POST", "/organizations",
         {"name": "Null", "metadata": None, "external_id": None, "domains": None, "domain_data": []})
    # What Go 4 sends to rename an organization, and the path it deletes one by.
    call("as Go 4 does", 200, "organization", "PUT", path, {
        "Organization": acme, "Name": "x", "AllowProfilesOutsideOrganization": False, "Domains": None,
        "domain_data": None, "external_id": "", "metadata": None})
    gone = call("to be deleted", 201, "organization", "POST", "/organizations", {"name": "Gone"})
    answer = send("DELETE", f"/Organizations/{gone['id']}")
    check("deleted as Go 4 does", answer.status in (200, 202))
    gone = call("to be deleted", 201, "organization", "POST", "/organizations", {"name": "Gone"})
    answer = send("DELETE", f"/organizations/{gone['id']}")
    check("deleted", answer.status in (200, 202))
    check("an answer to a deletion has a JSON object", answer.body.strip()[:1], b"{")
    call("deleted before", 404, "error_not_found", "GET", f"/organizations/{gone['id']}")


def told_pages_of_organizations():
    for number in range(5):
        call("one more", 201, "organization", "POST", "/organizations", {"name": f"Page {number}"})
    told_pages("/organizations", "organization_list", "id", 2)


def told_pages(path: str, shape: str, key: str, limit: int):
    """Walks a list forwards and backwards, one page at a time (fact sheet 4)."""
    forwards, cursor, pages = [], "", []
    while cursor is not None and len(pages) < MOST_PAGES:
        after = f"&after={quote(cursor)}" if cursor else ""
        page = call(f"{path}, page {len(pages)}", 200, shape, "GET", f"{path}?limit={limit}{after}")
        check(f"{path}: no empty page", bool(page["data"]))
        check(f"{path}: a full page, or the last", len(page["data"]) == limit
              or page["list_metadata"]["after"] is None)
        pages.append(page)
        forwards += [item[key] for item in page["data"]]
        cursor = page["list_metadata"]["after"]
    check(f"{path}: nothing before the first page", pages[0]["list_metadata"]["before"], None)
    check(f"{path}: each once", len(set(forwards)), len(forwards))
    backwards, page = [], pages[-1]
    for _ in pages:
        backwards = [item[key] for item in page["data"]] + backwards
        cursor = page["list_metadata"]["before"]
        if cursor is None:
            break
        page = call(f"{path}, back", 200, shape, "GET", f"{path}?limit={limit}&before={quote(cursor)}")
    check(f"{path}: the same backwards", backwards, forwards)
    for order, expected in (("desc", forwards), ("normal", forwards), ("asc", forwards[::-1])):
        page = call(f"{path} {order}", 200, shape, "GET", f"{path}?limit=100&order={order}")
        check(f"{path}: {order}", [item[key] for item in page["data"]], expected)
    default = call(f"{path} by default", 200, shape, "GET", path)
    check(f"{path}: 10 by default", [item[key] for item in default["data"]], forwards[:10])
    for query in ("limit=0", "limit=101", "limit=9999", "limit=ten", "limit=-1", "order=sideways",
                  f"before={forwards[0]}&after={forwards[0]}"):
        call(f"{path}?{query}", 422, "error_fields", "GET", f"{path}?{query}")
    for cursor in ("after=ala_01HXYZ123456789ABCDEFGHIJ", "before=als_01HXYZ123456789ABCDEFGHIJ"):
        call(f"{path}?{cursor}", 404, "error_not_found", "GET", f"{path}?{cursor}")
    call(f"{path} with empty parameters", 200, shape, "GET", f"{path}?limit=&before=&after=&order=")


def told_schemas():
    first, second = STORY["schemas"]
    made = call("version 1", 201, "schema", "POST", ACTION, first)
    check("what was sent", {k: made[k] for k in first}, first)
    check("again", call("again", 201, "schema", "POST", ACTION, first), made)
    turned = first | {"targets": first["targets"][::-1]}
    check("targets turned round", call("turned", 201, "schema", "POST", ACTION, turned)["version"], 1)
    check("version 2", call("changed", 201, "schema", "POST", ACTION, second)["version"], 2)
    check("and back", call("changed back", 201, "schema", "POST", ACTION, first)["version"], 3)
    path = "/audit_logs/actions/report.loose/schemas"
    plain = {"targets": [{"type": "report"}]}
    call("targets alone", 201, "schema", "POST", path, plain)
    # What Node, Python 5 and PHP send where there is nothing to constrain: fact sheet 6.
    for odd in ({"actor": {"metadata": {"type": "object", "properties": {}}}}, {"actor": None},
                {"actor": {"metadata": None}}, {"metadata": None}, {"metadata": []},
                {"actor": {"metadata": {"type": "object", "properties": []}}},
                {"targets": [{"type": "report", "metadata": None}]}):
        same = call(f"{odd}", 201, "schema", "POST", path, plain | odd)
        check(f"{odd} constrains nothing", same["version"], 1)
    for bad in ({}, {"targets": []}, {"targets": [{}]}, {"targets": "report"}, {"targets": None},
                plain | {"actor": {}}, plain | {"metadata": {"type": "object", "$ref": "x"}},
                plain | {"metadata": "text"}):
        call(f"refused: {bad}", 422, "error_fields", "POST", ACTION, bad)
    call("unknown action", 404, "error_not_found", "GET", "/audit_logs/actions/un.known/schemas")
    for name in (STORY["odd_action"], "a/b", "50% off", "ünïcode"):
        path = f"/audit_logs/actions/{quote(name, safe='')}/schemas"
        call(f"action {name}", 201, "schema", "POST", path, plain)
        call(f"schemas of {name}", 200, "schema_list", "GET", path)


def told_pages_of_actions():
    for number in range(1, STORY["paging"]["actions"] + 1):
        name = f"{STORY['paging']['prefix']}{number:02}"
        path = f"/audit_logs/actions/{name}/schemas"
        call(name, 201, "schema", "POST", path, {"targets": [{"type": STORY["paging"]["target"]}]})
    told_pages("/audit_logs/actions", "action_list", "name", 5)
    told_pages(ACTION, "schema_list", "version", 1)


def told_events():
    for index, event in enumerate(EVENTS):
        create_event(f"event {index}", event)
    create_event("elsewhere", EVENTS[0], STORY["unregistered_organization"])
    plain = {"actor": {"id": "1", "type": "user"}, "metadata": None, "version": None}
    odd = {
        "nulls": {"metadata": None, "version": None, "actor": {
            "id": "1", "type": "user", "name": None, "metadata": None}},
        "lists for maps": {"metadata": [], "actor": {"id": "1", "type": "user", "metadata": []}},
        "empty names": {"actor": {"id": "1", "type": "user", "name": ""},
                        "context": {"location": "x", "user_agent": ""}},
        "empty maps": {"metadata": {}, "actor": {"id": "1", "type": "user", "metadata": {}}},
        "version 0": {"version": 0},
        "doubles": {"metadata": {"count": 12.0}},
        "unknown members": {"id": "x", "_type": "event"},
    }
    for name, change in odd.items():
        create_event(name, EVENTS[0] | plain | change, "org_odd", headers={"Idempotency-Key": name})
    check("each is there", count("org_odd"), len(odd))


def told_times():
    spoken = ["2026-11-02T08:15:30Z", "2026-11-02T08:15:30.2Z", "2026-11-02T08:15:30.123456Z",
              "2026-11-02T08:15:30.123456789Z", "2026-11-02T09:15:30.250+01:00",
              "2026-11-02T08:15:30.250+00:00", "2026-11-02T08:15:30.250", "2026-11-02T08:15:30",
              "2026-11-02T03:15:30.2501234-05:00"]
    for time in spoken:
        create_event(time, EVENTS[0] | {"occurred_at": time}, "org_times",
                     headers={"Idempotency-Key": time})
    check("each is there", count("org_times"), len(spoken))
    for time in ("2026-06-31T00:00:00Z", "yesterday", "", 0, None, "2026-13-01T00:00:00Z"):
        body = {"organization_id": acme, "event": EVENTS[0] | {"occurred_at": time}}
        call(f"no time: {time!r}", 422, "error_fields", "POST", "/audit_logs/events", body)


def told_refusals():
    shapes = {400: "error_event", 422: "error_fields"}
    for refusal, event in refusals("free form", "time as text"):
        status, body = refusal["status"], {"organization_id": acme, "event": event}
        answer = call(refusal["name"], status, shapes[status], "POST", "/audit_logs/events", body)
        check(f"{refusal['name']}: named", names_what_is_wrong(refusal, answer["errors"]))
    for missing in ("action", "occurred_at", "actor", "targets", "context"):
        event = {k: v for k, v in EVENTS[0].items() if k != missing}
        told_missing(f"event.{missing}", {"organization_id": acme, "event": event})
    for parent, child in (("actor", "id"), ("actor", "type"), ("context", "location")):
        event = copy.deepcopy(EVENTS[0])
        del event[parent][child]
        told_missing(f"event.{parent}.{child}", {"organization_id": acme, "event": event})
    told_missing("organization_id", {"event": EVENTS[0]})
    told_missing("event", {"organization_id": acme})
    bad_metadata = {"null": {"a": None}, "list": {"a": [1]}, "map": {"a": {}},
                    "51 keys": {f"k{n}": n for n in range(51)}, "a key with a space": {"a b": 1},
                    "501 characters": {"a": "x" * 501}}
    for name, metadata in bad_metadata.items():
        for place in ("metadata", "actor"):
            change = {"metadata": metadata} if place == "metadata" else {
                "actor": {"id": "1", "type": "user", "metadata": metadata}}
            body = {"organization_id": acme, "event": EVENTS[0] | change}
            call(f"{place}: {name}", 422, "error_fields", "POST", "/audit_logs/events", body)
    most = EVENTS[0] | {"metadata": {f"k{n}": "x" * 500 for n in range(50)}}
    create_event("as much metadata as may be", most, "org_large")


def told_missing(field: str, body: dict):
    answer = call(f"no {field}", 422, "error_fields", "POST", "/audit_logs/events", body)
    named = [(e["field"], e["code"]) for e in answer["errors"]]
    check(f"{field} is named as required", (field, "required") in named)
    check(f"no {field}: message", answer["message"], "Validation failed.")


def told_idempotency():
    zero, one = EVENTS[0], EVENTS[1]
    key = lambda value: {"headers": {"Idempotency-Key": value}}
    cases = [  # what is sent, and how many events there are then
        ("org_keyed", [(zero, key("k")), (zero, key("k")), (one, key("k")), (zero, key("l"))], 3),
        ("org_keyless", [(zero, {}), (zero, {}), (one, {})], 2),
        ("org_empty_key", [(zero, key("")), (zero, {}), (zero, key(""))], 1),
        ("org_same_meaning", [(zero, key("k")), (zero | {"version": None}, key("k")),
                              (dict(reversed(zero.items())), key("k"))], 1),
    ]
    for organization, sent, expected in cases:
        for event, options in sent:
            create_event(organization, event, organization, **options)
        check(organization, count(organization), expected)
    body = {"organization_id": "org_race", "event": zero}
    racing = lambda _: send("POST", "/audit_logs/events", body, {"Idempotency-Key": "race"})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for answer in pool.map(racing, range(32)):
            hold("one of many at once", 200, "event_created", answer)
    check("a race stores one", count("org_race"), 1)
    body["event"] = zero | {"action": "un.known"}
    for _ in range(2):
        call("a refusal again", 400, "error_event", "POST", "/audit_logs/events", body, **key("bad"))


def told_exports():
    for wanted in STORY["exports"]:
        export = poll(get_export, create_export(wanted["name"], wanted))
        check_rows(wanted["name"], download(export.url), acme, wanted["events"])
    empty = {"from": "2026-11-01", "to": "2026-11-02T00:00:00", "actions": None, "actors": [],
             "actor_ids": [], "actor_names": None, "targets": []}
    export = poll(get_export, create_export("no filters, said in many ways", empty))
    check_rows("no filters", download(export.url), acme, [1])
    same = {"headers": {"Idempotency-Key": str(uuid.uuid4())}}
    ids = {create_export("a key on exports", EVERYTHING, **same).id for _ in range(2)}
    check("exports are not deduplicated", len(ids), 2)
    create_export("more than three months", EVERYTHING | {"from": "2020-01-01T00:00:00Z"})


def told_refused_exports():
    ask = lambda start, end, organization=acme: {
        "organization_id": organization, "range_start": start, "range_end": end}
    path, to = "/audit_logs/exports", "2026-11-02T00:00:00Z"
    call("backwards", 400, "error_range", "POST", path, ask("2026-11-03T00:00:00Z", to))
    for time in ("2022-06-31T15:51:23.604Z", "yesterday", "2026-02-29"):
        call(f"from {time}", 400, "error", "POST", path, ask(time, to))
        call(f"to {time}", 400, "error", "POST", path, ask("2026-01-01", time))
    answer = call("elsewhere", 404, "error_not_found", "POST", path, ask("2026-11-01", to, UNKNOWN))
    check("its message", answer["message"], f"Organization not found: '{UNKNOWN}'.")
    unknown = STORY["unknown_export"]
    for id in (unknown, "nonsense"):
        answer = call(f"export {id}", 404, "error_not_found", "GET", f"{path}/{id}")
        check("its message", answer["message"], f"Audit Log Export not found: '{id}'.")


def told_retention():
    path = f"/organizations/{acme}/audit_logs_retention"
    get = lambda: call("retention", 200, "retention", "GET", path)["retention_period_in_days"]
    check("never set", get(), None)
    periods = {f"{n}_MONTH{'S' * (n > 1)}": 30 * n for n in range(1, 12)}
    periods |= {f"{n}_YEAR{'S' * (n > 1)}": 365 * n for n in range(1, 11)}
    for period, days in periods.items():
        for body in ({"retention_period": period}, {"retention_period_in_days": days}):
            answer = call(f"{body}", 200, "retention", "PUT", path, body)
            check(f"{body} in days", answer["retention_period_in_days"], days)
    check("the last stays", get(), 3650)
    for body in ({}, {"retention_period": "1_YEAR", "retention_period_in_days": 365},
                 *({"retention_period_in_days": days} for days in (-1, 0, 29, 31, 3651, 4015, 30.5)),
                 *({"retention_period": p} for p in ("12_MONTHS", "1_MONTHS", "year", ""))):
        call(f"refused: {body}", 422, "error_fields", "PUT", path, body)
    check("refusals change nothing", get(), 3650)
    unknown = f"/organizations/{UNKNOWN}"
    call("of nobody", 404, "error_not_found", "GET", f"{unknown}/audit_logs_retention")
    call("for nobody", 404, "error_not_found", "PUT", f"{unknown}/audit_logs_retention",
         {"retention_period": "1_YEAR"})
    call("of nobody", 404, "error_not_found", "GET", f"{unknown}/audit_log_configuration")


def told_configuration():
    fresh = call("fresh", 201, "organization", "POST", "/organizations", {"name": "Fresh"})["id"]
    told = call("configuration", 200, "configuration", "GET",
                f"/organizations/{fresh}/audit_log_configuration")
    check("what it tells", told,
          {"organization_id": fresh, "retention_period_in_days": 365, "state": "active"})


def told_beyond_workos():
    path, organization = "/v1/events", "org_beyond"
    requests = [{"organization_id": organization, "event": event} for event in
                (*EVENTS, EVENTS[0], EVENTS[0] | {"action": "un.known"})]
    answer = call("a batch", 200, "batch", "POST", f"{path}:batch", {"requests": requests})
    told = [(result["status"], result.get("duplicate")) for result in answer["results"]]
    check("what became of it", told, [(200, False)] * 4 + [(200, True), (400, None)])
    for filters, expected in (("", {0, 1, 2, 3}), ("&actions=paging.action_01", {2}), ("&limit=1", {3}),
                              ("&actor_ids=usr_88&actor_ids=usr_90", {0, 3}), ("&target_types=thing", {2})):
        page = call(f"events {filters}", 200, "logged_event_list", "GET",
                    f"{path}?organization_id={organization}{filters}")
        check(f"events {filters}: which", {event["sequence"] for event in page["data"]}, expected)
    event = page["data"][0]
    got = call("one", 200, "logged_event", "GET", f"{path}/{event['id']}?organization_id={organization}")
    check("the same", got, event)
    call("of nobody", 404, "error_not_found", "GET", f"{path}?organization_id={UNKNOWN}")
    call("of no organization", 422, "error_fields", "GET", path)


def told_keys():
    for name, key, headers in (("no key", None, {}), ("unknown", "sk_wrong", {}),
                               ("empty", None, {"Authorization": "Bearer "}),
                               ("another scheme", None, {"Authorization": "Basic c2s6"})):
        for method, path in (("GET", "/audit_logs/actions"), ("POST", "/audit_logs/events"),
                             ("GET", f"/organizations/{acme}/audit_logs_retention")):
            body = {} if method == "POST" else None
            call(f"{name}: {method} {path}", 401, "error_unauthorized", method, path, body,
                 key=key, headers=headers)


def told_odd_headers():
    event = {"organization_id": "org_headers", "event": EVENTS[0]}
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": None}, {"Accept": "text/html"},
                    {"Accept-Encoding": "utf-8"}, {"Content-Type": "application/json; charset=utf-8"},
                    {"User-Agent": "workos-dotnet/2.0"}):
        call(f"{headers}", 200, "event_created", "POST", "/audit_logs/events", event, headers=headers)
    call("a content type on GET", 200, "action_list", "GET", "/audit_logs/actions",
         headers={"Content-Type": "application/json"})
    call("a key on POST elsewhere", 201, "organization", "POST", "/organizations", {"name": "Keyed"},
         headers={"Idempotency-Key": "retry-1"})


def told_what_is_no_request():
    bodies = {"nothing": b"", "cut short": b'{"organization_id": "org_1", "event": {', "text": b"hello",
              "a list": b"[]", "null": b"null", "no UTF-8": b'{"organization_id": "\xff\xfe"}',
              "deep": b'{"event":' + b"[" * 100_000}
    for name, body in bodies.items():
        for path in ("/audit_logs/events", "/audit_logs/exports", "/organizations", ACTION):
            answer = send("POST", path, body)
            check(f"{name} to {path}: refused", answer.status in (400, 422))
            hold(f"{name} to {path}", answer.status, "error", answer)
    call("too large", 413, "error", "POST", "/audit_logs/events", b'{"a":"' + b"x" * 2_000_000 + b'"}')
    call("no such path", 404, "error", "GET", "/audit_logs/nothing")
    call("no such method", 405, "error", "DELETE", "/audit_logs/events")


run(told_organizations, told_pages_of_organizations, told_schemas, told_pages_of_actions, told_events,
    told_times, told_refusals, told_idempotency, told_exports, told_refused_exports, told_retention,
    told_configuration, told_beyond_workos, told_keys, told_odd_headers, told_what_is_no_request)
