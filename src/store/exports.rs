//! Export jobs, as callers and housekeeping see them.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select, Set, sea_query::Expr,
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
    export::{Export, ExportCompression, ExportFormat, ExportProgress, ExportState, Remains},
    filter::ExportRange,
    ids::{EnvironmentId, ExportId, OrganizationId},
    page::{Page, PageRequest},
    timestamp::Timestamp,
};

impl Store {
    /// How many exports of a log are still to be written.
    pub async fn count_pending_exports(&self, organization: &OrganizationId) -> Result<u64> {
        let query = export::Entity::find()
            .filter(export::Column::OrganizationId.eq(organization.as_str()))
            .filter(export::Column::State.eq(ExportState::Pending.as_str()));
        Ok(query.count(self.reader()).await?)
    }

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
            compression: Set(export.compression.as_str().to_owned()),
            leased_at: Set(0),
            is_upper_bound: Set(0),
            remains: Set(None),
            failures: Set(0),
            silent_ends: Set(0),
            last_failure: Set(None),
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

    /// Some ready exports that last changed before `until`, in the order of their ids, behind `after`.
    pub async fn exports_to_expire(
        &self,
        after: Option<&ExportId>,
        until: Timestamp,
        limit: u64,
    ) -> Result<Vec<Export>> {
        let ready =
            export::Entity::find().filter(export::Column::State.eq(ExportState::Ready.as_str()));
        self.past(ready, after, until, limit).await
    }

    async fn past(
        &self,
        ended: Select<export::Entity>,
        after: Option<&ExportId>,
        until: Timestamp,
        limit: u64,
    ) -> Result<Vec<Export>> {
        let after = after.map(|id| export::Column::Id.gt(id.as_str()));
        let rows = ended
            .filter(export::Column::UpdatedAt.lt(until.micros()))
            .filter(Condition::all().add_option(after))
            .order_by_asc(export::Column::Id)
            .limit(limit)
            .all(self.reader())
            .await?;
        rows.into_iter().map(domain).collect()
    }

    /// Makes an export CANCELLED that nobody has written yet. Returns false if it had ended already.
    pub async fn cancel_export(&self, id: &ExportId, now: Timestamp) -> Result<bool> {
        let update = export::Entity::update_many()
            .col_expr(export::Column::State, Expr::val(ExportState::Cancelled.as_str()))
            .col_expr(export::Column::UpdatedAt, Expr::val(now.micros()))
            .filter(export::Column::Id.eq(id.as_str()))
            .filter(export::Column::State.eq(ExportState::Pending.as_str()));
        Ok(update.exec(self.writer()).await?.rows_affected == 1)
    }

    /// Makes a ready export an ERROR, because its file is not what was written. Housekeeping takes away
    /// what is there of it.
    pub async fn fail_damaged_export(
        &self,
        damaged: &Export,
        error: &str,
        now: Timestamp,
    ) -> Result<()> {
        let remains = remains_text(&Remains { attempt: damaged.attempt, upload: None });
        export::Entity::update_many()
            .col_expr(export::Column::State, Expr::val(ExportState::Error.as_str()))
            .col_expr(export::Column::Error, Expr::val(error))
            .col_expr(export::Column::Remains, Expr::val(remains))
            .col_expr(export::Column::UpdatedAt, Expr::val(now.micros()))
            .filter(export::Column::Id.eq(damaged.id.as_str()))
            .filter(export::Column::State.eq(ExportState::Ready.as_str()))
            .exec(self.writer())
            .await?;
        Ok(())
    }

    /// Some exports that ended without a file and may have left something in the export store, which
    /// no worker has taken back since `until`; in the order of their ids, behind `after`.
    pub async fn exports_to_clear(
        &self,
        after: Option<&ExportId>,
        until: Timestamp,
        limit: u64,
    ) -> Result<Vec<Export>> {
        let ended = [ExportState::Error, ExportState::Cancelled].map(ExportState::as_str);
        let unclear = export::Entity::find()
            .filter(export::Column::State.is_in(ended))
            .filter(export::Column::Remains.is_not_null());
        self.past(unclear, after, until, limit).await
    }

    /// Notes that nothing of an export that has ended is left in the export store.
    pub async fn export_is_cleared(&self, id: &ExportId) -> Result<()> {
        export::Entity::update_many()
            .col_expr(export::Column::Remains, Expr::val(None::<String>))
            .filter(export::Column::Id.eq(id.as_str()))
            .filter(export::Column::State.ne(ExportState::Pending.as_str()))
            .exec(self.writer())
            .await?;
        Ok(())
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

pub(super) fn domain(row: export::Model) -> Result<Export> {
    let count = |value, column| from_column(value, "exports", column);
    Ok(Export {
        id: ExportId::from_stored(row.id),
        environment_id: EnvironmentId::from_stored(row.environment_id),
        organization_id: OrganizationId::from_stored(row.organization_id),
        state: ExportState::from_name(&row.state)
            .ok_or(StoreError::inconsistent("exports", "state"))?,
        format: ExportFormat::from_name(&row.format)
            .ok_or(StoreError::inconsistent("exports", "format"))?,
        compression: ExportCompression::from_name(&row.compression)
            .ok_or(StoreError::inconsistent("exports", "compression"))?,
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
            is_upper_bound: row.is_upper_bound != 0,
        },
        error: row.error,
        download_secret: row.download_secret,
        attempt: count(row.attempts, "attempts")?,
        failures: count(row.failures, "failures")?,
        remains: row.remains.as_deref().map(remains).transpose()?,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    })
}

/// The attempt and, behind a space, the upload.
fn remains(text: &str) -> Result<Remains> {
    let (attempt, upload) = text.split_once(' ').unwrap_or((text, ""));
    let attempt = attempt.parse().map_err(|_| StoreError::inconsistent("exports", "remains"))?;
    Ok(Remains { attempt, upload: (!upload.is_empty()).then(|| upload.to_owned()) })
}

/// The way back.
pub(super) fn remains_text(remains: &Remains) -> String {
    format!("{} {}", remains.attempt, remains.upload.as_deref().unwrap_or_default())
}
