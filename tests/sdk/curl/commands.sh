# The commands of WorkOS's reference as the seed documents print them (marked "seed"), and others in
# their style with the bodies of the fact sheet. `python/story_curl.py` runs them with another host
# and key and changes nothing else.
#
# `### what -> status shape` begins a command and names the shape of its answer (`tests/sdk/shapes`).
# `# body:` is a part that the answer must have, `# keep: NAME = member` gives a member of the answer
# to later commands, `# until: member = value` asks again until that is so.

### create an organization -> 201 organization
# keep: ORGANIZATION = id
curl "https://api.workos.com/organizations" \
  --header "Authorization: Bearer sk_example_123456789" \
  --header "Content-Type: application/json" \
  --data '{"name": "Foo Corp", "external_id": "2fe01467-f7ea-4dd2-8b79-c2b4f56d0191"}'

### create a schema -> 201 schema
# body: {"object": "audit_log_schema", "version": 1}
curl "https://api.workos.com/audit_logs/actions/user.logged_in/schemas" \
  --header "Authorization: Bearer sk_example_123456789" \
  --header "Content-Type: application/json" \
  --data '{"actor": {"metadata": {"type": "object", "properties": {"role": {"type": "string"}}}},
           "targets": [{"type": "invoice", "metadata": {"type": "object", "properties": {"cost": {"type": "number"}}}}],
           "metadata": {"type": "object", "properties": {"transactionId": {"type": "string"}}}}'

### create the schema of another action -> 201 schema
curl "https://api.workos.com/audit_logs/actions/user.viewed_invoice/schemas" \
  --header "Authorization: Bearer sk_example_123456789" \
  --header "Content-Type: application/json" \
  --data '{"actor": {"metadata": {"type": "object", "properties": {"role": {"type": "string"}}}},
           "targets": [{"type": "invoice", "metadata": {"type": "object", "properties": {"cost": {"type": "number"}}}}],
           "metadata": {"type": "object", "properties": {"transactionId": {"type": "string"}}}}'

### seed: get a list of all schemas for the action -> 200 schema_list
# body: {"object": "list", "data": [{"object": "audit_log_schema", "version": 1, "actor": {"metadata": {"type": "object", "properties": {"role": {"type": "string"}}}}, "targets": [{"type": "invoice", "metadata": {"type": "object", "properties": {"cost": {"type": "number"}}}}], "metadata": {"type": "object", "properties": {"transactionId": {"type": "string"}}}}], "list_metadata": {"before": null, "after": null}}
curl "https://api.workos.com/audit_logs/actions/user.logged_in/schemas" \
--header "Authorization: Bearer sk_example_123456789"

### seed: get a list of all actions -> 200 action_list
# body: {"object": "list", "data": [{"object": "audit_log_action", "name": "user.viewed_invoice", "schema": {"object": "audit_log_schema", "version": 1, "targets": [{"type": "invoice"}]}}, {"name": "user.logged_in"}], "list_metadata": {"before": null, "after": null}}
curl "https://api.workos.com/audit_logs/actions" \
--header "Authorization: Bearer sk_example_123456789"

### create an event -> 200 event_created
# body: {"success": true}
curl "https://api.workos.com/audit_logs/events" \
  --header "Authorization: Bearer sk_example_123456789" \
  --header "Content-Type: application/json" \
  --header "Idempotency-Key: 884793cd-bef4-46cf-8790-ed49257a09c6" \
  --data '{"organization_id": "'$ORGANIZATION'",
           "event": {"action": "user.logged_in", "occurred_at": "2026-11-02T08:15:30.250Z", "version": 1,
             "actor": {"id": "usr_88", "type": "user", "name": "Mira Voss", "metadata": {"role": "analyst"}},
             "targets": [{"id": "inv_17", "type": "invoice", "metadata": {"cost": 12}}],
             "context": {"location": "203.0.113.9", "user_agent": "Firefox/131"},
             "metadata": {"transactionId": "4711"}}}'

### an event that does not fit -> 400 error_event
# body: {"code": "invalid_audit_log_event", "errors": [{"instancePath": "/action"}]}
curl "https://api.workos.com/audit_logs/events" \
  --header "Authorization: Bearer sk_example_123456789" \
  --header "Content-Type: application/json" \
  --data '{"organization_id": "'$ORGANIZATION'",
           "event": {"action": "user.logged_out", "occurred_at": "2026-11-02T08:15:30.250Z",
             "actor": {"id": "usr_88", "type": "user"}, "targets": [{"id": "inv_17", "type": "invoice"}],
             "context": {"location": "203.0.113.9"}}}'

### create an export -> 201 export
# keep: EXPORT = id
curl "https://api.workos.com/audit_logs/exports" \
  --header "Authorization: Bearer sk_example_123456789" \
  --header "Content-Type: application/json" \
  --data '{"organization_id": "'$ORGANIZATION'",
           "range_start": "2026-09-01T00:00:00.000Z", "range_end": "2026-12-01T00:00:00.000Z",
           "actions": ["user.logged_in"], "actor_ids": ["usr_88"], "targets": ["invoice"]}'

### get the export -> 200 export
# until: state = ready
# keep: URL = url
curl "https://api.workos.com/audit_logs/exports/$EXPORT" \
  --header "Authorization: Bearer sk_example_123456789"

### download the file -> 200 csv
curl "$URL"

### an export that starts on 31 June, as the guide's PHP does -> 400 error
curl "https://api.workos.com/audit_logs/exports" \
  --header "Authorization: Bearer sk_example_123456789" \
  --header "Content-Type: application/json" \
  --data '{"organization_id": "'$ORGANIZATION'", "range_start": "2022-06-31T15:51:23.604Z", "range_end": "2022-08-31T15:51:23.604Z"}'

### an unknown export -> 404 error_not_found
# body: {"message": "Audit Log Export not found: 'audit_log_export_01GBT9P815WPET6H8K0XHBACGS'."}
curl "https://api.workos.com/audit_logs/exports/audit_log_export_01GBT9P815WPET6H8K0XHBACGS" \
  --header "Authorization: Bearer sk_example_123456789"

### get the retention -> 200 retention
# body: {"retention_period_in_days": null}
curl "https://api.workos.com/organizations/$ORGANIZATION/audit_logs_retention" \
  --header "Authorization: Bearer sk_example_123456789"

### set the retention -> 200 retention
# body: {"retention_period_in_days": 180}
curl --request PUT "https://api.workos.com/organizations/$ORGANIZATION/audit_logs_retention" \
  --header "Authorization: Bearer sk_example_123456789" \
  --header "Content-Type: application/json" \
  --data '{"retention_period": "6_MONTHS"}'

### get the configuration -> 200 configuration
# body: {"retention_period_in_days": 180, "state": "active"}
curl "https://api.workos.com/organizations/$ORGANIZATION/audit_log_configuration" \
  --header "Authorization: Bearer sk_example_123456789"

### get the organization by its external id -> 200 organization
# body: {"name": "Foo Corp"}
curl "https://api.workos.com/organizations/external_id/2fe01467-f7ea-4dd2-8b79-c2b4f56d0191" \
  --header "Authorization: Bearer sk_example_123456789"

### without a key -> 401 error_unauthorized
curl "https://api.workos.com/audit_logs/actions"
