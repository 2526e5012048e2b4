//! Organizations.

use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect, Select, Set, TryInsertResult,
    sea_query::OnConflict,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Engine, Result, Store, StoreError,
    entity::{log_head, organization},
    paging::read_page,
    pool::Transaction,
};
use crate::domain::{
    caller::{Caller, Tenant},
    ids::{EnvironmentId, OrganizationCursor, OrganizationId},
    organization::Organization,
    organization_draft::OrganizationFilter,
    page::{Page, PageRequest},
    timestamp::Timestamp,
    violation::Violation,
};

/// Whose an organization id is, in the whole deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// It is free.
    Nobody,
    /// It belongs to that environment.
    Environment(EnvironmentId),
    /// It belonged to an organization that was deleted, and stays taken.
    Deleted,
}

/// How the registration of an organization ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// It is there now.
    Done,
    /// Its id is taken, by a deleted organization or another environment too.
    IdTaken,
    /// Another organization of the environment has its external id.
    ExternalIdTaken,
}

/// How the change of an organization ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It is now this.
    Done(Organization),
    /// There is no such organization.
    NotFound,
    /// Another organization of the environment has the new external id.
    ExternalIdTaken,
    /// The change cannot be made to what is there.
    Refused(Vec<Violation>),
}

impl Store {
    /// Registers an organization and the head of its log, in one transaction; all or nothing.
    pub async fn insert_organization(
        &self,
        environment: &EnvironmentId,
        new: &Organization,
    ) -> Result<Registration> {
        let transaction = self.begin().await?;
        let row = organization::ActiveModel {
            id: Set(new.id.as_str().to_owned()),
            environment_id: Set(environment.as_str().to_owned()),
            cursor: Set(new.cursor.as_str().to_owned()),
            retention_days: Set(new.retention_days.map(i64::from)),
            created_at: Set(new.created_at.micros()),
            deleted_at: Set(None),
            ..details(new)?
        };
        // No conflict is named, so that none is an error: which it was is looked up.
        let nothing = OnConflict::new().do_nothing().to_owned();
        let insert = organization::Entity::insert(row).on_conflict(nothing).try_insert();
        let inserted = insert.exec_without_returning(&transaction).await?;
        if !matches!(inserted, TryInsertResult::Inserted(1)) {
            let same = organization::Entity::find_by_id(new.id.as_str());
            let id_taken = same.one(&transaction).await?.is_some();
            return Ok(if id_taken {
                Registration::IdTaken
            } else {
                Registration::ExternalIdTaken
            });
        }
        let head = log_head::ActiveModel {
            organization_id: Set(new.id.as_str().to_owned()),
            size: Set(0),
            frontier: Set(Vec::new()),
            updated_at: Set(new.created_at.micros()),
        };
        log_head::Entity::insert(head).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(Registration::Done)
    }

    /// Makes of an organization's details what `change` makes of them, in one transaction: of two
    /// that are made at once, one sees what the other did.
    pub async fn change_organization(
        &self,
        tenant: &Tenant,
        change: impl FnOnce(Organization) -> std::result::Result<Organization, Vec<Violation>>,
    ) -> Result<Changed> {
        let transaction = self.begin().await?;
        let query = one(&tenant.environment, &tenant.organization).lock_exclusive();
        let Some(row) = query.one(&transaction).await? else {
            return Ok(Changed::NotFound);
        };
        let changed = match change(domain(row)?) {
            Ok(changed) => changed,
            Err(violations) => return Ok(Changed::Refused(violations)),
        };
        match write_details(&transaction, tenant, &changed).await {
            Err(StoreError::Duplicate(_)) => return Ok(Changed::ExternalIdTaken),
            other => other?,
        }
        transaction.commit().await?;
        Ok(Changed::Done(changed))
    }

    /// The organization with that id, unless it was deleted.
    pub async fn get_organization(
        &self,
        environment: &EnvironmentId,
        id: &OrganizationId,
    ) -> Result<Option<Organization>> {
        let row = one(environment, id).one(self.reader()).await?;
        row.map(domain).transpose()
    }

    /// The organization that the caller can see with that external id, unless it was deleted.
    pub async fn get_organization_by_external_id(
        &self,
        caller: &Caller,
        external_id: &str,
    ) -> Result<Option<Organization>> {
        let query = visible(caller)
            .filter(organization::Column::ExternalId.eq(external_id))
            .filter(organization::Column::DeletedAt.is_null());
        query.one(self.reader()).await?.map(domain).transpose()
    }

    /// Who may write to the log of that id.
    pub async fn organization_owner(&self, id: &OrganizationId) -> Result<Owner> {
        let query = organization::Entity::find_by_id(id.as_str());
        Ok(match query.one(self.reader()).await? {
            None => Owner::Nobody,
            Some(row) if row.deleted_at.is_some() => Owner::Deleted,
            Some(row) => Owner::Environment(EnvironmentId::from_stored(row.environment_id)),
        })
    }

    /// Whether the caller's list of organizations has that cursor.
    pub async fn organization_cursor_exists(&self, caller: &Caller, cursor: &str) -> Result<bool> {
        // A deleted organization's cursor stays good, so that paging survives a deletion.
        let query = visible(caller).filter(organization::Column::Cursor.eq(cursor));
        Ok(query.one(self.reader()).await?.is_some())
    }

    /// A page of the organizations that the caller can see and that match.
    pub async fn list_organizations(
        &self,
        caller: &Caller,
        filter: &OrganizationFilter,
        request: &PageRequest,
    ) -> Result<Page<Organization>> {
        let mut query = visible(caller)
            .filter(organization::Column::DeletedAt.is_null())
            .filter(matching(self.engine, filter)?);
        // A filter may look at every organization of the environment.
        let all = *filter == OrganizationFilter::default();
        // The environment's own log is no tenant; who looks for it finds it.
        if filter.search.is_empty() {
            let own = OrganizationId::system(&caller.environment);
            query = query.filter(organization::Column::Id.ne(own.as_str()));
        }
        let connection = if all { self.reader() } else { self.scanner() };
        let size = |row: &organization::Model| row.metadata.len() + row.domains.len();
        let page =
            read_page(connection, query, organization::Column::Cursor, request, size).await?;
        page.try_map(domain)
    }

    /// Sets an organization's retention period. Returns false if it was deleted meanwhile.
    pub async fn set_retention(&self, tenant: &Tenant, days: u32, now: Timestamp) -> Result<bool> {
        let changes = organization::ActiveModel {
            retention_days: Set(Some(i64::from(days))),
            updated_at: Set(now.micros()),
            ..Default::default()
        };
        self.update_organization(tenant, changes).await
    }

    async fn update_organization(
        &self,
        tenant: &Tenant,
        changes: organization::ActiveModel,
    ) -> Result<bool> {
        let update = organization::Entity::update_many()
            .set(changes)
            .filter(organization::Column::Id.eq(tenant.organization.as_str()))
            .filter(organization::Column::EnvironmentId.eq(tenant.environment.as_str()))
            .filter(organization::Column::DeletedAt.is_null());
        Ok(update.exec(self.writer()).await?.rows_affected == 1)
    }
}

/// The organizations that the caller can see, deleted ones too.
fn visible(caller: &Caller) -> Select<organization::Entity> {
    let query = organization::scoped(&caller.environment);
    if caller.organizations.is_empty() {
        return query;
    }
    let ids = caller.organizations.iter().map(OrganizationId::as_str);
    query.filter(organization::Column::Id.is_in(ids))
}

/// The condition that selects by content.
fn matching(engine: Engine, filter: &OrganizationFilter) -> Result<Condition> {
    let mut any_domain = Condition::any();
    for domain in &filter.domains {
        // As it stands in the list: a quotation mark in it would be escaped, and match nothing.
        let member = format!("\"domain\":{}", json(domain, "domains")?);
        any_domain = any_domain.add(engine.contains("domains", member));
    }
    let text = &filter.search;
    let searched = (!text.is_empty()).then(|| {
        Condition::any()
            .add(engine.contains("lower(name)", text.to_ascii_lowercase()))
            .add(organization::Column::Id.eq(text.as_str()))
            .add(organization::Column::ExternalId.eq(text.as_str()))
    });
    let domains = (!filter.domains.is_empty()).then_some(any_domain);
    Ok(Condition::all().add_option(domains).add_option(searched))
}

/// The columns that [`Store::change_organization`] writes.
fn details(of: &Organization) -> Result<organization::ActiveModel> {
    Ok(organization::ActiveModel {
        name: Set(of.name.clone()),
        external_id: Set(of.external_id.clone()),
        metadata: Set(json(&of.metadata, "metadata")?),
        domains: Set(json(&of.domains, "domains")?),
        updated_at: Set(of.updated_at.micros()),
        ..Default::default()
    })
}

async fn write_details(
    transaction: &Transaction,
    tenant: &Tenant,
    changed: &Organization,
) -> Result<()> {
    let update = organization::Entity::update_many()
        .set(details(changed)?)
        .filter(organization::Column::Id.eq(tenant.organization.as_str()))
        .filter(organization::Column::EnvironmentId.eq(tenant.environment.as_str()));
    update.exec(transaction).await?;
    Ok(())
}

fn json(value: &impl Serialize, column: &'static str) -> Result<String> {
    serde_json::to_string(value).map_err(|_| StoreError::inconsistent("organizations", column))
}

fn from_json<T: DeserializeOwned>(text: &str, column: &'static str) -> Result<T> {
    serde_json::from_str(text).map_err(|_| StoreError::inconsistent("organizations", column))
}

fn one(environment: &EnvironmentId, id: &OrganizationId) -> Select<organization::Entity> {
    organization::scoped(environment)
        .filter(organization::Column::Id.eq(id.as_str()))
        .filter(organization::Column::DeletedAt.is_null())
}

fn domain(row: organization::Model) -> Result<Organization> {
    let retention_days = row.retention_days.map(u32::try_from).transpose();
    let inconsistent = |_| StoreError::inconsistent("organizations", "retention_days");
    Ok(Organization {
        id: OrganizationId::from_stored(row.id),
        cursor: OrganizationCursor::from_stored(row.cursor),
        name: row.name,
        external_id: row.external_id,
        metadata: from_json(&row.metadata, "metadata")?,
        domains: from_json(&row.domains, "domains")?,
        retention_days: retention_days.map_err(inconsistent)?,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    })
}
