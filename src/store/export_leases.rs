//! The leases under which workers write exports, and whose turn it is.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, QueryFilter, Set, Statement, UpdateMany,
    sea_query::Expr,
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

/// The first waiting job of each organization that has one, by turns: organizations for which nobody works
/// come before those for which somebody does, and among them those whose last turn is longest ago. `$1` is
/// the time.
const BY_TURNS: &str = "SELECT pending.id FROM ( \
        SELECT organization_id, MIN(CASE WHEN lease_until < $1 THEN id END) AS id, \
            MAX(CASE WHEN lease_owner IS NOT NULL AND lease_until >= $1 THEN 1 ELSE 0 END) AS running \
        FROM exports WHERE state = 'pending' GROUP BY organization_id \
    ) AS pending WHERE pending.id IS NOT NULL ORDER BY pending.running, ( \
        SELECT MAX(leased_at) FROM exports AS turn \
        WHERE turn.organization_id = pending.organization_id \
    ), pending.id LIMIT 8";

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
    /// the attempt. Two workers never get the same. A job of which `most` workers in a row ended without a
    /// word is given up instead: it may be what ends them.
    pub async fn lease_export(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        most: u64,
    ) -> Result<ExportLease> {
        // Most looks find nothing, and none needs SQLite's write lock.
        loop {
            let candidates = self.waiting_exports(now).await?;
            if candidates.is_empty() {
                return Ok(ExportLease::Nothing);
            }
            for id in candidates {
                let taken = self.take_export(id, owner, now, until, most).await?;
                if let Some(lease) = taken {
                    return Ok(lease);
                }
            }
            // Others took them all; what waits behind them comes with the next look.
        }
    }

    async fn waiting_exports(&self, now: Timestamp) -> Result<Vec<String>> {
        let values = [now.micros().into()];
        let statement = Statement::from_sql_and_values(self.engine.backend(), BY_TURNS, values);
        let rows = self.reader().query_all_raw(statement).await?;
        Ok(rows.iter().map(|row| row.try_get_by_index(0)).collect::<std::result::Result<_, _>>()?)
    }

    /// Takes a job if it still waits.
    async fn take_export(
        &self,
        id: String,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        most: u64,
    ) -> Result<Option<ExportLease>> {
        use export::Column::{Attempts, LeaseOwner, LeaseUntil, LeasedAt, SilentEnds};
        let waiting = |id| pending(id).filter(LeaseUntil.lt(now.micros()));
        let update = waiting(&id)
            .col_expr(LeaseOwner, Expr::val(owner))
            .col_expr(LeaseUntil, Expr::val(until.micros()))
            .col_expr(LeasedAt, Expr::val(now.micros()))
            .col_expr(Attempts, Expr::col(Attempts).add(1))
            .col_expr(SilentEnds, Expr::col(SilentEnds).add(1))
            .filter(SilentEnds.lt(to_column(most)));
        let taken = update.exec(self.writer()).await?.rows_affected == 1;
        let row = export::Entity::find_by_id(&id).one(self.writer()).await?;
        let Some(row) = row else { return Ok(None) };
        if taken {
            return Ok(Some(ExportLease::Job(Box::new(domain(row)?))));
        }
        let ends = row.silent_ends;
        let mut why = format!("given up: its workers ended {ends} times");
        if let Some(last) = row.last_failure {
            why.push_str("; before, ");
            why.push_str(&last);
        }
        let changes = export::ActiveModel { lease_owner: Set(None), ..failed(why, now) };
        let update = waiting(&id).filter(SilentEnds.gte(to_column(most))).set(changes);
        let ended = update.exec(self.writer()).await?.rows_affected == 1;
        Ok(ended.then(|| ExportLease::GivenUp(ExportId::from_stored(id))))
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
            Err(error) => failed(error, now),
        };
        let changes = export::ActiveModel { lease_owner: Set(None), ..changes };
        Ok(owned(id, owner).set(changes).exec(self.writer()).await?.rows_affected == 1)
    }

    /// Gives a job back; another worker may take it from `at` on. `failure` is why the attempt failed, if
    /// it did, and whether that counts against the job.
    pub async fn release_export(
        &self,
        id: &ExportId,
        owner: &str,
        failure: Option<(&str, bool)>,
        at: Timestamp,
    ) -> Result<()> {
        use export::Column::{Failures, LastFailure};
        let changes = export::ActiveModel {
            lease_owner: Set(None),
            lease_until: Set(at.micros()),
            silent_ends: Set(0),
            ..Default::default()
        };
        let mut update = owned(id, owner).set(changes);
        if let Some((why, counts)) = failure {
            let counted = Expr::col(Failures).add(i64::from(counts));
            update = update.col_expr(LastFailure, Expr::val(why)).col_expr(Failures, counted);
        }
        update.exec(self.writer()).await?;
        Ok(())
    }
}

/// The job, while it is pending and leased by `owner`.
fn owned(id: &ExportId, owner: &str) -> UpdateMany<export::Entity> {
    pending(id.as_str()).filter(export::Column::LeaseOwner.eq(owner))
}

/// The job, while it is pending.
fn pending(id: &str) -> UpdateMany<export::Entity> {
    export::Entity::update_many()
        .filter(export::Column::Id.eq(id))
        .filter(export::Column::State.eq(ExportState::Pending.as_str()))
}

fn failed(why: String, now: Timestamp) -> export::ActiveModel {
    export::ActiveModel {
        state: Set(ExportState::Error.as_str().to_owned()),
        error: Set(Some(why)),
        updated_at: Set(now.micros()),
        ..Default::default()
    }
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

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::store::StoreOptions;

    /// However many exports there ever were: those that wait, and one look per organization.
    #[tokio::test]
    async fn turns_are_found_without_looking_at_what_has_ended() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("test.db");
        let options =
            StoreOptions { url: format!("sqlite://{}", file.display()), max_connections: 2 };
        Store::connect(&options).await.unwrap().migrate().await.unwrap();
        let connection = Connection::open(&file).unwrap();
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {BY_TURNS}")).unwrap();
        let steps = plan.query_map([1], |row| row.get::<_, String>("detail")).unwrap();
        let reads: Vec<_> =
            steps.map(|step| step.unwrap()).filter(|step| step.contains("exports")).collect();
        assert_eq!(reads.len(), 2, "{reads:?}");
        assert!(reads[0].contains("USING INDEX exports_state (state=?"), "{reads:?}");
        assert!(
            reads[1].contains("USING COVERING INDEX exports_turns (organization_id=?"),
            "{reads:?}"
        );
    }
}
