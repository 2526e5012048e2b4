"""The story, told by `workos` 5.46, the last of the line that was written by hand."""

import uuid
from importlib.metadata import version

from workos import WorkOSClient
from workos.exceptions import AuthenticationException, BadRequestException, NotFoundException

from support import (
    EVENTS,
    KEY,
    STORY,
    URL,
    UUID,
    check,
    check_rows,
    download,
    names_what_is_wrong,
    poll,
    refusals,
    refused,
    run,
)

print(f"# sdk workos {version('workos')}")
client = WorkOSClient(api_key=KEY, client_id="client_123456789", base_url=URL)
logs, organizations = client.audit_logs, client.organizations
acme = organizations.create_organization(name="Acme", idempotency_key=str(uuid.uuid4()))


def send(organization: str, event: dict, **options):
    return logs.create_event(organization_id=organization, event=event, **options)


def names_to_types(schema: dict | None) -> dict | None:
    """The short form that this SDK takes and expands itself."""
    return schema and {name: of["type"] for name, of in schema["properties"].items()}


def create_schema(action: str, schema: dict):
    actor = schema.get("actor")
    return logs.create_schema(
        action=action,
        targets=[
            {"type": target["type"], "metadata": names_to_types(target.get("metadata"))}
            for target in schema["targets"]
        ],
        actor=actor and {"metadata": names_to_types(actor["metadata"])},
        metadata=names_to_types(schema.get("metadata")),
    )


def read_export(organization: str, wanted: dict) -> list[dict]:
    filters = {k: wanted[k] for k in ("actions", "actor_names", "actor_ids", "targets")
               if k in wanted}
    export = logs.create_export(
        organization_id=organization, range_start=wanted["from"], range_end=wanted["to"], **filters
    )
    return download(poll(logs.get_export, export).url)


def plain(model) -> dict:
    return model.model_dump(exclude_none=True)


def told_organizations():
    check("a new organization", (acme.object, acme.name), ("organization", "Acme"))
    check("got by id", organizations.get_organization(acme.id), acme)
    refused("an unknown one", NotFoundException,
            lambda: organizations.get_organization(STORY["unknown_organization"]))
    renamed = organizations.update_organization(organization_id=acme.id, name="Acme Incorporated")
    check("renamed", (renamed.id, renamed.name), (acme.id, "Acme Incorporated"))
    gone = organizations.create_organization(name="Gone")
    organizations.delete_organization(gone.id)
    refused("a deleted one", NotFoundException, lambda: organizations.get_organization(gone.id))


def told_what_organizations_hold():
    made = organizations.create_organization(
        name="Globex", external_id="crm-17", metadata={"tier": "gold"}
    )
    check("external id and metadata", (made.external_id, made.metadata), ("crm-17", {"tier": "gold"}))
    check("got by external id", organizations.get_organization_by_external_id("crm-17"), made)


def told_pages_of_organizations():
    for number in range(11):
        organizations.create_organization(name=f"Page {number}")
    page = organizations.list_organizations(limit=2)
    check("the newest first", [o.name for o in page.data], ["Page 10", "Page 9"])
    check("no cursor before the first page", page.list_metadata.before, None)
    everyone = [o.id for o in page]
    check("every organization once", len(everyone), len(set(everyone)))
    check("the first of them last", everyone[-1], acme.id)


def told_schemas():
    first, second = STORY["schemas"]
    made = create_schema(STORY["action"], first)
    check("version 1", (made.object, made.version), ("audit_log_schema", 1))
    check("its actor", plain(made.actor), first["actor"])
    check("its targets", [plain(t) for t in made.targets], first["targets"])
    check("its metadata", plain(made.metadata), first["metadata"])
    check("the same again", create_schema(STORY["action"], first), made)
    changed = create_schema(STORY["action"], second)
    check("version 2", (changed.version, plain(changed.metadata)), (2, second["metadata"]))
    page = logs.list_schemas(action=STORY["action"])
    check("both, newest first", list(page.data), [changed, made])
    check("no cursors", plain(page.list_metadata), {})
    refused("schemas of an unknown action", NotFoundException,
            lambda: logs.list_schemas(action="report.unheard_of"))
    refused("a schema without targets", BadRequestException,
            lambda: logs.create_schema(action="report.empty", targets=[]))
    # An empty map becomes `{"actor": {"metadata": null}}` on the wire.
    loose = logs.create_schema(action="report.loose", targets=[{"type": "report"}],
                               actor={"metadata": {}}, metadata={})
    check("without any constraint", loose.version, 1)


def told_actions():
    paging = STORY["paging"]
    names = ["report.loose", STORY["action"]]
    for number in range(1, paging["actions"] + 1):
        names.insert(0, f"{paging['prefix']}{number:02}")
        create_schema(names[0], {"targets": [{"type": paging["target"]}]})
    limit = paging["limit"]
    page = logs.list_actions(limit=limit)
    check("first page", [a.name for a in page.data], names[:limit])
    check("nothing before it", page.list_metadata.before, None)
    following = logs.list_actions(limit=limit, after=page.list_metadata.after)
    check("second page", [a.name for a in following.data], names[limit : 2 * limit])
    last = logs.list_actions(limit=limit, after=following.list_metadata.after)
    check("last page", [a.name for a in last.data], names[2 * limit :])
    check("nothing after it", last.list_metadata.after, None)
    everything = list(page)
    check("all pages", [a.name for a in everything], names)
    check("an action shows its latest schema", everything[-1].schema.version, 2)
    refused("an unknown cursor", NotFoundException,
            lambda: logs.list_actions(after="ala_01HXYZ123456789ABCDEFGHIJ"))
    refused("a limit of 9999", BadRequestException, lambda: logs.list_actions(limit=9999))


def told_events():
    for index, event in enumerate(EVENTS):
        send(acme.id, event)
        check(f"event {index}", True)
    elsewhere = STORY["unregistered_organization"]
    send(elsewhere, EVENTS[0])
    check_rows("an organization that nobody made", read_export(elsewhere, STORY["exports"][0]),
               elsewhere, [0])


def told_refusals():
    # This line of the SDK has no class of its own for 422.
    for refusal, event in refusals("free form", "time as text"):
        error = refused(refusal["name"], BadRequestException, lambda: send(acme.id, event))
        if not error:
            continue
        check(f"{refusal['name']}: status", error.response.status_code, refusal["status"])
        check(f"{refusal['name']}: what is wrong", names_what_is_wrong(refusal, error.errors))
        check(f"{refusal['name']}: request id", bool(UUID.fullmatch(error.request_id)))
        check(f"{refusal['name']}: no key `error`", error.error, "Unknown")
        if refusal["status"] == 400:
            check(f"{refusal['name']}: code", error.code, "invalid_audit_log_event")


def told_idempotency():
    key, everything = str(uuid.uuid4()), STORY["exports"][0]
    for event in (EVENTS[0], EVENTS[0], EVENTS[1]):
        send("org_same_key", event, idempotency_key=key)
    rows = read_export("org_same_key", everything)
    check_rows("a key counts once for equal events only", rows, "org_same_key", [1, 0])
    # The SDK sends no key: the content counts.
    for event in (EVENTS[0], EVENTS[0], EVENTS[1]):
        send("org_no_key", event)
    rows = read_export("org_no_key", everything)
    check_rows("equal calls are one event", rows, "org_no_key", [1, 0])


def told_exports():
    for wanted in STORY["exports"]:
        if "actors" not in wanted:
            rows = read_export(acme.id, wanted)
            check_rows(f"export {wanted['name']}", rows, acme.id, wanted["events"])
    error = refused("an unknown export", NotFoundException,
                    lambda: logs.get_export(STORY["unknown_export"]))
    check("its message", error.message, f"Audit Log Export not found: '{STORY['unknown_export']}'.")
    error = refused("a range that ends before it starts", BadRequestException,
                    lambda: logs.create_export(organization_id=acme.id, range_start="2026-11-02",
                                               range_end="2026-11-01"))
    check("its code", (error.code, error.message),
          ("invalid_audit_log_export_range_date", "Invalid date range"))
    refused("an export of an unknown organization", NotFoundException,
            lambda: read_export(STORY["unknown_organization"], STORY["exports"][0]))


def told_as_the_documents_do():
    """The calls of WorkOS's own guide, with their very arguments."""
    send("org_01EHWNCE74X7JSDV0X3SZ3KJNY", EVENTS[0])
    export = client.audit_logs.create_export(
        organization_id="org_01EHWNCE74X7JSDV0X3SZ3KJNY",
        range_start="2022-08-31T15:51:23.604Z",
        range_end="2022-08-31T15:51:23.604Z",
    )
    audit_log_export = client.audit_logs.get_export(audit_log_export_id=export.id)
    check("an export of one instant", download(poll(logs.get_export, audit_log_export).url), [])
    refused("the export of the guide", NotFoundException, lambda: client.audit_logs.get_export(
        audit_log_export_id="audit_log_export_01GBT9P815WPET6H8K0XHBACGS"))


def told_retention():
    configuration = logs.get_configuration(acme.id)
    check("configuration", plain(configuration),
          {"organization_id": acme.id, "retention_period_in_days": 365, "state": "active"})
    check("no retention yet", logs.get_retention(acme.id).retention_period_in_days, None)
    for days in (30, 365):
        answer = logs.set_retention(organization_id=acme.id, retention_period_in_days=days)
        check(f"set to {days} days", answer.retention_period_in_days, days)
        check("got", logs.get_retention(acme.id), answer)
    refused("-1 days", BadRequestException,
            lambda: logs.set_retention(organization_id=acme.id, retention_period_in_days=-1))
    for call in (logs.get_retention, logs.get_configuration):
        refused("of an unknown organization", NotFoundException,
                lambda: call(STORY["unknown_organization"]))


def told_keys():
    stranger = WorkOSClient(api_key="sk_wrong", client_id="client_123456789", base_url=URL)
    error = refused("a wrong key", AuthenticationException, stranger.audit_logs.list_actions)
    check("its message", error.message, "Unauthorized")


run(told_organizations, told_what_organizations_hold, told_pages_of_organizations, told_schemas,
    told_actions, told_events, told_refusals, told_idempotency, told_exports,
    told_as_the_documents_do, told_retention, told_keys)
