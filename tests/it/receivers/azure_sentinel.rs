//! The Logs Ingestion API of Azure Monitor with a data collection rule for audit logs, and the token
//! endpoint of Microsoft Entra ID, by learn.microsoft.com.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Protocol, Received, Reply};

/// The directory's id.
pub const TENANT: &str = "5f2e0d6a-0000-4000-8000-000000000001";
/// The rule's immutable id.
pub const RULE: &str = "dcr-0123456789abcdef0123456789abcdef";
/// The stream in the rule.
pub const STREAM: &str = "Custom-AuditLogs_CL";
const CLIENT: &str = "client";
const COLUMNS: [&str; 5] = ["TimeGenerated", "id", "event_type", "organization_id", "data"];

/// A data collection endpoint and the authority that gives tokens for it.
pub struct AzureSentinel {
    secret: String,
    tokens: usize,
    revoked: usize,
    expires_in: u64,
    has_role: bool,
}

impl AzureSentinel {
    /// For the application `client` with that secret.
    pub fn new(secret: &str) -> Self {
        let secret = secret.to_owned();
        Self { secret, tokens: 0, revoked: 0, expires_in: 3_599, has_role: true }
    }

    /// How many tokens were given.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Takes back all tokens that were given.
    pub fn revoke(&mut self) {
        self.revoked = self.tokens;
    }

    /// Changes the application's secret.
    pub fn set_secret(&mut self, secret: &str) {
        secret.clone_into(&mut self.secret);
    }

    /// Whether the application may publish (the role "Monitoring Metrics Publisher").
    pub fn set_role(&mut self, has_role: bool) {
        self.has_role = has_role;
    }

    fn token(&mut self, request: &Received) -> Reply {
        if request.header("content-type") != "application/x-www-form-urlencoded" {
            return Reply::new(400, r#"{"error":"invalid_request"}"#);
        }
        let form: HashMap<_, _> = form_urlencoded::parse(&request.body).into_owned().collect();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        if field("grant_type") != "client_credentials" {
            return Reply::new(400, r#"{"error":"unsupported_grant_type"}"#);
        }
        if field("scope") != "https://monitor.azure.com/.default" {
            return Reply::new(400, r#"{"error":"invalid_scope"}"#);
        }
        if field("client_id") != CLIENT {
            return Reply::new(400, r#"{"error":"unauthorized_client"}"#);
        }
        if field("client_secret") != self.secret {
            return Reply::new(401, r#"{"error":"invalid_client"}"#);
        }
        self.tokens += 1;
        let body = json!({
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "access_token": format!("token-{}", self.tokens),
        });
        Reply::new(200, body.to_string())
    }

    fn logs(&self, request: &Received) -> Result<Reply, Reply> {
        let number = request.header("authorization").strip_prefix("Bearer token-");
        let number = number.and_then(|number| number.parse().ok()).unwrap_or(0_usize);
        if number <= self.revoked || number > self.tokens {
            return Err(said(401, "AuthenticationFailed"));
        }
        if !self.has_role {
            return Err(said(403, "OperationFailed"));
        }
        if request.query != "api-version=2023-01-01" {
            return Err(said(400, "UnsupportedApiVersion"));
        }
        if request.header("content-type") != "application/json" {
            return Err(said(415, "UnsupportedMediaType"));
        }
        // Compressed or not, 1 MB.
        let body = request.decoded().ok_or_else(|| said(400, "InvalidEncoding"))?;
        if body.len() > 1_000_000 {
            return Err(said(413, "ContentLengthLimitExceeded"));
        }
        let rows: Vec<Value> =
            serde_json::from_slice(&body).map_err(|_| said(400, "InvalidPayload"))?;
        let mut reply = Reply::new(204, "");
        for mut row in rows {
            let columns = row.as_object().ok_or_else(|| said(400, "InvalidPayload"))?;
            assert!(columns.keys().all(|name| COLUMNS.contains(&&**name)), "columns of {row}");
            assert_eq!(columns.len(), COLUMNS.len(), "columns of {row}");
            // The real one cuts it off and says nothing.
            assert!(columns.values().all(|value| value.to_string().len() <= 65_536));
            assert_eq!(row["id"], row["data"]["id"]);
            reply.events.push(row["data"].take());
        }
        Ok(reply)
    }
}

fn said(status: u16, code: &str) -> Reply {
    Reply::new(status, json!({"error": {"code": code, "message": "refused"}}).to_string())
}

impl Protocol for AzureSentinel {
    fn receive(&mut self, request: &Received) -> Reply {
        let rule = format!("/dataCollectionRules/{RULE}/streams/{STREAM}");
        if request.method != "POST" {
            return said(405, "MethodNotAllowed");
        }
        if request.path == format!("/{TENANT}/oauth2/v2.0/token") {
            return self.token(request);
        }
        if request.path != rule {
            return said(404, "NotFound");
        }
        self.logs(request).unwrap_or_else(|refusal| refusal)
    }

    fn delivers(&self, request: &Received) -> bool {
        request.path.starts_with("/dataCollectionRules/")
    }
}
