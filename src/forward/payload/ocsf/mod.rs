//! Events of the Open Cybersecurity Schema Framework 1.5.0 (schema.ocsf.io).
//!
//! What an event is, is read from the last part of its action: of `user.role_updated` the words `role`
//! and `updated`. The last word that is a verb of `VERBS` is the activity. If it changes something
//! (create, update, delete, move, enroll, enable, suspend, and their likes) and the event has a target,
//! the event is Entity Management (3004) of the first target; otherwise it is API Activity (6003), whose
//! activity is Create, Read, Update, Delete or Other.
//!
//! What the schema has no place for stands in `unmapped`: metadata of the event and of the actor, the
//! version of the action's schema, and targets after the first in Entity Management.

mod model;

use std::net::IpAddr;

use serde_json::value::RawValue;

use self::model::{
    Actor, Api, Endpoint, HttpRequest, Metadata, OcsfEvent, Product, Target, Thing, Unmapped, User,
};
use super::{OutgoingEvent, rfc3339_millis, text};
use crate::domain::{canonical_read::JsonText, timestamp::Timestamp};

const SCHEMA: &str = "1.5.0";
const PRODUCT: &str = "audit-logs";
const INFORMATIONAL: u8 = 1;
const OTHER: u8 = 99;
const READ: u8 = 2;
const UPDATE: u8 = 3;
const DELETE: u8 = 4;

/// Numbers of activities of Entity Management with the verbs that mean them. The first four are API
/// Activity's too.
const VERBS: [(u8, &str, &[&str]); 13] = [
    (
        1,
        "Create",
        &["create", "add", "insert", "register", "invite", "provision", "issue", "generate"],
    ),
    (READ, "Read", &["read", "get", "list", "view", "access", "download", "export", "search"]),
    (
        UPDATE,
        "Update",
        &[
            "update", "change", "edit", "modify", "modified", "rename", "replace", "patch",
            "reset", "rotate", "set",
        ],
    ),
    (DELETE, "Delete", &["delete", "remove", "destroy", "destroyed", "revoke", "purge", "erase"]),
    (5, "Move", &["move", "transfer", "transferred"]),
    (6, "Enroll", &["enroll"]),
    (7, "Unenroll", &["unenroll"]),
    (8, "Enable", &["enable"]),
    (9, "Disable", &["disable"]),
    (10, "Activate", &["activate"]),
    (11, "Deactivate", &["deactivate"]),
    (12, "Suspend", &["suspend"]),
    (13, "Resume", &["resume"]),
];

/// Appends the event.
pub fn write(event: &OutgoingEvent<'_>, out: &mut Vec<u8>) -> Result<(), String> {
    let action = text(event.event.action)?;
    let ocsf = ocsf_event(event, &action)?;
    serde_json::to_writer(out, &ocsf).map_err(failed)
}

fn ocsf_event<'a>(outgoing: &OutgoingEvent<'a>, action: &'a str) -> Result<OcsfEvent<'a>, String> {
    let event = &outgoing.event;
    let mut targets: Vec<Target<'a>> = serde_json::from_slice(event.targets).map_err(failed)?;
    let last_part = action.rsplit('.').next().unwrap_or(action);
    let verb = verb(last_part);
    let entity = match verb {
        Some((number, _)) if number != READ && !targets.is_empty() => Some(targets.remove(0)),
        _ => None,
    };
    let (class_uid, category_uid) = if entity.is_some() { (3_004, 3) } else { (6_003, 6) };
    let (activity_id, activity_name) = match verb {
        Some((number, name)) if number <= DELETE || entity.is_some() => (number, name),
        // API Activity has no other verb of change.
        Some(_) => (UPDATE, "Update"),
        None => (OTHER, last_part),
    };
    let (resources, targets) = if entity.is_some() {
        (Vec::new(), targets)
    } else {
        (targets.iter().map(resource).collect(), Vec::new())
    };
    let operation = raw(event.action.quoted())?;
    Ok(OcsfEvent {
        activity_id,
        activity_name,
        actor: Actor { user: user(outgoing)? },
        api: entity.is_none().then_some(Api { operation }),
        category_uid,
        class_uid,
        entity: entity.as_ref().map(managed_entity),
        http_request: match event.user_agent {
            Some(user_agent) => Some(HttpRequest { user_agent: raw(user_agent.quoted())? }),
            None => None,
        },
        metadata: metadata(outgoing)?,
        resources,
        severity_id: INFORMATIONAL,
        src_endpoint: endpoint(event.location)?,
        time: millis(outgoing.occurred_at),
        type_uid: u32::from(class_uid) * 100 + u32::from(activity_id),
        unmapped: Unmapped {
            actor_metadata: some(event.actor_metadata)?,
            metadata: some(event.metadata)?,
            targets,
            version: raw(event.version)?,
        },
    })
}

/// The activity of the last verb in the last part of an action.
fn verb(last_part: &str) -> Option<(u8, &'static str)> {
    let last_part = last_part.to_ascii_lowercase();
    last_part.rsplit(|c: char| !c.is_ascii_alphanumeric()).find_map(|word| {
        let forms = [Some(word), word.strip_suffix('d'), word.strip_suffix("ed")];
        let means = |verb: &&str| forms.contains(&Some(*verb));
        let found = VERBS.iter().find(|(.., verbs)| verbs.iter().any(means))?;
        Some((found.0, found.1))
    })
}

fn user<'a>(outgoing: &OutgoingEvent<'a>) -> Result<User<'a>, String> {
    let event = &outgoing.event;
    let name = match event.actor_name {
        Some(name) => Some(raw(name.quoted())?),
        None => None,
    };
    let type_id = match &*text(event.actor_kind)?.to_ascii_lowercase() {
        "user" => 1,
        "admin" => 2,
        "system" => 3,
        _ => OTHER,
    };
    let r#type = raw(event.actor_kind.quoted())?;
    Ok(User { name, r#type, type_id, uid: raw(event.actor_id.quoted())? })
}

fn metadata<'a>(outgoing: &OutgoingEvent<'a>) -> Result<Metadata<'a>, String> {
    let event = &outgoing.event;
    Ok(Metadata {
        event_code: raw(event.action.quoted())?,
        log_name: "audit",
        logged_time: millis(outgoing.created_at),
        original_time: rfc3339_millis(outgoing.occurred_at),
        product: Product {
            name: PRODUCT,
            vendor_name: PRODUCT,
            version: env!("CARGO_PKG_VERSION"),
        },
        sequence: outgoing.sequence,
        tenant_uid: raw(event.organization_id.quoted())?,
        uid: raw(event.id.quoted())?,
        version: SCHEMA,
    })
}

fn endpoint(location: JsonText<'_>) -> Result<Endpoint<'_>, String> {
    let is_address = text(location)?.parse::<IpAddr>().is_ok();
    let location = raw(location.quoted())?;
    Ok(if is_address { Endpoint::Ip(location) } else { Endpoint::Name(location) })
}

fn managed_entity<'a>(target: &Target<'a>) -> Thing<'a> {
    let type_id = match target.r#type.get() {
        "\"device\"" => 1,
        "\"user\"" => 2,
        "\"group\"" => 3,
        "\"organization\"" => 4,
        "\"policy\"" => 5,
        _ => OTHER,
    };
    Thing { type_id: Some(type_id), ..resource(target) }
}

fn resource<'a>(target: &Target<'a>) -> Thing<'a> {
    let &Target { id, metadata, name, r#type } = target;
    Thing { data: metadata, name, r#type, type_id: None, uid: id }
}

fn millis(instant: Timestamp) -> i64 {
    instant.micros().div_euclid(1_000)
}

fn raw(json: &[u8]) -> Result<&RawValue, String> {
    serde_json::from_slice(json).map_err(failed)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: serde_json::Error) -> String {
    format!("cannot be written as OCSF: {error}")
}

fn some(json: &[u8]) -> Result<Option<&RawValue>, String> {
    if json.is_empty() { Ok(None) } else { raw(json).map(Some) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::fixture::*, *};

    /// What schema.ocsf.io 1.5.0 requires of every event, of the two classes and of their objects,
    /// and of which members of an object at least one must be there.
    const BASE: &[&str] = &[
        "activity_id",
        "category_uid",
        "class_uid",
        "metadata",
        "severity_id",
        "time",
        "type_uid",
    ];

    fn require(object: &Value, members: &[&str]) {
        for member in members {
            assert!(!object[*member].is_null(), "{member} is missing in {object}");
        }
    }

    fn one_of(object: &Value, members: &[&str]) {
        assert!(members.iter().any(|member| !object[*member].is_null()), "{members:?}: {object}");
    }

    /// Holds an event against the schema.
    fn check(ocsf: &Value) {
        require(ocsf, BASE);
        require(&ocsf["metadata"], &["product", "version"]);
        one_of(&ocsf["metadata"]["product"], &["name", "uid"]);
        one_of(&ocsf["actor"]["user"], &["account", "name", "uid"]);
        one_of(&ocsf["src_endpoint"], &["ip", "uid", "name", "hostname"]);
        match ocsf["class_uid"].as_u64().unwrap() {
            6_003 => {
                require(ocsf, &["actor", "api", "src_endpoint"]);
                require(&ocsf["api"], &["operation"]);
                assert!([1, 2, 3, 4, 99].contains(&ocsf["activity_id"].as_u64().unwrap()));
            }
            3_004 => {
                require(ocsf, &["entity"]);
                one_of(
                    &ocsf["entity"],
                    &["name", "uid", "device", "group", "org", "policy", "user"],
                );
                assert!((1..=13).contains(&ocsf["activity_id"].as_u64().unwrap()));
            }
            other => panic!("class {other}"),
        }
        let class = ocsf["class_uid"].as_u64().unwrap();
        assert_eq!(ocsf["category_uid"], class / 1_000);
        assert_eq!(ocsf["type_uid"], class * 100 + ocsf["activity_id"].as_u64().unwrap());
    }

    fn written(event: Value) -> Value {
        let bytes = canonical(event);
        let mut out = Vec::new();
        write(&outgoing(&bytes), &mut out).unwrap();
        let ocsf = serde_json::from_slice(&out).unwrap();
        check(&ocsf);
        ocsf
    }

    fn class_and_activity(action: &str, targets: Value) -> (u64, u64) {
        let mut event = example();
        event["action"] = json!(action);
        event["targets"] = targets;
        let ocsf = written(event);
        (ocsf["class_uid"].as_u64().unwrap(), ocsf["activity_id"].as_u64().unwrap())
    }

    #[test]
    fn an_access_is_api_activity() {
        let ocsf = written(example());
        assert_eq!((&ocsf["class_uid"], &ocsf["activity_id"]), (&json!(6_003), &json!(2)));
        assert_eq!(ocsf["metadata"]["uid"], "01JSB3C4D5E6F7G8H9J0K1M2N3");
        assert_eq!(ocsf["metadata"]["tenant_uid"], "org_01JQ4X7Z6E5M2K9T8V3B1N0CDA");
        assert_eq!(ocsf["time"], 1_793_607_330_250_i64);
        assert_eq!(ocsf["resources"], json!([{"type": "report", "uid": "rep_17"}]));
        assert_eq!(ocsf["src_endpoint"], json!({"ip": "203.0.113.9"}));
        assert_eq!(ocsf["http_request"]["user_agent"], "Firefox/131");
    }

    #[test]
    fn a_change_of_a_target_is_entity_management() {
        let mut event = example();
        event["action"] = json!("user.role_updated");
        event["metadata"] = json!({"from": "member", "to": "admin"});
        event["context"] = json!({"location": "head office"});
        let target = json!({"id": "usr_1", "type": "user", "metadata": {"team": 3}});
        event["targets"] = json!([target, {"id": "team_3", "type": "team", "metadata": {}}]);
        let ocsf = written(event);
        assert_eq!(ocsf["type_uid"], 300_403);
        let entity = json!({"data": {"team": 3}, "type": "user", "type_id": 2, "uid": "usr_1"});
        assert_eq!(ocsf["entity"], entity);
        assert_eq!(ocsf["unmapped"]["metadata"]["to"], "admin");
        assert_eq!(ocsf["unmapped"]["targets"], json!([{"id": "team_3", "type": "team"}]));
        assert_eq!(ocsf["src_endpoint"], json!({"name": "head office"}));
    }

    #[test]
    fn the_last_part_of_an_action_decides() {
        let target = || json!([{"id": "1", "type": "doc", "metadata": {}}]);
        for (action, expected) in [
            ("doc.created", (3_004, 1)),
            ("doc.member_added", (3_004, 1)),
            ("doc.read", (6_003, 2)),
            ("doc.viewed", (6_003, 2)),
            ("doc.modified", (3_004, 3)),
            ("doc.UPDATE", (3_004, 3)),
            ("doc.soft-deleted", (3_004, 4)),
            ("doc.moved", (3_004, 5)),
            ("doc.suspended", (3_004, 12)),
            ("doc.signed", (6_003, 99)),
            ("create.signed", (6_003, 99)),
            ("created", (3_004, 1)),
            ("", (6_003, 99)),
        ] {
            assert_eq!(class_and_activity(action, target()), expected, "{action}");
        }
        assert_eq!(class_and_activity("doc.created", json!([])), (6_003, 1));
        assert_eq!(class_and_activity("doc.moved", json!([])), (6_003, 3));
    }
}
