//! Who calls: from the credential of a request to what it grants.

use core::net::IpAddr;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;

use super::{
    error::{Error, Result},
    failures::Failures,
    key_uses::KeyUses,
    remembered::Remembered,
};
use crate::{
    domain::{api_key::KeyValue, caller::Grant, clock::Clock},
    store::Store,
    telemetry,
};

/// How long an accepted key is remembered. A key that another replica revoked works this long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Most keys that are remembered.
const KEYS: usize = 10_000;

/// What a caller shows, as a hash: what may be kept for as long as a stream lasts.
#[derive(Clone, Copy)]
pub struct Credential([u8; 32]);

impl Credential {
    /// Reads the value of an `authorization` header.
    pub fn of(authorization: Option<&str>) -> Result<Self> {
        let authorization = authorization.map(str::trim).filter(|value| !value.is_empty());
        let (scheme, value) =
            authorization.ok_or(Error::KeyMissing)?.split_once(' ').ok_or(Error::KeyRefused)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Error::KeyMissing);
        }
        // The lookup is by a hash of the value, in an index: what an attacker learns from its timing is
        // how far hashes agree, of which none can be chosen. So nothing needs to be compared in constant
        // time: no value is compared at all.
        Ok(Self(KeyValue::hash_of(value.trim())))
    }
}

/// Recognizes callers by their API keys.
#[derive(Clone)]
pub struct Authenticator {
    store: Store,
    accepted: Remembered<[u8; 32], Arc<Grant>>,
    /// Keys that were accepted once: looked up whoever else fails at the same address.
    seen: Arc<Cache<[u8; 32], ()>>,
    failures: Failures,
    uses: KeyUses,
}

impl Authenticator {
    /// Keys are looked up in `store`. A source may have so many refused a minute; 0 for no limit.
    pub fn new(store: Store, clock: Arc<dyn Clock>, refused_per_minute: u32) -> Self {
        let accepted = Remembered::new(KEYS, REMEMBERED);
        let seen = Arc::new(Cache::new(KEYS));
        let failures = Failures::new(refused_per_minute);
        Self { store, accepted, seen, failures, uses: KeyUses::new(clock) }
    }

    /// Recognizes the caller of a request from `source`, unless too many keys from there were refused
    /// just now: then an unknown one is [`Error::TooManyRefusedKeys`], without a look at the database.
    pub async fn recognize(
        &self,
        credential: Credential,
        source: Option<IpAddr>,
    ) -> Result<Arc<Grant>> {
        let Some(source) = source else { return self.authenticate(credential).await };
        let is_seen = self.seen.get(&credential.0).is_some();
        if !is_seen && self.failures.is_spent(source, Instant::now()) {
            return Err(Error::TooManyRefusedKeys);
        }
        let recognized = self.authenticate(credential).await;
        match &recognized {
            Ok(_) if !is_seen => self.seen.insert(credential.0, ()),
            Err(Error::KeyRefused) => {
                self.seen.remove(&credential.0);
                self.failures.note(source, Instant::now());
            }
            _ => {}
        }
        recognized
    }

    /// Recognizes the caller, now.
    pub async fn authenticate(&self, credential: Credential) -> Result<Arc<Grant>> {
        let Credential(hash) = credential;
        if let Some(grant) = self.accepted.get(&hash) {
            return Ok(grant);
        }
        let _span = telemetry::child("authenticate");
        let begun = self.accepted.begin();
        let key = self.store.find_api_key(hash).await?;
        let key = key.filter(|key| key.revoked_at.is_none()).ok_or(Error::KeyRefused)?;
        // Every few seconds while the key is in use, that is.
        self.uses.note(&key.id);
        let grant = Arc::new(Grant {
            key_id: key.id,
            environment: key.environment_id,
            scopes: key.scopes,
            organizations: key.organization_ids,
        });
        self.accepted.insert(begun, hash, grant.clone());
        Ok(grant)
    }

    /// When keys were used.
    pub const fn uses(&self) -> &KeyUses {
        &self.uses
    }

    /// Forgets all remembered keys, so that a revocation counts at once.
    pub fn forget(&self) {
        self.accepted.forget();
    }
}
