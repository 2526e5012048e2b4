//! The JSON Schemas that callers may set for metadata: plain JSON Schema (draft 2020-12) restricted
//! to an allow-list of keywords. Nothing refers anywhere, so nothing is fetched and nothing recurses.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

use super::{
    limits::SCHEMA_DEPTH,
    violation::{Reason, Violations},
};

/// Keywords whose value is checked by the meta-schema when the schema is compiled.
const PLAIN_KEYWORDS: [&str; 13] = [
    "required",
    "enum",
    "const",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minProperties",
    "maxProperties",
    "pattern",
];
/// Keywords that say nothing about validity.
const ANNOTATIONS: [&str; 6] =
    ["$schema", "$comment", "title", "description", "default", "examples"];
/// Types that a schema may name.
const TYPES: [&str; 6] = ["object", "string", "number", "integer", "boolean", "null"];
/// Most bytes that a regular expression may take when it is compiled.
const PATTERN_COMPILED: usize = 256 * 1_024;
/// Longest regular expression, in bytes.
const PATTERN_BYTES: usize = 1_024;

/// Checks that `schema`, the value at `path`, is a supported schema of a metadata object; notes each
/// keyword that is not, with its path.
pub fn check(path: &str, schema: &Map<String, Value>, violations: &mut Violations) {
    check_object(path, schema, SCHEMA_DEPTH, violations);
    if schema.get("type").is_some_and(|kind| kind != "object") {
        let description = "the type of a metadata schema must be \"object\"";
        violations.add(format!("{path}.type"), Reason::InvalidSchema, description);
    }
    if violations.is_empty()
        && let Err(description) = compile(&Value::Object(schema.clone()))
    {
        violations.add(path, Reason::InvalidSchema, description);
    }
}

/// Compiles a schema. The error is a sentence.
pub fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        // Linear time: a caller's pattern must not be able to stall the service.
        .with_pattern_options(
            PatternOptions::regex().size_limit(PATTERN_COMPILED).dfa_size_limit(PATTERN_COMPILED),
        )
        .offline()
        .build(schema)
        .map_err(|error| format!("not a valid JSON Schema: {}", error.masked()))
}

/// How many regular expressions a schema has.
pub fn patterns(schema: &Map<String, Value>) -> usize {
    let inner = |value: &Value| value.as_object().map_or(0, patterns);
    let properties = schema.get("properties").and_then(Value::as_object);
    usize::from(schema.get("pattern").is_some_and(Value::is_string))
        + properties.map_or(0, |properties| properties.values().map(inner).sum())
        + schema.get("additionalProperties").map_or(0, inner)
}

fn check_object(path: &str, schema: &Map<String, Value>, depth: usize, found: &mut Violations) {
    if depth == 0 {
        let description = format!("a schema must not be nested deeper than {SCHEMA_DEPTH} levels");
        found.add(path, Reason::TooLarge, description);
        return;
    }
    for (keyword, value) in schema {
        let here = format!("{path}.{keyword}");
        match keyword.as_str() {
            "type" => check_type(&here, value, found),
            "properties" => check_properties(&here, value, depth, found),
            "additionalProperties" => check_schema(&here, value, depth, found),
            "pattern" if value.as_str().is_some_and(|text| text.len() > PATTERN_BYTES) => {
                let description = format!("a pattern must have at most {PATTERN_BYTES} bytes");
                found.add(here, Reason::TooLong, description);
            }
            known if PLAIN_KEYWORDS.contains(&known) || ANNOTATIONS.contains(&known) => {}
            _ => {
                let description = format!("the keyword {keyword} is not supported");
                found.add(here, Reason::UnsupportedKeyword, description);
            }
        }
    }
}

fn check_properties(path: &str, value: &Value, depth: usize, found: &mut Violations) {
    let Value::Object(properties) = value else {
        found.add(path, Reason::InvalidSchema, "properties must be an object");
        return;
    };
    for (name, schema) in properties {
        check_schema(&format!("{path}.{name}"), schema, depth, found);
    }
}

fn check_schema(path: &str, value: &Value, depth: usize, found: &mut Violations) {
    match value {
        Value::Bool(_) => {}
        Value::Object(schema) => check_object(path, schema, depth - 1, found),
        _ => found.add(path, Reason::InvalidSchema, "a schema must be an object or a boolean"),
    }
}

fn check_type(path: &str, value: &Value, found: &mut Violations) {
    let names = match value {
        Value::Array(names) => names.as_slice(),
        name => std::slice::from_ref(name),
    };
    let known = |name: &Value| name.as_str().is_some_and(|name| TYPES.contains(&name));
    if names.is_empty() || !names.iter().all(known) {
        let description = format!("type must be one of {}, or a list of them", TYPES.join(", "));
        found.add(path, Reason::InvalidSchema, description);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn findings(schema: &Value) -> Vec<(String, Reason)> {
        let mut found = Violations::default();
        check("m", schema.as_object().unwrap(), &mut found);
        found
            .into_found()
            .into_iter()
            .map(|violation| (violation.field, violation.reason))
            .collect()
    }

    #[test]
    fn takes_what_sdk_helpers_produce() {
        let schema = json!({"type": "object", "properties": {"cost": {"type": "number"}}});
        assert_eq!(findings(&schema), []);
        assert_eq!(findings(&json!({})), []);
        assert_eq!(findings(&json!({"type": "object", "properties": {}})), []);
    }

    #[test]
    fn refuses_what_it_does_not_support_by_path() {
        let unsupported = Reason::UnsupportedKeyword;
        let table = [
            (json!({"$ref": "http://127.0.0.1/x"}), "m.$ref", unsupported),
            (json!({"properties": {"a": {"$ref": "#/x"}}}), "m.properties.a.$ref", unsupported),
            (json!({"oneOf": []}), "m.oneOf", unsupported),
            (json!({"type": "array"}), "m.type", Reason::InvalidSchema),
            (json!({"type": []}), "m.type", Reason::InvalidSchema),
            (json!({"type": "string"}), "m.type", Reason::InvalidSchema),
            (json!({"properties": 1}), "m.properties", Reason::InvalidSchema),
            (json!({"properties": {"a": 1}}), "m.properties.a", Reason::InvalidSchema),
            (json!({"required": "a"}), "m", Reason::InvalidSchema),
            (json!({"properties": {"a": {"pattern": "("}}}), "m", Reason::InvalidSchema),
            (json!({"properties": {"a": {"pattern": "(?=x)"}}}), "m", Reason::InvalidSchema),
        ];
        for (schema, field, reason) in table {
            assert_eq!(findings(&schema)[0], (field.to_owned(), reason), "{schema}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut schema = json!({});
        for _ in 0..50 {
            schema = json!({"additionalProperties": schema});
        }
        assert_eq!(findings(&schema)[0].1, Reason::TooLarge);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "(object|string|integer|\\PC{0,6})".prop_map(Value::from),
        ];
        let key = prop_oneof![
            prop::sample::select(PLAIN_KEYWORDS.to_vec()).prop_map(str::to_owned),
            prop::sample::select(vec!["type", "properties", "additionalProperties"])
                .prop_map(str::to_owned),
            "[a-z]{0,3}",
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// What passes the check compiles, and nothing makes it panic.
        #[test]
        fn accepted_schemas_compile(schema in any_json()) {
            let Value::Object(schema) = schema else { return Ok(()) };
            let mut found = Violations::default();
            check("m", &schema, &mut found);
            if found.is_empty() {
                prop_assert!(compile(&Value::Object(schema)).is_ok());
            }
        }
    }
}
