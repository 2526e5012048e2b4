//! Log streams, as callers manage them. `worker::forward` does the forwarding.

mod change;
mod credentials;
mod dead_letters;
mod status;
mod trial;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::{
    change::{DestinationDraft, LogStreamChanges, NewLogStream},
    credentials::Credentials,
    status::StatusView,
    trial::Trial,
};
use super::{
    auth::Authenticator,
    error::{Error, Kind, Result},
    not_found,
    organizations::{Organizations, check_id},
    permit,
    system_log::{SystemEvent, SystemLog},
    to_its_end, unknown_cursor,
    watch::{Start, WatchStart},
};
use crate::{
    domain::{
        caller::{Caller, Tenant},
        clock::Clock,
        destination_check::DestinationRules,
        ids::LogStreamId,
        limits,
        log_stream::{LogStream, LogStreamState},
        page::{Page, PageDraft},
        permissions::Operation,
        violation::{Reason, Violation, Violations},
    },
    store::{Store, StoredLogStream},
};

/// Manages log streams. Cheap to clone.
#[derive(Clone)]
pub struct LogStreams {
    store: Store,
    clock: Arc<dyn Clock>,
    organizations: Organizations,
    system_log: SystemLog,
    auth: Authenticator,
    credentials: Credentials,
    rules: DestinationRules,
    changed: Arc<Notify>,
    shutdown: CancellationToken,
}

/// What log streams are managed with.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whose logs there are.
    pub organizations: Organizations,
    /// Where changes are recorded.
    pub system_log: SystemLog,
    /// Who still may follow a status.
    pub auth: Authenticator,
    /// The secrets, and where they may be used.
    pub credentials: Credentials,
    /// What an operator allows.
    pub rules: DestinationRules,
    /// Cancelled when the service shuts down.
    pub shutdown: CancellationToken,
}

impl LogStreams {
    /// Log streams are kept in the store.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, organizations, system_log, auth, credentials, rules, shutdown } =
            parts;
        let changed = Arc::default();
        Self {
            store,
            clock,
            organizations,
            system_log,
            auth,
            credentials,
            rules,
            changed,
            shutdown,
        }
    }

    /// Returns when a log stream was changed on this replica since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The secrets of destinations, and where they may be used.
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Where what streams do is recorded.
    pub const fn system_log(&self) -> &SystemLog {
        &self.system_log
    }

    /// Returns one log stream.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<LogStream> {
        Ok(self.find(caller, Operation::GetLogStream, id).await?.stream)
    }

    /// A page of the log streams that the caller can see, of one organization or all.
    pub async fn list(
        &self,
        caller: &Caller,
        organization: &str,
        page: PageDraft,
    ) -> Result<Page<LogStream>> {
        permit(caller, Operation::ListLogStreams)?;
        let mut violations = Violations::default();
        if !organization.is_empty() {
            check_id("organization_id", organization, &mut violations);
        }
        let request = page.check(&mut violations);
        violations.into_result(())?;
        let tenant = if organization.is_empty() {
            None
        } else {
            Some(self.organizations.tenant(caller, organization).await?)
        };
        if let Some(cursor) = request.cursor_text() {
            let found =
                self.store.get_log_stream(caller, &LogStreamId::from_stored(cursor)).await?;
            let wanted = tenant.as_ref().map(|tenant| &tenant.organization);
            let is_listed = |found: &StoredLogStream| {
                wanted.is_none_or(|wanted| *wanted == found.stream.organization_id)
            };
            if !found.as_ref().is_some_and(is_listed) {
                return Err(unknown_cursor(&request));
            }
        }
        let organization = tenant.as_ref().map(|tenant| &tenant.organization);
        Ok(self.store.list_log_streams(caller, organization, &request).await?)
    }

    /// Deletes a log stream and its dead letters.
    pub async fn delete(&self, caller: &Caller, id: &str) -> Result<()> {
        let stream = self.find(caller, Operation::DeleteLogStream, id).await?.stream;
        let (this, caller) = (self.clone(), caller.clone());
        to_its_end(async move {
            if !this.store.delete_log_stream(&stream.key()).await? {
                return Err(unknown(&stream));
            }
            this.changed.notify_one();
            this.record(&caller, &stream, "log_stream.deleted", Vec::new()).await;
            Ok(())
        })
        .await
    }

    /// Pauses a log stream.
    pub async fn pause(&self, caller: &Caller, id: &str) -> Result<LogStream> {
        self.set_running(caller, Operation::PauseLogStream, id).await
    }

    /// Lets a log stream go on, or try again at once.
    pub async fn resume(&self, caller: &Caller, id: &str) -> Result<LogStream> {
        self.set_running(caller, Operation::ResumeLogStream, id).await
    }

    async fn set_running(
        &self,
        caller: &Caller,
        operation: Operation,
        id: &str,
    ) -> Result<LogStream> {
        let running = operation == Operation::ResumeLogStream;
        let stream = self.find(caller, operation, id).await?.stream;
        let (this, by) = (self.clone(), caller.clone());
        to_its_end(async move {
            let (key, now) = (stream.key(), this.clock.now());
            let before = this.store.set_log_stream_running(&key, running, now).await?;
            let before = before.ok_or_else(|| unknown(&stream))?;
            this.changed.notify_one();
            if (before != LogStreamState::Inactive) != running {
                let action = if running { "log_stream.resumed" } else { "log_stream.paused" };
                this.record(&by, &stream, action, Vec::new()).await;
            }
            Ok(())
        })
        .await?;
        Ok(self.find(caller, operation, id).await?.stream)
    }

    /// Moves the cursor of a log stream.
    pub async fn replay(
        &self,
        caller: &Caller,
        id: &str,
        from: Option<WatchStart>,
    ) -> Result<LogStream> {
        let stream = self.find(caller, Operation::ReplayLogStream, id).await?.stream;
        let from = from.ok_or_else(|| {
            let why = "from_sequence or from_time is required";
            vec![Violation::new("from_sequence", Reason::Required, why)]
        })?;
        let next = self.starting(&stream.tenant(), from).await?;
        let (this, by) = (self.clone(), caller.clone());
        to_its_end(async move {
            if !this.store.replay_log_stream(&stream.key(), next).await? {
                return Err(unknown(&stream));
            }
            this.changed.notify_one();
            let facts = vec![
                ("from_sequence", next.into()),
                ("instead_of_sequence", stream.progress.next_sequence.into()),
            ];
            this.record(&by, &stream, "log_stream.replayed", facts).await;
            Ok(())
        })
        .await?;
        Ok(self.find(caller, Operation::ReplayLogStream, id).await?.stream)
    }

    /// The sequence where a stream is to begin.
    async fn starting(&self, tenant: &Tenant, from: WatchStart) -> Result<u64> {
        let mut violations = Violations::default();
        let start = from.check(&mut violations);
        violations.into_result(())?;
        let size = self.store.log_size(tenant).await?;
        Start { store: &self.store, tenant, size }.sequence(start, self.clock.now()).await
    }

    /// The stream with that id as the caller's, if it is, to do that with it.
    async fn find(
        &self,
        caller: &Caller,
        operation: Operation,
        id: &str,
    ) -> Result<StoredLogStream> {
        permit(caller, operation)?;
        let mut violations = Violations::default();
        violations.required_text("log_stream_id", id, limits::SHORT_TEXT_CHARS);
        violations.into_result(())?;
        let found = self.store.get_log_stream(caller, &LogStreamId::from_stored(id)).await?;
        found.ok_or_else(|| not_found(Kind::LogStream, "log_stream_id", id))
    }

    /// Records what a caller did to a stream.
    async fn record(
        &self,
        caller: &Caller,
        stream: &LogStream,
        action: &'static str,
        metadata: Vec<(&'static str, serde_json::Value)>,
    ) {
        let done = event_of(stream, SystemEvent::by(caller, action));
        let done = metadata.into_iter().fold(done, |done, (name, value)| done.with(name, value));
        self.system_log.record(done).await;
    }
}

fn unknown(stream: &LogStream) -> Error {
    not_found(Kind::LogStream, "log_stream_id", stream.id.as_str())
}

/// Something that happened to a stream.
pub fn event_of(stream: &LogStream, event: SystemEvent) -> SystemEvent {
    event.on("log_stream", &stream.id).on("organization", &stream.organization_id)
}
