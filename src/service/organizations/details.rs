//! Organizations as a directory: what callers keep of them, and how they find them.

use super::{Organizations, check_id};
use crate::{
    domain::{
        caller::{Caller, Tenant},
        ids::OrganizationId,
        organization::Organization,
        organization_draft::{
            OrganizationChanges, OrganizationDraft, OrganizationQuery, check_required_external_id,
        },
        page::Page,
        permissions::Operation,
        violation::Violations,
    },
    service::{
        error::{Error, Kind, Result},
        not_found, permit,
        system_log::SystemEvent,
        to_its_end, unknown_cursor,
    },
    store::{Changed, Registration},
};

/// The error for an id that is taken.
fn taken(field: &'static str, id: impl Into<String>) -> Error {
    Error::AlreadyExists { kind: Kind::Organization, field, id: id.into() }
}

impl Organizations {
    /// Creates an organization. A taken id or external id is [`Error::AlreadyExists`] with the field
    /// `organization_id` or `external_id`.
    pub async fn create(&self, caller: &Caller, draft: OrganizationDraft) -> Result<Organization> {
        permit(caller, Operation::CreateOrganization)?;
        let mut violations = Violations::default();
        let id = draft.id.clone();
        let details = draft.check(&mut violations);
        if !id.is_empty() {
            check_id("organization_id", &id, &mut violations);
        }
        violations.into_result(())?;
        let now = self.clock.now();
        let id = if id.is_empty() {
            OrganizationId::generate(now, &mut rand::rng())
        } else {
            OrganizationId::from_stored(id)
        };
        if id.is_system() {
            return Err(Error::OrganizationReserved);
        }
        let domains = details.new_domains(now, &mut rand::rng());
        let new = Organization {
            external_id: details.external_id,
            metadata: details.metadata,
            domains,
            ..self.new_organization(id, details.name)
        };
        let (this, caller) = (self.clone(), caller.clone());
        to_its_end(async move { this.insert(&caller, new).await }).await
    }

    async fn insert(&self, caller: &Caller, new: Organization) -> Result<Organization> {
        match self.store.insert_organization(&caller.environment, &new).await? {
            Registration::Done => {
                let organization = new.id.clone();
                let tenant = Tenant { environment: caller.environment.clone(), organization };
                let with_name = |done: SystemEvent| done.with("name", new.name.clone());
                self.record(caller, "organization.created", &tenant, with_name).await;
                Ok(new)
            }
            Registration::IdTaken => Err(taken("organization_id", new.id.as_str())),
            Registration::ExternalIdTaken => {
                Err(taken("external_id", new.external_id.unwrap_or_default()))
            }
        }
    }

    /// Changes what is told to be changed, in one transaction: of two calls at once neither undoes
    /// what the other did to another part or another key of the metadata.
    pub async fn update(
        &self,
        caller: &Caller,
        id: &str,
        changes: OrganizationChanges,
    ) -> Result<Organization> {
        permit(caller, Operation::UpdateOrganization)?;
        let tenant = self.tenant(caller, id).await?;
        if tenant.organization.is_system() {
            return Err(Error::OrganizationReserved);
        }
        let mut violations = Violations::default();
        let changes = changes.check(&mut violations);
        violations.into_result(())?;
        let external_id = changes.external_id().unwrap_or_default().to_owned();
        let now = self.clock.now();
        let (this, caller, id) = (self.clone(), caller.clone(), id.to_owned());
        to_its_end(async move {
            let apply = |organization| changes.apply(organization, now, &mut rand::rng());
            match this.store.change_organization(&tenant, apply).await? {
                Changed::Done(organization) => {
                    let with_name =
                        |done: SystemEvent| done.with("name", organization.name.clone());
                    this.record(&caller, "organization.updated", &tenant, with_name).await;
                    Ok(organization)
                }
                Changed::NotFound => Err(not_found(Kind::Organization, "organization_id", id)),
                Changed::ExternalIdTaken => Err(taken("external_id", external_id)),
                Changed::Refused(violations) => Err(violations.into()),
            }
        })
        .await
    }

    /// Returns the organization with that external id, if the caller can see it.
    pub async fn get_by_external_id(
        &self,
        caller: &Caller,
        external_id: &str,
    ) -> Result<Organization> {
        permit(caller, Operation::GetOrganizationByExternalId)?;
        check_required_external_id(external_id)?;
        let found = self.store.get_organization_by_external_id(caller, external_id).await?;
        found.ok_or_else(|| not_found(Kind::Organization, "external_id", external_id))
    }

    /// Lists the organizations that the caller can see and that match.
    pub async fn list(
        &self,
        caller: &Caller,
        query: OrganizationQuery,
    ) -> Result<Page<Organization>> {
        permit(caller, Operation::ListOrganizations)?;
        let (filter, page) = query.validate()?;
        if let Some(cursor) = page.cursor_text()
            && !self.store.organization_cursor_exists(caller, cursor).await?
        {
            return Err(unknown_cursor(&page));
        }
        Ok(self.store.list_organizations(caller, &filter, &page).await?)
    }
}
