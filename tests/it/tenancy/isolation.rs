//! The matrix: every RPC and every HTTP route, called with real ids by those who may not, and with ids
//! that exist nowhere. Neither answer tells anything, and the two are the same but for the id.
//! Printed as docs/isolation.md.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use audit_logs::domain::{
    api_key::Scope,
    permissions::{Operation, Reach},
};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Status, transport::Channel};

use super::{
    permissions::routes,
    raw,
    world::{EXTERNAL_ID, World},
};
use crate::support::{Engine, Refusal, TestServer, on_every_engine};

on_every_engine!(nobody_sees_another_tenant);

/// Tells the test to write the page instead of comparing it.
const WRITE: &str = "AUDIT_LOGS_TEST_WRITE_ISOLATION";
const PAGE: &str = "docs/isolation.md";
const HEADING: &str = include_str!("isolation_heading.md");

/// The columns of the matrix.
const CALLERS: [&str; 4] =
    ["of another environment", "limited", "without the scope", "without a key"];

/// An answer, as whoever calls sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    /// What the matrix says: `OK`, or code and reason.
    outcome: String,
    /// Everything that it says.
    content: Vec<u8>,
}

/// Texts of the tenant, and what stands for them in a request that names nothing that is there: of the
/// same length, so that they can be exchanged in an encoded message.
struct Ids(Vec<(String, String)>);

impl Ids {
    fn of(world: &World) -> Self {
        let ids = [
            &world.event_id,
            &world.event_cursor,
            &world.export_id,
            &world.api_key_id,
            &world.action_cursor,
            &world.organization_cursor,
            &world.log_stream_id,
        ];
        // The end of a ULID is random.
        let mut pairs: Vec<_> = ids
            .iter()
            .map(|id| ((*id).clone(), format!("{}ZZZZZZ", &id[..id.len() - 6])))
            .collect();
        pairs.push((EXTERNAL_ID.to_owned(), "customer 9".to_owned()));
        pairs.push(("doc.secret".to_owned(), "doc.absent".to_owned()));
        pairs.push(("acme".to_owned(), "zzzz".to_owned()));
        Self(pairs)
    }

    fn phantom(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.iter().fold(bytes.to_vec(), |bytes, (real, none)| exchange(bytes, real, none))
    }

    fn real(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.iter().fold(bytes.to_vec(), |bytes, (real, none)| exchange(bytes, none, real))
    }

    /// What an answer tells of the tenant that was not in the request.
    fn told(&self, answer: &[u8], request: &[u8]) -> Option<&str> {
        let more = ["Mira", "doc_1", "acme's", "receiver.invalid"];
        let all = self.0.iter().map(|(real, _)| real.as_str()).chain(more);
        all.into_iter()
            .find(|text| contains(answer, text.as_bytes()) && !contains(request, text.as_bytes()))
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn exchange(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut place = 0;
    while place + from.len() <= bytes.len() {
        if bytes[place..].starts_with(from.as_bytes()) {
            bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
        }
        place += 1;
    }
    bytes
}

/// Something to call.
#[derive(Clone)]
enum Call {
    Rpc(&'static str, Vec<u8>),
    Route(&'static str, Method, String, Option<Value>),
}

impl Call {
    fn name(&self) -> &'static str {
        match self {
            Self::Rpc(name, _) | Self::Route(name, ..) => name,
        }
    }

    /// What is sent.
    fn content(&self) -> Vec<u8> {
        match self {
            Self::Rpc(_, message) => message.clone(),
            Self::Route(_, _, path, body) => {
                let body = body.as_ref().map(Value::to_string).unwrap_or_default();
                format!("{} {body}", path.replace("%20", " ")).into_bytes()
            }
        }
    }

    /// The same about what is not there.
    fn phantom(&self, ids: &Ids) -> Self {
        let text = |text: &str| String::from_utf8(ids.phantom(text.as_bytes())).unwrap();
        match self {
            Self::Rpc(name, message) => Self::Rpc(name, ids.phantom(message)),
            Self::Route(name, method, path, body) => {
                let body = body.as_ref().map(|body| text(&body.to_string()).parse().unwrap());
                // What is encoded in a path is a text of its own.
                let path = text(&path.replace("%20", " ")).replace(' ', "%20");
                Self::Route(name, method.clone(), path, body)
            }
        }
    }

    async fn send(&self, server: &TestServer, channel: &Channel, key: Option<&str>) -> Answer {
        match self {
            Self::Rpc(name, message) => {
                let headers = key.map(|key| ("authorization", raw::bearer(key)));
                match raw::call_with(channel, name, headers, message.clone()).await {
                    Ok(answer) => Answer { outcome: "OK".to_owned(), content: answer.to_vec() },
                    Err(status) => of_status(&status),
                }
            }
            Self::Route(_, method, path, body) => {
                let client = reqwest::Client::builder().build().unwrap();
                let mut request = client.request(method.clone(), format!("{}{path}", server.url));
                if let Some(key) = key {
                    request = request.bearer_auth(key);
                }
                if let Some(body) = body {
                    request = request.body(body.to_string());
                }
                let answer = request.send().await.unwrap();
                let status = answer.status();
                let content = answer.bytes().await.unwrap().to_vec();
                let code = serde_json::from_slice(&content).ok();
                let code = code.and_then(|body: Value| body["code"].as_str().map(str::to_owned));
                let outcome = match code {
                    _ if status.is_success() => "OK".to_owned(),
                    code => format!("{} {}", status.as_u16(), code.unwrap_or_default()),
                };
                Answer { outcome, content }
            }
        }
    }
}

fn of_status(status: &Status) -> Answer {
    let Refusal { code, reason, .. } = Refusal::of(status);
    let content = [status.message().as_bytes(), status.details()].concat();
    Answer { outcome: format!("{code:?} {reason}"), content }
}

/// A right request of a route that is about acme.
fn route(world: &World, route: &'static str) -> Call {
    let (method, path) = route.split_once(' ').unwrap();
    let range = json!({"organization_id": "acme", "range_start": "2026-01-01",
                       "range_end": "2026-12-31"});
    let event = json!({"organization_id": "acme", "event": crate::rest::calls::event("doc.read")});
    let stream = json!({"organization_id": "acme", "type": "GenericHttps",
                        "config": {"url": "https://receiver.invalid/events"}});
    let body = match route {
        "POST /audit_logs/events" => Some(event),
        "POST /v1/events:batch" | "POST /v1/events%3Abatch" => {
            Some(json!({"requests": [event], "atomic": true}))
        }
        "POST /audit_logs/exports" => Some(range),
        "POST /v1/log_streams" => Some(stream),
        "POST /organizations" => Some(json!({"name": "New"})),
        "PUT /organizations/{id}" | "PUT /v1/log_streams/{id}" => Some(json!({"name": "x"})),
        "PUT /organizations/{id}/audit_logs_retention" => {
            Some(json!({"retention_period_in_days": 30}))
        }
        "POST /audit_logs/actions/{action_name}/schemas" => {
            Some(json!({"targets": [{"type": "document"}]}))
        }
        "POST /v1/log_streams/{id}:replay" => Some(json!({"from_sequence": 0})),
        "POST /v1/log_streams/{id}:test"
        | "POST /v1/log_streams/{id}:pause"
        | "POST /v1/log_streams/{id}:resume" => None,
        _ if method == "POST" && path.contains("redrive") => Some(json!({})),
        _ => {
            assert!(method == "GET" || method == "DELETE", "{route} needs a body");
            None
        }
    };
    let id = if path.starts_with("/v1/log_streams") { &world.log_stream_id } else { "acme" };
    let mut filled = path
        .replace("{id}", id)
        .replace("{event_id}", &world.event_id)
        .replace("{export_id}", &world.export_id)
        .replace("{action_name}", "doc.secret")
        .replace("{external_id}", "customer%201")
        .replace("{organization}", "acme")
        .replace("{path}", "entries/000.p/1");
    assert!(!filled.contains('{'), "{route} needs a value");
    if path.starts_with("/v1/events") && method == "GET" || path == "/v1/log_streams" {
        filled.push_str("?organization_id=acme");
    }
    Call::Route(route, method.parse().unwrap(), filled, body)
}

/// What may be answered to those who may not see what the call names.
fn is_allowed(operation: Operation, caller: &str, outcome: &str) -> bool {
    let not_found = outcome.starts_with("NotFound ") || outcome.starts_with("404 ");
    let denied = outcome.starts_with("PermissionDenied ") || outcome.starts_with("403 ");
    let scope_missing = denied && outcome.to_lowercase().contains("scope_missing");
    match (caller, operation.permission().reach) {
        ("without a key", _) => {
            outcome.starts_with("Unauthenticated ") || outcome == "401 unauthorized"
        }
        ("without the scope", _) => scope_missing,
        // Its own environment's actions and organizations, of which it has or makes its own.
        ("of another environment", Reach::Environment | Reach::Unlimited(_) | Reach::Listed) => {
            not_found || outcome == "OK"
        }
        ("limited", Reach::Environment | Reach::Listed) => not_found || outcome == "OK",
        ("limited", Reach::Unlimited(_)) => denied,
        _ => not_found,
    }
}

async fn nobody_sees_another_tenant(engine: Engine) {
    // An event for an organization that is nowhere would register it.
    let known_only = |settings: &mut audit_logs::config::Settings| {
        settings.organizations.auto_register = false;
    };
    let world = World::with_organizations(TestServer::start_with(engine, known_only).await).await;
    let (server, channel) = (&world.server, world.server.channel().await);
    let all = Scope::ALL.map(Scope::as_str);
    let foreign = server.key_in("other").await;
    let limited = server.key_with(&all, &["beta"]).await;
    let mut without = BTreeMap::new();
    for scope in Scope::ALL {
        let others: Vec<_> = all.into_iter().filter(|name| *name != scope.as_str()).collect();
        without.insert(scope.as_str(), server.key_with(&others, &[]).await);
    }
    let of_rpc = |rpc: &str| {
        let mut all = Operation::ALL.iter().copied();
        all.find(|operation| operation.permission().rpc == Some(rpc)).unwrap()
    };
    let requests = world.requests();
    let rpcs = requests
        .iter()
        .map(|named| (of_rpc(named.rpc), Call::Rpc(named.rpc, named.message.clone())));
    let of_routes = routes().into_iter().map(|(path, operation)| (operation, route(&world, path)));
    let ids = Ids::of(&world);
    let (mut matrix, mut wrong) = (Matrix::default(), Vec::new());
    let before = of_acme(server).await;
    for (operation, call) in rpcs.chain(of_routes) {
        let scope = operation.permission().scope;
        let keys = [Some(&*foreign), Some(&*limited), Some(&*without[scope.as_str()]), None];
        for (caller, key) in CALLERS.into_iter().zip(keys) {
            let answer = call.send(server, &channel, key).await;
            let name = call.name();
            if !is_allowed(operation, caller, &answer.outcome) {
                wrong.push(format!("{name}, {caller}: {}", answer.outcome));
            }
            // Actions belong to all of an environment, so to the limited key too.
            let is_shared =
                caller == "limited" && operation.permission().reach == Reach::Environment;
            if let Some(told) = ids.told(&answer.content, &call.content()).filter(|_| !is_shared) {
                wrong.push(format!("{name}, {caller}: told {told}"));
            }
            if answer.outcome != "OK" {
                let none = call.phantom(&ids).send(server, &channel, key).await;
                let none = Answer { content: ids.real(&none.content), ..none };
                if none != answer {
                    wrong.push(format!("{name}, {caller}: {answer:?} but for nothing {none:?}"));
                }
            }
            matrix.add(operation, name, caller, answer.outcome);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(of_acme(server).await, before, "what was refused changed something");
    matrix.compare();
}

/// What any change to the tenant would change.
async fn of_acme(server: &TestServer) -> Vec<Vec<i64>> {
    let mut values = Vec::new();
    for (column, table, condition) in [
        ("COUNT(*)", "events", "organization_id = 'acme'"),
        ("updated_at", "organizations", "id = 'acme'"),
        ("COUNT(*)", "organizations", "id = 'acme' AND deleted_at IS NULL"),
        ("retention_days", "organizations", "id = 'acme' AND retention_days IS NOT NULL"),
        ("COUNT(*)", "log_retention", "organization_id = 'acme' AND held_at IS NOT NULL"),
        ("updated_at", "log_streams", "organization_id = 'acme'"),
        ("generation", "log_streams", "organization_id = 'acme'"),
        ("COUNT(*)", "exports", "organization_id = 'acme'"),
        ("COUNT(*)", "exports", "organization_id = 'acme' AND state = 'cancelled'"),
        ("COUNT(*)", "api_keys", "revoked_at IS NOT NULL"),
    ] {
        let sql = format!("SELECT {column} FROM {table} WHERE {condition} ORDER BY 1");
        values.push(server.query_integers(&sql).await);
    }
    values
}

/// Per RPC or route, what each caller got.
#[derive(Default)]
struct Matrix(BTreeMap<&'static str, (Option<Operation>, Outcomes)>);

/// The outcomes of several requests, by caller.
type Outcomes = BTreeMap<&'static str, Vec<String>>;

impl Matrix {
    fn add(
        &mut self,
        operation: Operation,
        name: &'static str,
        caller: &'static str,
        told: String,
    ) {
        let (of, callers) = self.0.entry(name).or_default();
        *of = Some(operation);
        let outcomes = callers.entry(caller).or_default();
        if !outcomes.contains(&told) {
            outcomes.push(told);
        }
    }

    fn page(&self) -> String {
        let mut page = HEADING.to_owned();
        writeln!(page, "| RPC or route | scope | {} |", CALLERS.join(" | ")).unwrap();
        writeln!(page, "| --- | --- | {} |", ["---"; 4].join(" | ")).unwrap();
        for (name, (operation, callers)) in &self.0 {
            let scope = operation.unwrap().permission().scope;
            let cells = CALLERS.map(|caller| callers[caller].join(", "));
            writeln!(page, "| `{name}` | `{scope}` | {} |", cells.join(" | ")).unwrap();
        }
        page
    }

    /// Holds the page against the matrix, or writes it.
    fn compare(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
        if std::env::var_os(WRITE).is_some() {
            fs::write(path, self.page()).unwrap();
            return;
        }
        let page = fs::read_to_string(path).unwrap_or_default();
        assert!(page == self.page(), "{PAGE} is out of date: run the test with {WRITE}=1");
    }
}
