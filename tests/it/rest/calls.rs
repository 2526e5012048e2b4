//! A client that checks what all answers have in common.

use std::sync::OnceLock;

use reqwest::{Client, Method, Response, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use super::description;
use crate::support::{TestServer, server::ROOT_KEY};

/// Calls one server with one key.
pub struct Rest {
    url: String,
    key: Option<String>,
    client: Client,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Rest {
    pub fn new(server: &TestServer) -> Self {
        Self::with_key(server, Some(ROOT_KEY))
    }

    pub fn with_key(server: &TestServer, key: Option<&str>) -> Self {
        let client = Client::builder().http1_only().build().unwrap();
        Self { url: server.url.clone(), key: key.map(str::to_owned), client }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body.to_string().into()), &[]).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body.to_string().into()), &[]).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None, &[]).await
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let sent_id = headers.iter().find(|(name, _)| *name == "x-request-id").map(|sent| sent.1);
        let answer = Answer::of(request.send().await.unwrap(), sent_id).await;
        description::check(&method, path, &answer);
        answer
    }
}

impl Answer {
    /// Reads an answer and checks what every one must have.
    async fn of(response: Response, sent_id: Option<&str>) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
        let id = headers["x-request-id"].to_str().unwrap();
        let parts: Vec<_> = id.split('-').map(str::len).collect();
        match sent_id {
            Some(sent) => assert_eq!(id, sent),
            None => assert_eq!(parts, [8, 4, 4, 4, 12], "no UUID: {id}"),
        }
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert!(body.is_object(), "{body}");
        if !status.is_success() {
            assert!(body["message"].is_string() && body["code"].is_string(), "{body}");
            assert_eq!(body.get("error"), None);
        }
        assert_ne!(status, StatusCode::CONFLICT);
        Self { status: status.as_u16(), headers, body }
    }

    /// Status and code.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    /// Field and code of each error.
    pub fn errors(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(errors.iter().all(|error| error["message"].is_string()), "{}", self.body);
        let mut pairs = Vec::new();
        for error in errors {
            pairs.push((error["field"].as_str().unwrap(), error["code"].as_str().unwrap()));
        }
        pairs
    }
}

/// The description of the service, read once.
pub fn openapi() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::to_value(audit_logs::transport::rest::document()).unwrap())
}

/// An event that fits [`schema`].
pub fn event(action: &str) -> Value {
    json!({
        "action": action,
        "occurred_at": "2026-11-02T08:15:30.250Z",
        "actor": {"id": "usr_88", "type": "user", "name": "Mira Voss"},
        "targets": [{"id": "rep_17", "type": "report"}],
        "context": {"location": "203.0.113.9", "user_agent": "Firefox/131"},
        "metadata": {"format": "pdf"},
    })
}

/// The event in a request.
pub fn event_for(organization: &str, event: &Value) -> Value {
    json!({"organization_id": organization, "event": event})
}

/// The schema of an action with one target type.
pub fn schema() -> Value {
    json!({"targets": [{"type": "report"}]})
}
