//! Events that destinations did not take.

use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, UpdateMany,
    sea_query::Expr,
};

use super::{
    Result, Store,
    entity::{
        log_stream,
        log_stream_dead_letter::{self, Column},
    },
    from_column,
    log_streams::{of, seen_by_its_worker},
    to_column,
};
use crate::domain::{
    log_stream::{DeadLetter, LogStreamKey},
    timestamp::Timestamp,
};

impl Store {
    /// Up to `limit` dead letters after a sequence, in the order of the log.
    pub async fn list_dead_letters(
        &self,
        key: &LogStreamKey,
        after: Option<u64>,
        limit: u64,
    ) -> Result<Vec<DeadLetter>> {
        let mut query = log_stream_dead_letter::scoped(key);
        if let Some(after) = after {
            query = query.filter(Column::Sequence.gt(to_column(after)));
        }
        let rows = query.order_by_asc(Column::Sequence).limit(limit).all(self.reader()).await?;
        rows.into_iter().map(domain).collect()
    }

    /// Up to `limit` dead letters that are to be sent again.
    pub async fn due_dead_letters(
        &self,
        key: &LogStreamKey,
        limit: u64,
    ) -> Result<Vec<DeadLetter>> {
        let query = log_stream_dead_letter::scoped(key)
            .filter(Column::IsDue.eq(1))
            .order_by_asc(Column::Sequence);
        let rows = query.limit(limit).all(self.reader()).await?;
        rows.into_iter().map(domain).collect()
    }

    /// Has dead letters sent again: those of some sequences, or all. Returns how many.
    pub async fn redrive_dead_letters(&self, key: &LogStreamKey, sequences: &[u64]) -> Result<u64> {
        let transaction = self.begin().await?;
        // Before the letters, as who notes deliveries does, so that the two do not wait for each other.
        log_stream::named(key).lock_exclusive().one(&transaction).await?;
        let mut update = letters_of(key).col_expr(Column::IsDue, Expr::val(1_i64));
        if !sequences.is_empty() {
            update = update
                .filter(Column::Sequence.is_in(sequences.iter().map(|value| to_column(*value))));
        }
        let due = update.exec(&transaction).await?.rows_affected;
        if due > 0 {
            seen_by_its_worker(of(key)).exec(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(due)
    }

    /// Removes a dead letter that the destination took, or whose event is gone.
    pub async fn remove_dead_letter(&self, key: &LogStreamKey, sequence: u64) -> Result<()> {
        log_stream_dead_letter::Entity::delete_many()
            .filter(Column::OrganizationId.eq(key.organization_id.as_str()))
            .filter(Column::LogStreamId.eq(key.id.as_str()))
            .filter(Column::Sequence.eq(to_column(sequence)))
            .exec(self.writer())
            .await?;
        Ok(())
    }

    /// Notes that a dead letter was sent again in vain.
    pub async fn keep_dead_letter(
        &self,
        key: &LogStreamKey,
        sequence: u64,
        reason: &str,
    ) -> Result<()> {
        letters_of(key)
            .col_expr(Column::IsDue, Expr::val(0_i64))
            .col_expr(Column::Reason, Expr::val(reason))
            .col_expr(Column::Redrives, Expr::col(Column::Redrives).add(1))
            .filter(Column::Sequence.eq(to_column(sequence)))
            .exec(self.writer())
            .await?;
        Ok(())
    }
}

fn letters_of(key: &LogStreamKey) -> UpdateMany<log_stream_dead_letter::Entity> {
    log_stream_dead_letter::Entity::update_many()
        .filter(Column::OrganizationId.eq(key.organization_id.as_str()))
        .filter(Column::LogStreamId.eq(key.id.as_str()))
}

fn domain(row: log_stream_dead_letter::Model) -> Result<DeadLetter> {
    Ok(DeadLetter {
        sequence: from_column(row.sequence, "log_stream_dead_letters", "sequence")?,
        event_id: row.event_id,
        reason: row.reason,
        created_at: Timestamp::from_micros(row.created_at),
        redrives: u32::try_from(row.redrives).unwrap_or(u32::MAX),
    })
}
