//! The body of every refusal over HTTP. One shape that all WorkOS SDKs can read: always an object,
//! `message` always a string, `code` always there, `errors` a list of objects, and never a member
//! called `error`, which some of them take for an OAuth failure.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::domain::violation::{BrokenRule, Violation};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(title = "Error")]
pub struct ErrorBody {
    /// Stable reason.
    #[schema(example = "unprocessable_entity")]
    pub code: String,
    /// A sentence.
    #[schema(example = "Validation failed.")]
    pub message: String,
    /// What is wrong with the fields of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Path of the field, such as `event.targets[0].id`.
    #[schema(example = "event.actor.id")]
    pub field: String,
    /// Stable reason; where the event does not fit its schema, the keyword that was broken; `unknown`
    /// for an action or a version that there is not.
    #[schema(example = "required")]
    pub code: String,
    /// A sentence without the offending value.
    #[schema(example = "event.actor.id is required")]
    pub message: String,
    /// Where the event does not fit its schema: the place in the event, a JSON Pointer (RFC 6901).
    #[serde(rename = "instancePath", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "/targets/0/metadata/cost")]
    pub instance_path: Option<String>,
    /// The rule that was broken, a JSON Pointer into the schema of the event.
    #[serde(rename = "schemaPath", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub schema_path: Option<String>,
    /// Its keyword.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub keyword: Option<String>,
    /// What it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    pub params: Option<Map<String, Value>>,
}

impl FieldError {
    /// Tells what is wrong with a field of the request.
    pub fn new(violation: &Violation) -> Self {
        Self {
            field: violation.field.clone(),
            code: violation.reason.as_str().to_lowercase(),
            message: violation.description.clone(),
            instance_path: None,
            schema_path: None,
            keyword: None,
            params: None,
        }
    }

    /// Tells where an event does not fit its schema.
    pub fn of_schema(violation: &Violation) -> Self {
        let plain = Self::new(violation);
        let instance_path = pointer(&violation.field);
        let no_such_name = || BrokenRule {
            keyword: "enum".to_owned(),
            schema_path: format!("/properties{instance_path}/enum"),
            params: Map::new(),
        };
        let rule = violation.rule.as_deref();
        let code = rule.map_or(plain.code, |rule| rule.keyword.clone());
        let rule = rule.cloned().unwrap_or_else(no_such_name);
        Self {
            code,
            instance_path: Some(instance_path),
            schema_path: Some(format!("#{}", rule.schema_path)),
            keyword: Some(rule.keyword),
            params: Some(rule.params),
            ..plain
        }
    }
}

/// The path of a field below `event` as a JSON Pointer. A batch puts the index of the request before
/// it, which is no part of the event.
fn pointer(field: &str) -> String {
    let below = field.split_once("event").map_or(field, |(_, below)| below);
    let mut pointer = String::with_capacity(below.len());
    for character in below.chars() {
        match character {
            '.' | '[' => pointer.push('/'),
            ']' => {}
            other => pointer.push(other),
        }
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::violation::Reason;

    #[test]
    fn paths_become_pointers() {
        assert_eq!(pointer("event.targets[12].metadata.cost"), "/targets/12/metadata/cost");
        assert_eq!(pointer("requests[3].event.action"), "/action");
        assert_eq!(pointer("event"), "");
    }

    #[test]
    fn only_schema_failures_have_a_pointer() {
        let violation = Violation::new("event.action", Reason::Unknown, "no such action");
        let told = FieldError::of_schema(&violation);
        assert_eq!(told.instance_path.as_deref(), Some("/action"));
        assert_eq!(told.code, "unknown");
        let plain = FieldError::new(&violation);
        assert_eq!((plain.instance_path, plain.keyword), (None, None));
    }
}
