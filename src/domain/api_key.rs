//! API keys and what they may do.

use std::fmt;

use rand::{CryptoRng, RngExt};
use sha2::{Digest, Sha256};

use super::{
    ids::{ApiKeyId, EnvironmentId, OrganizationId},
    timestamp::Timestamp,
};

/// Something that a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Record events.
    EventsWrite,
    /// Read events.
    EventsRead,
    /// Create schemas.
    SchemasWrite,
    /// Read actions and schemas.
    SchemasRead,
    /// Create and follow exports.
    Exports,
    /// Manage organizations and retention.
    Organizations,
    /// Manage log streams.
    LogStreams,
    /// Manage keys.
    Keys,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 8] = [
        Self::EventsWrite,
        Self::EventsRead,
        Self::SchemasWrite,
        Self::SchemasRead,
        Self::Exports,
        Self::Organizations,
        Self::LogStreams,
        Self::Keys,
    ];

    /// The name of the scope.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventsWrite => "events:write",
            Self::EventsRead => "events:read",
            Self::SchemasWrite => "schemas:write",
            Self::SchemasRead => "schemas:read",
            Self::Exports => "exports",
            Self::Organizations => "organizations",
            Self::LogStreams => "log_streams",
            Self::Keys => "keys",
        }
    }

    /// The scope with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stored key; its value is not known any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Id.
    pub id: ApiKeyId,
    /// The environment it belongs to.
    pub environment_id: EnvironmentId,
    /// What it is for.
    pub name: String,
    /// Last four characters of its value.
    pub hint: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only organizations it can see; empty for all of the environment.
    pub organization_ids: Vec<OrganizationId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, some seconds more or less; `None` if never.
    pub last_used_at: Option<Timestamp>,
}

/// The value of a key. Never logged: `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyValue(String);

/// Characters after `sk_` in a value that we make: 43 base62 characters carry 256 bits.
const VALUE_CHARS: usize = 43;
/// Fewest characters after `sk_` in a value that an operator brings.
const VALUE_CHARS_LEAST: usize = 32;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl KeyValue {
    /// Makes a new value.
    pub fn generate(random: &mut impl CryptoRng) -> Self {
        let mut text = String::from("sk_");
        text.extend((0..VALUE_CHARS).map(|_| char::from(BASE62[random.random_range(0..62)])));
        Self(text)
    }

    /// Takes a value that an operator chose: `sk_` and at least 32 letters, digits or underscores.
    /// `None` if it is weaker than that.
    pub fn from_operator(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("sk_")?;
        let allowed = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        (rest.len() >= VALUE_CHARS_LEAST && allowed).then(|| Self(text.to_owned()))
    }

    /// SHA-256 of a value as a caller sent it. No slow hash is needed: a value has 256 random bits.
    pub fn hash_of(sent: &str) -> [u8; 32] {
        Sha256::digest(sent.as_bytes()).into()
    }

    /// SHA-256 of the value; what is stored.
    pub fn hash(&self) -> [u8; 32] {
        Self::hash_of(&self.0)
    }

    /// The last four characters.
    pub fn hint(&self) -> &str {
        &self.0[self.0.len().saturating_sub(4)..]
    }

    /// The value itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyValue([hidden])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_long_and_hidden() {
        let value = KeyValue::generate(&mut rand::rng());
        assert_eq!(value.reveal().len(), 46);
        assert!(value.reveal().starts_with("sk_"));
        assert!(!format!("{value:?}").contains(value.hint()));
        assert_eq!(KeyValue::from_operator(value.reveal()), Some(value));
    }

    #[test]
    fn weak_values_are_refused() {
        for bad in ["", "sk_", "sk_short", &"x".repeat(50), &format!("sk_{}", "é".repeat(40))] {
            assert_eq!(KeyValue::from_operator(bad), None, "{bad}");
        }
    }

    #[test]
    fn scopes_have_names() {
        for scope in Scope::ALL {
            assert_eq!(Scope::from_name(scope.as_str()), Some(scope));
        }
    }
}
