//! The story, told by the newest `workos` of crates.io.

mod support;

use std::{panic::AssertUnwindSafe, process::ExitCode, time::Duration};

use futures_util::{FutureExt, TryStreamExt};
use serde_json::{Value, from_value, json, to_value};
use support::{
    Row, STORY, any_failed, check, check_rows, download, names_what_is_wrong, refusals, refused,
    setting,
};
use workos::{
    AuditLogEventIngestion, AuditLogExport, AuditLogExportCreation, AuditLogExportState,
    AuditLogSchema, AuditLogSchemaInput, Client, Error, Organization, PaginationOrder,
    RequestOptions, UpdateAuditLogsRetentionRetentionPeriod as Period,
    audit_logs::{
        CreateEventParams, CreateExportParams, CreateSchemaParams, ListActionSchemasParams,
        ListActionsParams, Retention, UpdateOrganizationAuditLogsRetentionParams,
        UpdateOrganizationAuditLogsRetentionParamsBody,
    },
    organizations::{CreateOrganizationParams, ListOrganizationsParams, UpdateOrganizationParams},
};

/// The SDK does not tell its version; the lock file says which one was built in.
const LOCK: &str = include_str!("../Cargo.lock");

struct Teller {
    client: Client,
    acme: Organization,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let version = LOCK.split("name = \"workos\"\nversion = \"").nth(1).unwrap();
    println!("# sdk workos {}", version.split('"').next().unwrap());
    let client = connect(&setting("AUDIT_LOGS_KEY"));
    let acme = create_organization(&client, json!({"name": "Acme"})).await.unwrap();
    let teller = Teller { client, acme };
    chapter("organizations", teller.tells_organizations()).await;
    chapter("pages of organizations", teller.tells_pages_of_organizations()).await;
    chapter("schemas", teller.tells_schemas()).await;
    chapter("actions", teller.tells_actions()).await;
    chapter("events", teller.tells_events()).await;
    chapter("refusals", teller.tells_refusals()).await;
    chapter("idempotency", teller.tells_idempotency()).await;
    chapter("exports", teller.tells_exports()).await;
    chapter("refused exports", teller.tells_refused_exports()).await;
    chapter("retention", teller.tells_retention()).await;
    chapter("keys", teller.tells_keys()).await;
    if any_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Tells a chapter; one that breaks off is a failed check, not the end.
async fn chapter(name: &str, told: impl Future<Output = ()>) {
    let ended = AssertUnwindSafe(told).catch_unwind().await;
    check(&format!("the chapter on {name} ends well"), ended.is_ok(), true);
}

fn connect(key: &str) -> Client {
    let client = Client::builder().api_key(key).client_id("client_123456789");
    client.base_url(setting("AUDIT_LOGS_URL")).build()
}

async fn create_organization(client: &Client, body: Value) -> Result<Organization, Error> {
    let params = CreateOrganizationParams::new(from_value(body).unwrap());
    client.organizations().create_organization(params).await
}

fn text(name: &str) -> &'static str {
    STORY[name].as_str().unwrap()
}

fn event(index: usize) -> Value {
    STORY["events"][index].clone()
}

fn names<T>(items: &[T], name: impl Fn(&T) -> &String) -> Vec<&str> {
    items.iter().map(|item| name(item).as_str()).collect()
}

impl Teller {
    async fn send(
        &self,
        organization: &str,
        event: Value,
        key: Option<&str>,
    ) -> Result<bool, Error> {
        let body = json!({"organization_id": organization, "event": event});
        let body: AuditLogEventIngestion = from_value(body).unwrap();
        let options = key.map(|key| RequestOptions::new().idempotency_key(key));
        let params = CreateEventParams::new(body);
        let logs = self.client.audit_logs();
        let answer = logs.create_event_with_options(params, options.as_ref()).await?;
        Ok(answer.success)
    }

    async fn create_schema(&self, action: &str, schema: &Value) -> Result<AuditLogSchema, Error> {
        let body: AuditLogSchemaInput = from_value(schema.clone()).unwrap();
        self.client.audit_logs().create_schema(action, CreateSchemaParams::new(body)).await
    }

    /// Starts an export of what `wanted`, an entry of the story, asks for.
    async fn create_export(
        &self,
        organization: &str,
        wanted: &Value,
    ) -> Result<AuditLogExport, Error> {
        let mut body = wanted.clone();
        body["organization_id"] = json!(organization);
        body["range_start"] = wanted["from"].clone();
        body["range_end"] = wanted["to"].clone();
        let body: AuditLogExportCreation = from_value(body).unwrap();
        self.client.audit_logs().create_export(CreateExportParams::new(body)).await
    }

    async fn ready(&self, mut export: AuditLogExport) -> AuditLogExport {
        for _ in 0..600 {
            if export.state != AuditLogExportState::Pending {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            export = self.client.audit_logs().get_export(&export.id).await.unwrap();
        }
        export
    }

    async fn read_export(&self, organization: &str, wanted: &Value) -> Vec<Row> {
        let export = self.create_export(organization, wanted).await.unwrap();
        download(&self.ready(export).await.url.unwrap()).await
    }

    async fn tells_organizations(&self) {
        let (organizations, acme) = (self.client.organizations(), &self.acme);
        check("a new organization", (&*acme.object, &*acme.name), ("organization", "Acme"));
        let got = organizations.get_organization(&acme.id).await.unwrap();
        check("got by id", to_value(got).unwrap(), to_value(acme).unwrap());
        let unknown = organizations.get_organization(text("unknown_organization")).await;
        let error = refused("an unknown one", 404, unknown).unwrap();
        let message = format!("Organization not found: '{}'.", text("unknown_organization"));
        check("its message", error.message, message);
        let name = UpdateOrganizationParams::new(from_value(json!({"name": "Acme Inc"})).unwrap());
        let renamed = organizations.update_organization(&acme.id, name).await.unwrap();
        check("renamed", (renamed.id, &*renamed.name), (acme.id.clone(), "Acme Inc"));
        let body = json!({"name": "Globex", "external_id": "crm-17", "metadata": {"tier": "gold"}});
        let globex = create_organization(&self.client, body).await.unwrap();
        check("metadata", globex.metadata["tier"].as_str(), "gold");
        let found = organizations.get_organization_by_external_id("crm-17").await.unwrap();
        check("got by external id", found.id, globex.id);
        let gone = create_organization(&self.client, json!({"name": "Gone"})).await.unwrap();
        organizations.delete_organization(&gone.id).await.unwrap();
        refused("a deleted one", 404, organizations.get_organization(&gone.id).await);
    }

    async fn tells_pages_of_organizations(&self) {
        let organizations = self.client.organizations();
        for number in 0..3 {
            let body = json!({"name": format!("Page {number}")});
            create_organization(&self.client, body).await.unwrap();
        }
        let two = || ListOrganizationsParams { limit: Some(2), ..Default::default() };
        let page = organizations.list_organizations(two()).await.unwrap();
        check("the newest first", names(&page.data, |o| &o.name), ["Page 2", "Page 1"]);
        check("no cursor before the first page", page.list_metadata.before, None::<String>);
        let everyone: Vec<_> =
            organizations.list_organizations_auto_paging(two()).try_collect().await.unwrap();
        check("every organization", everyone.len(), 5);
        check("the first of them last", &everyone[4].id, &self.acme.id);
    }

    async fn tells_schemas(&self) {
        let (logs, action) = (self.client.audit_logs(), text("action"));
        let (first, second) = (&STORY["schemas"][0], &STORY["schemas"][1]);
        let made = self.create_schema(action, first).await.unwrap();
        check("version 1", (&*made.object, made.version), ("audit_log_schema", 1));
        let made = to_value(made).unwrap();
        for part in ["actor", "targets", "metadata"] {
            check(&format!("its {part}"), &made[part], &first[part]);
        }
        let same = self.create_schema(action, first).await.unwrap();
        check("the same again", to_value(same).unwrap(), made.clone());
        let changed = self.create_schema(action, second).await.unwrap();
        check("version 2", changed.version, 2);
        let page = logs.list_action_schemas(action, Default::default()).await.unwrap();
        check("both, newest first", to_value(page.data).unwrap(), json!([changed, made]));
        check("nothing before", page.list_metadata.before, None::<String>);
        check("nothing after", page.list_metadata.after, None::<String>);
        let one = ListActionSchemasParams { limit: Some(1), ..Default::default() };
        let all: Vec<_> =
            logs.list_action_schemas_auto_paging(action, one).try_collect().await.unwrap();
        check("one by one", to_value(all).unwrap(), json!([changed, made]));
        let unknown = logs.list_action_schemas("report.unheard_of", Default::default()).await;
        refused("schemas of an unknown action", 404, unknown);
        let empty = self.create_schema("report.empty", &json!({"targets": []})).await;
        refused("a schema without targets", 422, empty);
        let odd = text("odd_action");
        self.create_schema(odd, &json!({"targets": [{"type": "thing"}]})).await.unwrap();
        let page = logs.list_action_schemas(odd, Default::default()).await.unwrap();
        check("an action whose name needs escapes", page.data.len(), 1);
    }

    async fn tells_actions(&self) {
        let logs = self.client.audit_logs();
        let mut all = vec![text("action").to_owned(), text("odd_action").to_owned()];
        for number in 1..=11 {
            let name = format!("paging.action_{number:02}");
            self.create_schema(&name, &json!({"targets": [{"type": "thing"}]})).await.unwrap();
            all.push(name);
        }
        all.reverse();
        let five = |after| ListActionsParams { limit: Some(5), after, ..Default::default() };
        let first = logs.list_actions(five(None)).await.unwrap();
        check("first page", names(&first.data, |action| &action.name), &all[..5]);
        check("nothing before it", first.list_metadata.before, None::<String>);
        let second = logs.list_actions(five(first.list_metadata.after)).await.unwrap();
        check("second page", names(&second.data, |action| &action.name), &all[5..10]);
        let last = logs.list_actions(five(second.list_metadata.after)).await.unwrap();
        check("last page", names(&last.data, |action| &action.name), &all[10..]);
        check("nothing after it", last.list_metadata.after, None::<String>);
        let pages = logs.list_actions_auto_paging(five(None));
        let everything: Vec<_> = pages.try_collect().await.unwrap();
        check("all pages", names(&everything, |action| &action.name), &*all);
        check("an action shows its latest schema", everything[12].schema.version, 2);
        let ascending = ListActionsParams {
            limit: Some(100),
            order: Some(PaginationOrder::Asc),
            ..Default::default()
        };
        let oldest = logs.list_actions(ascending).await.unwrap();
        check("oldest first", &oldest.data[0].name, text("action"));
        let unknown = Some("ala_01HXYZ123456789ABCDEFGHIJ".to_owned());
        refused("an unknown cursor", 404, logs.list_actions(five(unknown)).await);
        let many = ListActionsParams { limit: Some(9999), ..Default::default() };
        refused("a limit of 9999", 422, logs.list_actions(many).await);
    }

    async fn tells_events(&self) {
        for index in 0..4 {
            let answer = self.send(&self.acme.id, event(index), None).await.unwrap();
            check(&format!("event {index}"), answer, true);
        }
        let elsewhere = text("unregistered_organization");
        self.send(elsewhere, event(0), None).await.unwrap();
        let rows = self.read_export(elsewhere, &STORY["exports"][0]).await;
        check_rows("an organization that nobody made", &rows, elsewhere, &[0]);
    }

    async fn tells_refusals(&self) {
        for (refusal, event) in refusals() {
            let name = refusal["name"].as_str().unwrap();
            let status = refusal["status"].as_u64().unwrap() as u16;
            let answer = self.send(&self.acme.id, event, None).await;
            let Some(error) = refused(name, status, answer) else { continue };
            let named = names_what_is_wrong(refusal, &error.raw_body);
            check(&format!("{name}: what is wrong"), named, true);
            let message =
                if status == 400 { "Invalid Audit Log event." } else { "Validation failed." };
            check(&format!("{name}: message"), &*error.message, message);
            if status == 400 {
                let code = error.code.as_deref();
                check(&format!("{name}: code"), code, Some("invalid_audit_log_event"));
            }
        }
    }

    async fn tells_idempotency(&self) {
        let everything = &STORY["exports"][0];
        for index in [0, 0, 1] {
            self.send("org_same_key", event(index), Some("a key")).await.unwrap();
        }
        let rows = self.read_export("org_same_key", everything).await;
        check_rows("a key counts once for equal events only", &rows, "org_same_key", &[1, 0]);
        // The SDK sends no key: the content counts.
        for index in [0, 0, 1] {
            self.send("org_no_key", event(index), None).await.unwrap();
        }
        let rows = self.read_export("org_no_key", everything).await;
        check_rows("equal calls are one event", &rows, "org_no_key", &[1, 0]);
    }

    async fn tells_exports(&self) {
        let acme = &*self.acme.id;
        for wanted in STORY["exports"].as_array().unwrap() {
            let name = format!("export {}", wanted["name"].as_str().unwrap());
            let indices: Vec<usize> = from_value(wanted["events"].clone()).unwrap();
            check_rows(&name, &self.read_export(acme, wanted).await, acme, &indices);
        }
        let dates = json!({"from": "2026-11-01", "to": "2026-11-02T00:00:00.000000001+01:00"});
        let export = self.create_export(acme, &dates).await.unwrap();
        check("a new export", (&*export.object, export.id.len()), ("audit_log_export", 43));
        let ready = self.ready(export).await;
        check("is ready", ready.state, AuditLogExportState::Ready);
        let rows = download(&ready.url.unwrap()).await;
        check_rows("a bare date and an offset", &rows, acme, &[1]);
    }

    async fn tells_refused_exports(&self) {
        let acme = &*self.acme.id;
        let id = text("unknown_export");
        let unknown = self.client.audit_logs().get_export(id).await;
        let error = refused("an unknown export", 404, unknown).unwrap();
        check("its message", error.message, format!("Audit Log Export not found: '{id}'."));
        let backwards = json!({"from": "2026-11-02", "to": "2026-11-01"});
        let answer = self.create_export(acme, &backwards).await;
        let error = refused("a range that ends before it starts", 400, answer).unwrap();
        check("its code", error.code.as_deref(), Some("invalid_audit_log_export_range_date"));
        check("its message", &*error.message, "Invalid date range");
        let nonsense = json!({"from": "yesterday", "to": "2026-11-01"});
        refused("a range that is none", 400, self.create_export(acme, &nonsense).await);
        let elsewhere =
            self.create_export(text("unknown_organization"), &STORY["exports"][0]).await;
        refused("an export of an unknown organization", 404, elsewhere);
    }

    async fn set_retention(&self, id: &str, retention: Retention) -> Result<Option<i64>, Error> {
        let body = UpdateOrganizationAuditLogsRetentionParamsBody::new(retention);
        let params = UpdateOrganizationAuditLogsRetentionParams::new(body);
        let logs = self.client.audit_logs();
        let answer = logs.update_organization_audit_logs_retention(id, params).await?;
        Ok(answer.retention_period_in_days)
    }

    async fn tells_retention(&self) {
        let (logs, organizations) = (self.client.audit_logs(), self.client.organizations());
        let (acme, unknown) = (&*self.acme.id, text("unknown_organization"));
        let days = |days| Retention::PeriodInDays { retention_period_in_days: days };
        let configuration = organizations.get_audit_log_configuration(acme).await.unwrap();
        let expected =
            json!({"organization_id": acme, "retention_period_in_days": 365, "state": "active"});
        check("configuration", to_value(configuration).unwrap(), expected);
        let retention = logs.get_organization_audit_logs_retention(acme).await.unwrap();
        check("no retention yet", retention.retention_period_in_days, None::<i64>);
        check("set to 30 days", self.set_retention(acme, days(30)).await.unwrap(), Some(30));
        let half = Retention::Period { retention_period: Period::V6Months };
        check("set to 6_MONTHS", self.set_retention(acme, half).await.unwrap(), Some(180));
        let retention = logs.get_organization_audit_logs_retention(acme).await.unwrap();
        check("got", retention.retention_period_in_days, Some(180));
        let configuration = organizations.get_audit_log_configuration(acme).await.unwrap();
        check("configuration knows", configuration.retention_period_in_days, 180);
        refused("-1 days", 422, self.set_retention(acme, days(-1)).await);
        let answer = self.set_retention(unknown, days(30)).await;
        refused("retention of an unknown organization", 404, answer);
        let answer = logs.get_organization_audit_logs_retention(unknown).await;
        refused("no retention of an unknown organization", 404, answer);
        let answer = organizations.get_audit_log_configuration(unknown).await;
        refused("no configuration of an unknown organization", 404, answer);
    }

    async fn tells_keys(&self) {
        let stranger = connect("sk_wrong");
        let answer = stranger.audit_logs().list_actions(Default::default()).await;
        let error = refused("a wrong key", 401, answer).unwrap();
        check("its message", &*error.message, "Unauthorized");
    }
}
