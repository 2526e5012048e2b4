//! Which replica forwards which log, and how far it is.

use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, Select, Set,
    sea_query::{Expr, OnConflict},
};

use super::{
    Result, Store,
    entity::{log_stream, log_stream_dead_letter},
    from_column,
    log_streams::{StoredLogStream, key, of, present, state, stored},
    pool::Transaction,
    to_column,
};
use crate::domain::{
    ids::{LogStreamId, OrganizationId},
    log_stream::{DeadLetter, LogStreamKey, LogStreamState},
    timestamp::Timestamp,
};

/// A log stream that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldStream {
    /// Which.
    pub key: LogStreamKey,
    /// Its revision now.
    pub revision: u64,
    /// Whether it is to deliver.
    pub is_running: bool,
}

/// What a worker gets that asks for streams.
#[derive(Debug, Default)]
pub struct LeasedStreams {
    /// Those that it holds now.
    pub streams: Vec<StoredLogStream>,
    /// Those that this program cannot read.
    pub unreadable: Vec<LogStreamKey>,
}

/// Events that a destination took, or will never take.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Of which stream.
    pub key: LogStreamKey,
    /// Under which generation of its cursor.
    pub generation: u64,
    /// The event that is next.
    pub next_sequence: u64,
    /// How many events were taken.
    pub events: u64,
    /// Their bytes before compression.
    pub bytes: u64,
    /// Whether the destination works: it took something, or told of single events why not.
    pub is_well: bool,
    /// Those that can never be.
    pub dead_letters: Vec<DeadLetter>,
    /// When.
    pub at: Timestamp,
}

/// A try that failed.
#[derive(Debug, Clone)]
pub struct FailedDelivery {
    /// Of which stream.
    pub key: LogStreamKey,
    /// Which revision of it.
    pub revision: u64,
    /// What it becomes: ERROR or INVALID.
    pub state: LogStreamState,
    /// Why.
    pub error: String,
    /// How many failed since the last success.
    pub consecutive_failures: u32,
    /// When.
    pub at: Timestamp,
    /// When to try again.
    pub next_attempt_at: Timestamp,
}

/// The log streams that are to deliver and that nobody holds, those first that wait longest.
fn free_log_streams(now: Timestamp) -> Select<log_stream::Entity> {
    log_stream::Entity::find()
        .filter(log_stream::Column::State.ne(LogStreamState::Inactive.as_str()))
        .filter(log_stream::Column::LeaseUntil.lt(now.micros()))
        .filter(log_stream::Column::OrganizationId.in_subquery(present(None)))
        .order_by_asc(log_stream::Column::LeaseUntil)
        .order_by_asc(log_stream::Column::OrganizationId)
        .order_by_asc(log_stream::Column::Id)
}

impl Store {
    /// Leases up to `limit` log streams that are to deliver and that nobody holds. Two workers never
    /// get the same. Those that this program cannot read, of a newer version perhaps, are named apart
    /// and left alone.
    pub async fn lease_log_streams(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
        limit: u64,
    ) -> Result<LeasedStreams> {
        let mut leased = LeasedStreams::default();
        loop {
            let left = limit.saturating_sub(leased.streams.len() as u64);
            // Those that cannot be read stay free, and would for ever come before the others.
            let free = free_log_streams(now)
                .offset(leased.unreadable.len() as u64)
                .limit(left)
                // Most polls find nothing: they must not take SQLite's write lock.
                .all(self.reader())
                .await?;
            let is_last = (free.len() as u64) < left || left == 0;
            for row in free {
                let key = key(&row);
                if stored(row).is_err() {
                    leased.unreadable.push(key);
                } else {
                    leased.streams.extend(self.lease(&key, owner, now, until).await?);
                }
            }
            if is_last {
                return Ok(leased);
            }
        }
    }

    /// Leases one, unless somebody else was quicker.
    async fn lease(
        &self,
        key: &LogStreamKey,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<StoredLogStream>> {
        let update = of(key)
            .col_expr(log_stream::Column::LeaseOwner, Expr::val(Some(owner)))
            .col_expr(log_stream::Column::LeaseUntil, Expr::val(until.micros()))
            .filter(log_stream::Column::State.ne(LogStreamState::Inactive.as_str()))
            .filter(log_stream::Column::LeaseUntil.lt(now.micros()));
        if update.exec(self.writer()).await?.rows_affected == 0 {
            return Ok(None);
        }
        // Read once it is ours: what another worker noted last is in it.
        let row = log_stream::named(key).one(self.writer()).await?;
        row.map(stored).transpose()
    }

    /// The log streams that a worker holds now.
    pub async fn held_log_streams(&self, owner: &str, now: Timestamp) -> Result<Vec<HeldStream>> {
        use log_stream::Column::{Id, LeaseOwner, LeaseUntil, OrganizationId as Organization};
        let rows: Vec<(String, String, i64, String)> = log_stream::Entity::find()
            .filter(LeaseOwner.eq(owner))
            .filter(LeaseUntil.gte(now.micros()))
            .filter(Organization.in_subquery(present(None)))
            .select_only()
            .columns([Organization, Id, log_stream::Column::Revision, log_stream::Column::State])
            .into_tuple()
            .all(self.reader())
            .await?;
        let held = |(organization, id, revision, name): (String, String, i64, String)| {
            Ok(HeldStream {
                key: LogStreamKey {
                    organization_id: OrganizationId::from_stored(organization),
                    id: LogStreamId::from_stored(id),
                },
                revision: from_column(revision, "log_streams", "revision")?,
                is_running: state(&name)? != LogStreamState::Inactive,
            })
        };
        rows.into_iter().map(held).collect()
    }

    /// Keeps all that a worker holds until `until`; what has run out at `now` is lost.
    pub async fn renew_log_streams(
        &self,
        owner: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<()> {
        let transaction = self.begin().await?;
        // In the order in which cursors are moved too, so that the two do not wait for each other.
        log_stream::Entity::find()
            .filter(log_stream::Column::LeaseOwner.eq(owner))
            .select_only()
            .column(log_stream::Column::Id)
            .order_by_asc(log_stream::Column::OrganizationId)
            .order_by_asc(log_stream::Column::Id)
            .lock_exclusive()
            .into_tuple::<String>()
            .all(&transaction)
            .await?;
        log_stream::Entity::update_many()
            .col_expr(log_stream::Column::LeaseUntil, Expr::val(until.micros()))
            .filter(log_stream::Column::LeaseOwner.eq(owner))
            .filter(log_stream::Column::LeaseUntil.gte(now.micros()))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Gives a log stream back, or all that a worker holds.
    pub async fn release_log_streams(&self, owner: &str, one: Option<&LogStreamKey>) -> Result<()> {
        let update = one.map_or_else(log_stream::Entity::update_many, of);
        update
            .col_expr(log_stream::Column::LeaseOwner, Expr::val(None::<String>))
            .col_expr(log_stream::Column::LeaseUntil, Expr::val(0_i64))
            .filter(log_stream::Column::LeaseOwner.eq(owner))
            .exec(self.writer())
            .await?;
        Ok(())
    }

    /// The keys and sealed secrets of some log streams after one, in the order of their ids.
    pub async fn sealed_log_streams(
        &self,
        after: &str,
        limit: u64,
    ) -> Result<Vec<(LogStreamKey, Vec<u8>)>> {
        let rows = log_stream::Entity::find()
            .filter(log_stream::Column::Secrets.is_not_null())
            .filter(log_stream::Column::Id.gt(after))
            .order_by_asc(log_stream::Column::Id)
            .limit(limit)
            .all(self.reader())
            .await?;
        let sealed = rows.into_iter().map(|row| (key(&row), row.secrets.unwrap_or_default()));
        Ok(sealed.collect())
    }

    /// Moves the cursors of streams that a worker holds, all in one transaction; to be given in the order
    /// of their keys. Returns for each whether
    /// it moved: not if another worker holds it, or a caller moved it meanwhile.
    pub async fn note_deliveries(&self, owner: &str, deliveries: &[Delivery]) -> Result<Vec<bool>> {
        let transaction = self.begin().await?;
        let mut moved = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            moved.push(note_delivery(&transaction, owner, delivery).await?);
        }
        transaction.commit().await?;
        Ok(moved)
    }

    /// Notes that a try failed. A stream that was paused meanwhile stays paused. Returns false if another
    /// worker holds it, or a caller changed it meanwhile: then the failure is that of something older.
    pub async fn note_failed_delivery(&self, owner: &str, failed: &FailedDelivery) -> Result<bool> {
        let update = of(&failed.key)
            .col_expr(log_stream::Column::State, unless_inactive(failed.state))
            .col_expr(log_stream::Column::LastError, Expr::val(failed.error.as_str()))
            .col_expr(log_stream::Column::LastErrorAt, Expr::val(failed.at.micros()))
            .col_expr(
                log_stream::Column::ConsecutiveFailures,
                Expr::val(i64::from(failed.consecutive_failures)),
            )
            .col_expr(log_stream::Column::NextAttemptAt, Expr::val(failed.next_attempt_at.micros()))
            .filter(log_stream::Column::LeaseOwner.eq(owner))
            .filter(log_stream::Column::Revision.eq(to_column(failed.revision)));
        Ok(update.exec(self.writer()).await?.rows_affected == 1)
    }
}

async fn note_delivery(
    transaction: &Transaction,
    owner: &str,
    delivery: &Delivery,
) -> Result<bool> {
    use log_stream::Column;
    let mut update = of(&delivery.key)
        .col_expr(Column::NextSequence, Expr::val(to_column(delivery.next_sequence)))
        .filter(Column::LeaseOwner.eq(owner))
        .filter(Column::Generation.eq(to_column(delivery.generation)));
    if delivery.is_well {
        update = update
            .col_expr(Column::State, unless_inactive(LogStreamState::Active))
            .col_expr(Column::ConsecutiveFailures, Expr::val(0_i64))
            .col_expr(Column::NextAttemptAt, Expr::val(None::<i64>));
    }
    if delivery.events > 0 {
        let plus = |column: Column, more| Expr::col(column).add(to_column(more));
        update = update
            .col_expr(Column::LastSuccessAt, Expr::val(delivery.at.micros()))
            .col_expr(Column::DeliveredEvents, plus(Column::DeliveredEvents, delivery.events))
            .col_expr(Column::DeliveredBytes, plus(Column::DeliveredBytes, delivery.bytes));
    }
    if update.exec(transaction).await?.rows_affected == 0 {
        return Ok(false);
    }
    for letter in &delivery.dead_letters {
        insert_dead_letter(transaction, &delivery.key, letter).await?;
    }
    Ok(true)
}

/// An event can become a dead letter again, after a replay.
async fn insert_dead_letter(
    transaction: &Transaction,
    key: &LogStreamKey,
    letter: &DeadLetter,
) -> Result<()> {
    use log_stream_dead_letter::Column;
    let row = log_stream_dead_letter::ActiveModel {
        organization_id: Set(key.organization_id.as_str().to_owned()),
        log_stream_id: Set(key.id.as_str().to_owned()),
        sequence: Set(to_column(letter.sequence)),
        event_id: Set(letter.event_id.clone()),
        reason: Set(letter.reason.clone()),
        redrives: Set(i64::from(letter.redrives)),
        is_due: Set(0),
        created_at: Set(letter.created_at.micros()),
    };
    let again =
        OnConflict::columns([Column::OrganizationId, Column::LogStreamId, Column::Sequence])
            .update_columns([Column::Reason, Column::IsDue])
            .to_owned();
    log_stream_dead_letter::Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(transaction)
        .await?;
    Ok(())
}

/// That state, unless a caller paused the stream.
fn unless_inactive(state: LogStreamState) -> sea_orm::sea_query::SimpleExpr {
    let inactive = LogStreamState::Inactive.as_str();
    Expr::case(log_stream::Column::State.eq(inactive), Expr::val(inactive))
        .finally(Expr::val(state.as_str()))
        .into()
}
