//! The key under which a repeated event is recognized.

use sha2::{Digest, Sha256};

use super::ids::{EnvironmentId, OrganizationId};

/// Whether and how a repeated event is recognized.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Idempotency {
    /// Not at all: two equal events are two.
    #[default]
    Off,
    /// By the key that its sender supplied, together with its content. An empty key means by its
    /// content alone.
    Keyed(String),
}

impl Idempotency {
    /// By a key if there is one, else not at all.
    pub fn by_key(key: String) -> Self {
        if key.is_empty() { Self::Off } else { Self::Keyed(key) }
    }

    /// The key that was supplied; empty for none.
    pub fn supplied(&self) -> &str {
        match self {
            Self::Off => "",
            Self::Keyed(key) => key,
        }
    }
}

/// First 16 bytes of SHA-256(environment, organization, supplied key, canonical event as sent), each
/// part preceded by its length so that no two inputs run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey([u8; 16]);

impl IdempotencyKey {
    /// The key of an event sent with `supplied`.
    pub fn derive(
        environment: &EnvironmentId,
        organization: &OrganizationId,
        supplied: &str,
        canonical_event: &[u8],
    ) -> Self {
        let mut hash = Sha256::new();
        let texts = [environment.as_str(), organization.as_str(), supplied];
        for part in texts.map(str::as_bytes).into_iter().chain([canonical_event]) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }

    /// The bytes, as they are stored.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let derive = |environment: &str, organization: &str, key: &str, event: &[u8]| {
            let environment = EnvironmentId::from_stored(environment);
            let organization = OrganizationId::from_stored(organization);
            IdempotencyKey::derive(&environment, &organization, key, event)
        };
        let base = derive("e", "o", "k", b"v");
        assert_eq!(base, derive("e", "o", "k", b"v"));
        let others = [
            derive("e2", "o", "k", b"v"),
            derive("e", "o2", "k", b"v"),
            derive("e", "o", "k2", b"v"),
            derive("e", "o", "k", b"v2"),
            derive("eo", "", "k", b"v"),
        ];
        assert!(others.iter().all(|other| *other != base));
    }
}
