//! The public halves of the keys that sign checkpoints. They belong to the deployment, not to a tenant.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set, sea_query::Expr};

use super::{Result, Store, StoreError, entity::signing_key};
use crate::{domain::timestamp::Timestamp, merkle::PublicKey};

/// A key that signs, or signed, checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredKey {
    /// The public half.
    pub public_key: PublicKey,
    /// When a server first started with it.
    pub created_at: Timestamp,
    /// When a server first started with another one instead.
    pub retired_at: Option<Timestamp>,
}

impl Store {
    /// Makes `key` the one that is not retired. Registers it if it is new; retires the others as of
    /// `now`; a retired key that comes back is not retired any more. Changes nothing if that is so
    /// already, as when another replica starts with the same key.
    pub async fn register_signing_key(&self, key: PublicKey, now: Timestamp) -> Result<()> {
        use signing_key::Column::{PublicKey, RetiredAt};
        let (bytes, never) = (key.0.to_vec(), Expr::val(None::<i64>));
        let transaction = self.begin_alone().await?;
        let row = signing_key::ActiveModel {
            public_key: Set(bytes.clone()),
            created_at: Set(now.micros()),
            retired_at: Set(None),
        };
        signing_key::Entity::insert(row)
            .on_conflict_do_nothing_on([PublicKey])
            .exec_without_returning(&transaction)
            .await?;
        signing_key::Entity::update_many()
            .col_expr(RetiredAt, never)
            .filter(PublicKey.eq(bytes.clone()))
            .filter(RetiredAt.is_not_null())
            .exec(&transaction)
            .await?;
        signing_key::Entity::update_many()
            .col_expr(RetiredAt, Expr::val(now.micros()))
            .filter(PublicKey.ne(bytes))
            .filter(RetiredAt.is_null())
            .exec(&transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// All keys, newest first.
    pub async fn signing_keys(&self) -> Result<Vec<RegisteredKey>> {
        use signing_key::Column::{CreatedAt, PublicKey};
        let query = signing_key::Entity::find().order_by_desc(CreatedAt).order_by_asc(PublicKey);
        query.all(self.reader()).await?.into_iter().map(domain).collect()
    }
}

fn domain(row: signing_key::Model) -> Result<RegisteredKey> {
    let bytes = row.public_key.try_into();
    let bytes = bytes.map_err(|_| StoreError::inconsistent("signing_keys", "public_key"))?;
    Ok(RegisteredKey {
        public_key: PublicKey(bytes),
        created_at: Timestamp::from_micros(row.created_at),
        retired_at: row.retired_at.map(Timestamp::from_micros),
    })
}
