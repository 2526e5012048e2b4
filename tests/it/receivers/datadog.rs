//! Datadog's log intake, by docs.datadoghq.com, "Send logs".

use serde_json::Value;

use super::{Protocol, Received, Reply};

/// The intake of one organization.
pub struct Datadog {
    key: String,
}

impl Datadog {
    /// With that API key.
    pub fn new(key: &str) -> Self {
        Self { key: key.to_owned() }
    }

    /// Changes the API key.
    pub fn set_key(&mut self, key: &str) {
        key.clone_into(&mut self.key);
    }
}

fn refused(status: u16, why: &str) -> Reply {
    Reply::new(status, format!(r#"{{"errors":["{why}"]}}"#))
}

impl Protocol for Datadog {
    fn receive(&mut self, request: &Received) -> Reply {
        if request.method != "POST" || request.path != "/api/v2/logs" {
            return refused(404, "Not found");
        }
        match request.header("dd-api-key") {
            "" => return refused(401, "Unauthorized"),
            key if key != self.key => return refused(403, "Forbidden"),
            _ => {}
        }
        if request.header("content-type") != "application/json" {
            return refused(400, "unsupported media type");
        }
        let Some(body) = request.decoded() else { return refused(400, "cannot be decoded") };
        if body.len() > 5_000_000 {
            return refused(413, "Payload too big");
        }
        let Ok(logs) = serde_json::from_slice::<Vec<Value>>(&body) else {
            return refused(400, "bad format");
        };
        if logs.len() > 1_000 {
            return refused(400, "more than 1000 logs");
        }
        let mut reply = Reply::new(202, "{}");
        for mut log in logs {
            // The real one cuts it off and says nothing.
            assert!(log.to_string().len() <= 1_000_000, "a log of more than 1 MB was sent");
            assert!(log["ddsource"].is_string() && log["service"].is_string(), "{log}");
            reply.events.push(log["message"].take());
        }
        reply
    }
}
