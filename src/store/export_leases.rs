//! The leases under which workers write exports, and whose turn it is.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
    UpdateMany,
    sea_query::{Expr, LockBehavior, LockType},
};

use super::{
    Result, Store,
    entity::export,
    exports::{domain, remains_text},
    to_column,
};
use crate::domain::{
    export::{Export, ExportProgress, ExportState, Remains},
    ids::ExportId,
    timestamp::Timestamp,
};

/// Whose turn it is: organizations for which nobody works come before those for which somebody does,
/// and among them those whose last turn is longest ago.
const RUNNING: &str = "EXISTS (SELECT 1 FROM exports AS running \
                       WHERE running.organization_id = exports.organization_id \
                       AND running.state = 'pending' AND running.lease_owner IS NOT NULL \
                       AND running.lease_until >= ";
const LAST_TURN: &str = "(SELECT MAX(turn.leased_at) FROM exports AS turn \
                         WHERE turn.organization_id = exports.organization_id)";

/// What a worker gets that asks for a job.
#[derive(Debug, Clone)]
pub enum ExportLease {
    /// A job to work on.
    Job(Box<Export>),
    /// A job that was taken so often, without any worker coming to an end with it, that it was made
    /// an ERROR.
    GivenUp(ExportId),
    /// Nothing waits.
    Nothing,
}

impl Store {
    /// Leases a job that waits or whose worker died, of the organization whose turn it is, and counts
    /// the attempt. Two workers never get the same. A job that was leased `most` times is given up
    /// instead: it may be what ends its workers.
    pub async fn lease_export(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        most: u64,
    ) -> Result<ExportLease> {
        // Most polls find nothing: they must not take SQLite's write lock.
        let waiting = export::Entity::find()
            .filter(export::Column::State.eq(ExportState::Pending.as_str()))
            .filter(export::Column::LeaseUntil.lt(now.micros()));
        if waiting.clone().limit(1).one(self.reader()).await?.is_none() {
            return Ok(ExportLease::Nothing);
        }
        let transaction = self.begin().await?;
        let running = Expr::cust(format!("CASE WHEN {RUNNING}{}) THEN 1 ELSE 0 END", now.micros()));
        let locked = waiting
            .order_by_asc(running)
            .order_by_asc(Expr::cust(LAST_TURN))
            .order_by_asc(export::Column::Id)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let Some(row) = locked.limit(1).one(&transaction).await? else {
            return Ok(ExportLease::Nothing);
        };
        let (id, attempts) = (ExportId::from_stored(row.id.clone()), row.attempts);
        let mut change: export::ActiveModel = row.into();
        if attempts >= to_column(most) {
            change.state = Set(ExportState::Error.as_str().to_owned());
            change.error = Set(Some(format!("given up: its workers ended {attempts} times")));
            change.lease_owner = Set(None);
            change.updated_at = Set(now.micros());
            change.update(&transaction).await?;
            transaction.commit().await?;
            return Ok(ExportLease::GivenUp(id));
        }
        change.lease_owner = Set(Some(owner.to_owned()));
        change.lease_until = Set(until.micros());
        change.attempts = Set(attempts + 1);
        change.leased_at = Set(now.micros());
        let row = change.update(&transaction).await?;
        transaction.commit().await?;
        Ok(ExportLease::Job(Box::new(domain(row)?)))
    }

    /// Notes what an attempt may leave in the export store, or that it left nothing. Returns false if
    /// another worker has the job, or it was called off.
    pub async fn note_export_remains(
        &self,
        id: &ExportId,
        owner: &str,
        remains: Option<&Remains>,
    ) -> Result<bool> {
        let update = owned(id, owner)
            .col_expr(export::Column::Remains, Expr::val(remains.map(remains_text)));
        Ok(update.exec(self.writer()).await?.rows_affected == 1)
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
                remains: Set(None),
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
        is_upper_bound: Set(progress.is_upper_bound.into()),
        updated_at: Set(now.micros()),
        ..Default::default()
    }
}
