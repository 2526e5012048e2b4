//! The one statement that writes a batch.

use sqlx::{AssertSqlSafe, PgConnection};

use super::read::earlier_hashes;
use crate::{
    domain::ids::OrganizationId,
    store::{
        append::{
            BatchTimes,
            plan::{Plan, TileRow},
        },
        to_column,
    },
};

/// Inserts the events, their keys and tiles, and moves the heads, in one statement. The statement
/// fails, and changes nothing, if a head is not what the plan saw, or a key that counts is there. The
/// size alone would not do: a database that was set back and written to again may have it by chance.
const WRITE: &str = "\
    WITH new_events AS ( \
        INSERT INTO events (organization_id, sequence, id, action, version, occurred_at, created_at, \
            actor_id, actor_name, target_types, target_ids, payload, salt, leaf_hash) \
        SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], \
            $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], \
            $12::bytea[], $13::bytea[], $14::bytea[])), \
    new_keys AS ( \
        INSERT INTO idempotency_keys (organization_id, key, sequence, created_at) \
        SELECT *, $15::bigint FROM UNNEST($16::text[], $17::bytea[], $18::bigint[]) \
        ON CONFLICT (organization_id, key) DO UPDATE \
            SET sequence = excluded.sequence, created_at = excluded.created_at \
            WHERE idempotency_keys.created_at < $19 \
        RETURNING 1), \
    new_tiles AS ( \
        INSERT INTO log_tiles (organization_id, level, tile, hashes, root) \
        SELECT * FROM UNNEST($20::text[], $21::bigint[], $22::bigint[], $23::bytea[], $24::bytea[])), \
    moved AS ( \
        UPDATE log_heads AS head SET size = after.size, frontier = after.frontier, updated_at = $15 \
        FROM UNNEST($25::text[], $26::bigint[], $27::bytea[], $28::bigint[], $29::bytea[]) \
            AS after (organization_id, size_before, frontier_before, size, frontier) \
        WHERE head.organization_id = after.organization_id \
            AND head.size = after.size_before AND head.frontier = after.frontier_before \
        RETURNING 1) \
    SELECT 1 / ((SELECT count(*) FROM moved) = $30 \
        AND (SELECT count(*) FROM new_keys) = $31)::int";

pub async fn write(
    connection: &mut PgConnection,
    plan: &Plan<'_>,
    times: BatchTimes,
) -> std::result::Result<(), sqlx::Error> {
    if plan.new.is_empty() {
        return Ok(());
    }
    let full = complete(connection, plan).await?;
    let (new, trees) = (&plan.new, &plan.trees);
    macro_rules! column {
        (|$event:ident| $value:expr) => {
            new.iter().map(|($event, _)| $value).collect::<Vec<_>>()
        };
    }
    let keyed: Vec<_> = new
        .iter()
        .filter_map(|(event, sequence)| Some((*event, event.idempotency_key.as_ref()?, *sequence)))
        .collect();
    let count = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
    sqlx::query(AssertSqlSafe(WRITE))
        .bind(column!(|event| event.organization_id.as_str()))
        .bind(new.iter().map(|(_, sequence)| to_column(*sequence)).collect::<Vec<_>>())
        .bind(column!(|event| event.id.as_str()))
        .bind(column!(|event| event.columns.action.as_str()))
        .bind(column!(|event| i64::from(event.columns.version)))
        .bind(column!(|event| event.columns.occurred_at.micros()))
        .bind(column!(|event| event.created_at.micros()))
        .bind(column!(|event| event.columns.actor_id.as_str()))
        .bind(column!(|event| event.columns.actor_name.as_deref()))
        .bind(column!(|event| event.columns.target_types.as_str()))
        .bind(column!(|event| event.columns.target_ids.as_str()))
        .bind(column!(|event| event.payload.as_slice()))
        .bind(column!(|event| event.salt.as_slice()))
        .bind(column!(|event| event.leaf_hash.as_slice()))
        .bind(times.now.micros())
        .bind(keyed.iter().map(|(event, ..)| event.organization_id.as_str()).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(_, key, _)| key.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(keyed.iter().map(|(.., sequence)| to_column(*sequence)).collect::<Vec<_>>())
        .bind(times.keys_since.micros())
        .bind(full.iter().map(|row| row.organization.as_str()).collect::<Vec<_>>())
        .bind(full.iter().map(|row| i64::from(row.tile.level)).collect::<Vec<_>>())
        .bind(full.iter().map(|row| to_column(row.tile.index)).collect::<Vec<_>>())
        .bind(full.iter().map(|row| row.hashes.as_slice()).collect::<Vec<_>>())
        .bind(full.iter().map(|row| row.root.as_slice()).collect::<Vec<_>>())
        .bind(trees.keys().map(OrganizationId::as_str).collect::<Vec<_>>())
        .bind(trees.values().map(|tree| to_column(tree.before().size())).collect::<Vec<_>>())
        .bind(trees.values().map(|tree| tree.before().to_bytes()).collect::<Vec<_>>())
        .bind(trees.values().map(|tree| to_column(tree.after().size())).collect::<Vec<_>>())
        .bind(trees.values().map(|tree| tree.after().to_bytes()).collect::<Vec<_>>())
        .bind(count(trees.len()))
        .bind(count(keyed.len()))
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// The rows of the tiles that became full.
async fn complete(
    connection: &mut PgConnection,
    plan: &Plan<'_>,
) -> std::result::Result<Vec<TileRow>, sqlx::Error> {
    let mut rows = Vec::new();
    for tile in plan.completed_tiles() {
        let earlier = earlier_hashes(connection, tile).await?;
        rows.extend(tile.row(&earlier));
    }
    Ok(rows)
}
