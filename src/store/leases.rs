//! Leases of work that one replica does for all.

use sea_orm::{ConnectionTrait, Statement, Value};

use super::{Result, Store};
use crate::domain::timestamp::Timestamp;

/// Work that one replica does for all. Takes and keeps nothing by itself.
#[derive(Debug, Clone, Copy)]
pub struct Lease<'a> {
    /// Name of the work.
    pub name: &'a str,
    /// Who wants to do it, unique among replicas.
    pub owner: &'a str,
}

impl Store {
    /// Takes a lease until `until`, if nobody has it at `now` and the work was last finished at or
    /// before `due`. False, and nothing is changed, otherwise. Of several replicas one gets it.
    pub async fn take_lease(
        &self,
        lease: Lease<'_>,
        now: Timestamp,
        due: Timestamp,
        until: Timestamp,
    ) -> Result<bool> {
        const SQL: &str = "INSERT INTO leases (name, owner, held_until, finished_at) \
            VALUES ($1, $2, $3, 0) ON CONFLICT (name) DO UPDATE \
            SET owner = excluded.owner, held_until = excluded.held_until \
            WHERE leases.held_until < $4 AND leases.finished_at <= $5";
        let times = [until, now, due].map(|time| Value::from(time.micros()));
        self.change_lease(SQL, lease, times).await
    }

    /// Keeps a lease until `until`. False if another replica has taken it over.
    pub async fn renew_lease(&self, lease: Lease<'_>, until: Timestamp) -> Result<bool> {
        const SQL: &str = "UPDATE leases SET held_until = $3 WHERE name = $1 AND owner = $2";
        self.change_lease(SQL, lease, [until.micros().into()]).await
    }

    /// Gives a lease back; with the time at which the work was finished, if it was.
    pub async fn release_lease(
        &self,
        lease: Lease<'_>,
        finished: Option<Timestamp>,
    ) -> Result<bool> {
        const SQL: &str = "UPDATE leases SET held_until = 0, finished_at = COALESCE($3, finished_at) \
            WHERE name = $1 AND owner = $2";
        self.change_lease(SQL, lease, [finished.map(Timestamp::micros).into()]).await
    }

    async fn change_lease(
        &self,
        sql: &str,
        lease: Lease<'_>,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<bool> {
        let values = [lease.name.into(), lease.owner.into()].into_iter().chain(values);
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        Ok(self.writer().execute_raw(statement).await?.rows_affected() == 1)
    }
}
