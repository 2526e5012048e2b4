//! What a destination is reached with and nobody is told.

use std::{collections::BTreeMap, fmt};

use zeroize::Zeroizing;

use super::Destination;

/// The secret that no destination ever gets, also not a proof that it could use elsewhere: it signs what is
/// sent, for whoever has it too.
const STAYS_HERE: &str = "signing_secret";

/// The secrets of a destination by the name of their field (`api_key`), or by [`header_secret`]. Never
/// logged and never told: `Debug` hides the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, Zeroizing<String>>);

/// Name under which the value of a header is kept; header names are case-insensitive (RFC 9110, section
/// 5.1).
pub fn header_secret(name: &str) -> String {
    format!("header:{}", name.to_ascii_lowercase())
}

impl Secrets {
    /// The secret with that name; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |value| value.as_str())
    }

    /// Sets a secret; an empty one is none.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let value = value.into();
        if !value.is_empty() {
            self.0.insert(name.into(), Zeroizing::new(value));
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name and value of each, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Only those of these that the destination has.
    #[must_use]
    pub fn of(mut self, destination: &Destination) -> Self {
        let headers: Vec<_> =
            destination.headers().iter().map(|name| header_secret(name)).collect();
        self.0.retain(|name, _| {
            destination.secret_names().any(|own| own == name) || headers.contains(name)
        });
        self
    }

    /// Only those that a destination does not learn: they need not be sent again when it moves.
    #[must_use]
    pub fn that_stay_here(mut self) -> Self {
        self.0.retain(|name, _| name == STAYS_HERE);
        self
    }

    /// These, and those of `older` that are not among them.
    #[must_use]
    pub fn or(mut self, older: &Self) -> Self {
        for (name, value) in &older.0 {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
