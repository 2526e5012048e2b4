//! The rules: what may be done, by whom, and what must hold. Transports call it; it calls the store.

pub mod api_keys;
pub mod auth;
pub mod download;
pub mod error;
pub mod events;
pub mod exports;
mod failures;
pub mod ingest;
pub mod key_uses;
pub mod lanes;
mod legal_holds;
pub mod log_streams;
pub mod organizations;
mod prepared;
pub mod receipts;
mod remembered;
pub mod schemas;
pub mod signer;
pub mod system_log;
mod tiles;
pub mod transparency;
pub mod tree;
pub mod watch;

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        caller::Caller,
        clock::Clock,
        destination_check::DestinationRules,
        page::PageRequest,
        permissions::{Operation, Permission, Reach},
        schema_check::TargetRule,
    },
    export::files::ExportFiles,
    store::{Store, StoreError},
    telemetry::{self, Telemetry},
};
use error::{Error, Kind, Result};

/// The rules that an operator can set.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Whether the first event of an unknown organization registers it.
    pub auto_register: bool,
    /// Whether an action must have a schema before its events are taken.
    pub require_schema: bool,
    /// How to treat targets beyond what the schema demands.
    pub target_rule: TargetRule,
    /// How events are written.
    pub lanes: lanes::LaneRules,
    /// For how many days events are kept where the organization says nothing.
    pub default_retention_days: u32,
    /// How long the client of a stream may take nothing while something waits for it.
    pub stream_patience: Duration,
    /// How many may watch logs at a time.
    pub watchers: watch::WatcherLimits,
    /// Whether links to exports are those that a bucket signs, where it does.
    pub presigned_urls: bool,
    /// What destinations of log streams may be.
    pub destinations: DestinationRules,
}

/// Everything that a call can need.
#[derive(Clone)]
pub struct Services {
    /// Who calls.
    pub auth: auth::Authenticator,
    /// Events.
    pub events: events::Events,
    /// Events as streams.
    pub ingest: ingest::Ingest,
    /// Actions and schemas.
    pub schemas: schemas::Schemas,
    /// Organizations.
    pub organizations: organizations::Organizations,
    /// Exports.
    pub exports: exports::Exports,
    /// API keys.
    pub api_keys: api_keys::ApiKeys,
    /// Proofs.
    pub transparency: transparency::Transparency,
    /// Log streams.
    pub log_streams: log_streams::LogStreams,
    /// Watched logs.
    pub watches: watch::Watches,
    /// What writes events.
    pub lanes: lanes::Lanes,
    /// What is recorded of the service itself.
    pub system_log: system_log::SystemLog,
}

/// What the services are made of.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where export files are.
    pub files: ExportFiles,
    /// Base of the links that are handed out.
    pub public_url: String,
    /// The operator's rules.
    pub rules: Rules,
    /// Whether reads of events and downloads of exports are recorded in the system log.
    pub record_reads: bool,
    /// How many refused keys a source may send a minute; 0 for no limit.
    pub refused_per_minute: u32,
    /// Who signs checkpoints.
    pub signer: signer::CheckpointSigner,
    /// What destinations of log streams are reached with.
    pub credentials: log_streams::Credentials,
    /// Who measures.
    pub telemetry: Telemetry,
    /// Cancelled when the service shuts down.
    pub shutdown: CancellationToken,
}

impl Services {
    /// Puts the services together, and starts the lanes.
    #[expect(clippy::too_many_lines, reason = "one service after the other, nothing else")]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, files, public_url, rules, .. } = parts;
        let Parts { record_reads, refused_per_minute, signer, credentials, .. } = parts;
        let Parts { telemetry, shutdown, .. } = parts;
        let links = download::Links::new(files, public_url, rules.presigned_urls);
        let hub = watch::Hub::new(store.clone(), rules.watchers, shutdown.clone());
        let lanes = lanes::Lanes::start(&store, &clock, rules.lanes, &hub, &telemetry);
        let system_log =
            system_log::SystemLog::start(store.clone(), clock.clone(), lanes.clone(), record_reads);
        let organizations = organizations::Organizations::new(
            store.clone(),
            clock.clone(),
            rules.clone(),
            system_log.clone(),
        );
        let watches = watch::Watches::new(
            store.clone(),
            clock.clone(),
            organizations.clone(),
            hub,
            rules.stream_patience,
            system_log.clone(),
        );
        let patience = rules.stream_patience;
        let destinations = rules.destinations;
        let schemas = schemas::Schemas::new(store.clone(), clock.clone(), system_log.clone());
        let auth = auth::Authenticator::new(store.clone(), clock.clone(), refused_per_minute);
        let transparency = transparency::Transparency::new(
            store.clone(),
            clock.clone(),
            organizations.clone(),
            signer,
            system_log.clone(),
        );
        let events = events::Events::new(events::Parts {
            store: store.clone(),
            clock: clock.clone(),
            rules,
            organizations: organizations.clone(),
            schemas: schemas.clone(),
            lanes: lanes.clone(),
            transparency: transparency.clone(),
            system_log: system_log.clone(),
        });
        let streams = log_streams::Parts {
            store: store.clone(),
            clock: clock.clone(),
            organizations: organizations.clone(),
            system_log: system_log.clone(),
            auth: auth.clone(),
            credentials,
            rules: destinations,
            shutdown: shutdown.clone(),
        };
        let exports = exports::Parts {
            store: store.clone(),
            clock: clock.clone(),
            organizations: organizations.clone(),
            links,
            auth: auth.clone(),
            system_log: system_log.clone(),
            shutdown: shutdown.clone(),
        };
        let (written, of) = (lanes.clone(), auth.clone());
        Self {
            log_streams: log_streams::LogStreams::new(streams),
            ingest: ingest::Ingest::new(events.clone(), written, of, patience, shutdown),
            events,
            exports: exports::Exports::new(exports),
            api_keys: api_keys::ApiKeys::new(
                store,
                clock,
                auth.clone(),
                organizations.clone(),
                system_log.clone(),
            ),
            auth,
            schemas,
            organizations,
            transparency,
            watches,
            lanes,
            system_log,
        }
    }

    /// Takes nothing new, and writes what waits: records of the system log, which are events too, first.
    pub async fn drain(&self) {
        self.system_log.drain().await;
        self.lanes.drain().await;
    }
}

/// Does all of a piece of work once it was begun, also if its caller goes away: so that what was done is
/// recorded too.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let recorded = async {
        let done = work.await;
        if let Err(Error::Store(StoreError::Unavailable(_))) = &done {
            // The answer to its commit may be what was lost.
            tracing::warn!("a change may have been made that the system log does not have");
        }
        done
    };
    let done = tokio::spawn(telemetry::carry(telemetry::current(), recorded)).await;
    done.unwrap_or_else(|_| Err(Error::Internal("a piece of work failed".to_owned())))
}

/// Fails unless the caller's key allows the operation, as the table of permissions says. Which of an
/// environment's organizations a caller sees is for `organizations::Organizations::tenant`.
fn permit(caller: &Caller, operation: Operation) -> Result<()> {
    let Permission { scope, reach, .. } = operation.permission();
    if !caller.has(scope) {
        return Err(Error::ScopeMissing(scope));
    }
    match reach {
        Reach::Unlimited(what) if caller.is_limited() => Err(Error::KeyLimited(what)),
        _ => Ok(()),
    }
}

fn not_found(kind: Kind, field: &'static str, id: impl Into<String>) -> Error {
    Error::NotFound { kind, field: field.into(), id: id.into() }
}

/// The error for a page whose cursor is in no list of the caller.
fn unknown_cursor<C: ToString>(request: &PageRequest<C>) -> Error {
    use crate::domain::page::Cursor;
    match &request.cursor {
        Cursor::Before(cursor) => not_found(Kind::Cursor, "before", cursor.to_string()),
        Cursor::After(cursor) => not_found(Kind::Cursor, "after", cursor.to_string()),
        Cursor::Start => not_found(Kind::Cursor, "after", ""),
    }
}
