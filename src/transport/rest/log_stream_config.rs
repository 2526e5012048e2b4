//! The `config` of a log stream: the members of a destination, secrets among them.

use serde_json::{Map, Value, json};

use crate::{
    domain::{
        destination::{Destination, Secrets, header_secret},
        violation::{Reason, Violation},
    },
    service::{error::Error, log_streams::DestinationDraft},
};

/// A destination as sent.
pub(super) struct Configured {
    /// The same for the service.
    pub(super) draft: DestinationDraft,
    /// What the paths of its fields begin with there.
    pub(super) prefix: String,
}

impl Configured {
    /// Reads a destination of a kind.
    pub(super) fn read(
        kind: &str,
        mut config: Map<String, Value>,
        ca_certificates_pem: String,
    ) -> Result<Self, Error> {
        if kind.is_empty() {
            return Err(refused("type", Reason::Required, "type is required".to_owned()));
        }
        if let Err(error) = parsed(kind, &Map::new()) {
            return Err(refused("type", Reason::Unknown, format!("type: {error}")));
        }
        let mut secrets = Secrets::default();
        for name in Destination::all_secret_names() {
            if let Some(value) = config.remove(name) {
                secrets.set(name, text(name, value)?);
            }
        }
        if let Some(Value::Object(headers)) = config.get_mut("headers") {
            let mut names = Vec::new();
            for (name, value) in std::mem::take(headers) {
                secrets.set(header_secret(&name), text("headers", value)?);
                names.push(Value::String(name));
            }
            config.insert("headers".to_owned(), Value::Array(names));
        }
        // Null is nothing, as everywhere.
        config.retain(|_, value| !value.is_null());
        let destination = parsed(kind, &config).map_err(unfit)?;
        let own = secrets.clone().of(&destination);
        if let Some((name, _)) = secrets.iter().find(|(name, _)| own.get(name).is_empty()) {
            let why = format!("config.{name} is nothing that {kind} has");
            return Err(refused(&format!("config.{name}"), Reason::Unknown, why));
        }
        let prefix = format!("destination.{}.", destination.field());
        let draft = DestinationDraft { destination, secrets, ca_certificates_pem };
        Ok(Self { draft, prefix })
    }
}

/// A destination for an answer, with its headers as an object of empty texts.
pub(super) fn config(destination: &Destination) -> Value {
    let value = serde_json::to_value(destination).unwrap_or_default();
    let Value::Object(mut tagged) = value else { return Value::Null };
    let mut config = tagged.remove("config").unwrap_or_default();
    if let Some(headers) = config.get_mut("headers") {
        let names = destination.headers().iter();
        *headers = names.map(|name| (name.clone(), Value::from(""))).collect();
    }
    config
}

fn parsed(kind: &str, config: &Map<String, Value>) -> Result<Destination, serde_json::Error> {
    serde_json::from_value(json!({"type": kind, "config": config}))
}

fn text(name: &str, value: Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(String::new()),
        _ => {
            let why = format!("config.{name} must be a text");
            Err(refused(&format!("config.{name}"), Reason::InvalidType, why))
        }
    }
}

/// What serde says has no secret in it: those were taken out before.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unfit(error: serde_json::Error) -> Error {
    refused("config", Reason::InvalidType, format!("config: {error}"))
}

fn refused(field: &str, reason: Reason, description: String) -> Error {
    vec![Violation::new(field, reason, description)].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, config: &Value) -> Result<Configured, Error> {
        Configured::read(kind, config.as_object().cloned().unwrap(), String::new())
    }

    #[test]
    fn secrets_are_taken_apart_and_never_told() {
        let sent = json!({
            "url": "https://a.example", "headers": {"Authorization": "Bearer x"},
            "format": "ndjson", "signing_secret": "whsec_1", "source": null
        });
        let configured = read("GenericHttps", &sent).unwrap();
        let DestinationDraft { destination, secrets, .. } = configured.draft;
        assert_eq!(secrets.get("header:authorization"), "Bearer x");
        assert_eq!(secrets.get("signing_secret"), "whsec_1");
        assert_eq!(configured.prefix, "destination.generic_https.");
        let told = config(&destination);
        assert_eq!(told["headers"], json!({"Authorization": ""}));
        assert_eq!(told["format"], "ndjson");
        assert!(!told.to_string().contains("whsec_") && !told.to_string().contains("Bearer"));
    }

    #[test]
    fn what_a_destination_does_not_have_is_named() {
        let field =
            |result: Result<Configured, Error>| result.err().unwrap().violations()[0].field.clone();
        assert_eq!(field(read("", &json!({}))), "type");
        assert_eq!(field(read("Datadog", &json!({"hec_token": "t"}))), "config.hec_token");
        assert_eq!(field(read("Datadog", &json!({"nothing": 1}))), "config");
        assert_eq!(field(read("Nowhere", &json!({}))), "type");
        assert_eq!(field(read("Datadog", &json!({"api_key": 1}))), "config.api_key");
    }
}
