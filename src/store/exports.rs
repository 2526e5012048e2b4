//! Export jobs and the leases under which workers write them.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    Set, UpdateMany,
    sea_query::{Expr, LockBehavior, LockType},
};

use super::{
    Result, Store, StoreError,
    entity::{export, organization},
    from_column,
    paging::read_page,
    to_column,
};
use crate::domain::{
    caller::Caller,
    export::{Export, ExportFormat, ExportProgress, ExportState},
    filter::ExportRange,
    ids::{EnvironmentId, ExportId, OrganizationId},
    page::{Page, PageRequest},
    timestamp::Timestamp,
};

impl Store {
    /// Stores a new job.
    pub async fn insert_export(&self, export: &Export) -> Result<()> {
        let filter = serde_json::to_string(&export.filter)
            .map_err(|_| StoreError::inconsistent("exports", "filter"))?;
        let row = export::ActiveModel {
            id: Set(export.id.as_str().to_owned()),
            environment_id: Set(export.environment_id.as_str().to_owned()),
            organization_id: Set(export.organization_id.as_str().to_owned()),
            state: Set(export.state.as_str().to_owned()),
            tree_size: Set(to_column(export.tree_size)),
            range_start: Set(export.range.start.micros()),
            range_end: Set(export.range.end.micros()),
            filter: Set(filter),
            rows_written: Set(0),
            bytes_written: Set(0),
            estimated_rows: Set(0),
            error: Set(None),
            download_secret: Set(export.download_secret.clone()),
            lease_owner: Set(None),
            lease_until: Set(0),
            attempts: Set(0),
            created_at: Set(export.created_at.micros()),
            updated_at: Set(export.updated_at.micros()),
            format: Set(export.format.as_str().to_owned()),
        };
        row.insert(self.writer()).await?;
        Ok(())
    }

    /// The export with that id that the caller can see.
    pub async fn get_export(&self, caller: &Caller, id: &ExportId) -> Result<Option<Export>> {
        let query = export::scoped(&caller.environment).filter(export::Column::Id.eq(id.as_str()));
        let found = query.one(self.reader()).await?.map(domain).transpose()?;
        Ok(found.filter(|export| caller.can_see(&export.organization_id)))
    }

    /// The export that a download link names; the link's signature is the credential.
    pub async fn find_export(&self, id: &ExportId) -> Result<Option<Export>> {
        let query = export::Entity::find_by_id(id.as_str());
        query.one(self.reader()).await?.map(domain).transpose()
    }

    /// A page of the exports that the caller can see, of one organization or all.
    pub async fn list_exports(
        &self,
        caller: &Caller,
        organization: Option<&OrganizationId>,
        request: &PageRequest,
    ) -> Result<Page<Export>> {
        // The exports of a deleted organization are gone with it.
        let present = organization::scoped(&caller.environment)
            .select_only()
            .column(organization::Column::Id)
            .filter(organization::Column::DeletedAt.is_null());
        let mut query = export::scoped(&caller.environment)
            .filter(export::Column::OrganizationId.in_subquery(present.into_query()));
        if let Some(organization) = organization {
            query = query.filter(export::Column::OrganizationId.eq(organization.as_str()));
        } else if !caller.organizations.is_empty() {
            let visible = caller.organizations.iter().map(OrganizationId::as_str);
            query = query.filter(export::Column::OrganizationId.is_in(visible));
        }
        let size = |row: &export::Model| row.filter.len();
        let page = read_page(self.reader(), query, export::Column::Id, request, size).await?;
        page.try_map(domain)
    }

    /// Leases the oldest job that waits or whose worker died, and counts the attempt. Two workers
    /// never get the same.
    pub async fn lease_export(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Export>> {
        // Most polls find nothing: they must not take SQLite's write lock.
        let waiting = export::Entity::find()
            .filter(export::Column::State.eq(ExportState::Pending.as_str()))
            .filter(export::Column::LeaseUntil.lt(now.micros()))
            .order_by_asc(export::Column::Id);
        if waiting.clone().one(self.reader()).await?.is_none() {
            return Ok(None);
        }
        let transaction = self.begin().await?;
        let locked = waiting.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let Some(row) = locked.limit(1).one(&transaction).await? else { return Ok(None) };
        let attempts = row.attempts + 1;
        let mut lease: export::ActiveModel = row.into();
        lease.lease_owner = Set(Some(owner.to_owned()));
        lease.lease_until = Set(until.micros());
        lease.attempts = Set(attempts);
        let row = lease.update(&transaction).await?;
        transaction.commit().await?;
        Ok(Some(domain(row)?))
    }

    /// Renews a lease and tells how far the job is. Returns false if another worker has it.
    pub async fn renew_export_lease(
        &self,
        id: &ExportId,
        owner: &str,
        progress: ExportProgress,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool> {
        let mut changes = with_progress(progress, now);
        changes.lease_until = Set(until.micros());
        let update = owned(id, owner).set(changes);
        Ok(update.exec(self.writer()).await?.rows_affected == 1)
    }

    /// Ends a job: READY, or ERROR with the reason. Returns false if another worker has it.
    pub async fn finish_export(
        &self,
        id: &ExportId,
        owner: &str,
        outcome: std::result::Result<ExportProgress, String>,
        now: Timestamp,
    ) -> Result<bool> {
        let changes = match outcome {
            Ok(progress) => export::ActiveModel {
                state: Set(ExportState::Ready.as_str().to_owned()),
                ..with_progress(progress, now)
            },
            Err(error) => export::ActiveModel {
                state: Set(ExportState::Error.as_str().to_owned()),
                error: Set(Some(error)),
                updated_at: Set(now.micros()),
                ..Default::default()
            },
        };
        let changes = export::ActiveModel { lease_owner: Set(None), ..changes };
        Ok(owned(id, owner).set(changes).exec(self.writer()).await?.rows_affected == 1)
    }

    /// Gives a job back, with so many attempts on its account; another worker may take it from `at`
    /// on.
    pub async fn release_export(
        &self,
        id: &ExportId,
        owner: &str,
        attempts: u64,
        at: Timestamp,
    ) -> Result<()> {
        let changes = export::ActiveModel {
            attempts: Set(to_column(attempts)),
            lease_owner: Set(None),
            lease_until: Set(at.micros()),
            ..Default::default()
        };
        owned(id, owner).set(changes).exec(self.writer()).await?;
        Ok(())
    }

    /// Some ready exports that last changed before `until`, oldest first.
    pub async fn exports_to_expire(&self, until: Timestamp, limit: u64) -> Result<Vec<ExportId>> {
        let rows = export::Entity::find()
            .filter(export::Column::State.eq(ExportState::Ready.as_str()))
            .filter(export::Column::UpdatedAt.lt(until.micros()))
            .order_by_asc(export::Column::Id)
            .limit(limit)
            .all(self.reader())
            .await?;
        Ok(rows.into_iter().map(|row| ExportId::from_stored(row.id)).collect())
    }

    /// Makes a ready export EXPIRED.
    pub async fn expire_export(&self, id: &ExportId, now: Timestamp) -> Result<()> {
        export::Entity::update_many()
            .col_expr(export::Column::State, Expr::val(ExportState::Expired.as_str()))
            .col_expr(export::Column::UpdatedAt, Expr::val(now.micros()))
            .filter(export::Column::Id.eq(id.as_str()))
            .filter(export::Column::State.eq(ExportState::Ready.as_str()))
            .exec(self.writer())
            .await?;
        Ok(())
    }
}

/// The job, while it is pending and leased by `owner`.
fn owned(id: &ExportId, owner: &str) -> UpdateMany<export::Entity> {
    export::Entity::update_many()
        .filter(export::Column::Id.eq(id.as_str()))
        .filter(export::Column::LeaseOwner.eq(owner))
        .filter(export::Column::State.eq(ExportState::Pending.as_str()))
}

fn with_progress(progress: ExportProgress, now: Timestamp) -> export::ActiveModel {
    export::ActiveModel {
        rows_written: Set(to_column(progress.rows_written)),
        bytes_written: Set(to_column(progress.bytes_written)),
        estimated_rows: Set(to_column(progress.estimated_rows)),
        updated_at: Set(now.micros()),
        ..Default::default()
    }
}

fn domain(row: export::Model) -> Result<Export> {
    let count = |value, column| from_column(value, "exports", column);
    Ok(Export {
        id: ExportId::from_stored(row.id),
        environment_id: EnvironmentId::from_stored(row.environment_id),
        organization_id: OrganizationId::from_stored(row.organization_id),
        state: ExportState::from_name(&row.state)
            .ok_or(StoreError::inconsistent("exports", "state"))?,
        format: ExportFormat::from_name(&row.format)
            .ok_or(StoreError::inconsistent("exports", "format"))?,
        tree_size: count(row.tree_size, "tree_size")?,
        range: ExportRange {
            start: Timestamp::from_micros(row.range_start),
            end: Timestamp::from_micros(row.range_end),
        },
        filter: serde_json::from_str(&row.filter)
            .map_err(|_| StoreError::inconsistent("exports", "filter"))?,
        progress: ExportProgress {
            rows_written: count(row.rows_written, "rows_written")?,
            bytes_written: count(row.bytes_written, "bytes_written")?,
            estimated_rows: count(row.estimated_rows, "estimated_rows")?,
        },
        error: row.error,
        download_secret: row.download_secret,
        attempt: count(row.attempts, "attempts")?,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    })
}
