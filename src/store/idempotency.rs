//! Forgetting idempotency keys that are past their window.

use sea_orm::{
    ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr,
};

use super::{Result, Store, entity::idempotency_key};
use crate::domain::timestamp::Timestamp;

/// Place of a pass over the keys.
pub type PrunePlace = (String, Vec<u8>);

/// Rows that one step of a pass looks at.
const STEP: u64 = 1_000;

impl Store {
    /// Takes one bounded step of a pass over all keys in the order of their primary key: looks at
    /// the rows after `place`, deletes those stored before `until`, returns how many and the next
    /// place, or `None` at the end. Needs no index by time, which every write would have to pay for.
    pub async fn prune_idempotency_keys(
        &self,
        place: Option<PrunePlace>,
        until: Timestamp,
    ) -> Result<(u64, Option<PrunePlace>)> {
        use idempotency_key::Column::{CreatedAt, Key, OrganizationId};
        let mut query = idempotency_key::Entity::find()
            .select_only()
            .columns([OrganizationId, Key])
            .order_by_asc(OrganizationId)
            .order_by_asc(Key);
        if let Some((organization, key)) = place {
            let columns = Expr::tuple([Expr::col(OrganizationId), Expr::col(Key)]);
            let last = Expr::tuple([Expr::val(organization), Expr::val(key)]);
            query = query.filter(columns.gt(last));
        }
        let seen: Vec<PrunePlace> = query.limit(STEP).into_tuple().all(self.scanner()).await?;
        let (Some(first), Some(last)) = (seen.first().cloned(), seen.last().cloned()) else {
            return Ok((0, None));
        };
        let columns = || Expr::tuple([Expr::col(OrganizationId), Expr::col(Key)]);
        let tuple = |(organization, key): PrunePlace| {
            Expr::tuple([Expr::val(organization), Expr::val(key)])
        };
        let delete = idempotency_key::Entity::delete_many()
            .filter(columns().gte(tuple(first)))
            .filter(columns().lte(tuple(last.clone())))
            .filter(CreatedAt.lt(until.micros()));
        let deleted = delete.exec(self.writer()).await?.rows_affected;
        let next = (seen.len() as u64 == STEP).then_some(last);
        Ok((deleted, next))
    }
}
