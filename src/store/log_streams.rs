//! Log streams, as callers see them.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select, Set, UpdateMany, sea_query::Expr,
};

use super::{
    Result, Store, StoreError,
    entity::{log_head, log_stream, log_stream_dead_letter, organization},
    from_column,
    paging::read_page,
    to_column,
};
use crate::domain::{
    caller::{Caller, Tenant},
    ids::{EnvironmentId, LogStreamId, OrganizationId},
    log_stream::{
        LogStream, LogStreamKey, LogStreamState, LogStreamStatus, PayloadForm, StreamProgress,
    },
    page::{Page, PageRequest},
    timestamp::Timestamp,
};

/// A log stream with its secrets as they are stored.
#[derive(Debug, Clone)]
pub struct StoredLogStream {
    /// The stream.
    pub stream: LogStream,
    /// Its secrets, encrypted; `None` if it has none.
    pub secrets: Option<Vec<u8>>,
}

impl Store {
    /// Stores a new log stream, unless its organization has `most` already; then returns false.
    pub async fn insert_log_stream(&self, new: &StoredLogStream, most: u64) -> Result<bool> {
        let transaction = self.begin().await?;
        let organization = &new.stream.organization_id;
        // Two that are made at once come one after the other.
        organization::Entity::find_by_id(organization.as_str())
            .lock_exclusive()
            .one(&transaction)
            .await?;
        let there = log_stream::scoped(&new.stream.environment_id)
            .filter(log_stream::Column::OrganizationId.eq(organization.as_str()))
            .count(&transaction)
            .await?;
        if there >= most {
            return Ok(false);
        }
        row(new)?.insert(&transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// The log stream with that id that the caller can see, unless its organization was deleted.
    pub async fn get_log_stream(
        &self,
        caller: &Caller,
        id: &LogStreamId,
    ) -> Result<Option<StoredLogStream>> {
        let query = visible(caller).filter(log_stream::Column::Id.eq(id.as_str()));
        query.one(self.reader()).await?.map(stored).transpose()
    }

    /// The oldest log stream of an organization.
    pub async fn first_log_stream(&self, tenant: &Tenant) -> Result<Option<LogStream>> {
        let query = log_stream::scoped(&tenant.environment)
            .filter(log_stream::Column::OrganizationId.eq(tenant.organization.as_str()))
            .order_by_asc(log_stream::Column::Id);
        Ok(query.one(self.reader()).await?.map(stored).transpose()?.map(|found| found.stream))
    }

    /// A page of the log streams that the caller can see, of one organization or all.
    pub async fn list_log_streams(
        &self,
        caller: &Caller,
        organization: Option<&OrganizationId>,
        request: &PageRequest,
    ) -> Result<Page<LogStream>> {
        let mut query = visible(caller);
        if let Some(organization) = organization {
            query = query.filter(log_stream::Column::OrganizationId.eq(organization.as_str()));
        }
        let size = |row: &log_stream::Model| row.destination.len() + row.ca_certificates_pem.len();
        let page = read_page(self.reader(), query, log_stream::Column::Id, request, size).await?;
        page.try_map(|row| Ok(stored(row)?.stream))
    }

    /// Changes what callers configure, if nobody changed it since `changed` was read; the revision
    /// becomes the next. A stream that failed is tried at once.
    pub async fn update_log_stream(&self, changed: &StoredLogStream) -> Result<bool> {
        let stream = &changed.stream;
        let update = of(&stream.key())
            .col_expr(log_stream::Column::Name, Expr::val(stream.name.as_str()))
            .col_expr(log_stream::Column::Destination, Expr::val(destination(stream)?))
            .col_expr(
                log_stream::Column::CaCertificatesPem,
                Expr::val(stream.ca_certificates_pem.as_str()),
            )
            .col_expr(log_stream::Column::Secrets, Expr::val(changed.secrets.clone()))
            .col_expr(log_stream::Column::Payload, Expr::val(stream.payload.as_str()))
            .col_expr(log_stream::Column::UpdatedAt, Expr::val(stream.updated_at.micros()));
        let update = seen_by_its_worker(update)
            .filter(log_stream::Column::Revision.eq(to_column(stream.revision)));
        Ok(update.exec(self.writer()).await?.rows_affected == 1)
    }

    /// Encrypts the secrets anew, if nobody changed them since they were read.
    pub async fn reseal_log_stream(
        &self,
        key: &LogStreamKey,
        old: &[u8],
        new: Vec<u8>,
    ) -> Result<bool> {
        let update = of(key)
            .col_expr(log_stream::Column::Secrets, Expr::val(Some(new)))
            .filter(log_stream::Column::Secrets.eq(old.to_vec()));
        Ok(update.exec(self.writer()).await?.rows_affected == 1)
    }

    /// Pauses a log stream or lets it go on. Returns the state that it had, or `None` if there is no such
    /// stream. One that goes on is tried at once.
    pub async fn set_log_stream_running(
        &self,
        key: &LogStreamKey,
        running: bool,
        now: Timestamp,
    ) -> Result<Option<LogStreamState>> {
        let transaction = self.begin().await?;
        let found = log_stream::named(key).lock_exclusive().one(&transaction).await?;
        let Some(found) = found else { return Ok(None) };
        let before = state(&found.state)?;
        let is_running = before != LogStreamState::Inactive;
        let mut update = seen_by_its_worker(of(key));
        if is_running != running {
            let state = if running { LogStreamState::Active } else { LogStreamState::Inactive };
            update = update
                .col_expr(log_stream::Column::State, Expr::val(state.as_str()))
                .col_expr(log_stream::Column::UpdatedAt, Expr::val(now.micros()));
        }
        update.exec(&transaction).await?;
        transaction.commit().await?;
        Ok(Some(before))
    }

    /// Moves the cursor: what is delivered just now moves it no more.
    pub async fn replay_log_stream(&self, key: &LogStreamKey, from: u64) -> Result<bool> {
        let generation = log_stream::Column::Generation;
        let update = seen_by_its_worker(of(key))
            .col_expr(log_stream::Column::NextSequence, Expr::val(to_column(from)))
            .col_expr(generation, Expr::col(generation).add(1));
        Ok(update.exec(self.writer()).await?.rows_affected == 1)
    }

    /// Deletes a log stream and its dead letters. Returns false if there is none.
    pub async fn delete_log_stream(&self, key: &LogStreamKey) -> Result<bool> {
        let transaction = self.begin().await?;
        let deleted = log_stream::Entity::delete_many()
            .filter(log_stream::Column::OrganizationId.eq(key.organization_id.as_str()))
            .filter(log_stream::Column::Id.eq(key.id.as_str()))
            .exec(&transaction)
            .await?;
        log_stream_dead_letter::Entity::delete_many()
            .filter(log_stream_dead_letter::Column::OrganizationId.eq(key.organization_id.as_str()))
            .filter(log_stream_dead_letter::Column::LogStreamId.eq(key.id.as_str()))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected == 1)
    }

    /// How a log stream is doing.
    pub async fn log_stream_status(&self, stream: LogStream) -> Result<LogStreamStatus> {
        let head = log_head::scoped(&stream.organization_id).one(self.reader()).await?;
        let tree_size = head.map_or(Ok(0), |head| from_column(head.size, "log_heads", "size"))?;
        let dead_letters =
            log_stream_dead_letter::scoped(&stream.key()).count(self.reader()).await?;
        let next = stream.progress.next_sequence;
        let oldest_waiting = if next < tree_size {
            self.first_event_from(&stream.tenant(), next).await?.map(|(_, received)| received)
        } else {
            None
        };
        Ok(LogStreamStatus { stream, tree_size, oldest_waiting, dead_letters })
    }
}

/// The log streams that the caller can see: those of its organizations that were not deleted.
fn visible(caller: &Caller) -> Select<log_stream::Entity> {
    let query = log_stream::scoped(&caller.environment)
        .filter(log_stream::Column::OrganizationId.in_subquery(present(Some(&caller.environment))));
    if caller.organizations.is_empty() {
        return query;
    }
    let ids = caller.organizations.iter().map(OrganizationId::as_str);
    query.filter(log_stream::Column::OrganizationId.is_in(ids))
}

/// The ids of the organizations that were not deleted.
pub(super) fn present(environment: Option<&EnvironmentId>) -> sea_orm::sea_query::SelectStatement {
    let query = environment.map_or_else(organization::Entity::find, organization::scoped);
    query
        .select_only()
        .column(organization::Column::Id)
        .filter(organization::Column::DeletedAt.is_null())
        .into_query()
}

pub(super) fn of(key: &LogStreamKey) -> UpdateMany<log_stream::Entity> {
    log_stream::Entity::update_many()
        .filter(log_stream::Column::OrganizationId.eq(key.organization_id.as_str()))
        .filter(log_stream::Column::Id.eq(key.id.as_str()))
}

/// A change that the worker of the stream is to notice, so that it begins anew, at once.
pub(super) fn seen_by_its_worker(
    update: UpdateMany<log_stream::Entity>,
) -> UpdateMany<log_stream::Entity> {
    let revision = log_stream::Column::Revision;
    update
        .col_expr(revision, Expr::col(revision).add(1))
        .col_expr(log_stream::Column::NextAttemptAt, Expr::val(None::<i64>))
}

fn destination(stream: &LogStream) -> Result<String> {
    serde_json::to_string(&stream.destination)
        .map_err(|_| StoreError::inconsistent("log_streams", "destination"))
}

fn row(new: &StoredLogStream) -> Result<log_stream::ActiveModel> {
    let stream = &new.stream;
    Ok(log_stream::ActiveModel {
        organization_id: Set(stream.organization_id.as_str().to_owned()),
        id: Set(stream.id.as_str().to_owned()),
        environment_id: Set(stream.environment_id.as_str().to_owned()),
        name: Set(stream.name.clone()),
        destination: Set(destination(stream)?),
        ca_certificates_pem: Set(stream.ca_certificates_pem.clone()),
        secrets: Set(new.secrets.clone()),
        payload: Set(stream.payload.as_str().to_owned()),
        state: Set(stream.state.as_str().to_owned()),
        next_sequence: Set(to_column(stream.progress.next_sequence)),
        generation: Set(0),
        revision: Set(0),
        last_success_at: Set(None),
        last_error: Set(String::new()),
        last_error_at: Set(None),
        consecutive_failures: Set(0),
        next_attempt_at: Set(None),
        delivered_events: Set(0),
        delivered_bytes: Set(0),
        lease_owner: Set(None),
        lease_until: Set(0),
        created_at: Set(stream.created_at.micros()),
        updated_at: Set(stream.updated_at.micros()),
    })
}

pub(super) fn key(row: &log_stream::Model) -> LogStreamKey {
    LogStreamKey {
        organization_id: OrganizationId::from_stored(&row.organization_id),
        id: LogStreamId::from_stored(&row.id),
    }
}

pub(super) fn state(name: &str) -> Result<LogStreamState> {
    LogStreamState::from_name(name).ok_or(StoreError::inconsistent("log_streams", "state"))
}

pub(super) fn stored(row: log_stream::Model) -> Result<StoredLogStream> {
    let count = |value, column| from_column(value, "log_streams", column);
    let progress = StreamProgress {
        next_sequence: count(row.next_sequence, "next_sequence")?,
        last_success_at: row.last_success_at.map(Timestamp::from_micros),
        last_error: row.last_error,
        last_error_at: row.last_error_at.map(Timestamp::from_micros),
        consecutive_failures: u32::try_from(row.consecutive_failures).unwrap_or(u32::MAX),
        next_attempt_at: row.next_attempt_at.map(Timestamp::from_micros),
        delivered_events: count(row.delivered_events, "delivered_events")?,
        delivered_bytes: count(row.delivered_bytes, "delivered_bytes")?,
    };
    let stream = LogStream {
        id: LogStreamId::from_stored(row.id),
        environment_id: EnvironmentId::from_stored(row.environment_id),
        organization_id: OrganizationId::from_stored(row.organization_id),
        name: row.name,
        destination: serde_json::from_str(&row.destination)
            .map_err(|_| StoreError::inconsistent("log_streams", "destination"))?,
        ca_certificates_pem: row.ca_certificates_pem,
        payload: PayloadForm::from_name(&row.payload)
            .ok_or(StoreError::inconsistent("log_streams", "payload"))?,
        state: state(&row.state)?,
        progress,
        generation: count(row.generation, "generation")?,
        revision: count(row.revision, "revision")?,
        created_at: Timestamp::from_micros(row.created_at),
        updated_at: Timestamp::from_micros(row.updated_at),
    };
    Ok(StoredLogStream { stream, secrets: row.secrets })
}
