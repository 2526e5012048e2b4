//! Actions and the versions of their schemas.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    canonical::canonical_json,
    event_draft::check_action_name,
    json_schema, limits,
    timestamp::Timestamp,
    violation::{Reason, Violation, Violations},
};

/// What the events of an action must look like. Made by [`SchemaDefinition::validate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SchemaDefinition {
    /// The target types that must occur.
    pub targets: Vec<TargetDefinition>,
    /// Whether an actor was described, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorDefinition>,
    /// JSON Schema of the event's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// A target type that must occur.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetDefinition {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// JSON Schema of its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// What the actor must look like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActorDefinition {
    /// JSON Schema of its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// One version of an action's schema.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionSchema {
    /// Version, from 1.
    pub version: u32,
    /// The definition.
    pub definition: SchemaDefinition,
    /// When the version was created.
    pub created_at: Timestamp,
}

/// An action with the newest version of its schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Name, unique in its environment.
    pub name: String,
    /// Newest version.
    pub schema: ActionSchema,
    /// When the action was created.
    pub created_at: Timestamp,
}

impl SchemaDefinition {
    /// Checks the definition of a schema for the action `action_name`. Paths are those of
    /// `CreateActionSchemaRequest`.
    pub fn validate(self, action_name: &str) -> Result<Self, Vec<Violation>> {
        let mut violations = Violations::default();
        check_action_name("action_name", action_name, &mut violations);
        // First what bounds the cost of the rest.
        if self.patterns() > limits::SCHEMA_PATTERNS {
            let most = limits::SCHEMA_PATTERNS;
            let description = format!("a schema must have at most {most} patterns");
            violations.add("targets", Reason::TooMany, description);
            return Err(violations.into_found());
        }
        self.check_targets(&mut violations);
        if let Some(schema) = self.actor.as_ref().and_then(|actor| actor.metadata.as_ref()) {
            check_metadata_schema("actor.metadata", schema, &mut violations);
        }
        if let Some(schema) = &self.metadata {
            check_metadata_schema("metadata", schema, &mut violations);
        }
        if canonical_json(&self).is_ok_and(|json| json.len() > limits::SCHEMA_BYTES) {
            let most = limits::SCHEMA_BYTES;
            let description = format!("a schema must have at most {most} bytes of JSON");
            violations.add("targets", Reason::TooLarge, description);
        }
        violations.into_result(self)
    }

    /// How many regular expressions the definition has.
    pub fn patterns(&self) -> usize {
        let targets = self.targets.iter().map(|target| target.metadata.as_ref());
        let actor = self.actor.as_ref().map(|actor| actor.metadata.as_ref());
        let all = targets.chain(actor).chain([self.metadata.as_ref()]);
        all.flatten().map(json_schema::patterns).sum()
    }

    fn check_targets(&self, violations: &mut Violations) {
        let most = limits::SCHEMA_TARGETS;
        if self.targets.is_empty() {
            violations.add("targets", Reason::Required, "targets must have at least one entry");
        }
        if self.targets.len() > most {
            let description = format!("targets must have at most {most} entries");
            violations.add("targets", Reason::TooMany, description);
            return;
        }
        let mut seen = HashSet::new();
        for (index, target) in self.targets.iter().enumerate() {
            let path = format!("targets[{index}]");
            let kind_path = format!("{path}.type");
            violations.required_text(&kind_path, &target.kind, limits::TYPE_CHARS);
            if !target.kind.is_empty() && !seen.insert(&target.kind) {
                let description = "each target type must be declared once";
                violations.add(kind_path, Reason::Duplicate, description);
            }
            if let Some(schema) = &target.metadata {
                check_metadata_schema(&format!("{path}.metadata"), schema, violations);
            }
        }
    }

    /// Bytes that are equal for definitions that mean the same: null members and empty constraints
    /// dropped, the order of targets ignored.
    pub fn fingerprint(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut targets: Vec<_> = self.targets.iter().map(TargetDefinition::essence).collect();
        targets.sort_by(|a, b| a.kind.cmp(&b.kind));
        let actor = self.actor.as_ref().and_then(|actor| metadata_essence(actor.metadata.as_ref()));
        let actor = actor.map(|metadata| ActorDefinition { metadata: Some(metadata) });
        canonical_json(&Self { targets, actor, metadata: metadata_essence(self.metadata.as_ref()) })
    }
}

impl TargetDefinition {
    fn essence(&self) -> Self {
        Self { kind: self.kind.clone(), metadata: metadata_essence(self.metadata.as_ref()) }
    }
}

/// Checks one JSON Schema apart from the others, so that each is compiled even if another is bad.
fn check_metadata_schema(path: &str, schema: &Map<String, Value>, violations: &mut Violations) {
    let mut own = Violations::default();
    json_schema::check(path, schema, &mut own);
    violations.extend(own.into_found());
}

/// What the schema of a metadata object demands. That it is an object demands nothing.
fn metadata_essence(schema: Option<&Map<String, Value>>) -> Option<Map<String, Value>> {
    let mut demands = essence(schema)?;
    if demands.get("type").is_some_and(|kind| kind == "object") {
        demands.remove("type");
    }
    (!demands.is_empty()).then_some(demands)
}

/// What a schema demands; nothing if it demands nothing.
fn essence(schema: Option<&Map<String, Value>>) -> Option<Map<String, Value>> {
    let demands = |keyword: &String, value: &Value| match (keyword.as_str(), value) {
        ("properties", Value::Object(properties)) => {
            let each = properties.iter().map(|(name, value)| (name.clone(), value_essence(value)));
            let properties: Map<_, _> = each.collect();
            (!properties.is_empty()).then_some(Value::Object(properties))
        }
        ("additionalProperties", value) => Some(value_essence(value)),
        ("required", Value::Array(names)) if names.is_empty() => None,
        // A literal null is a demand here.
        ("const" | "enum", value) => Some(value.clone()),
        (_, Value::Null) => None,
        (_, value) => Some(value.clone()),
    };
    let kept = schema?
        .iter()
        .filter_map(|(keyword, value)| Some((keyword.clone(), demands(keyword, value)?)));
    let kept: Map<_, _> = kept.collect();
    (!kept.is_empty()).then_some(kept)
}

fn value_essence(value: &Value) -> Value {
    match value {
        Value::Object(schema) => {
            let demands = essence(Some(schema)).unwrap_or_default();
            Value::Object(demands)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn definition(value: Value) -> SchemaDefinition {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn equal_meaning_has_equal_fingerprint() {
        let plain = json!({"targets": [{"type": "a"}, {"type": "b"}]});
        let odd = json!({
            "targets": [{"type": "b", "metadata": null}, {"type": "a", "metadata": {}}],
            "actor": {"metadata": {"properties": {}}}, "metadata": null
        });
        let other = json!({"targets": [{"type": "a"}, {"type": "c"}]});
        let print = |value: &Value| definition(value.clone()).fingerprint().unwrap();
        assert_eq!(print(&plain), print(&odd));
        assert_ne!(print(&plain), print(&other));
        let property = |schema: Value| json!({"targets": [], "metadata": {"properties": {"metadata": schema}}});
        assert_ne!(print(&property(json!({}))), print(&json!({"targets": []})));
        assert_ne!(print(&property(json!({}))), print(&property(json!({"type": "object"}))));
        assert_ne!(print(&property(json!({"const": null}))), print(&property(json!({}))));
    }

    #[test]
    fn patterns_are_bounded_in_number_and_size() {
        let with = |count: usize, pattern: &str| {
            let properties: Map<String, Value> = (0..count)
                .map(|n| (format!("p{n}"), json!({"pattern": format!("{pattern}{n}")})))
                .collect();
            definition(json!({"targets": [{"type": "a"}], "metadata": {"properties": properties}}))
        };
        assert!(with(32, "^[a-z0-9-]{1,64}").validate("a").is_ok());
        assert_eq!(with(33, "a").validate("a").unwrap_err()[0].reason, Reason::TooMany);
        let large = with(1, r"\p{L}{198}").validate("a").unwrap_err();
        assert_eq!((&*large[0].field, large[0].reason), ("metadata", Reason::InvalidSchema));
    }

    #[test]
    fn names_the_path_of_what_is_wrong() {
        let bad = definition(json!({
            "targets": [{"type": "a"}, {"type": "a", "metadata": {"$ref": "x"}}, {"type": ""}],
            "actor": {"metadata": {"type": "array"}}, "metadata": {"if": {}}
        }));
        let found = bad.validate(" x").unwrap_err();
        let fields: Vec<_> = found.iter().map(|v| v.field.as_str()).collect();
        let expected = [
            "action_name",
            "targets[1].type",
            "targets[1].metadata.$ref",
            "targets[2].type",
            "actor.metadata.type",
        ];
        assert_eq!(fields[..5], expected);
        assert!(fields.contains(&"metadata.if"));
    }
}
