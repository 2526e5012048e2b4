//! Legal holds, and the deletion of organizations, which they forbid.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Set,
    Statement, Value, sea_query::Expr,
};

use super::{
    Result, Store, StoreError,
    entity::{log_retention, log_stream, log_stream_dead_letter, organization},
    from_column,
    pool::Transaction,
};
use crate::domain::{
    caller::Tenant,
    retention::{LegalHold, RetentionState},
    timestamp::Timestamp,
};

/// What became of the wish to delete an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is deleted.
    Done,
    /// There is no such organization, or none any more.
    Missing,
    /// Its log is held; nothing was changed.
    Held,
}

impl Store {
    /// What retention did to an organization's log, and whether it is held.
    pub async fn retention_state(&self, tenant: &Tenant) -> Result<RetentionState> {
        let row = log_retention::scoped(&tenant.organization).one(self.reader()).await?;
        row.map_or_else(|| Ok(RetentionState::default()), state)
    }

    /// Holds an organization's log from `now` on; one that is held already stays so since then, with
    /// the new reason. `None`, and nothing is changed, if there is no such organization. Waits for a
    /// step of erasure that runs just now: when this returns, no further row goes.
    pub async fn place_legal_hold(
        &self,
        tenant: &Tenant,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<LegalHold>> {
        const SQL: &str = "INSERT INTO log_retention \
            (organization_id, erased_below, deleted_below, held_at, hold_reason) \
            VALUES ($1, 0, 0, $2, $3) ON CONFLICT (organization_id) DO UPDATE \
            SET held_at = COALESCE(log_retention.held_at, excluded.held_at), \
                hold_reason = excluded.hold_reason \
            RETURNING held_at";
        let transaction = self.begin().await?;
        if lock_organization(&transaction, tenant).await?.is_none() {
            return Ok(None);
        }
        let id = tenant.organization.as_str();
        let values: [Value; 3] = [id.into(), now.micros().into(), reason.into()];
        let statement = Statement::from_sql_and_values(self.engine.backend(), SQL, values);
        let row = transaction.query_one_raw(statement).await?;
        let row = row.ok_or(StoreError::inconsistent("log_retention", "organization_id"))?;
        let placed_at = Timestamp::from_micros(row.try_get_by_index(0)?);
        transaction.commit().await?;
        Ok(Some(LegalHold { placed_at, reason: reason.to_owned() }))
    }

    /// Ends the hold of an organization's log; false if there is none.
    pub async fn release_legal_hold(&self, tenant: &Tenant) -> Result<bool> {
        use log_retention::Column::{HeldAt, HoldReason, OrganizationId};
        let released = log_retention::Entity::update_many()
            .col_expr(HeldAt, Expr::val(None::<i64>))
            .col_expr(HoldReason, Expr::val(None::<String>))
            .filter(OrganizationId.eq(tenant.organization.as_str()))
            .filter(HeldAt.is_not_null())
            .exec(self.writer())
            .await?;
        Ok(released.rows_affected > 0)
    }

    /// Marks an organization as deleted, unless its log is held. Its log streams are gone then.
    pub async fn delete_organization(&self, tenant: &Tenant, now: Timestamp) -> Result<Deletion> {
        let id = tenant.organization.as_str();
        let transaction = self.begin().await?;
        let Some(row) = lock_organization(&transaction, tenant).await? else {
            return Ok(Deletion::Missing);
        };
        let held = log_retention::scoped(&tenant.organization)
            .filter(log_retention::Column::HeldAt.is_not_null())
            .one(&transaction)
            .await?;
        if held.is_some() {
            return Ok(Deletion::Held);
        }
        let mut row: organization::ActiveModel = row.into();
        row.deleted_at = Set(Some(now.micros()));
        row.updated_at = Set(now.micros());
        row.update(&transaction).await?;
        // Nobody could reach them any more, and they have secrets of a customer.
        log_stream_dead_letter::Entity::delete_many()
            .filter(log_stream_dead_letter::Column::OrganizationId.eq(id))
            .exec(&transaction)
            .await?;
        log_stream::Entity::delete_many()
            .filter(log_stream::Column::OrganizationId.eq(id))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(Deletion::Done)
    }
}

/// The row of an organization that is not deleted. Who places a hold and who deletes come one after
/// the other.
async fn lock_organization(
    transaction: &Transaction,
    tenant: &Tenant,
) -> Result<Option<organization::Model>> {
    let query = organization::scoped(&tenant.environment)
        .filter(organization::Column::Id.eq(tenant.organization.as_str()))
        .filter(organization::Column::DeletedAt.is_null())
        .lock_exclusive();
    Ok(query.one(transaction).await?)
}

fn state(row: log_retention::Model) -> Result<RetentionState> {
    let hold = row.held_at.map(|placed_at| LegalHold {
        placed_at: Timestamp::from_micros(placed_at),
        reason: row.hold_reason.unwrap_or_default(),
    });
    let erased_events = from_column(row.erased_below, "log_retention", "erased_below")?;
    Ok(RetentionState { erased_events, hold })
}
