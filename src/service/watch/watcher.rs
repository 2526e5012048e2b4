//! One watcher: a task that reads its log up to the committed size, sends what matches, and waits.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    hub::{Hub, Seat},
    log::LogState,
    recent::Recent,
    stream::{Room, WatchContent, WatchFrame, WatchSender},
};
use crate::{
    domain::{caller::Tenant, clock::Clock, filter::EventFilter},
    service::{
        error::{Error, Kind, Result},
        not_found,
    },
    store::{PartBounds, StoreError},
};

/// How long nothing is sent before a heartbeat is. The contract states it.
pub const HEARTBEAT: Duration = Duration::from_secs(12);

/// Most of one frame. protobuf's `Struct` takes up to six times the bytes of the JSON it stands for, and
/// clients receive 4 MiB by default.
const FRAME: PartBounds = PartBounds { events: 250, bytes: 256 * 1_024 };
/// Most sequences of which one statement looks for matches: it must end soon.
const HISTORY_SPAN: u64 = 20_000;
/// Units of a KiB that a frame of history takes of the room for all of them before it is read.
const FRAME_ROOM: u32 = 256;
/// Who is no further behind than this reads the newest events, which are read once for all.
const NEWEST: u64 = 512;

/// A watcher.
pub struct Watcher {
    pub hub: Hub,
    pub clock: Arc<dyn Clock>,
    pub seat: Seat,
    pub states: watch::Receiver<LogState>,
    pub tenant: Tenant,
    pub filter: EventFilter,
    /// The next sequence to look at.
    pub next: u64,
    /// Where to resume after the last frame that was sent.
    pub told: u64,
    pub frames: WatchSender,
    /// How long the client may take nothing while something waits for it.
    pub patience: Duration,
}

/// Why a watcher ends.
enum End {
    /// The client went away.
    Left,
    /// The client is told.
    Because(Error),
}

/// Events to send, where to go on after them, and what they take of the room for history.
type Part = (Vec<Arc<Recent>>, u64, Option<Room>);

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Because(error)
    }
}

impl Watcher {
    /// Works until the client goes away (`None`) or the stream must end. `self.told` is then where to
    /// resume.
    pub async fn run(&mut self) -> Option<Error> {
        match self.follow().await {
            Ok(()) | Err(End::Left) => None,
            Err(End::Because(error)) => Some(error),
        }
    }

    async fn follow(&mut self) -> std::result::Result<(), End> {
        self.send_heartbeat().await?;
        let mut caught_up = self.is_at_the_end();
        let mut silent_since = Instant::now();
        loop {
            self.check()?;
            if !self.is_at_the_end() {
                if self.send_part().await? || silent_since.elapsed() >= HEARTBEAT {
                    if self.told != self.next {
                        self.send_heartbeat().await?;
                    }
                    silent_since = Instant::now();
                }
                continue;
            }
            if !caught_up {
                caught_up = true;
                self.send_heartbeat().await?;
                silent_since = Instant::now();
                continue;
            }
            if self.wait(silent_since + HEARTBEAT).await {
                self.send_heartbeat().await?;
                silent_since = Instant::now();
            }
        }
    }

    fn is_at_the_end(&mut self) -> bool {
        self.next >= self.states.borrow_and_update().size
    }

    /// Whether there is a reason to end.
    fn check(&self) -> std::result::Result<(), End> {
        if self.frames.is_closed() {
            return Err(End::Left);
        }
        if self.hub.inner().shutdown.is_cancelled() {
            return Err(shutting_down().into());
        }
        if self.seat.revoked.is_cancelled() {
            return Err(Error::KeyRefused.into());
        }
        if self.states.borrow().gone {
            let id = self.tenant.organization.as_str();
            return Err(not_found(Kind::Organization, "organization_id", id).into());
        }
        Ok(())
    }

    /// Waits until something may have happened, or until that time; then it returns true.
    async fn wait(&mut self, until: Instant) -> bool {
        tokio::select! {
            biased;
            () = self.frames.closed() => false,
            () = self.hub.inner().shutdown.cancelled() => false,
            () = self.seat.revoked.cancelled() => false,
            // The other half lives as long as the seat.
            _ = self.states.changed() => false,
            () = sleep_until(until) => true,
        }
    }

    /// Reads on, and sends what matches. Returns whether anything did.
    async fn send_part(&mut self) -> std::result::Result<bool, End> {
        // Nothing is held for a client that does not read but the frame that waits for it.
        self.within_patience(async |frames| frames.ready().await.is_ok()).await?;
        let size = self.states.borrow().size;
        // Boxed: a watcher that waits does not need the room.
        let (events, next, room) = Box::pin(self.read(size)).await?;
        self.next = next;
        if events.is_empty() {
            return Ok(false);
        }
        self.send(WatchContent::Events(events), room).await?;
        Ok(true)
    }

    /// The next events that match, and where to go on: from memory, from the end of the log, or from
    /// its history.
    async fn read(&mut self, size: u64) -> std::result::Result<Part, End> {
        if let Some(events) = self.recent() {
            return Ok(self.matching(events)?);
        }
        let kept_from = self.seat.log.recent().first();
        if size - self.next > NEWEST || kept_from.is_some_and(|first| first > self.next) {
            let end = size.min(kept_from.filter(|first| *first > self.next).unwrap_or(size));
            return self.read_history(end).await;
        }
        let _turn = self.seat.log.reading.lock().await;
        if let Some(events) = self.recent() {
            return Ok(self.matching(events)?);
        }
        let (store, organization) = (&self.hub.inner().store, &self.tenant.organization);
        let part = store.watch_newest(organization, self.next..size, FRAME).await;
        let part = part.map_err(Error::from)?;
        let events: Vec<_> = part.rows.into_iter().map(|row| Arc::new(row.into())).collect();
        self.seat.log.recent().add(events.iter().cloned());
        let (events, ..) = self.matching(events)?;
        Ok((events, part.next, None))
    }

    /// What is kept in memory from here on.
    fn recent(&self) -> Option<Vec<Arc<Recent>>> {
        self.seat.log.recent().from(self.next, FRAME)
    }

    /// Those of the events that match, and the sequence after all of them.
    fn matching(&self, mut events: Vec<Arc<Recent>>) -> Result<Part> {
        let next = events.last().map_or(self.next, |last| last.sequence + 1);
        understood(&events)?;
        if self.filter != EventFilter::default() {
            events.retain(|event| {
                event.record().is_some_and(|record| self.filter.matches(&record.logged.event))
            });
        }
        Ok((events, next, None))
    }

    /// Reads what is older.
    async fn read_history(&mut self, size: u64) -> std::result::Result<Part, End> {
        let (turn, mut room) = self.wait_for_room().await?;
        let inner = self.hub.inner();
        let end = size.min(self.next.saturating_add(HISTORY_SPAN));
        let part = inner.store.watch_history(&self.tenant, &self.filter, self.next..end, FRAME);
        let part = part.await.map_err(Error::from)?;
        drop(turn);
        let bytes: usize = part.rows.iter().map(|row| row.payload.len()).sum();
        // What was not needed is given back.
        let unused = (FRAME_ROOM as usize).saturating_sub(bytes.div_ceil(1_024));
        drop(room.each_mut().map(|permit| permit.split(unused)));
        let events: Vec<_> = part.rows.into_iter().map(|row| Arc::new(row.into())).collect();
        understood(&events)?;
        Ok((events, part.next, Some(room)))
    }

    /// Waits for room for a frame of history, and for the turn to read it. The stream stays alive
    /// meanwhile.
    async fn wait_for_room(&mut self) -> std::result::Result<(OwnedSemaphorePermit, Room), End> {
        let (hub, of_key) = (self.hub.clone(), self.seat.history_room.clone());
        let wanted = async {
            let room = async |of: &Arc<Semaphore>| of.clone().acquire_many_owned(FRAME_ROOM).await;
            // First what the key may have: who waits for that is in nobody's way.
            let of_key = room(&of_key).await.ok()?;
            let of_all = room(&hub.inner().history_room).await.ok()?;
            let turn = hub.inner().history.clone().acquire_owned().await.ok()?;
            Some((turn, [of_key, of_all]))
        };
        tokio::pin!(wanted);
        loop {
            self.check()?;
            let found = tokio::select! {
                biased;
                found = &mut wanted => Some(found),
                () = self.frames.closed() => None,
                () = self.hub.inner().shutdown.cancelled() => None,
                () = self.seat.revoked.cancelled() => None,
                // What is wanted may be there meanwhile, and must not lie about.
                () = sleep(HEARTBEAT) => tokio::select! {
                    biased;
                    found = &mut wanted => Some(found),
                    sent = self.send_heartbeat() => {
                        sent?;
                        None
                    }
                },
            };
            if let Some(found) = found {
                // They are never closed.
                return found.ok_or_else(|| shutting_down().into());
            }
        }
    }

    async fn send_heartbeat(&mut self) -> std::result::Result<(), End> {
        let tree_size = self.states.borrow().size.max(self.next);
        let sent_at = self.clock.now();
        self.send(WatchContent::Heartbeat { tree_size, sent_at }, None).await
    }

    /// Sends a frame.
    async fn send(
        &mut self,
        content: WatchContent,
        room: Option<Room>,
    ) -> std::result::Result<(), End> {
        let (before, next_sequence) = (self.told, self.next);
        let frame = WatchFrame { content, next_sequence, room };
        self.within_patience(async move |frames| frames.send(before, frame).await.is_ok()).await?;
        self.told = self.next;
        Ok(())
    }

    /// Waits for a client that does not read, but not for ever. What waited for it is dropped then: the
    /// client may keep its connection without reading.
    async fn within_patience(
        &mut self,
        work: impl AsyncFnOnce(&WatchSender) -> bool,
    ) -> std::result::Result<(), End> {
        tokio::select! {
            biased;
            is_there = work(&self.frames) => return if is_there { Ok(()) } else { Err(End::Left) },
            () = self.hub.inner().shutdown.cancelled() => return Err(shutting_down().into()),
            () = sleep(self.patience) => {}
        }
        if let Some(before) = self.frames.take_back() {
            self.told = before;
        }
        Err(Error::WatcherTooSlow(self.patience.as_secs()).into())
    }
}

/// Fails if an event was changed behind the service's back so that it is none.
fn understood(events: &[Arc<Recent>]) -> Result<()> {
    if events.iter().all(|event| event.record().is_some()) {
        return Ok(());
    }
    Err(StoreError::Inconsistent { table: "events", column: "payload" }.into())
}

fn shutting_down() -> Error {
    Error::Unavailable("shutting down; call again")
}
