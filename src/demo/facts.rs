//! Metadata in the making, within the general limits.

use std::collections::BTreeMap;

use prost_types::{Struct, Value};

use crate::domain::limits;

/// Facts for a metadata object. What a record does not tell is left out.
#[derive(Default)]
pub struct Facts(BTreeMap<String, Value>);

impl Facts {
    /// Adds a text, cut to what metadata can hold.
    pub fn text(mut self, key: &str, value: Option<&str>) -> Self {
        let value = value.map(|text| clean(text, limits::METADATA_VALUE_CHARS));
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.0.insert(key.to_owned(), value.into());
        }
        self
    }

    /// Adds a yes or no.
    pub fn flag(mut self, key: &str, value: Option<bool>) -> Self {
        if let Some(value) = value {
            self.0.insert(key.to_owned(), value.into());
        }
        self
    }

    /// Adds a count, unless it is 0.
    pub fn count(mut self, key: &str, value: u32) -> Self {
        if value > 0 {
            self.0.insert(key.to_owned(), value.into());
        }
        self
    }

    /// The facts for the wire; absent if there are none.
    pub fn into_struct(self) -> Option<Struct> {
        (!self.0.is_empty()).then_some(Struct { fields: self.0 })
    }
}

/// `text` with blanks for control characters, which no field takes, and at most `most` characters.
pub fn clean(text: &str, most: usize) -> String {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(blank).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_a_character_not_at_a_byte() {
        let long = "é".repeat(limits::METADATA_VALUE_CHARS + 1);
        let facts = Facts::default().text("key", Some(&long)).into_struct().unwrap();
        assert_eq!(facts.fields["key"], Value::from("é".repeat(limits::METADATA_VALUE_CHARS)));
    }

    #[test]
    fn leaves_out_what_is_not_told() {
        let facts = Facts::default().text("a", None).text("b", Some(" \n")).flag("c", None);
        assert_eq!(facts.count("d", 0).into_struct(), None);
    }

    #[test]
    fn control_characters_become_blanks() {
        assert_eq!(clean("\ta\r\nb\u{1f}c\u{85}", 10), "a  b c");
    }
}
