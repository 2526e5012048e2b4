//! Organizations, and the one way to a [`Tenant`].

mod details;

use std::{sync::Arc, time::Duration};

use super::{
    Rules,
    error::{Error, Kind, Result},
    not_found, permit,
    remembered::Remembered,
    system_log::{SystemEvent, SystemLog},
    to_its_end,
};
use crate::{
    domain::{
        caller::{Caller, Tenant},
        clock::Clock,
        ids::{EnvironmentId, OrganizationCursor, OrganizationId},
        organization::{
            AuditLogConfiguration, Organization, OrganizationMetadata, is_retention_period,
        },
        permissions::Operation,
        timestamp::Timestamp,
        violation::{Reason, Violations},
    },
    store::{Deletion, Owner, Registration, Store},
};

/// How long it is remembered that an organization exists. One that another replica deleted takes
/// events this long.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Most organizations that are remembered.
const ORGANIZATIONS: usize = 100_000;

/// Manages organizations.
#[derive(Clone)]
pub struct Organizations {
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    rules: Rules,
    known: Remembered<(EnvironmentId, OrganizationId), ()>,
    pub(super) system_log: SystemLog,
}

/// Checks the form of an organization id in the field `field`.
pub fn check_id(field: &str, id: &str, violations: &mut Violations) {
    if id.is_empty() {
        violations.add(field, Reason::Required, format!("{field} is required"));
    } else if !OrganizationId::is_valid(id) {
        let description = format!("{field} must match [A-Za-z0-9][A-Za-z0-9_.:-]{{0,127}}");
        violations.add(field, Reason::InvalidCharacters, description);
    }
}

impl Organizations {
    /// Organizations are kept in `store`; changes are recorded in `system_log`.
    pub fn new(store: Store, clock: Arc<dyn Clock>, rules: Rules, system_log: SystemLog) -> Self {
        let known = Remembered::new(ORGANIZATIONS, REMEMBERED);
        Self { store, clock, rules, known, system_log }
    }

    /// The organization with that id as the caller's, if it is.
    pub async fn tenant(&self, caller: &Caller, id: &str) -> Result<Tenant> {
        let mut violations = Violations::default();
        check_id("organization_id", id, &mut violations);
        violations.into_result(())?;
        let organization = OrganizationId::from_stored(id);
        let tenant = self.find(caller, organization).await?;
        tenant.ok_or_else(|| not_found(Kind::Organization, "organization_id", id))
    }

    /// The same for a well-formed id; `None` if there is no such organization.
    pub(super) async fn find(&self, caller: &Caller, id: OrganizationId) -> Result<Option<Tenant>> {
        if !caller.can_see(&id) {
            return Ok(None);
        }
        let key = (caller.environment.clone(), id);
        if self.known.get(&key).is_none() {
            let begun = self.known.begin();
            if self.store.get_organization(&key.0, &key.1).await?.is_none() {
                return Ok(None);
            }
            self.known.insert(begun, key.clone(), ());
        }
        Ok(Some(Tenant { environment: key.0, organization: key.1 }))
    }

    /// The organization that an event is for: one that exists, or one that may be registered by it.
    pub(super) async fn for_event(&self, caller: &Caller, id: &str) -> Result<EventTenant> {
        let organization = OrganizationId::from_stored(id);
        let unknown = || not_found(Kind::Organization, "organization_id", id);
        if organization.is_system() {
            return Err(Error::OrganizationReserved);
        }
        if let Some(tenant) = self.find(caller, organization.clone()).await? {
            return Ok(EventTenant::Known(tenant));
        }
        if !self.rules.auto_register || !caller.can_see(&organization) {
            return Err(unknown());
        }
        let tenant = Tenant { environment: caller.environment.clone(), organization };
        match self.store.organization_owner(&tenant.organization).await? {
            Owner::Nobody => Ok(EventTenant::New(tenant)),
            // Another call was faster.
            Owner::Environment(owner) if owner == tenant.environment => {
                Ok(EventTenant::Known(tenant))
            }
            Owner::Environment(_) | Owner::Deleted => Err(unknown()),
        }
    }

    /// Registers the organization of an event, where that is still to be done.
    pub(super) async fn settle(&self, tenant: EventTenant) -> Result<()> {
        let EventTenant::New(Tenant { environment, organization }) = &tenant else {
            return Ok(());
        };
        let key = (environment.clone(), organization.clone());
        // An earlier event of the same batch may have done it.
        if self.known.get(&key).is_some() {
            return Ok(());
        }
        let begun = self.known.begin();
        let new = self.new_organization(organization.clone(), organization.to_string());
        if self.store.insert_organization(environment, &new).await? != Registration::Done
            && self.store.get_organization(environment, organization).await?.is_none()
        {
            // Another environment was faster.
            let id = organization.as_str();
            return Err(not_found(Kind::Organization, "organization_id", id));
        }
        self.known.insert(begun, key, ());
        Ok(())
    }

    /// Records what a caller did to an organization.
    pub(super) async fn record(
        &self,
        caller: &Caller,
        action: &'static str,
        tenant: &Tenant,
        facts: impl FnOnce(SystemEvent) -> SystemEvent,
    ) {
        let done = SystemEvent::by(caller, action).on("organization", &tenant.organization);
        self.system_log.record(facts(done)).await;
    }

    fn new_organization(&self, id: OrganizationId, name: String) -> Organization {
        let now = self.clock.now();
        let cursor = OrganizationCursor::generate(now, &mut rand::rng());
        Organization {
            id,
            cursor,
            name,
            external_id: None,
            metadata: OrganizationMetadata::default(),
            domains: Vec::new(),
            retention_days: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// Returns one organization.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<Organization> {
        permit(caller, Operation::GetOrganization)?;
        let tenant = self.tenant(caller, id).await?;
        self.read(&tenant).await
    }

    async fn read(&self, tenant: &Tenant) -> Result<Organization> {
        let Tenant { environment, organization } = tenant;
        let found = self.store.get_organization(environment, organization).await?;
        let id = organization.as_str();
        found.ok_or_else(|| not_found(Kind::Organization, "organization_id", id))
    }

    /// Deletes an organization.
    pub async fn delete(&self, caller: &Caller, id: &str) -> Result<()> {
        permit(caller, Operation::DeleteOrganization)?;
        let tenant = self.tenant(caller, id).await?;
        if tenant.organization.is_system() {
            return Err(Error::OrganizationReserved);
        }
        let (this, caller, id) = (self.clone(), caller.clone(), id.to_owned());
        to_its_end(async move {
            let deletion = this.store.delete_organization(&tenant, this.clock.now()).await?;
            this.known.forget();
            match deletion {
                Deletion::Done => {
                    this.record(&caller, "organization.deleted", &tenant, |done| done).await;
                    Ok(())
                }
                Deletion::Missing => Err(not_found(Kind::Organization, "organization_id", id)),
                Deletion::Held => Err(Error::LegalHold),
            }
        })
        .await
    }

    /// For how many days events are kept, if that was ever set.
    pub async fn retention(&self, caller: &Caller, id: &str) -> Result<Option<u32>> {
        permit(caller, Operation::GetRetention)?;
        Ok(self.read(&self.tenant(caller, id).await?).await?.retention_days)
    }

    /// Sets for how many days events are kept.
    pub async fn set_retention(&self, caller: &Caller, id: &str, days: i32) -> Result<u32> {
        permit(caller, Operation::UpdateRetention)?;
        let tenant = self.tenant(caller, id).await?;
        let days = u32::try_from(days).ok().filter(|days| is_retention_period(*days));
        let Some(days) = days else {
            let mut violations = Violations::default();
            let description = "retention_period_in_days must be 30 to 330 in steps of 30, \
                               or 365 to 3650 in steps of 365";
            violations.add("retention_period_in_days", Reason::OutOfRange, description);
            return Err(violations.into_found().into());
        };
        let now: Timestamp = self.clock.now();
        let (this, caller, id) = (self.clone(), caller.clone(), id.to_owned());
        to_its_end(async move {
            if !this.store.set_retention(&tenant, days, now).await? {
                return Err(not_found(Kind::Organization, "organization_id", id));
            }
            let with_days = |done: SystemEvent| done.with("retention_period_in_days", days);
            this.record(&caller, "organization.retention_updated", &tenant, with_days).await;
            Ok(days)
        })
        .await
    }

    /// How the organization's audit trail is set up.
    pub async fn configuration(&self, caller: &Caller, id: &str) -> Result<AuditLogConfiguration> {
        permit(caller, Operation::GetAuditLogConfiguration)?;
        let tenant = self.tenant(caller, id).await?;
        let organization = self.read(&tenant).await?;
        let default = self.rules.default_retention_days;
        let has_actions = self.store.has_actions(&caller.environment).await?;
        Ok(AuditLogConfiguration {
            organization_id: organization.id,
            retention_days: organization.retention_days.unwrap_or(default),
            active: has_actions || !self.rules.require_schema,
            retention: self.store.retention_state(&tenant).await?,
            log_stream: self.store.first_log_stream(&tenant).await?,
        })
    }
}

/// The organization of an event that was not stored yet.
pub(super) enum EventTenant {
    /// It exists.
    Known(Tenant),
    /// It is to be registered, if nothing else is wrong.
    New(Tenant),
}

impl EventTenant {
    pub(super) const fn tenant(&self) -> &Tenant {
        match self {
            Self::Known(tenant) | Self::New(tenant) => tenant,
        }
    }
}
