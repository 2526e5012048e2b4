"""The story, told by the newest `workos`."""

import uuid
from importlib.metadata import version

import workos
from workos import WorkOSClient
from workos.audit_logs._resource import RetentionPeriod, RetentionPeriodInDays
from workos.audit_logs.models import (
    AuditLogEvent,
    AuditLogSchemaActorInput,
    AuditLogSchemaTargetInput,
)

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
acme = organizations.create_organization(name="Acme")


def send(organization: str, event: dict, **options):
    return logs.create_event(
        organization_id=organization, event=AuditLogEvent.from_dict(event), **options
    )


def create_schema(action: str, schema: dict):
    actor, metadata = schema.get("actor"), schema.get("metadata")
    return logs.create_schema(
        action,
        targets=[AuditLogSchemaTargetInput.from_dict(target) for target in schema["targets"]],
        actor=AuditLogSchemaActorInput.from_dict(actor) if actor else None,
        metadata=metadata,
    )


def read_export(organization: str, wanted: dict) -> list[dict]:
    filters = {k: wanted[k] for k in ("actions", "actors", "actor_names", "actor_ids", "targets")
               if k in wanted}
    export = logs.create_export(
        organization_id=organization, range_start=wanted["from"], range_end=wanted["to"], **filters
    )
    return download(poll(logs.get_export, export).url)


def told_organizations():
    check("a new organization", (acme.object, acme.name), ("organization", "Acme"))
    check("its id", acme.id.startswith("org_") and len(acme.id) == 30)
    check("got by id", organizations.get_organization(acme.id), acme)
    refused("an unknown one", workos.NotFoundError,
            lambda: organizations.get_organization(STORY["unknown_organization"]))
    renamed = organizations.update_organization(acme.id, name="Acme Incorporated")
    check("renamed", (renamed.id, renamed.name), (acme.id, "Acme Incorporated"))
    gone = organizations.create_organization(name="Gone")
    organizations.delete_organization(gone.id)
    refused("a deleted one", workos.NotFoundError, lambda: organizations.get_organization(gone.id))


def told_what_organizations_hold():
    made = organizations.create_organization(
        name="Globex", external_id="crm-17", metadata={"tier": "gold"}
    )
    check("external id and metadata", (made.external_id, made.metadata), ("crm-17", {"tier": "gold"}))
    check("got by external id", organizations.get_organization_by_external_id("crm-17"), made)
    refused("an unknown external id", workos.NotFoundError,
            lambda: organizations.get_organization_by_external_id("crm-18"))
    changed = organizations.update_organization(made.id, external_id=None, metadata={"seats": "5"})
    check("external id removed", changed.external_id, None)
    check("domains", made.domains, [])


def told_pages_of_organizations():
    for number in range(3):
        organizations.create_organization(name=f"Page {number}")
    page = organizations.list_organizations(limit=2)
    check("the newest first", [o.name for o in page.data], ["Page 2", "Page 1"])
    check("no cursor before the first page", page.before, None)
    everyone = [o.id for o in page.auto_paging_iter()]
    check("every organization once", len(everyone), len(set(everyone)))
    check("the first of them last", everyone[-1], acme.id)
    oldest = organizations.list_organizations(limit=1, order="asc")
    check("the oldest first", [o.id for o in oldest.data], [acme.id])


def told_schemas():
    first, second = STORY["schemas"]
    made = create_schema(STORY["action"], first)
    check("version 1", (made.object, made.version), ("audit_log_schema", 1))
    check("its actor", made.actor.to_dict(), first["actor"])
    check("its targets", [t.to_dict() for t in made.targets], first["targets"])
    check("its metadata", made.metadata, first["metadata"])
    check("the same again", create_schema(STORY["action"], first), made)
    changed = create_schema(STORY["action"], second)
    check("version 2", (changed.version, changed.metadata), (2, second["metadata"]))
    page = logs.list_action_schemas(STORY["action"])
    check("both, newest first", page.data, [changed, made])
    check("no cursors", (page.before, page.after), (None, None))
    one = logs.list_action_schemas(STORY["action"], limit=1)
    check("one by one", list(one.auto_paging_iter()), [changed, made])
    refused("schemas of an unknown action", workos.NotFoundError,
            lambda: logs.list_action_schemas("report.unheard_of"))
    refused("a schema without targets", workos.UnprocessableEntityError,
            lambda: logs.create_schema("report.empty", targets=[]))
    odd = STORY["odd_action"]
    create_schema(odd, {"targets": [{"type": "thing"}]})
    check("an action whose name needs escapes", len(logs.list_action_schemas(odd).data), 1)


def told_actions():
    paging = STORY["paging"]
    names = [STORY["odd_action"], STORY["action"]]
    for number in range(1, paging["actions"] + 1):
        names.insert(0, f"{paging['prefix']}{number:02}")
        create_schema(names[0], {"targets": [{"type": paging["target"]}]})
    limit = paging["limit"]
    page = logs.list_actions(limit=limit)
    check("first page", [a.name for a in page.data], names[:limit])
    check("nothing before it", page.before, None)
    following = logs.list_actions(limit=limit, after=page.after)
    check("second page", [a.name for a in following.data], names[limit : 2 * limit])
    back = logs.list_actions(limit=limit, before=following.before)
    check("back again", [a.name for a in back.data], names[:limit])
    last = logs.list_actions(limit=limit, after=following.after)
    check("last page", [a.name for a in last.data], names[2 * limit :])
    check("nothing after it", last.after, None)
    everything = list(page.auto_paging_iter())
    check("all pages", [a.name for a in everything], names)
    report = everything[-1]
    check("an action shows its latest schema", (report.object, report.schema.version),
          ("audit_log_action", 2))
    check("and was changed when that was made", report.updated_at, report.schema.created_at)
    oldest = logs.list_actions(limit=100, order="asc")
    check("oldest first", [a.name for a in oldest.data], names[::-1])
    refused("an unknown cursor", workos.NotFoundError,
            lambda: logs.list_actions(after="ala_01HXYZ123456789ABCDEFGHIJ"))
    refused("a limit of 9999", workos.UnprocessableEntityError, lambda: logs.list_actions(limit=9999))
    refused("a limit of 0", workos.UnprocessableEntityError, lambda: logs.list_actions(limit=0))


def told_events():
    for index, event in enumerate(EVENTS):
        check(f"event {index}", send(acme.id, event).success)
    elsewhere = STORY["unregistered_organization"]
    check("an organization that nobody made", send(elsewhere, EVENTS[0]).success)
    check_rows("its export", read_export(elsewhere, STORY["exports"][0]), elsewhere, [0])


def told_refusals():
    kinds = {400: workos.BadRequestError, 422: workos.UnprocessableEntityError}
    for refusal, event in refusals():
        error = refused(refusal["name"], kinds[refusal["status"]], lambda: send(acme.id, event))
        if not error:
            continue
        check(f"{refusal['name']}: what is wrong", names_what_is_wrong(refusal, error.errors))
        check(f"{refusal['name']}: request id", bool(UUID.fullmatch(error.request_id)))
        check(f"{refusal['name']}: no key `error`", error.error, None)
        if refusal["status"] == 400:
            check(f"{refusal['name']}: code", (error.code, error.message),
                  ("invalid_audit_log_event", "Invalid Audit Log event."))
        else:
            check(f"{refusal['name']}: message", error.message, "Validation failed.")


def told_idempotency():
    key, everything = str(uuid.uuid4()), STORY["exports"][0]
    for event in (EVENTS[0], EVENTS[0], EVENTS[1]):
        send("org_same_key", event, idempotency_key=key)
    rows = read_export("org_same_key", everything)
    check_rows("a key counts once for equal events only", rows, "org_same_key", [1, 0])
    # The SDK makes a new key for every call.
    send("org_no_key", EVENTS[0])
    send("org_no_key", EVENTS[0])
    rows = read_export("org_no_key", everything)
    check_rows("equal calls are two events", rows, "org_no_key", [0, 0])


def told_exports():
    for wanted in STORY["exports"]:
        rows = read_export(acme.id, wanted)
        check_rows(f"export {wanted['name']}", rows, acme.id, wanted["events"])
    export = logs.create_export(
        organization_id=acme.id, range_start="2026-11-01", range_end="2026-11-02T00:00:00+01:00"
    )
    check("a new export", (export.object, export.state in ("pending", "ready")),
          ("audit_log_export", True))
    check("its id", export.id.startswith("audit_log_export_") and len(export.id) == 43)
    ready = poll(logs.get_export, export)
    check("is ready", (ready.id, ready.state), (export.id, "ready"))
    check_rows("a bare date and an offset", download(ready.url), acme.id, [1])
    error = refused("an unknown export", workos.NotFoundError,
                    lambda: logs.get_export(STORY["unknown_export"]))
    check("its message", error.message, f"Audit Log Export not found: '{STORY['unknown_export']}'.")
    error = refused("a range that ends before it starts", workos.BadRequestError,
                    lambda: logs.create_export(organization_id=acme.id, range_start="2026-11-02",
                                               range_end="2026-11-01"))
    check("its code", (error.code, error.message),
          ("invalid_audit_log_export_range_date", "Invalid date range"))
    refused("an impossible date", workos.BadRequestError,
            lambda: logs.create_export(organization_id=acme.id, range_start="2022-06-31T15:51:23.604Z",
                                       range_end="2022-08-31T15:51:23.604Z"))
    error = refused("an export of an unknown organization", workos.NotFoundError,
                    lambda: read_export(STORY["unknown_organization"], STORY["exports"][0]))
    check("its message", error.message,
          f"Organization not found: '{STORY['unknown_organization']}'.")


def told_retention():
    get, put = (logs.get_organization_audit_logs_retention,
                logs.update_organization_audit_logs_retention)
    days = lambda number: RetentionPeriodInDays(retention_period_in_days=number)
    configuration = organizations.get_audit_log_configuration(acme.id)
    check("configuration", configuration.to_dict(),
          {"organization_id": acme.id, "retention_period_in_days": 365, "state": "active"})
    check("no retention yet", get(acme.id).retention_period_in_days, None)
    check("set to 30 days", put(acme.id, retention=days(30)).retention_period_in_days, 30)
    check("got", get(acme.id).retention_period_in_days, 30)
    for period, number in (("6_MONTHS", 180), ("1_YEAR", 365), ("10_YEARS", 3650)):
        answer = put(acme.id, retention=RetentionPeriod(retention_period=period))
        check(f"set to {period}", answer.retention_period_in_days, number)
    check("configuration knows",
          organizations.get_audit_log_configuration(acme.id).retention_period_in_days, 3650)
    for number in (-1, 0, 31):
        refused(f"{number} days", workos.UnprocessableEntityError,
                lambda: put(acme.id, retention=days(number)))
    refused("an unknown period", workos.UnprocessableEntityError,
            lambda: put(acme.id, retention=RetentionPeriod(retention_period="12_MONTHS")))
    for call in (get, organizations.get_audit_log_configuration,
                 lambda id: put(id, retention=days(30))):
        refused("of an unknown organization", workos.NotFoundError,
                lambda: call(STORY["unknown_organization"]))


def told_keys():
    stranger = WorkOSClient(api_key="sk_wrong", client_id="client_123456789", base_url=URL)
    error = refused("a wrong key", workos.AuthenticationError, stranger.audit_logs.list_actions)
    check("its message", error.message, "Unauthorized")
    check("its request id", bool(UUID.fullmatch(error.request_id)))


run(told_organizations, told_what_organizations_hold, told_pages_of_organizations, told_schemas,
    told_actions, told_events, told_refusals, told_idempotency, told_exports, told_retention,
    told_keys)
