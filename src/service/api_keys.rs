//! API keys: making, listing and revoking them.

use std::{collections::HashSet, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{
    Rules,
    auth::Authenticator,
    error::{Error, Kind, Result},
    not_found,
    organizations::{Organizations, check_id},
    permit,
    system_log::{SystemEvent, SystemLog},
    to_its_end, unknown_cursor,
};
use crate::{
    domain::{
        api_key::{ApiKey, KeyValue, Scope},
        caller::Caller,
        clock::Clock,
        ids::{ApiKeyId, EnvironmentId, OrganizationId},
        limits,
        page::{Page, PageDraft, PageRequest},
        permissions::Operation,
        violation::{Reason, Violations},
    },
    service::{lanes::Lanes, watch::Hub},
    store::{Store, StoreError},
    telemetry::Telemetry,
};

/// The environment of the bootstrap key and of the first key.
pub const DEFAULT_ENVIRONMENT: &str = "default";

/// Manages API keys.
#[derive(Clone)]
pub struct ApiKeys {
    store: Store,
    clock: Arc<dyn Clock>,
    auth: Authenticator,
    organizations: Organizations,
    system_log: SystemLog,
}

/// What a new key is to be.
#[derive(Debug, Clone, Default)]
pub struct NewApiKey {
    /// What it is for.
    pub name: String,
    /// Names of its scopes.
    pub scopes: Vec<String>,
    /// The only organizations it can see; empty for all.
    pub organization_ids: Vec<String>,
}

impl ApiKeys {
    /// Keys are kept in `store`.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        auth: Authenticator,
        organizations: Organizations,
        system_log: SystemLog,
    ) -> Self {
        Self { store, clock, auth, organizations, system_log }
    }

    /// The same where there are no other services. What is recorded goes through a lane of its own.
    pub fn over(store: &Store, clock: &Arc<dyn Clock>, rules: Rules) -> Self {
        let auth = Authenticator::new(store.clone(), clock.clone(), 0);
        let hub = Hub::new(store.clone(), rules.watchers, CancellationToken::new());
        let lanes = Lanes::start(store, clock, rules.lanes, &hub, &Telemetry::off());
        let system_log = SystemLog::start(store.clone(), clock.clone(), lanes, false);
        let log = system_log.clone();
        let organizations = Organizations::new(store.clone(), clock.clone(), rules, log);
        Self::new(store.clone(), clock.clone(), auth, organizations, system_log)
    }

    /// Creates a key in the caller's environment, with no more scopes than the caller has.
    pub async fn create(&self, caller: &Caller, new: NewApiKey) -> Result<(ApiKey, KeyValue)> {
        permit(caller, Operation::CreateApiKey)?;
        let scopes = check(&new)?;
        if let Some(scope) = scopes.iter().find(|scope| !caller.has(**scope)) {
            return Err(Error::ScopeMissing(*scope));
        }
        for (index, id) in new.organization_ids.iter().enumerate() {
            let known = self.organizations.tenant(caller, id).await;
            known.map_err(|error| error.at_field(&format!("organization_ids[{index}]")))?;
        }
        let value = KeyValue::generate(&mut rand::rng());
        let made = SystemEvent::by(caller, "api_key.created");
        self.insert(caller.environment.clone(), new, scopes, value, made).await
    }

    /// Creates a key for an operator who has the database, in an environment that is created if
    /// need be.
    pub async fn create_as_operator(
        &self,
        environment: &str,
        new: NewApiKey,
    ) -> Result<(ApiKey, KeyValue)> {
        let scopes = check(&new)?;
        // An organization that exists has an environment that exists.
        let environment = if new.organization_ids.is_empty() {
            self.environment(environment).await?
        } else {
            self.known_environment(environment).await?
        };
        for (index, id) in new.organization_ids.iter().enumerate() {
            let id = OrganizationId::from_stored(id);
            if self.store.get_organization(&environment, &id).await?.is_none() {
                let unknown = not_found(Kind::Organization, "organization_ids", id.as_str());
                return Err(unknown.at_field(&format!("organization_ids[{index}]")));
            }
        }
        let value = KeyValue::generate(&mut rand::rng());
        let made = SystemEvent::by_operator(environment.clone(), "api_key.created");
        self.insert(environment, new, scopes, value, made).await
    }

    /// Makes sure that the default environment has a key with that value and every scope.
    pub async fn bootstrap(&self, value: KeyValue) -> Result<()> {
        match self.store.find_api_key(value.hash()).await? {
            Some(key) if key.revoked_at.is_some() => return Err(Error::KeyRefused),
            Some(_) => return Ok(()),
            None => {}
        }
        let environment = self.environment(DEFAULT_ENVIRONMENT).await?;
        let (new, scopes) = (all_scopes("bootstrap"), Scope::ALL.to_vec());
        let made = SystemEvent::by_service(environment.clone(), "api_key.created");
        match self.insert(environment, new, scopes, value, made).await {
            // Another replica was faster.
            Err(Error::Store(StoreError::Duplicate(_))) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Makes the first key, unless there is any. It is in the default environment and has every
    /// scope.
    pub async fn first_run(&self) -> Result<Option<KeyValue>> {
        let environment = self.environment(DEFAULT_ENVIRONMENT).await?;
        let value = KeyValue::generate(&mut rand::rng());
        let key = self.new_key(environment, all_scopes("first run"), Scope::ALL.to_vec(), &value);
        if !self.store.insert_first_api_key(&key, value.hash()).await? {
            return Ok(None);
        }
        let made = SystemEvent::by_service(key.environment_id.clone(), "api_key.created");
        self.system_log.record(about(&key, made)).await;
        Ok(Some(value))
    }

    /// The environment with that name; created if need be.
    async fn environment(&self, name: &str) -> Result<EnvironmentId> {
        let mut violations = Violations::default();
        violations.required_text("environment", name, limits::SHORT_TEXT_CHARS);
        violations.into_result(())?;
        let now = self.clock.now();
        let id = EnvironmentId::generate(now, &mut rand::rng());
        Ok(self.store.put_environment(&id, name, now).await?)
    }

    async fn insert(
        &self,
        environment: EnvironmentId,
        new: NewApiKey,
        scopes: Vec<Scope>,
        value: KeyValue,
        made: SystemEvent,
    ) -> Result<(ApiKey, KeyValue)> {
        let this = self.clone();
        to_its_end(async move {
            let key = this.new_key(environment, new, scopes, &value);
            this.store.insert_api_key(&key, value.hash()).await?;
            this.system_log.record(about(&key, made)).await;
            Ok((key, value))
        })
        .await
    }

    fn new_key(
        &self,
        environment_id: EnvironmentId,
        new: NewApiKey,
        scopes: Vec<Scope>,
        value: &KeyValue,
    ) -> ApiKey {
        let created_at = self.clock.now();
        let organization_ids = new.organization_ids.into_iter();
        ApiKey {
            id: ApiKeyId::generate(created_at, &mut rand::rng()),
            environment_id,
            name: new.name,
            hint: value.hint().to_owned(),
            scopes,
            organization_ids: organization_ids.map(OrganizationId::from_stored).collect(),
            created_at,
            revoked_at: None,
            last_used_at: None,
        }
    }

    /// Lists the keys of the caller's environment.
    pub async fn list(&self, caller: &Caller, page: PageDraft) -> Result<Page<ApiKey>> {
        permit(caller, Operation::ListApiKeys)?;
        let page = page.validate()?;
        if let Some(cursor) = page.cursor_text() {
            let id = ApiKeyId::from_stored(cursor);
            let found = self.store.get_api_key(&caller.environment, &id).await?;
            found.ok_or_else(|| unknown_cursor(&page))?;
        }
        Ok(self.store.list_api_keys(&caller.environment, &page).await?)
    }

    /// Lists the keys of an environment, for an operator who has the database.
    pub async fn list_as_operator(
        &self,
        environment: &str,
        page: PageRequest,
    ) -> Result<Page<ApiKey>> {
        let environment = self.known_environment(environment).await?;
        Ok(self.store.list_api_keys(&environment, &page).await?)
    }

    /// Revokes a key of the caller's environment.
    pub async fn revoke(&self, caller: &Caller, id: &str) -> Result<ApiKey> {
        permit(caller, Operation::RevokeApiKey)?;
        let mut violations = Violations::default();
        violations.required_text("api_key_id", id, limits::SHORT_TEXT_CHARS);
        violations.into_result(())?;
        let revoked = SystemEvent::by(caller, "api_key.revoked");
        self.revoke_in(caller.environment.clone(), id, revoked).await
    }

    /// Revokes a key, for an operator who has the database.
    pub async fn revoke_as_operator(&self, environment: &str, id: &str) -> Result<ApiKey> {
        let environment = self.known_environment(environment).await?;
        let revoked = SystemEvent::by_operator(environment.clone(), "api_key.revoked");
        self.revoke_in(environment, id, revoked).await
    }

    /// Deletes a key that was made for one run of a program, so that it does not count as the first
    /// key of the database.
    pub async fn delete_as_operator(&self, key: &ApiKey) -> Result<()> {
        self.store.delete_api_key(&key.environment_id, &key.id).await?;
        self.auth.forget();
        Ok(())
    }

    async fn revoke_in(
        &self,
        environment: EnvironmentId,
        id: &str,
        revoked: SystemEvent,
    ) -> Result<ApiKey> {
        let (this, id) = (self.clone(), id.to_owned());
        to_its_end(async move {
            let key_id = ApiKeyId::from_stored(&*id);
            let unknown = || not_found(Kind::ApiKey, "api_key_id", &*id);
            this.store.get_api_key(&environment, &key_id).await?.ok_or_else(unknown)?;
            this.store.revoke_api_key(&environment, &key_id, this.clock.now()).await?;
            this.auth.forget();
            let key = this.store.get_api_key(&environment, &key_id).await?.ok_or_else(unknown)?;
            // Also if it was revoked before: the answer to who did it, and the record, may have been lost.
            this.system_log.record(about(&key, revoked)).await;
            Ok(key)
        })
        .await
    }

    async fn known_environment(&self, name: &str) -> Result<EnvironmentId> {
        let found = self.store.find_environment(name).await?;
        found.ok_or_else(|| not_found(Kind::Environment, "environment", name))
    }
}

/// What the system log tells of a key.
fn about(key: &ApiKey, event: SystemEvent) -> SystemEvent {
    let scopes = key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ");
    let event = event.on("api_key", &key.id).with("name", &*key.name).with("scopes", scopes);
    key.organization_ids.iter().fold(event, |event, id| event.on("organization", id))
}

fn all_scopes(name: &str) -> NewApiKey {
    let scopes = Scope::ALL.iter().map(|scope| scope.as_str().to_owned()).collect();
    NewApiKey { name: name.to_owned(), scopes, organization_ids: Vec::new() }
}

/// Checks what a key is to be.
fn check(new: &NewApiKey) -> Result<Vec<Scope>> {
    let mut violations = Violations::default();
    violations.required_text("name", &new.name, limits::SHORT_TEXT_CHARS);
    if new.scopes.is_empty() {
        let names = Scope::ALL.map(Scope::as_str).join(", ");
        violations.add("scopes", Reason::Required, format!("name at least one scope of {names}"));
    }
    let mut scopes = Vec::new();
    for (index, name) in new.scopes.iter().enumerate() {
        let field = format!("scopes[{index}]");
        match Scope::from_name(name) {
            None => {
                let names = Scope::ALL.map(Scope::as_str).join(", ");
                violations.add(field, Reason::Unknown, format!("must be one of {names}"));
            }
            Some(scope) if scopes.contains(&scope) => {
                violations.add(field, Reason::Duplicate, "each scope must be named once");
            }
            Some(scope) => scopes.push(scope),
        }
    }
    if new.organization_ids.len() > limits::KEY_ORGANIZATIONS {
        let most = limits::KEY_ORGANIZATIONS;
        let description = format!("organization_ids must have at most {most} entries");
        violations.add("organization_ids", Reason::TooMany, description);
    }
    let mut seen = HashSet::new();
    for (index, id) in new.organization_ids.iter().enumerate().take(limits::KEY_ORGANIZATIONS) {
        let field = format!("organization_ids[{index}]");
        check_id(&field, id, &mut violations);
        if !seen.insert(id) {
            violations.add(field, Reason::Duplicate, "each organization must be named once");
        }
    }
    Ok(violations.into_result(scopes)?)
}
