//! What the watchers of a replica and of a key share.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// KiB of canonical events in frames of history that were not handed to the transport yet. Parsed, they
/// take some four times as much.
pub const HISTORY_ROOM: usize = 32 * 1_024;
/// As much of it as the watchers of one key have at most: those that do not read leave room for others.
const HISTORY_ROOM_OF_KEY: usize = HISTORY_ROOM / 4;

/// What the watchers of a key share.
#[derive(Clone)]
pub struct OfKey {
    /// How many there are.
    pub count: usize,
    /// Cancelled when the key is revoked.
    pub revoked: CancellationToken,
    /// What their frames of history may take.
    pub history_room: Arc<Semaphore>,
}

impl Default for OfKey {
    fn default() -> Self {
        let history_room = Arc::new(Semaphore::new(HISTORY_ROOM_OF_KEY));
        Self { count: 0, revoked: CancellationToken::new(), history_room }
    }
}
