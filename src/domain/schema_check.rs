//! Holds events against the schema of their action, with the semantics of AJV as WorkOS compiles
//! its schemas: the targets are an `allOf` of one `contains` per declared type, so each declared
//! type must occur at least once with metadata that fits; order and multiplicity are free.

use jsonschema::{
    Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::Value;

use super::{
    action_schema::SchemaDefinition,
    event::{Event, Metadata, Party},
    json_schema,
    violation::{BrokenRule, Violation, Violations},
};

/// A schema that is ready to check events.
#[derive(Debug)]
pub struct CompiledSchema {
    targets: Vec<CompiledTarget>,
    actor: Option<Validator>,
    metadata: Option<Validator>,
}

#[derive(Debug)]
struct CompiledTarget {
    kind: String,
    metadata: Option<Validator>,
}

/// How to treat targets beyond what AJV's `contains` demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetRule {
    /// Undeclared types are accepted, and one fitting target of a declared type is enough.
    #[default]
    Contains,
    /// Undeclared types are refused, and every target of a declared type must fit.
    Strict,
}

impl CompiledSchema {
    /// Compiles a definition. The error is a sentence; a definition that was validated has none.
    pub fn compile(definition: &SchemaDefinition) -> Result<Self, String> {
        let compile = |schema: Option<&Metadata>| {
            schema.map(|schema| json_schema::compile(&Value::Object(schema.clone()))).transpose()
        };
        let targets = definition.targets.iter().map(|target| {
            let metadata = compile(target.metadata.as_ref())?;
            Ok(CompiledTarget { kind: target.kind.clone(), metadata })
        });
        Ok(Self {
            targets: targets.collect::<Result<_, String>>()?,
            actor: compile(definition.actor.as_ref().and_then(|actor| actor.metadata.as_ref()))?,
            metadata: compile(definition.metadata.as_ref())?,
        })
    }

    /// What of `event` does not fit. Paths start with `event`.
    pub fn check(&self, event: &Event, rule: TargetRule) -> Vec<Violation> {
        let mut found = Violations::default();
        let place = Place { field: "event.actor", schema: "/properties/actor/properties" };
        check_metadata(self.actor.as_ref(), &place, &event.actor.metadata, &mut found);
        self.check_targets(&event.targets, rule, &mut found);
        let place = Place { field: "event", schema: "/properties" };
        check_metadata(self.metadata.as_ref(), &place, &event.metadata, &mut found);
        found.into_found()
    }

    fn check_targets(&self, targets: &[Party], rule: TargetRule, found: &mut Violations) {
        for (index, declared) in self.targets.iter().enumerate() {
            let schema = format!("/properties/targets/allOf/{index}/contains");
            declared.check(&schema, targets, rule, found);
        }
        if rule == TargetRule::Strict {
            for (index, target) in targets.iter().enumerate() {
                if !self.targets.iter().any(|declared| declared.kind == target.kind) {
                    let field = format!("event.targets[{index}].type");
                    let description = "the schema does not declare this target type";
                    let path = "/properties/targets/items/properties/type/enum";
                    found.add_broken(field, description, broken("enum", path, None));
                }
            }
        }
    }
}

impl CompiledTarget {
    /// `path` is where the rule for this target is.
    fn check(&self, path: &str, targets: &[Party], rule: TargetRule, found: &mut Violations) {
        let of_kind = || targets.iter().enumerate().filter(|(_, target)| target.kind == self.kind);
        if of_kind().next().is_none() {
            let description =
                format!("must contain at least one target of the type \"{}\"", self.kind);
            let least = Some(("minContains", Value::from(1)));
            found.add_broken("event.targets", description, broken("contains", path, least));
            return;
        }
        let Some(schema) = &self.metadata else { return };
        let fits = |target: &Party| schema.is_valid(&Value::Object(target.metadata.clone()));
        if rule == TargetRule::Contains && of_kind().any(|(_, target)| fits(target)) {
            return;
        }
        for (index, target) in of_kind() {
            let field = format!("event.targets[{index}]");
            let place = Place { field: &field, schema: &format!("{path}/properties") };
            check_metadata(Some(schema), &place, &target.metadata, found);
        }
    }
}

/// Where the owner of a metadata object is.
struct Place<'a> {
    /// In the event.
    field: &'a str,
    /// Where its properties are described in the schema of the event.
    schema: &'a str,
}

/// Holds the metadata of the thing at `place` against `schema`.
fn check_metadata(
    schema: Option<&Validator>,
    place: &Place<'_>,
    metadata: &Metadata,
    found: &mut Violations,
) {
    let Some(schema) = schema else { return };
    let value = Value::Object(metadata.clone());
    for error in schema.iter_errors(&value) {
        let pointer = error.instance_path().to_string().replace('/', ".");
        let field = format!("{}.metadata{pointer}", place.field);
        let path = format!("{}/metadata{}", place.schema, error.schema_path());
        let rule = broken(error.kind().keyword(), &path, demand(error.kind()));
        // `masked` keeps the offending value out of answers and logs.
        found.add_broken(field, error.masked().to_string(), rule);
    }
}

fn broken(keyword: &str, schema_path: &str, demand: Option<(&str, Value)>) -> BrokenRule {
    let params = demand.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    BrokenRule { keyword: keyword.to_owned(), schema_path: schema_path.to_owned(), params }
}

/// Whether a value of a schema can be told with every violation of it.
fn is_short(value: &Value) -> bool {
    const TOLD_BYTES: usize = 256;
    value.to_string().len() <= TOLD_BYTES
}

/// What a keyword asks for, under AJV's name for it.
fn demand(kind: &ValidationErrorKind) -> Option<(&'static str, Value)> {
    use ValidationErrorKind as Kind;
    Some(match kind {
        Kind::Type { kind: TypeKind::Single(kind) } => ("type", kind.to_string().into()),
        Kind::Type { kind: TypeKind::Multiple(kinds) } => {
            ("type", kinds.iter().map(|kind| kind.to_string()).collect())
        }
        Kind::AdditionalProperties { unexpected } => {
            ("additionalProperty", unexpected.first()?.clone().into())
        }
        Kind::Enum { options } if is_short(options) => ("allowedValues", Value::clone(options)),
        Kind::Constant { expected_value } if is_short(expected_value) => {
            ("allowedValue", Value::clone(expected_value))
        }
        Kind::MultipleOf { multiple_of } => ("multipleOf", (*multiple_of).into()),
        Kind::Required { property } => ("missingProperty", property.clone()),
        Kind::Pattern { pattern } => ("pattern", pattern.clone().into()),
        Kind::Minimum { limit }
        | Kind::Maximum { limit }
        | Kind::ExclusiveMinimum { limit }
        | Kind::ExclusiveMaximum { limit } => ("limit", limit.clone()),
        Kind::MinLength { limit }
        | Kind::MaxLength { limit }
        | Kind::MinProperties { limit }
        | Kind::MaxProperties { limit } => ("limit", (*limit).into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{event::Context, timestamp::Timestamp};

    fn event(targets: &[(&str, Value)]) -> Event {
        let target = |(kind, metadata): &(&str, Value)| Party {
            id: "1".into(),
            name: None,
            kind: (*kind).into(),
            metadata: metadata.as_object().cloned().unwrap_or_default(),
        };
        Event {
            action: "a".into(),
            version: 1,
            occurred_at: Timestamp::from_micros(0),
            actor: Party {
                id: "1".into(),
                name: None,
                kind: "user".into(),
                metadata: Metadata::new(),
            },
            targets: targets.iter().map(target).collect(),
            context: Context { location: "x".into(), user_agent: None },
            metadata: Metadata::new(),
        }
    }

    fn fields(schema: Value, event: &Event, rule: TargetRule) -> Vec<String> {
        let definition = serde_json::from_value(schema).unwrap();
        let found = CompiledSchema::compile(&definition).unwrap().check(event, rule);
        found.into_iter().map(|violation| violation.field).collect()
    }

    fn invoice_schema() -> Value {
        let cost = json!({"type": "object", "properties": {"cost": {"type": "number"}}});
        json!({"targets": [{"type": "user"}, {"type": "invoice", "metadata": cost}]})
    }

    #[test]
    fn every_declared_type_must_occur() {
        let only_user = event(&[("user", json!({}))]);
        assert_eq!(fields(invoice_schema(), &only_user, TargetRule::Contains), ["event.targets"]);
        let both = event(&[("invoice", json!({"cost": 1})), ("x", json!({})), ("user", json!({}))]);
        assert!(fields(invoice_schema(), &both, TargetRule::Contains).is_empty());
        assert_eq!(fields(invoice_schema(), &both, TargetRule::Strict), ["event.targets[1].type"]);
    }

    #[test]
    fn names_the_target_that_does_not_fit() {
        let bad = event(&[("user", json!({})), ("invoice", json!({"cost": "much"}))]);
        let expected = ["event.targets[1].metadata.cost"];
        assert_eq!(fields(invoice_schema(), &bad, TargetRule::Contains), expected);
    }

    #[test]
    fn one_fitting_target_is_enough_unless_strict() {
        let mixed = event(&[
            ("invoice", json!({"cost": "much"})),
            ("invoice", json!({"cost": 2})),
            ("user", json!({})),
        ]);
        assert!(fields(invoice_schema(), &mixed, TargetRule::Contains).is_empty());
        let expected = ["event.targets[0].metadata.cost"];
        assert_eq!(fields(invoice_schema(), &mixed, TargetRule::Strict), expected);
    }

    #[test]
    fn actor_and_event_metadata_are_checked() {
        let required = json!({"required": ["role"]});
        let schema = json!({"targets": [], "actor": {"metadata": required}, "metadata": required});
        let expected = ["event.actor.metadata", "event.metadata"];
        assert_eq!(fields(schema, &event(&[]), TargetRule::Contains), expected);
    }
}
