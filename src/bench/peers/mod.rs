//! What the service is measured against, straight on the database.

mod copy;
pub mod postgres;
pub mod sqlite;

use anyhow::Result;

use super::{
    load::{Measurement, drive},
    plan::Timing,
};

/// Rows of one transaction of the bulk peers.
pub const BULK_ROWS: usize = 1_000;

/// The peers on one engine.
pub enum Peers {
    /// Files of their own.
    Sqlite(sqlite::Peers),
    /// Tables of their own.
    Postgres(postgres::Peers),
}

impl Peers {
    /// Peer 1: validation, canonical form, hashes, then one transaction that locks the head, looks
    /// for the idempotency key if there is one, and stores one event.
    pub async fn naive(
        &self,
        in_flight: usize,
        organizations: usize,
        keyed: bool,
        timing: Timing,
    ) -> Result<Measurement> {
        match self {
            Self::Sqlite(peers) => {
                drive((0..in_flight).map(|_| peers.naive(organizations, keyed)), timing).await
            }
            Self::Postgres(peers) => {
                drive((0..in_flight).map(|_| peers.naive(organizations, keyed)), timing).await
            }
        }
    }

    /// Peer 2: one bare INSERT per commit.
    pub async fn bare(
        &self,
        in_flight: usize,
        organizations: usize,
        timing: Timing,
    ) -> Result<Measurement> {
        match self {
            Self::Sqlite(peers) => {
                drive((0..in_flight).map(|_| peers.bare(organizations)), timing).await
            }
            Self::Postgres(peers) => {
                drive((0..in_flight).map(|_| peers.bare(organizations)), timing).await
            }
        }
    }

    /// The bulk peer: binary COPY, or a prepared statement in one transaction; 1,000 rows each.
    pub async fn bulk(
        &self,
        connections: usize,
        organizations: usize,
        timing: Timing,
    ) -> Result<Measurement> {
        match self {
            Self::Sqlite(peers) => {
                drive((0..connections).map(|_| peers.bulk(organizations)), timing).await
            }
            Self::Postgres(peers) => {
                let mut callers = Vec::new();
                for _ in 0..connections {
                    callers.push(peers.bulk(organizations).await?);
                }
                drive(callers, timing).await
            }
        }
    }
}
