//! A receiver of HTTPS requests as WorkOS documents them, with a bearer token, and signatures of Standard
//! Webhooks if it has secrets.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::{Protocol, Received, Reply};

/// Which bodies are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestForm {
    /// `application/json`, an array.
    Json,
    /// `application/x-ndjson`, a line each.
    Ndjson,
}

/// A receiver with one token.
pub struct GenericHttps {
    token: String,
    form: RequestForm,
    secrets: Vec<String>,
    message_ids: Vec<String>,
    largest: usize,
}

impl GenericHttps {
    /// Takes requests with `Authorization: Bearer <token>`.
    pub fn new(token: &str, form: RequestForm) -> Self {
        let (secrets, message_ids) = (Vec::new(), Vec::new());
        Self { token: token.to_owned(), form, secrets, message_ids, largest: 1 << 20 }
    }

    /// Requires a signature by this secret too.
    pub fn with_secret(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }

    /// Changes the token.
    pub fn set_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// `webhook-id` of every request with the right token, in order.
    pub fn message_ids(&self) -> &[String] {
        &self.message_ids
    }

    fn is_signed(&self, request: &Received, body: &[u8]) -> bool {
        let id = request.header("webhook-id");
        let head = format!("{id}.{}.", request.header("webhook-timestamp"));
        let signatures: Vec<_> = request.header("webhook-signature").split(' ').collect();
        self.secrets.iter().all(|secret| {
            let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(head.as_bytes());
            mac.update(body);
            let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
            signatures.contains(&&*signature)
        })
    }

    fn events(&self, body: &[u8]) -> Option<Vec<Value>> {
        let envelopes: Vec<Value> = match self.form {
            RequestForm::Json => serde_json::from_slice(body).ok()?,
            RequestForm::Ndjson => std::str::from_utf8(body)
                .ok()?
                .lines()
                .map(|line| serde_json::from_str(line).ok())
                .collect::<Option<_>>()?,
        };
        let event = |mut envelope: Value| {
            let suffix = envelope["keySuffix"].as_str()?;
            let stamp = envelope["timestamp"].as_str()?;
            (suffix.len() == 12 && stamp.len() == 24).then(|| envelope["event"].take())
        };
        envelopes.into_iter().map(event).collect()
    }
}

impl Protocol for GenericHttps {
    fn receive(&mut self, request: &Received) -> Reply {
        if request.method != "POST" {
            return Reply::new(405, "POST only");
        }
        if request.header("authorization") != format!("Bearer {}", self.token) {
            return Reply::new(401, "who are you?");
        }
        self.message_ids.push(request.header("webhook-id").to_owned());
        let media_type = match self.form {
            RequestForm::Json => "application/json",
            RequestForm::Ndjson => "application/x-ndjson",
        };
        if request.header("content-type") != media_type {
            return Reply::new(415, "another media type is wanted");
        }
        if request.body.len() > self.largest {
            return Reply::new(413, "too large");
        }
        let Some(body) = request.decoded() else { return Reply::new(400, "not decoded") };
        if !self.is_signed(request, &body) {
            return Reply::new(401, "the signature is wrong");
        }
        match self.events(&body) {
            Some(events) => Reply { events, ..Reply::new(200, "thank you") },
            None => Reply::new(400, "no events"),
        }
    }
}
