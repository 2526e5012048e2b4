//! Reading what the leaves of a log's tree are hashes of.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use sea_orm::{ColumnTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::{Result, Store, entity::event, events::present, fixed, from_column, to_column};
use crate::{
    domain::ids::{EventId, OrganizationId},
    merkle::Salt,
};

/// Salt and canonical bytes of an event: `leaf_hash` is SHA-256(0x00 || salt || canonical event).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafData {
    /// The salt.
    pub salt: Salt,
    /// The canonical bytes.
    pub canonical_event: Vec<u8>,
}

/// A row of the log, which may be what is left of an event that was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Id of the event; `None` if it was erased.
    pub event_id: Option<EventId>,
    /// Its position.
    pub sequence: u64,
    /// What its hash is of; `None` if it was erased.
    pub data: Option<LeafData>,
}

/// Which event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafKey {
    /// The one with that id.
    Id(EventId),
    /// The one at that position.
    Sequence(u64),
}

/// Columns of a row: id, sequence, payload, salt.
type Row = (String, i64, Vec<u8>, Vec<u8>);

impl Store {
    /// One row of a log; `None` if there is none, or none any more. An erased event has no id by which
    /// it could be found.
    pub async fn leaf(&self, organization: &OrganizationId, key: &LeafKey) -> Result<Option<Leaf>> {
        let query = match key {
            LeafKey::Id(id) => {
                present(self.engine, organization).filter(event::Column::Id.eq(id.as_str()))
            }
            LeafKey::Sequence(at) => {
                event::scoped(organization).filter(event::Column::Sequence.eq(to_column(*at)))
            }
        };
        columns(query).into_tuple::<Row>().one(self.reader()).await?.map(leaf).transpose()
    }

    /// The rows of a log at these positions, in any order, without those that are not there.
    pub async fn leaves(
        &self,
        organization: &OrganizationId,
        sequences: &BTreeSet<u64>,
    ) -> Result<Vec<Leaf>> {
        let at = sequences.iter().map(|sequence| to_column(*sequence));
        let query = event::scoped(organization).filter(event::Column::Sequence.is_in(at));
        let query = columns(query);
        let found = query.into_tuple::<Row>().all(self.reader()).await?;
        found.into_iter().map(leaf).collect()
    }

    /// The `count` neighbouring events from `first` on, as many as are there up to the first one that
    /// was erased or that has more than `max_bytes` of salt and canonical bytes together: that is how
    /// much memory each of them takes at most.
    pub async fn leaf_data(
        &self,
        organization: &OrganizationId,
        first: u64,
        count: u64,
        max_bytes: usize,
    ) -> Result<Vec<LeafData>> {
        use event::Column::Sequence;
        let query = columns(event::scoped(organization))
            .filter(Sequence.gte(to_column(first)))
            .filter(Sequence.lt(to_column(first.saturating_add(count))))
            .order_by_asc(Sequence);
        let mut stream = query.into_tuple::<Row>().stream(self.scanner()).await?;
        let mut found = Vec::new();
        while let Some(row) = stream.try_next().await? {
            let Leaf { sequence, data: Some(data), .. } = leaf(row)? else { break };
            let bytes = data.salt.len() + data.canonical_event.len();
            if sequence != first + found.len() as u64 || bytes > max_bytes {
                break;
            }
            found.push(data);
        }
        Ok(found)
    }
}

fn columns(query: Select<event::Entity>) -> Select<event::Entity> {
    use event::Column::{Id, Payload, Salt, Sequence};
    query.select_only().columns([Id, Sequence, Payload, Salt])
}

fn leaf((id, sequence, payload, salt): Row) -> Result<Leaf> {
    let erased = payload.is_empty() && salt.is_empty();
    let data = if erased {
        None
    } else {
        Some(LeafData { salt: fixed(&salt, "events", "salt")?, canonical_event: payload })
    };
    Ok(Leaf {
        event_id: (!erased).then(|| EventId::from_stored(id)),
        sequence: from_column(sequence, "events", "sequence")?,
        data,
    })
}
