//! Following a log on behalf of the service itself.

use std::{ops::Range, sync::Arc};

use tokio::sync::watch;

use super::{
    hub::{Hub, Seat},
    log::LogState,
    recent::Recent,
};
use crate::{
    domain::caller::Tenant,
    store::{PartBounds, Result},
};

/// A place in the hub for who reads a log from some sequence on.
pub struct Follower {
    hub: Hub,
    seat: Seat,
    states: watch::Receiver<LogState>,
    tenant: Tenant,
}

impl Follower {
    /// Takes a place. What is committed from now on is told, and what was committed is known.
    pub async fn join(hub: &Hub, tenant: Tenant) -> Result<Self> {
        let (seat, states) = hub.join_as_service(&tenant.organization);
        let size = hub.inner().store.log_size(&tenant).await?;
        seat.log.grew_to(size);
        Ok(Self { hub: hub.clone(), seat, states, tenant })
    }

    /// How many committed events the log has, as far as this replica knows.
    pub fn size(&self) -> u64 {
        self.states.borrow().size
    }

    /// Waits until the log has more events than that. Never returns if its organization was deleted.
    pub async fn grown_beyond(&self, sequence: u64) {
        // The other half lives as long as the seat.
        let _ = self.states.clone().wait_for(|state| state.size > sequence).await;
    }

    /// The events of a range of sequences, as far as there are any and the bounds allow, and where to go
    /// on. Erased ones are left out.
    pub async fn read(
        &self,
        range: Range<u64>,
        bounds: PartBounds,
    ) -> Result<(Vec<Arc<Recent>>, u64)> {
        let (next, size) = (range.start, range.end.min(self.size()));
        if next >= size {
            return Ok((Vec::new(), next));
        }
        if let Some(mut events) = self.seat.log.recent().from(next, bounds) {
            events.retain(|event| event.sequence < size);
            let next = events.last().map_or(next, |last| last.sequence + 1);
            return Ok((events, next));
        }
        let store = &self.hub.inner().store;
        let part = store.read_log(&self.tenant.organization, next..size, bounds).await?;
        Ok((part.rows.into_iter().map(|row| Arc::new(row.into())).collect(), part.next))
    }
}
