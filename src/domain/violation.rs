//! What is wrong with a request: field path, stable reason, sentence.

use std::fmt;

use serde_json::{Map, Value};

/// Why a field was refused. The names are part of the contract (`BadRequest.field_violations.reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The field is missing or empty.
    Required,
    /// The text is too long.
    TooLong,
    /// The list or object has too many entries.
    TooMany,
    /// The text has characters that are not allowed, or not the form it must have.
    InvalidCharacters,
    /// The value is of the wrong type.
    InvalidType,
    /// The number or time is outside its bounds.
    OutOfRange,
    /// The value occurs twice.
    Duplicate,
    /// Something else has this id already.
    AlreadyExists,
    /// Two fields exclude each other.
    Conflict,
    /// The value is none of those that exist.
    Unknown,
    /// The JSON Schema uses a keyword that is not supported.
    UnsupportedKeyword,
    /// The JSON Schema is malformed.
    InvalidSchema,
    /// The value does not fit the action's schema.
    SchemaMismatch,
    /// The whole is too large.
    TooLarge,
}

impl Reason {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "REQUIRED",
            Self::TooLong => "TOO_LONG",
            Self::TooMany => "TOO_MANY",
            Self::InvalidCharacters => "INVALID_CHARACTERS",
            Self::InvalidType => "INVALID_TYPE",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Duplicate => "DUPLICATE",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Conflict => "CONFLICT",
            Self::Unknown => "UNKNOWN",
            Self::UnsupportedKeyword => "UNSUPPORTED_KEYWORD",
            Self::InvalidSchema => "INVALID_SCHEMA",
            Self::SchemaMismatch => "SCHEMA_MISMATCH",
            Self::TooLarge => "TOO_LARGE",
        }
    }
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field, dotted snake case, such as `event.targets[1].metadata.cost`.
    pub field: String,
    /// Why it was refused.
    pub reason: Reason,
    /// What is wrong, as a sentence without the offending value.
    pub description: String,
    /// The rule of the action's schema that was broken, if it was one.
    pub rule: Option<Box<BrokenRule>>,
}

/// A rule of a JSON Schema that a value broke, in the terms of AJV's error objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenRule {
    /// The keyword, such as `required`.
    pub keyword: String,
    /// Where the rule is in the schema of an event, a JSON Pointer after `#`.
    pub schema_path: String,
    /// What the rule asks for, such as `{"minContains": 1}`.
    pub params: Map<String, Value>,
}

impl Violation {
    /// Something that is wrong apart from any schema.
    pub fn new(field: impl Into<String>, reason: Reason, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        Self { field, reason, description, rule: None }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.description)
    }
}

/// Collects what is wrong with a request, so that the caller learns all of it at once.
///
/// Only the first 3 KiB are told: details travel in trailers, and common gRPC clients take no
/// more than 8 KiB of those.
#[derive(Debug, Default)]
pub struct Violations {
    found: Vec<Violation>,
    bytes: usize,
}

/// Most bytes of all paths and sentences together; the first violation is told in any case.
const TOLD_BYTES: usize = 3_072;
/// Most bytes of one path or sentence. Paths can have names in them that callers chose.
const TEXT_BYTES: usize = 256;

impl Violations {
    /// Notes that `field` is wrong.
    pub fn add(
        &mut self,
        field: impl Into<String>,
        reason: Reason,
        description: impl Into<String>,
    ) {
        self.push(Violation::new(field, reason, description));
    }

    /// Notes that the value of `field` broke a rule of its action's schema.
    pub fn add_broken(
        &mut self,
        field: impl Into<String>,
        description: impl Into<String>,
        rule: BrokenRule,
    ) {
        let violation = Violation::new(field, Reason::SchemaMismatch, description);
        self.push(Violation { rule: Some(Box::new(rule)), ..violation });
    }

    /// Notes everything that `other` found.
    pub fn extend(&mut self, other: Vec<Violation>) {
        for violation in other {
            self.push(violation);
        }
    }

    fn push(&mut self, violation: Violation) {
        let field = shortened(violation.field);
        let description = shortened(violation.description);
        self.bytes += field.len() + description.len();
        if self.found.is_empty() || self.bytes <= TOLD_BYTES {
            self.found.push(Violation { field, description, ..violation });
        }
    }

    /// Whether nothing is wrong.
    pub const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `value` if nothing is wrong, otherwise what is.
    pub fn into_result<T>(self, value: T) -> Result<T, Vec<Violation>> {
        if self.is_empty() { Ok(value) } else { Err(self.found) }
    }

    /// What is wrong.
    pub fn into_found(self) -> Vec<Violation> {
        self.found
    }

    /// Checks a text that must be there. The path is only written out if something is wrong.
    pub fn required_text(&mut self, field: impl fmt::Display, text: &str, max_chars: usize) {
        if text.is_empty() {
            self.add(field.to_string(), Reason::Required, format!("{field} is required"));
        } else {
            self.optional_text(field, text, max_chars);
        }
    }

    /// Checks a text that may be empty.
    pub fn optional_text(&mut self, field: impl fmt::Display, text: &str, max_chars: usize) {
        if longer_than(text, max_chars) {
            let description = format!("{field} must have at most {max_chars} characters");
            self.add(field.to_string(), Reason::TooLong, description);
        }
        if has_control_characters(text) {
            let description = format!("{field} must not have control characters");
            self.add(field.to_string(), Reason::InvalidCharacters, description);
        }
    }
}

/// Whether `text` has control characters (Unicode category Cc). Most texts are ASCII, where a look at
/// the bytes is enough.
fn has_control_characters(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    }
}

/// Whether `text` has more than `max_chars` characters; does not count where the bytes tell.
pub fn longer_than(text: &str, max_chars: usize) -> bool {
    text.len() > max_chars && text.chars().count() > max_chars
}

/// The start of a text that is too long to be told.
fn shortened(mut text: String) -> String {
    if text.len() > TEXT_BYTES {
        text.truncate(text.floor_char_boundary(TEXT_BYTES));
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_bounded() {
        let mut violations = Violations::default();
        for _ in 0..1_000 {
            violations.add("é".repeat(100_000), Reason::Unknown, "x".repeat(100_000));
        }
        let found = violations.into_found();
        let bytes: usize = found.iter().map(|v| v.field.len() + v.description.len()).sum();
        assert!(!found.is_empty() && bytes <= TOLD_BYTES, "{bytes}");
    }
}
