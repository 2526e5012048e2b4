//! Reading logs for those who watch them.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use futures::TryStreamExt;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::{
    Result, Store, StoreError,
    entity::{api_key, event, log_head, organization},
    events::{matching, present, selection},
    fixed, from_column,
    pool::Pool,
    to_column,
};
use crate::{
    domain::{
        caller::Tenant,
        filter::{EventFilter, EventRange},
        ids::{ApiKeyId, OrganizationId},
        timestamp::Timestamp,
    },
    merkle::Hash,
};

/// An event as a watcher reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchRow {
    /// Position in the log.
    pub sequence: u64,
    /// The canonical bytes.
    pub payload: Vec<u8>,
    /// Hash of the leaf.
    pub leaf_hash: Hash,
}

/// A part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchPart {
    /// The events of it that match, in the order of the log.
    pub rows: Vec<WatchRow>,
    /// Up to where the log was read: the sequence to go on with.
    pub next: u64,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartBounds {
    /// Most events.
    pub events: usize,
    /// Most bytes of canonical events, unless a single one has more.
    pub bytes: usize,
}

/// Ids that one statement looks up.
const IDS_PER_READ: usize = 512;

impl Store {
    /// The matching events of a range of sequences, or as many as the bounds allow, for somebody who
    /// reads a log from earlier on. Takes a connection for reads of many rows.
    pub async fn watch_history(
        &self,
        tenant: &Tenant,
        filter: &EventFilter,
        range: Range<u64>,
        bounds: PartBounds,
    ) -> Result<WatchPart> {
        let content = matching(self.engine, filter, &EventRange::default());
        let query = selection(self.engine, tenant, content);
        read_part(self.scanner(), query, range, bounds).await
    }

    /// The events of a range at the end of a log, or as many as the bounds allow.
    pub async fn watch_newest(
        &self,
        organization: &OrganizationId,
        range: Range<u64>,
        bounds: PartBounds,
    ) -> Result<WatchPart> {
        read_part(self.reader(), present(self.engine, organization), range, bounds).await
    }

    /// The first event from a sequence on that was not erased: its sequence, and when it was received.
    pub async fn first_event_from(
        &self,
        tenant: &Tenant,
        sequence: u64,
    ) -> Result<Option<(u64, Timestamp)>> {
        first(self.reader(), present(self.engine, &tenant.organization), sequence).await
    }

    /// The first event from a sequence on that was received at a time or later, and not erased. Looks
    /// at all events in between.
    pub async fn first_event_since(
        &self,
        tenant: &Tenant,
        sequence: u64,
        since: Timestamp,
    ) -> Result<Option<u64>> {
        let query = present(self.engine, &tenant.organization)
            .filter(event::Column::CreatedAt.gte(since.micros()));
        Ok(first(self.scanner(), query, sequence).await?.map(|(sequence, _)| sequence))
    }

    /// The sizes of the logs of those of some organizations that exist.
    pub async fn watched_sizes(
        &self,
        organizations: &[OrganizationId],
    ) -> Result<HashMap<OrganizationId, u64>> {
        let mut sizes = HashMap::with_capacity(organizations.len());
        for organizations in organizations.chunks(IDS_PER_READ) {
            let ids = padded(organizations.iter().map(OrganizationId::as_str));
            let existing: Vec<String> = organization::Entity::find()
                .filter(organization::Column::Id.is_in(ids.clone()))
                .filter(organization::Column::DeletedAt.is_null())
                .select_only()
                .column(organization::Column::Id)
                .into_tuple()
                .all(self.reader())
                .await?;
            // Read after the other: a log that is found has its organization.
            let heads: Vec<(String, i64)> = log_head::Entity::find()
                .filter(log_head::Column::OrganizationId.is_in(ids))
                .select_only()
                .columns([log_head::Column::OrganizationId, log_head::Column::Size])
                .into_tuple()
                .all(self.reader())
                .await?;
            sizes.extend(existing.into_iter().map(|id| (OrganizationId::from_stored(id), 0)));
            for (id, size) in heads {
                if let Some(known) = sizes.get_mut(&OrganizationId::from_stored(id)) {
                    *known = from_column(size, "log_heads", "size")?;
                }
            }
        }
        Ok(sizes)
    }

    /// Those of some keys that still open something.
    pub async fn valid_keys(&self, keys: &[ApiKeyId]) -> Result<HashSet<ApiKeyId>> {
        let mut valid = HashSet::with_capacity(keys.len());
        for keys in keys.chunks(IDS_PER_READ) {
            let found: Vec<String> = api_key::Entity::find()
                .filter(api_key::Column::Id.is_in(padded(keys.iter().map(ApiKeyId::as_str))))
                .filter(api_key::Column::RevokedAt.is_null())
                .select_only()
                .column(api_key::Column::Id)
                .into_tuple()
                .all(self.reader())
                .await?;
            valid.extend(found.into_iter().map(ApiKeyId::from_stored));
        }
        Ok(valid)
    }
}

/// The ids, the last one repeated until there are 1, 8, 64 or 512 of them: a statement for every count
/// would push the others out of the connection's memory of prepared statements.
fn padded<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut ids: Vec<String> = ids.map(str::to_owned).collect();
    let mut size = 1;
    while size < ids.len() {
        size *= 8;
    }
    if let Some(last) = ids.last().cloned() {
        ids.resize(size, last);
    }
    ids
}

async fn first(
    connection: &Pool,
    query: Select<event::Entity>,
    from: u64,
) -> Result<Option<(u64, Timestamp)>> {
    use event::Column::{CreatedAt, Sequence};
    let found: Option<(i64, i64)> = query
        .filter(Sequence.gte(to_column(from)))
        .select_only()
        .columns([Sequence, CreatedAt])
        .order_by_asc(Sequence)
        .limit(1)
        .into_tuple()
        .one(connection)
        .await?;
    let Some((sequence, created_at)) = found else { return Ok(None) };
    let sequence = from_column(sequence, "events", "sequence")?;
    Ok(Some((sequence, Timestamp::from_micros(created_at))))
}

/// Sequence, payload and leaf hash of the events of a range, in order, at most as many as the bounds
/// allow, and one more, which tells whether the range was read to its end.
pub(super) fn part(
    query: Select<event::Entity>,
    range: &Range<u64>,
    bounds: PartBounds,
) -> Select<event::Entity> {
    use event::Column::{LeafHash, Payload, Sequence};
    query
        .filter(Sequence.gte(to_column(range.start)))
        .filter(Sequence.lt(to_column(range.end)))
        .select_only()
        .columns([Sequence, Payload, LeafHash])
        .order_by_asc(Sequence)
        .limit(bounds.events as u64 + 1)
}

async fn read_part(
    connection: &Pool,
    query: Select<event::Entity>,
    range: Range<u64>,
    bounds: PartBounds,
) -> Result<WatchPart> {
    let mut rows = part(query, &range, bounds)
        .into_tuple::<(i64, Vec<u8>, Vec<u8>)>()
        .stream(connection)
        .await?;
    let (mut read, mut bytes) = (Vec::new(), 0);
    while let Some((sequence, payload, leaf_hash)) = rows.try_next().await? {
        let sequence = from_column(sequence, "events", "sequence")?;
        bytes += payload.len();
        if read.len() == bounds.events || (bytes > bounds.bytes && !read.is_empty()) {
            return Ok(WatchPart { rows: read, next: sequence });
        }
        let leaf_hash = fixed(&leaf_hash, "events", "leaf_hash")?;
        read.push(WatchRow { sequence, payload, leaf_hash });
    }
    Ok::<_, StoreError>(WatchPart { rows: read, next: range.end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_counts_of_ids_are_asked_for() {
        let ids: Vec<String> = (0..IDS_PER_READ).map(|id| id.to_string()).collect();
        for (count, expected) in [(1, 1), (2, 8), (8, 8), (9, 64), (65, 512), (512, 512)] {
            let padded = padded(ids[..count].iter().map(String::as_str));
            assert_eq!(padded.len(), expected);
            let distinct: HashSet<_> = padded.iter().collect();
            assert_eq!(distinct.len(), count);
        }
    }
}
