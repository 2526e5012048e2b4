//! From AWS CloudTrail records to events.
//!
//! The action is `service.event_name` in snake case; the actor comes from `userIdentity`, the
//! targets from `resources` or from what the request names, the context from the source address and
//! the user agent. Facts that have no place elsewhere become metadata.

use prost_types::Timestamp as ProtoTime;
use serde_json::Value;
use thiserror::Error;

use super::{
    facts::{Facts, clean},
    naming::{action, snake_case},
    targets,
};
use crate::{
    domain::{limits, timestamp::Timestamp},
    proto::v1,
};

/// A record as an event.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedEvent {
    /// The event, without a version.
    pub event: v1::Event,
    /// The record's own id; as an idempotency key it makes a repetition harmless.
    pub event_id: String,
    /// When it happened.
    pub occurred_at: Timestamp,
}

/// Why something is no CloudTrail record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotCloudTrail {
    /// It is JSON, but no object.
    #[error("a CloudTrail record is a JSON object")]
    NotAnObject,
    /// A field is missing that every record has.
    #[error("not a CloudTrail record: it has no {0}")]
    Missing(&'static str),
    /// The time cannot be read.
    #[error("not a CloudTrail record: its eventTime is no RFC 3339 time")]
    Time,
}

/// Maps a record to an event that keeps the general limits: texts that are too long are cut, and
/// targets beyond the limit are counted in the metadata.
pub fn map(record: &Value) -> Result<MappedEvent, NotCloudTrail> {
    if !record.is_object() {
        return Err(NotCloudTrail::NotAnObject);
    }
    let required = |key| text(record, key).ok_or(NotCloudTrail::Missing(key));
    let event_id = clean(required("eventID")?, limits::SHORT_TEXT_CHARS);
    let action = action(required("eventSource")?, required("eventName")?);
    let occurred_at = Timestamp::parse_rfc3339(required("eventTime")?);
    let occurred_at = occurred_at.ok_or(NotCloudTrail::Time)?;
    let identity = record.get("userIdentity").filter(|identity| identity.is_object());
    let identity = identity.ok_or(NotCloudTrail::Missing("userIdentity"))?;
    // Records before version 1.02 have no recipient.
    let account = text(record, "recipientAccountId").or_else(|| text(identity, "accountId"));
    let account = account.ok_or(NotCloudTrail::Missing("recipientAccountId"))?;

    let found = targets::find(record, &action, account);
    let event = v1::Event {
        action: clean(&action, limits::SHORT_TEXT_CHARS),
        version: 0,
        occurred_at: Some(proto_time(occurred_at)),
        actor: Some(actor(identity)),
        targets: found.targets,
        context: Some(context(record)),
        metadata: metadata(record, account).count("targets_omitted", found.omitted).into_struct(),
    };
    Ok(MappedEvent { event, event_id, occurred_at })
}

/// The text at `key`, unless it is blank.
pub(super) fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str().filter(|text| !text.trim().is_empty())
}

/// The truth value at `key`, which CloudTrail also writes as a text.
fn flag(object: &Value, key: &str) -> Option<bool> {
    let value = object.get(key)?;
    value.as_bool().or_else(|| value.as_str()?.parse().ok())
}

pub(super) fn proto_time(instant: Timestamp) -> ProtoTime {
    ProtoTime { seconds: instant.seconds(), nanos: instant.subsecond_nanos() }
}

/// The actor. Its id is the principal's unique id, which AWS never gives twice, unlike names; what
/// has none is a service (`invokedBy`) or another account.
fn actor(identity: &Value) -> v1::Actor {
    let session = identity.get("sessionContext").unwrap_or(&Value::Null);
    let issuer = session.get("sessionIssuer").unwrap_or(&Value::Null);
    let attributes = session.get("attributes").unwrap_or(&Value::Null);
    let invoked_by = text(identity, "invokedBy");
    // Records of what AWS did by itself name the service and no type.
    let untyped = if invoked_by.is_some() { "AWSService" } else { "Unknown" };
    let kind = snake_case(text(identity, "type").unwrap_or(untyped));
    let id = ["principalId", "arn", "userName"].iter().find_map(|key| text(identity, key));
    let id = id.or(invoked_by).or_else(|| text(identity, "accountId")).unwrap_or("unknown");
    // A session has no name of its own, but the role that it came from has.
    let name = text(identity, "userName").or_else(|| text(issuer, "userName")).unwrap_or_default();
    let facts = Facts::default()
        .text("arn", text(identity, "arn"))
        .text("account_id", text(identity, "accountId"))
        .text("invoked_by", invoked_by)
        .text("session_issuer_arn", text(issuer, "arn"))
        .flag("mfa_authenticated", flag(attributes, "mfaAuthenticated"));
    v1::Actor {
        id: clean(id, limits::ID_CHARS),
        r#type: clean(&kind, limits::TYPE_CHARS),
        name: clean(name, limits::NAME_CHARS),
        metadata: facts.into_struct(),
    }
}

fn context(record: &Value) -> v1::Context {
    let location = text(record, "sourceIPAddress").unwrap_or("unknown");
    let user_agent = text(record, "userAgent").unwrap_or_default();
    v1::Context {
        location: clean(location, limits::NAME_CHARS),
        user_agent: clean(user_agent, limits::USER_AGENT_CHARS),
    }
}

/// The schemas declare the same keys.
fn metadata(record: &Value, account: &str) -> Facts {
    let tls = record.get("tlsDetails").unwrap_or(&Value::Null);
    Facts::default()
        .text("event_id", text(record, "eventID"))
        .text("event_source", text(record, "eventSource"))
        .text("event_name", text(record, "eventName"))
        .text("event_type", text(record, "eventType"))
        .text("recipient_account_id", Some(account))
        .text("region", text(record, "awsRegion"))
        .text("request_id", text(record, "requestID"))
        .text("error_code", text(record, "errorCode"))
        .text("error_message", text(record, "errorMessage"))
        .text("tls_version", text(tls, "tlsVersion"))
        .text("vpc_endpoint_id", text(record, "vpcEndpointId"))
        .flag("read_only", flag(record, "readOnly"))
        .flag("console_session", flag(record, "sessionCredentialFromConsole"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record(identity: &Value) -> Value {
        json!({
            "eventID": "e-1", "eventSource": "s3.amazonaws.com", "eventName": "GetBucketAcl",
            "eventTime": "2023-07-10T11:42:18Z", "recipientAccountId": "111122223333",
            "userIdentity": identity, "sourceIPAddress": "192.0.2.1", "awsRegion": "us-east-1",
            "requestParameters": null, "readOnly": true
        })
    }

    /// Type, id, name, and metadata as `key=value`.
    fn mapped_actor(identity: &Value) -> (String, String, String, Vec<String>) {
        let actor = map(&record(identity)).unwrap().event.actor.unwrap();
        let facts = actor.metadata.unwrap_or_default().fields.into_iter().map(|(key, value)| {
            let shown = match value.kind.unwrap() {
                prost_types::value::Kind::StringValue(text) => text,
                prost_types::value::Kind::BoolValue(flag) => flag.to_string(),
                other => panic!("{other:?}"),
            };
            format!("{key}={shown}")
        });
        (actor.r#type, actor.id, actor.name, facts.collect())
    }

    fn expect_actor(identity: &Value, party: [&str; 3], facts: &[&str]) {
        let (kind, id, name, found) = mapped_actor(identity);
        assert_eq!([kind.as_str(), id.as_str(), name.as_str()], party);
        assert_eq!(found, facts);
    }

    #[test]
    fn a_user_is_known_by_the_principal() {
        let arn = "arn:aws:iam::111122223333:user/alice";
        let user = json!({
            "type": "IAMUser", "principalId": "AIDAEXAMPLE", "arn": arn, "userName": "alice",
            "accountId": "111122223333", "accessKeyId": "",
            "sessionContext": {"sessionIssuer": {}, "attributes": {"mfaAuthenticated": "true"}}
        });
        let arn = format!("arn={arn}");
        let facts = ["account_id=111122223333", arn.as_str(), "mfa_authenticated=true"];
        expect_actor(&user, ["iam_user", "AIDAEXAMPLE", "alice"], &facts);
    }

    #[test]
    fn a_session_has_the_name_of_its_role() {
        let issuer = json!({"type": "Role", "arn": "arn:aws:iam::1:role/r", "userName": "r"});
        let session = json!({
            "type": "AssumedRole", "principalId": "AROAEXAMPLE:s", "invokedBy": "x.amazonaws.com",
            "sessionContext": {
                "sessionIssuer": issuer, "attributes": {"mfaAuthenticated": "false"}
            }
        });
        let facts = [
            "invoked_by=x.amazonaws.com",
            "mfa_authenticated=false",
            "session_issuer_arn=arn:aws:iam::1:role/r",
        ];
        expect_actor(&session, ["assumed_role", "AROAEXAMPLE:s", "r"], &facts);
    }

    #[test]
    fn a_service_is_known_by_its_name() {
        let typed = json!({"type": "AWSService", "invokedBy": "ec2.amazonaws.com"});
        let party = ["aws_service", "ec2.amazonaws.com", ""];
        expect_actor(&typed, party, &["invoked_by=ec2.amazonaws.com"]);
        let untyped = json!({"accountId": "111122223333", "invokedBy": "ec2.amazonaws.com"});
        let facts = ["account_id=111122223333", "invoked_by=ec2.amazonaws.com"];
        expect_actor(&untyped, party, &facts);
    }

    #[test]
    fn other_identities_have_some_id() {
        let root = json!({"type": "Root", "principalId": "1", "accountId": "1"});
        expect_actor(&root, ["root", "1", ""], &["account_id=1"]);
        let sign_in = json!({"type": "IAMUser", "userName": "alice", "accountId": "1"});
        expect_actor(&sign_in, ["iam_user", "alice", "alice"], &["account_id=1"]);
        let account = json!({"type": "AWSAccount", "accountId": "2"});
        expect_actor(&account, ["aws_account", "2", ""], &["account_id=2"]);
        expect_actor(&json!({}), ["unknown", "unknown", ""], &[]);
    }

    #[test]
    fn says_what_a_record_lacks() {
        let whole = record(&json!({"type": "Root"}));
        for key in ["eventID", "eventSource", "eventName", "eventTime", "userIdentity"] {
            let mut lacking = whole.clone();
            lacking.as_object_mut().unwrap().remove(key);
            assert_eq!(map(&lacking), Err(NotCloudTrail::Missing(key)));
        }
        let mut no_account = whole.clone();
        no_account["recipientAccountId"] = Value::Null;
        assert_eq!(map(&no_account), Err(NotCloudTrail::Missing("recipientAccountId")));
        let mut no_time = whole;
        no_time["eventTime"] = json!("yesterday");
        assert_eq!(map(&no_time), Err(NotCloudTrail::Time));
        assert_eq!(map(&json!([])), Err(NotCloudTrail::NotAnObject));
    }

    #[test]
    fn an_event_has_context_and_metadata() {
        let mut record = record(&json!({"type": "Root", "principalId": "1"}));
        record["errorMessage"] = json!("ü".repeat(600));
        record["userAgent"] = json!("agent\n1");
        let MappedEvent { event, event_id, .. } = map(&record).unwrap();
        assert_eq!((event.action.as_str(), event_id.as_str()), ("s3.get_bucket_acl", "e-1"));
        let context = event.context.unwrap();
        assert_eq!((&*context.location, &*context.user_agent), ("192.0.2.1", "agent 1"));
        let facts = event.metadata.unwrap().fields;
        assert_eq!(facts["error_message"], "ü".repeat(500).into());
        assert_eq!(facts["read_only"], true.into());
        assert!(!facts.contains_key("request_id"));
    }
}
