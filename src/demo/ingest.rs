//! Sends the records of an input to a server, batch by batch.

use std::collections::HashMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use indicatif::ProgressBar;
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::source::{Input, Record};
use crate::{
    client::{AuditLogs, explain},
    proto::v1::{self, batch_create_events_result::Result as Item},
};

/// Most events of a batch.
const BATCH_EVENTS: usize = 250;
/// A batch ends after this many bytes; a message may have 4 MiB.
const BATCH_BYTES: usize = 2 * 1_024 * 1_024;
/// Batches that are read ahead.
const AHEAD: usize = 2;

/// What the server said to all events.
#[derive(Debug, Default)]
pub struct Ingested {
    /// How many were acknowledged.
    pub events: u64,
    /// How many of those were there before.
    pub duplicates: u64,
    /// How many different places in the log they have.
    pub distinct: u64,
    /// The places, as bits: a file may hold a record twice, and a log may have been filled before.
    places: Vec<u64>,
}

/// Where to send to.
pub struct Ingestion {
    /// The server.
    pub client: AuditLogs,
    /// Whose log takes the events.
    pub organization_id: String,
    /// The version of each action's schema.
    pub versions: HashMap<String, i32>,
    /// What the input is called.
    pub name: String,
    /// What to show.
    pub bar: ProgressBar,
}

/// Some events and the lines that they come from.
#[derive(Default)]
struct Batch {
    requests: Vec<v1::CreateEventRequest>,
    lines: Vec<u64>,
    bytes: usize,
}

impl Ingestion {
    /// Sends everything. Batches go one after another, so the log has the order of the input.
    pub async fn run(mut self, input: Input) -> Result<Ingested> {
        let (sender, mut batches) = mpsc::channel(AHEAD);
        let prepare = Prepare {
            organization_id: self.organization_id.clone(),
            versions: std::mem::take(&mut self.versions),
            sender,
        };
        let reader = tokio::task::spawn_blocking(move || prepare.run(&input));
        let mut ingested = Ingested::default();
        while let Some(batch) = batches.recv().await {
            self.send(batch, &mut ingested).await?;
        }
        reader.await.context("the reader failed")??;
        Ok(ingested)
    }

    async fn send(&mut self, batch: Batch, ingested: &mut Ingested) -> Result<()> {
        let Batch { requests, lines, .. } = batch;
        let request = v1::BatchCreateEventsRequest { requests, atomic: false };
        let response = self.client.batch_create_events(request).await;
        let response = response
            .map_err(|status| anyhow!("the server refused a batch: {}", explain(&status)))?;
        let results = response.into_inner().results;
        ensure!(results.len() == lines.len(), "the server sent too few or too many results");
        for (line, result) in lines.into_iter().zip(results) {
            match result.result {
                Some(Item::Created(created)) => ingested.add(&created),
                Some(Item::Error(status)) => {
                    let told = explain(&item_status(&status));
                    bail!("{}, line {line}: the server refused the event: {told}", self.name)
                }
                None => bail!("{}, line {line}: the server sent no result", self.name),
            }
            self.bar.inc(1);
        }
        Ok(())
    }
}

impl Ingested {
    fn add(&mut self, created: &v1::CreateEventResponse) {
        self.events += 1;
        self.duplicates += u64::from(created.duplicate);
        let word = usize::try_from(created.sequence / 64).unwrap_or(usize::MAX);
        let bit = 1 << (created.sequence % 64);
        if self.places.len() <= word {
            self.places.resize(word + 1, 0);
        }
        self.distinct += u64::from(self.places[word] & bit == 0);
        self.places[word] |= bit;
    }
}

/// The status of one item of a batch, with its details.
fn item_status(status: &tonic_types::Status) -> Status {
    let details = status.encode_to_vec().into();
    Status::with_details(Code::from(status.code), &status.message, details)
}

/// Reads, maps and packs, on a thread of its own.
struct Prepare {
    organization_id: String,
    versions: HashMap<String, i32>,
    sender: mpsc::Sender<Batch>,
}

impl Prepare {
    fn run(self, input: &Input) -> Result<()> {
        let mut batch = Batch::default();
        for record in input.open()? {
            batch.add(self.request(record?)?);
            let full = batch.lines.len() == BATCH_EVENTS || batch.bytes >= BATCH_BYTES;
            if full && self.sender.blocking_send(std::mem::take(&mut batch)).is_err() {
                // Nobody listens: the other side has an error of its own to tell.
                return Ok(());
            }
        }
        if !batch.lines.is_empty() {
            let _ = self.sender.blocking_send(batch);
        }
        Ok(())
    }

    fn request(&self, record: Record) -> Result<(u64, v1::CreateEventRequest)> {
        let Record { line, mapped } = record;
        let mut event = mapped.event;
        // With its version, so that an older schema of the same action does not matter.
        let version = self.versions.get(&event.action);
        event.version = *version.context("the file changed while it was read")?;
        let organization_id = self.organization_id.clone();
        let idempotency_key = mapped.event_id;
        let event = Some(event);
        Ok((
            line,
            v1::CreateEventRequest { organization_id, event, idempotency_key, receipt: false },
        ))
    }
}

impl Batch {
    fn add(&mut self, (line, request): (u64, v1::CreateEventRequest)) {
        self.bytes += request.encoded_len();
        self.lines.push(line);
        self.requests.push(request);
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

    use super::*;

    #[test]
    fn counts_each_place_once() {
        let mut ingested = Ingested::default();
        for (sequence, duplicate) in [(0, false), (63, false), (64, false), (63, true)] {
            let created = v1::CreateEventResponse { sequence, duplicate, ..Default::default() };
            ingested.add(&created);
        }
        assert_eq!((ingested.events, ingested.duplicates, ingested.distinct), (4, 1, 3));
    }

    #[test]
    fn tells_all_that_is_wrong() {
        let violation = |field: &str, description: &str| FieldViolation {
            field: field.into(),
            description: description.into(),
            reason: String::new(),
            localized_message: None,
        };
        let mut details = ErrorDetails::new();
        let wrong = [violation("event.a", "event.a is required"), violation("event.b", "is odd")];
        details.set_bad_request(wrong);
        let rich = Status::with_error_details(Code::InvalidArgument, "not valid", details);
        assert_eq!(explain(&rich), "event.a is required; event.b is odd");
        let item = tonic_types::Status::decode(rich.details()).unwrap();
        assert_eq!(explain(&item_status(&item)), "event.a is required; event.b is odd");
        let bare = Status::unauthenticated("the key is unknown");
        assert_eq!(explain(&bare), "the key is unknown (Unauthenticated)");
    }

    #[test]
    fn an_action_without_a_schema_ends_the_reading() {
        let (sender, mut batches) = mpsc::channel(AHEAD);
        let organization_id = "org_1".to_owned();
        let prepare = Prepare { organization_id, versions: HashMap::new(), sender };
        let error = prepare.run(&Input::Sample).unwrap_err();
        assert_eq!(error.to_string(), "the file changed while it was read");
        assert!(batches.blocking_recv().is_none());
    }
}
