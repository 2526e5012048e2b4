//! Organizations.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select, Set, TryInsertResult};

use super::{
    Result, Store, StoreError,
    entity::{log_head, organization},
    paging::read_page,
};
use crate::domain::{
    caller::{Caller, Tenant},
    ids::{EnvironmentId, OrganizationCursor, OrganizationId},
    organization::Organization,
    page::{Page, PageRequest},
    timestamp::Timestamp,
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

impl Store {
    /// Registers an organization and the head of its log, in one transaction. Returns false, and
    /// changes nothing, if the id is taken, by a deleted organization or another environment too.
    pub async fn insert_organization(
        &self,
        environment: &EnvironmentId,
        new: &Organization,
    ) -> Result<bool> {
        let transaction = self.begin().await?;
        let row = organization::ActiveModel {
            id: Set(new.id.as_str().to_owned()),
            environment_id: Set(environment.as_str().to_owned()),
            cursor: Set(new.cursor.as_str().to_owned()),
            name: Set(new.name.clone()),
            retention_days: Set(new.retention_days.map(i64::from)),
            created_at: Set(new.created_at.micros()),
            updated_at: Set(new.updated_at.micros()),
            deleted_at: Set(None),
        };
        let insert = organization::Entity::insert(row).on_conflict_do_nothing();
        let inserted = insert.exec_without_returning(&transaction).await?;
        if !matches!(inserted, TryInsertResult::Inserted(1)) {
            return Ok(false);
        }
        let head = log_head::ActiveModel {
            organization_id: Set(new.id.as_str().to_owned()),
            size: Set(0),
            frontier: Set(Vec::new()),
            updated_at: Set(new.created_at.micros()),
        };
        log_head::Entity::insert(head).exec_without_returning(&transaction).await?;
        transaction.commit().await?;
        Ok(true)
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

    /// A page of the organizations that the caller can see.
    pub async fn list_organizations(
        &self,
        caller: &Caller,
        request: &PageRequest,
    ) -> Result<Page<Organization>> {
        let query = visible(caller).filter(organization::Column::DeletedAt.is_null());
        let page =
            read_page(self.reader(), query, organization::Column::Cursor, request, |_| 0).await?;
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
        retention_days: retention_days.map_err(inconsistent)?,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    })
}
