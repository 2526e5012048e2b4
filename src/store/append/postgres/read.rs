//! What is read before a batch is written.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::Result;
use crate::{
    domain::{
        ids::{EventId, OrganizationId},
        timestamp::Timestamp,
    },
    store::{
        append::{
            Appended, OF_KNOWN_KEY, PreparedEvent,
            plan::{CompletedTile, Heads, Known},
        },
        fixed, from_column, to_column,
        tree::frontier,
    },
};

/// Locks the heads in the order of their organizations' ids, so that transactions wait for each other
/// in a line and never in a circle.
pub async fn lock_heads(
    connection: &mut PgConnection,
    organizations: &BTreeSet<&OrganizationId>,
) -> Result<Heads> {
    const SQL: &str = "SELECT organization_id, size, frontier FROM log_heads \
                       WHERE organization_id = ANY($1) ORDER BY organization_id FOR UPDATE";
    let ids: Vec<&str> = organizations.iter().map(|id| id.as_str()).collect();
    let mut heads = Heads::new();
    for row in sqlx::query(SQL).bind(ids).fetch_all(connection).await? {
        let organization = OrganizationId::from_stored(row.try_get::<String, _>(0)?);
        heads.insert(organization, frontier(row.try_get(1)?, row.try_get(2)?)?);
    }
    Ok(heads)
}

/// Finds the events whose idempotency keys are known already.
pub async fn known_keys(
    connection: &mut PgConnection,
    events: &[PreparedEvent],
    since: Timestamp,
) -> Result<Known<[u8; 16]>> {
    const FROM: &str = "FROM UNNEST($1::text[], $2::bytea[]) AS wanted (organization_id, key) \
        JOIN idempotency_keys AS i USING (organization_id, key) LEFT JOIN events AS e \
        ON e.organization_id = i.organization_id AND e.sequence = i.sequence \
        WHERE i.created_at >= $3";
    let keyed = events.iter().filter_map(|event| {
        Some((event.organization_id.as_str(), event.idempotency_key.as_ref()?.as_bytes()))
    });
    let (organizations, keys): (Vec<&str>, Vec<&[u8; 16]>) = keyed.unzip();
    if keys.is_empty() {
        return Ok(Known::new());
    }
    let sql = format!("SELECT {OF_KNOWN_KEY}, i.organization_id, i.key {FROM}");
    let query = sqlx::query(AssertSqlSafe(sql));
    let query = query.bind(organizations).bind(keys).bind(since.micros());
    let mut known = Known::new();
    for row in query.fetch_all(connection).await? {
        // Without a leaf hash the event is gone, and not by retention: then nothing is known of it.
        if row.try_get::<Option<Vec<u8>>, _>(2)?.is_none() {
            continue;
        }
        let organization = OrganizationId::from_stored(row.try_get::<String, _>(4)?);
        known.insert(
            (organization, fixed(row.try_get(5)?, "idempotency_keys", "key")?),
            stored(&row, true)?,
        );
    }
    Ok(known)
}

/// Finds the events that a lost attempt at the same batch stored.
pub async fn known_ids(
    connection: &mut PgConnection,
    events: &[PreparedEvent],
) -> Result<Known<String>> {
    const SQL: &str = "SELECT e.id, e.sequence, e.leaf_hash, e.created_at, e.organization_id \
        FROM UNNEST($1::text[], $2::text[]) AS wanted (organization_id, id) \
        JOIN events AS e USING (organization_id, id)";
    let wanted = events.iter().map(|event| (event.organization_id.as_str(), event.id.as_str()));
    let (organizations, ids): (Vec<&str>, Vec<&str>) = wanted.unzip();
    let mut known = Known::new();
    for row in sqlx::query(SQL).bind(organizations).bind(ids).fetch_all(connection).await? {
        let organization = OrganizationId::from_stored(row.try_get::<String, _>(4)?);
        let event = stored(&row, false)?;
        known.insert((organization, event.event_id.to_string()), event);
    }
    Ok(known)
}

/// An event that is there: its id, sequence, leaf hash and time, as the first columns of a row.
fn stored(row: &PgRow, duplicate: bool) -> Result<Appended> {
    Ok(Appended {
        event_id: EventId::from_stored(row.try_get::<String, _>(0)?),
        sequence: from_column(row.try_get(1)?, "events", "sequence")?,
        leaf_hash: fixed(row.try_get(2)?, "events", "leaf_hash")?,
        created_at: Timestamp::from_micros(row.try_get(3)?),
        duplicate,
    })
}

/// The hashes in a tile that were there before the batch.
pub async fn earlier_hashes(
    connection: &mut PgConnection,
    tile: CompletedTile<'_>,
) -> std::result::Result<Vec<Vec<u8>>, sqlx::Error> {
    const LEAVES: &str = "SELECT leaf_hash FROM events WHERE organization_id = $1 \
        AND sequence >= $2 AND sequence < $3 ORDER BY sequence";
    const ROOTS: &str = "SELECT root FROM log_tiles WHERE organization_id = $1 \
        AND tile >= $2 AND tile < $3 AND level = $4 ORDER BY tile";
    let range = tile.earlier();
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let below = tile.tile.level.checked_sub(1);
    let query = sqlx::query_scalar(if below.is_some() { ROOTS } else { LEAVES })
        .bind(tile.organization.as_str())
        .bind(to_column(range.start))
        .bind(to_column(range.end));
    match below {
        Some(level) => query.bind(i64::from(level)).fetch_all(connection).await,
        None => query.fetch_all(connection).await,
    }
}
