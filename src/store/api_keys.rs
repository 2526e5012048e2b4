//! Environments and their API keys.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, Set,
    sea_query::{Expr, Func},
};

use super::{
    Result, Store, StoreError,
    entity::{api_key, environment},
    paging::read_page,
};
use crate::domain::{
    api_key::{ApiKey, Scope},
    ids::{ApiKeyId, EnvironmentId, OrganizationId},
    page::{Page, PageRequest},
    timestamp::Timestamp,
};

/// Keys whose last use is written in one transaction.
const USES_AT_ONCE: usize = 256;

impl Store {
    /// The id of the environment with that name.
    pub async fn find_environment(&self, name: &str) -> Result<Option<EnvironmentId>> {
        let query = environment::Entity::find().filter(environment::Column::Name.eq(name));
        Ok(query.one(self.reader()).await?.map(|row| EnvironmentId::from_stored(row.id)))
    }

    /// Creates an environment unless one has the name; returns the id of the one that has it.
    pub async fn put_environment(
        &self,
        new: &EnvironmentId,
        name: &str,
        now: Timestamp,
    ) -> Result<EnvironmentId> {
        let row = environment::ActiveModel {
            id: Set(new.as_str().to_owned()),
            name: Set(name.to_owned()),
            created_at: Set(now.micros()),
        };
        environment::Entity::insert(row)
            .on_conflict_do_nothing_on([environment::Column::Name])
            .exec_without_returning(self.writer())
            .await?;
        let query = environment::Entity::find().filter(environment::Column::Name.eq(name));
        let row = query.one(self.writer()).await?;
        let row = row.ok_or(StoreError::inconsistent("environments", "name"))?;
        Ok(EnvironmentId::from_stored(row.id))
    }

    /// Stores a key. [`StoreError::Duplicate`] if its value is taken.
    pub async fn insert_api_key(&self, key: &ApiKey, value_hash: [u8; 32]) -> Result<()> {
        row(key, value_hash)?.insert(self.writer()).await?;
        Ok(())
    }

    /// Stores a key unless any was ever made, in whatever environment; returns whether it did. Of
    /// replicas that start together one does.
    pub async fn insert_first_api_key(&self, key: &ApiKey, value_hash: [u8; 32]) -> Result<bool> {
        let transaction = self.begin_alone().await?;
        if api_key::Entity::find().count(&transaction).await? > 0 {
            return Ok(false);
        }
        row(key, value_hash)?.insert(&transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The key whose value has that hash, in whatever environment: the value is the credential.
    pub async fn find_api_key(&self, value_hash: [u8; 32]) -> Result<Option<ApiKey>> {
        let hash = value_hash.to_vec();
        let query = api_key::Entity::find().filter(api_key::Column::ValueHash.eq(hash));
        query.one(self.reader()).await?.map(domain).transpose()
    }

    /// The key with that id.
    pub async fn get_api_key(
        &self,
        environment: &EnvironmentId,
        id: &ApiKeyId,
    ) -> Result<Option<ApiKey>> {
        let query = api_key::scoped(environment).filter(api_key::Column::Id.eq(id.as_str()));
        query.one(self.reader()).await?.map(domain).transpose()
    }

    /// A page of the environment's keys.
    pub async fn list_api_keys(
        &self,
        environment: &EnvironmentId,
        request: &PageRequest,
    ) -> Result<Page<ApiKey>> {
        let query = api_key::scoped(environment);
        let page = read_page(self.reader(), query, api_key::Column::Id, request, |row| {
            row.organization_ids.len()
        })
        .await?;
        page.try_map(domain)
    }

    /// Deletes a key, as if it had never been.
    pub async fn delete_api_key(&self, environment: &EnvironmentId, id: &ApiKeyId) -> Result<()> {
        api_key::Entity::delete_many()
            .filter(api_key::Column::Id.eq(id.as_str()))
            .filter(api_key::Column::EnvironmentId.eq(environment.as_str()))
            .exec(self.writer())
            .await?;
        Ok(())
    }

    /// Revokes a key, unless it is already. Returns false if there is none.
    pub async fn revoke_api_key(
        &self,
        environment: &EnvironmentId,
        id: &ApiKeyId,
        now: Timestamp,
    ) -> Result<bool> {
        let revoked_at = api_key::Column::RevokedAt;
        // Keeps the time of the first revocation.
        let first = Func::coalesce([Expr::col(revoked_at), Expr::val(now.micros())]);
        let update = api_key::Entity::update_many()
            .col_expr(revoked_at, first.into())
            .filter(api_key::Column::Id.eq(id.as_str()))
            .filter(api_key::Column::EnvironmentId.eq(environment.as_str()));
        Ok(update.exec(self.writer()).await?.rows_affected == 1)
    }

    /// Notes when keys were used. Each key keeps its latest time, whichever replica tells it.
    pub async fn note_key_uses(&self, uses: &[(ApiKeyId, Timestamp)]) -> Result<()> {
        let last_used_at = api_key::Column::LastUsedAt;
        // In one order, so that replicas that do the same do not wait for each other in a ring.
        let mut uses: Vec<_> = uses.iter().collect();
        uses.sort_unstable_by_key(|(id, _)| id);
        for uses in uses.chunks(USES_AT_ONCE) {
            let transaction = self.begin().await?;
            for (id, used_at) in uses {
                let earlier = last_used_at.is_null().or(last_used_at.lt(used_at.micros()));
                api_key::Entity::update_many()
                    .col_expr(last_used_at, Expr::val(used_at.micros()))
                    .filter(api_key::Column::Id.eq(id.as_str()))
                    .filter(earlier)
                    .exec(&transaction)
                    .await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }
}

fn row(key: &ApiKey, value_hash: [u8; 32]) -> Result<api_key::ActiveModel> {
    let inconsistent = |_| StoreError::inconsistent("api_keys", "scopes");
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let organization_ids = serde_json::to_string(&key.organization_ids).map_err(inconsistent)?;
    Ok(api_key::ActiveModel {
        id: Set(key.id.as_str().to_owned()),
        environment_id: Set(key.environment_id.as_str().to_owned()),
        name: Set(key.name.clone()),
        value_hash: Set(value_hash.to_vec()),
        hint: Set(key.hint.clone()),
        scopes: Set(serde_json::to_string(&scopes).map_err(inconsistent)?),
        organization_ids: Set(organization_ids),
        created_at: Set(key.created_at.micros()),
        revoked_at: Set(key.revoked_at.map(Timestamp::micros)),
        last_used_at: Set(key.last_used_at.map(Timestamp::micros)),
    })
}

fn domain(row: api_key::Model) -> Result<ApiKey> {
    let scopes: Option<Vec<Scope>> = serde_json::from_str::<Vec<String>>(&row.scopes)
        .ok()
        .and_then(|names| names.iter().map(|name| Scope::from_name(name)).collect());
    let organization_ids: Option<Vec<OrganizationId>> =
        serde_json::from_str(&row.organization_ids).ok();
    Ok(ApiKey {
        id: ApiKeyId::from_stored(row.id),
        environment_id: EnvironmentId::from_stored(row.environment_id),
        name: row.name,
        hint: row.hint,
        scopes: scopes.ok_or(StoreError::inconsistent("api_keys", "scopes"))?,
        organization_ids: organization_ids
            .ok_or(StoreError::inconsistent("api_keys", "organization_ids"))?,
        created_at: Timestamp::from_micros(row.created_at),
        revoked_at: row.revoked_at.map(Timestamp::from_micros),
        last_used_at: row.last_used_at.map(Timestamp::from_micros),
    })
}
