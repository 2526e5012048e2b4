//! Logs as standard tools read them: C2SP tlog-tiles (<https://c2sp.org/tlog-tiles>).

use super::{
    error::{Error, Result},
    system_log::SystemEvent,
    transparency::Transparency,
    tree::Tree,
};
use crate::{
    domain::{caller::Caller, permissions::Operation},
    merkle::{TileId, TileResource},
    store::{LeafData, StoreError},
};

/// Largest entry of a bundle, in bytes of salt and canonical event: its length has 16 bits
/// (tlog-tiles, section "Log entries").
const ENTRY_BYTES: usize = u16::MAX as usize;

impl Transparency {
    /// The content of a tile or of an entry bundle, by its path from what follows `tile/` on. Once
    /// there, it never changes.
    pub async fn tile(&self, caller: &Caller, organization: &str, path: &str) -> Result<Vec<u8>> {
        let tenant = self.readable(caller, Operation::ReadTile, organization).await?;
        let resource = TileResource::parse(path)
            .ok_or(Error::NoTile("the path is not that of a tile or an entry bundle"))?;
        let (tile, width) = match resource {
            TileResource::Hashes { tile, width } => (tile, width),
            TileResource::Entries { index, width } => (TileId { level: 0, index }, width),
        };
        let tree = Tree::of(&self.store, &tenant.organization).await?;
        if width > tile.width(tree.head.size()) {
            return Err(Error::NoTile("the log does not have as many events yet"));
        }
        match resource {
            TileResource::Hashes { .. } => {
                let width = usize::try_from(width).unwrap_or_default();
                let hashes = self.store.tile(&tenant.organization, tile, width).await?;
                hashes.ok_or_else(|| tree.broken())
            }
            TileResource::Entries { .. } => {
                let first = tile.leaves().map_or(0, |leaves| leaves.start);
                let bundle = self.bundle(&tree, first, width).await?;
                let read = SystemEvent::by(caller, "event.bundle_read")
                    .on("organization", organization)
                    .with("from_sequence", first)
                    .with("events", width);
                self.system_log.record_read(read).await;
                Ok(bundle)
            }
        }
    }

    /// The entry bundle of `count` events from `first` on.
    async fn bundle(&self, tree: &Tree<'_>, first: u64, count: u64) -> Result<Vec<u8>> {
        let organization = tree.organization;
        let entries = self.store.leaf_data(organization, first, count, ENTRY_BYTES).await?;
        if (entries.len() as u64) < count {
            return Err(Error::NoTile(
                "an event of this bundle was erased or is larger than the 65,535 bytes that a \
                 bundle can hold; read the events with GetInclusionProof",
            ));
        }
        let mut bundle = Vec::with_capacity(entries.iter().map(entry_bytes).sum());
        for entry in &entries {
            let length = entry.salt.len() + entry.canonical_event.len();
            let length = u16::try_from(length)
                .map_err(|_| StoreError::Inconsistent { table: "events", column: "payload" })?;
            bundle.extend(length.to_be_bytes());
            bundle.extend(entry.salt);
            bundle.extend(&entry.canonical_event);
        }
        Ok(bundle)
    }
}

/// Bytes of an entry with its length before it.
fn entry_bytes(entry: &LeafData) -> usize {
    size_of::<u16>() + entry.salt.len() + entry.canonical_event.len()
}
