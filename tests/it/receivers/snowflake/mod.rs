//! Snowflake's SQL API with one table, by docs.snowflake.com: "Snowflake SQL API reference",
//! "Resubmitting a request", "Using key-pair authentication". The keys beside it are for tests only.

use std::collections::HashSet;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use ring::{
    rsa::KeyPair as RsaKeyPair,
    signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
};
use serde_json::{Value, json};

use super::{Protocol, Received, Reply};

/// The user's key.
pub const KEY: &str = include_str!("key.pem");
/// The same, encrypted.
pub const ENCRYPTED_KEY: &str = include_str!("key.aes.pem");
/// What opens it.
pub const PASSPHRASE: &str = "for tests";
const FINGERPRINT: &str = include_str!("key.fingerprint");
const STATEMENT: &str = "INSERT INTO \"LOGS\".\"PUBLIC\".\"audit events\" \
    (event_id, event_type, occurred_at, organization_id, data) \
    SELECT value:event_id::VARCHAR, value:event_type::VARCHAR, \
    TO_TIMESTAMP_TZ(value:occurred_at::VARCHAR), value:organization_id::VARCHAR, value:data \
    FROM TABLE(FLATTEN(INPUT => PARSE_JSON(?)))";

/// An account whose host is `127.0.0.1`: its name is `127`. The user `audit_logs` may insert into
/// `logs.public."audit events"` with the warehouse `small`.
pub struct Snowflake {
    executed: HashSet<String>,
    has_key: bool,
    polls: usize,
    polled: usize,
    running: Option<Reply>,
}

impl Snowflake {
    /// An account that executes at once.
    pub fn new() -> Self {
        Self { executed: HashSet::new(), has_key: true, polls: 0, polled: 0, running: None }
    }

    /// Statements go on until they were asked for so often.
    pub fn with_polls(mut self, polls: usize) -> Self {
        self.polls = polls;
        self
    }

    /// Whether the user has the public key.
    pub fn set_key(&mut self, has_key: bool) {
        self.has_key = has_key;
    }

    fn authorize(&self, request: &Received) -> Option<()> {
        let token = request.header("authorization").strip_prefix("Bearer ")?;
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let body: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
        let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        let (header, claims) = signed.split_once('.')?;
        let json = |text| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
        let (header, claims) = (json(header)?, json(claims)?);
        let life = claims["exp"].as_i64()? - claims["iat"].as_i64()?;
        let right = header["alg"] == "RS256"
            && claims["sub"] == "127.AUDIT_LOGS"
            && claims["iss"] == format!("127.AUDIT_LOGS.SHA256:{}", FINGERPRINT.trim())
            && (1..=3_600).contains(&life)
            && request.header("x-snowflake-authorization-token-type") == "KEYPAIR_JWT"
            && self.has_key;
        right.then_some(())
    }

    fn submit(&mut self, request: &Received) -> Reply {
        let query = form_urlencoded::parse(request.query.as_bytes()).into_owned();
        let query: std::collections::HashMap<_, _> = query.collect();
        let id = query.get("requestId").cloned().unwrap_or_default();
        if uuid::Uuid::parse_str(&id).is_err() {
            return said(400, "391902", "requestId is no UUID");
        }
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return said(400, "391902", "no JSON");
        };
        if body["statement"] != STATEMENT {
            return said(422, "001003", "SQL compilation error");
        }
        if (&body["database"], &body["schema"]) != (&json!("LOGS"), &json!("PUBLIC")) {
            return said(422, "002003", "does not exist or not authorized");
        }
        if body["warehouse"] != "SMALL" {
            return said(422, "000606", "No active warehouse selected");
        }
        let again = self.executed.contains(&id) && query.get("retry").is_some_and(|r| r == "true");
        let binding = &body["bindings"]["1"];
        let rows: Option<Vec<Value>> = (binding["type"] == "TEXT")
            .then(|| serde_json::from_str(binding["value"].as_str()?).ok())
            .flatten();
        let Some(rows) = rows else { return said(422, "100069", "Error parsing JSON") };
        let mut reply = said(200, "090001", "Statement executed successfully.");
        self.executed.insert(id);
        if !again {
            reply.events = rows.into_iter().map(row).collect();
        }
        if self.polls == 0 {
            return reply;
        }
        self.polled = 0;
        // Inserted while it goes on.
        let events = std::mem::take(&mut reply.events);
        self.running = Some(reply);
        let body =
            json!({"code": "333334", "statementHandle": "01b2-77", "message": "in progress"});
        Reply { events, ..Reply::new(202, body.to_string()) }
    }

    fn status(&mut self) -> Reply {
        self.polled += 1;
        if self.polled < self.polls {
            let body = json!({"code": "333334", "statementHandle": "01b2-77"});
            return Reply::new(202, body.to_string());
        }
        self.running.clone().unwrap()
    }
}

/// The event of a row, whose columns are what the table has.
fn row(mut row: Value) -> Value {
    let columns: Vec<_> = row.as_object().unwrap().keys().cloned().collect();
    assert_eq!(columns, ["data", "event_id", "event_type", "occurred_at", "organization_id"]);
    assert_eq!(row["event_id"], row["data"]["id"]);
    assert_eq!(row["event_type"], row["data"]["action"]);
    assert_eq!(row["occurred_at"], row["data"]["occurred_at"]);
    row["data"].take()
}

fn said(status: u16, code: &str, message: &str) -> Reply {
    Reply::new(status, json!({"code": code, "message": message}).to_string())
}

impl Protocol for Snowflake {
    fn receive(&mut self, request: &Received) -> Reply {
        if self.authorize(request).is_none() {
            return said(401, "390144", "JWT token is invalid.");
        }
        match (&*request.method, &*request.path) {
            ("POST", "/api/v2/statements") => self.submit(request),
            ("GET", "/api/v2/statements/01b2-77") => self.status(),
            _ => said(404, "390404", "not found"),
        }
    }

    fn delivers(&self, request: &Received) -> bool {
        request.method == "POST"
    }
}
