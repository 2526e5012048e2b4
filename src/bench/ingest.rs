//! One stream of events as a caller: a call sends what keeps so many messages under way, and waits for
//! a frame of acknowledgements.

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;

use super::server::Load;
use crate::{
    client::{AuditLogs, explain},
    proto::v1::{self, ingest_acknowledgement::Result::Created},
};

/// How items are sent.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Items of a message.
    pub items: usize,
    /// Messages under way.
    pub messages: usize,
}

/// One stream.
pub struct IngestCaller {
    load: Load,
    pace: Pace,
    number: u64,
    open: usize,
    items: mpsc::UnboundedSender<v1::IngestEventsRequest>,
    frames: Streaming<v1::IngestEventsResponse>,
}

impl IngestCaller {
    /// Opens the stream.
    pub async fn open(mut client: AuditLogs, load: Load, pace: Pace) -> Result<Self> {
        let (items, messages) = mpsc::unbounded_channel();
        let answer = client.ingest_events(UnboundedReceiverStream::new(messages)).await;
        let frames = answer.context("the server refused a stream")?.into_inner();
        Ok(Self { load, pace, number: 0, open: 0, items, frames })
    }

    fn send(&mut self) -> Result<()> {
        let item = |_| {
            self.number += 1;
            v1::IngestItem { number: self.number, request: Some(self.load.request()) }
        };
        let items = (0..self.pace.items).map(item).collect();
        self.open += self.pace.items;
        self.items.send(v1::IngestEventsRequest { items }).context("the stream is closed")
    }
}

impl super::load::Caller for IngestCaller {
    async fn call(&mut self) -> Result<u64> {
        while self.open + self.pace.items <= self.pace.items * self.pace.messages {
            self.send()?;
        }
        let frame = match self.frames.message().await {
            Ok(frame) => frame.context("the server ended the stream")?,
            Err(status) => bail!("the server ended the stream: {}", explain(&status)),
        };
        let told = frame.acknowledgements;
        if let Some(refused) = told.iter().find(|one| !matches!(one.result, Some(Created(_)))) {
            bail!("the server did not store every event of a stream: {refused:?}");
        }
        self.open -= told.len();
        Ok(told.len() as u64)
    }
}
