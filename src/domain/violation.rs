//! What is wrong with a request: field path, stable reason, sentence.

use std::fmt;

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
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.description)
    }
}

/// Collects what is wrong with a request, so that the caller learns all of it at once.
#[derive(Debug, Default)]
pub struct Violations(Vec<Violation>);

/// More than this many are not told: a hostile request must not make a huge answer.
const TOLD: usize = 50;

impl Violations {
    /// Notes that `field` is wrong.
    pub fn add(
        &mut self,
        field: impl Into<String>,
        reason: Reason,
        description: impl Into<String>,
    ) {
        if self.0.len() < TOLD {
            let (field, description) = (field.into(), description.into());
            self.0.push(Violation { field, reason, description });
        }
    }

    /// Notes everything that `other` found.
    pub fn extend(&mut self, other: Vec<Violation>) {
        let room = TOLD.saturating_sub(self.0.len());
        self.0.extend(other.into_iter().take(room));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `value` if nothing is wrong, otherwise what is.
    pub fn into_result<T>(self, value: T) -> Result<T, Vec<Violation>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }

    /// Checks a text that must be there.
    pub fn required_text(&mut self, field: &str, text: &str, max_chars: usize) {
        if text.is_empty() {
            self.add(field, Reason::Required, format!("{field} is required"));
        } else {
            self.optional_text(field, text, max_chars);
        }
    }

    /// Checks a text that may be empty.
    pub fn optional_text(&mut self, field: &str, text: &str, max_chars: usize) {
        if longer_than(text, max_chars) {
            let description = format!("{field} must have at most {max_chars} characters");
            self.add(field, Reason::TooLong, description);
        }
        if text.chars().any(char::is_control) {
            let description = format!("{field} must not have control characters");
            self.add(field, Reason::InvalidCharacters, description);
        }
    }
}

/// Whether `text` has more than `max_chars` characters; does not count where the bytes tell.
pub fn longer_than(text: &str, max_chars: usize) -> bool {
    text.len() > max_chars && text.chars().count() > max_chars
}
