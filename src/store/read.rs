//! Reading a range of a log in the order of an export: ascending `occurred_at`, then sequence.

use futures::{Stream, TryStreamExt};
use sea_orm::{ColumnTrait, ExprTrait, PaginatorTrait, QueryOrder, QuerySelect, sea_query::Expr};

use super::{
    Result, Store, StoreError,
    entity::event,
    events::{matching, selection},
    fixed, from_column, to_column,
};
use crate::{
    domain::{
        caller::Tenant,
        export::Export,
        filter::{EventFilter, EventRange},
        ids::OrganizationId,
        timestamp::Timestamp,
    },
    merkle::Hash,
};

/// An event as an export reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRow {
    /// When it happened; first part of the reading order.
    pub occurred_at: Timestamp,
    /// Position in the log; second part of the reading order.
    pub sequence: u64,
    /// The canonical bytes.
    pub payload: Vec<u8>,
}

/// An event with all that its leaf is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvableRow {
    /// Position in the log.
    pub sequence: u64,
    /// The canonical bytes.
    pub payload: Vec<u8>,
    /// The salt.
    pub salt: Vec<u8>,
    /// Hash of the leaf.
    pub leaf_hash: Hash,
}

/// Payload bytes after which a page of provable rows ends, and most rows of it: a page is held in
/// memory with the tiles that prove it.
const PROVABLE_BYTES: usize = 4 * 1_024 * 1_024;
const PROVABLE_ROWS: u64 = 512;

/// Rows that one statement reads. Short statements do not keep the database from cleaning up.
const ROWS_PER_READ: u64 = 1_000;

impl Store {
    /// How many events the time range of an export holds.
    pub async fn count_export_rows(&self, export: &Export) -> Result<u64> {
        let nothing = EventFilter::default();
        let condition = matching(self.engine, &nothing, &range(export));
        Ok(selection(self.engine, &tenant(export), condition).count(self.scanner()).await?)
    }

    /// The next rows of an export after the one at `after`, at most 1,000, as they come
    /// from the database: memory does not depend on how many or how large they are.
    pub async fn read_export_rows(
        &self,
        export: &Export,
        after: Option<(Timestamp, u64)>,
    ) -> Result<impl Stream<Item = Result<ExportRow>>> {
        use event::Column::{OccurredAt, Payload, Sequence};
        let start = after.map(|(occurred_at, sequence)| {
            let key = Expr::tuple([Expr::col(OccurredAt), Expr::col(Sequence)]);
            let last = [occurred_at.micros(), to_column(sequence)].map(Expr::val);
            key.gt(Expr::tuple(last))
        });
        let range = EventRange {
            occurred_from: after.map(|(at, _)| at).or(Some(export.range.start)),
            ..range(export)
        };
        let condition = matching(self.engine, &export.filter, &range).add_option(start);
        let rows = selection(self.engine, &tenant(export), condition)
            .select_only()
            .columns([OccurredAt, Sequence, Payload])
            .order_by_asc(OccurredAt)
            .order_by_asc(Sequence)
            .limit(ROWS_PER_READ)
            .into_tuple::<(i64, i64, Vec<u8>)>()
            .stream(self.scanner())
            .await?;
        Ok(rows.map_err(StoreError::from).and_then(|(occurred_at, sequence, payload)| async move {
            let sequence = from_column(sequence, "events", "sequence")?;
            Ok(ExportRow { occurred_at: Timestamp::from_micros(occurred_at), sequence, payload })
        }))
    }
}

impl Store {
    /// The next rows of an export from a sequence on, in the order of the log: at most 512, fewer if
    /// they are large. Empty after the last. Erased events are left out.
    pub async fn read_provable_rows(&self, export: &Export, from: u64) -> Result<Vec<ProvableRow>> {
        use event::Column::{LeafHash, Payload, Salt, Sequence};
        let condition = matching(self.engine, &export.filter, &range(export))
            .add(Sequence.gte(to_column(from)));
        let mut rows = selection(self.engine, &tenant(export), condition)
            .select_only()
            .columns([Sequence, Payload, Salt, LeafHash])
            .order_by_asc(Sequence)
            .limit(PROVABLE_ROWS)
            .into_tuple::<(i64, Vec<u8>, Vec<u8>, Vec<u8>)>()
            .stream(self.scanner())
            .await?;
        let (mut read, mut bytes) = (Vec::new(), 0);
        while let Some((sequence, payload, salt, leaf_hash)) = rows.try_next().await? {
            bytes += payload.len();
            let sequence = from_column(sequence, "events", "sequence")?;
            let leaf_hash = fixed(&leaf_hash, "events", "leaf_hash")?;
            read.push(ProvableRow { sequence, payload, salt, leaf_hash });
            if bytes > PROVABLE_BYTES {
                break;
            }
        }
        Ok(read)
    }
}

/// The range of an export. An empty snapshot has no highest sequence; then nothing can match.
fn range(export: &Export) -> EventRange {
    let last = export.tree_size.checked_sub(1);
    EventRange {
        occurred_from: Some(export.range.start),
        occurred_until: Some(export.range.end),
        sequence_from: last.is_none().then_some(u64::MAX),
        sequence_until: last,
    }
}

/// The log that an export reads; the export's row says whose it is.
fn tenant(export: &Export) -> Tenant {
    let organization: &OrganizationId = &export.organization_id;
    Tenant { environment: export.environment_id.clone(), organization: organization.clone() }
}
