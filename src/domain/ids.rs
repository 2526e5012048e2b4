//! Identifiers. Those that the service makes are a prefix and a ULID.

use std::fmt;

use rand::Rng;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::{limits::ORGANIZATION_ID_CHARS, timestamp::Timestamp};

/// A ULID that sorts after those of earlier microseconds: the part of `at` below the millisecond
/// stands in the first 10 of the 80 bits that are otherwise random.
fn ulid(at: Timestamp, random: &mut impl Rng) -> Ulid {
    const RANDOM_BITS: u32 = 70;
    let below_millisecond = u128::from(at.micros().rem_euclid(1_000).unsigned_abs());
    let high = u128::from(random.next_u64()) << 64;
    let random = (high | u128::from(random.next_u64())) & ((1 << RANDOM_BITS) - 1);
    Ulid::from_parts(at.millis(), (below_millisecond << RANDOM_BITS) | random)
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes a new id.
            pub fn generate(at: Timestamp, random: &mut impl Rng) -> Self {
                Self(format!("{}{}", Self::PREFIX, ulid(at, random)))
            }
        }

        plain_text!($name);
    };
}

macro_rules! plain_text {
    ($name:ident) => {
        impl $name {
            /// Takes an id as it was stored or sent. One that was never made is found nowhere.
            pub fn from_stored(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier!(
    /// Id of an event.
    EventId, "audit_event_"
);
identifier!(
    /// Id of an export.
    ExportId, "audit_log_export_"
);
identifier!(
    /// Id of a log stream.
    LogStreamId, "als_"
);
identifier!(
    /// Id of an API key; not secret.
    ApiKeyId, "api_key_"
);
identifier!(
    /// Id of an environment.
    EnvironmentId, "environment_"
);
identifier!(
    /// Place of an action in the list of actions.
    ActionCursor, "ala_"
);
identifier!(
    /// Place of an organization in the list of organizations.
    OrganizationCursor, "olc_"
);
identifier!(
    /// Id of a domain of an organization.
    OrganizationDomainId, "org_domain_"
);

/// Id of an organization: ours (`org_` and a ULID) or the caller's own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrganizationId(String);

plain_text!(OrganizationId);

impl OrganizationId {
    /// Makes a new id.
    pub fn generate(at: Timestamp, random: &mut impl Rng) -> Self {
        Self(format!("org_{}", ulid(at, random)))
    }

    /// The organization whose log is the environment's own.
    pub fn system(environment: &EnvironmentId) -> Self {
        Self(format!("system_{environment}"))
    }

    /// Whether it is the service's own, which callers can read but not write.
    pub fn is_system(&self) -> bool {
        self.0.starts_with(Self::SYSTEM_PREFIX)
    }

    /// What the ids of [`OrganizationId::system`] start with.
    const SYSTEM_PREFIX: &'static str = "system_environment_";

    /// Whether `text` can be an organization id: `[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}`.
    pub fn is_valid(text: &str) -> bool {
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"_.:-".contains(b);
        text.len() <= ORGANIZATION_ID_CHARS
            && text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && text.as_bytes().iter().all(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time() {
        let mut random = rand::rng();
        let mut at = |micros| EventId::generate(Timestamp::from_micros(micros), &mut random);
        let early = at(1_000_998);
        assert!(early < at(1_000_999) && at(1_000_999) < at(1_001_000));
        assert_eq!(early.as_str().len(), "audit_event_".len() + 26);
    }

    #[test]
    fn organization_id_grammar() {
        for good in ["a", "org_01JQ4X7Z6E5M2K9T8V3B1N0CDA", "acme:eu.west-1", &"x".repeat(128)] {
            assert!(OrganizationId::is_valid(good), "{good}");
        }
        for bad in ["", "_a", "-a", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(!OrganizationId::is_valid(bad), "{bad}");
        }
    }
}
