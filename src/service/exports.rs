//! Export jobs, as callers see them.

mod opening;

use std::{sync::Arc, time::Duration};

use async_stream::try_stream;
use futures::Stream;
use rand::RngExt;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{
    auth::{Authenticator, Credential},
    download::{self, Link, Links},
    error::{Error, Kind, Result},
    not_found,
    organizations::{Organizations, check_id},
    permit,
    system_log::{SystemEvent, SystemLog},
    to_its_end, unknown_cursor,
};
use crate::{
    domain::{
        caller::Caller,
        clock::Clock,
        event_draft::TimeDraft,
        export::{Export, ExportCompression, ExportFormat, ExportProgress, ExportState},
        filter::{EventFilter, ExportRange},
        ids::ExportId,
        limits,
        page::{Page, PageDraft},
        permissions::Operation,
        violation::{Reason, Violation, Violations},
    },
    export::files::Part,
    store::Store,
};

/// How often a watched export is looked up in the database, in case another replica writes it.
const LOOK_UP: Duration = Duration::from_millis(700);
/// Changes of exports on this replica that a watcher may be behind.
const UPDATES: usize = 256;

/// Manages exports.
#[derive(Clone)]
pub struct Exports {
    store: Store,
    clock: Arc<dyn Clock>,
    organizations: Organizations,
    links: Links,
    updates: ExportUpdates,
    auth: Authenticator,
    system_log: SystemLog,
    shutdown: CancellationToken,
}

/// Tells watchers on this replica what its worker does, and the worker that there is work.
#[derive(Clone)]
pub struct ExportUpdates {
    changed: broadcast::Sender<ExportId>,
    waiting: Arc<tokio::sync::Notify>,
}

impl Default for ExportUpdates {
    fn default() -> Self {
        Self { changed: broadcast::channel(UPDATES).0, waiting: Arc::default() }
    }
}

impl ExportUpdates {
    /// Tells that an export changed.
    pub fn publish(&self, id: &ExportId) {
        // Fails when nobody watches, which is fine.
        let _ = self.changed.send(id.clone());
    }

    /// Returns when a job was created on this replica since the last call.
    pub async fn work(&self) {
        self.waiting.notified().await;
    }
}

/// An export with a link to its file, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportView {
    /// The export.
    pub export: Export,
    /// A fresh link.
    pub link: Option<Link>,
    /// A fresh link to its manifest.
    pub manifest_link: Option<Link>,
}

/// What to export, as sent.
#[derive(Debug, Clone, Default)]
pub struct NewExport {
    /// Whose log.
    pub organization_id: String,
    /// Earliest `occurred_at`, inclusive.
    pub range_start: TimeDraft,
    /// Latest `occurred_at`, inclusive.
    pub range_end: TimeDraft,
    /// Further filters.
    pub filter: EventFilter,
    /// How to write the file; `None` if it is no format that there is.
    pub format: Option<ExportFormat>,
    /// How to compress the file; `None` if it is no way that there is.
    pub compression: Option<ExportCompression>,
}

impl NewExport {
    /// Checks everything at once. A range that is sent but is none has a reason of its own.
    fn validate(&self) -> Result<(ExportRange, ExportFormat, ExportCompression)> {
        let mut violations = Violations::default();
        check_id("organization_id", &self.organization_id, &mut violations);
        self.filter.check(&mut violations);
        if self.format.is_none() {
            let description = "format must be one that the service knows";
            violations.add("format", Reason::Unknown, description);
        }
        if self.compression.is_none() {
            let description = "compression must be one that the service knows";
            violations.add("compression", Reason::Unknown, description);
        }
        let range = match ExportRange::check(self.range_start, self.range_end) {
            Err(found) if violations.is_empty() && !is_missing(&found) => {
                return Err(Error::InvalidExportRange(found));
            }
            Err(found) => {
                violations.extend(found);
                None
            }
            Ok(range) => Some(range),
        };
        match (range, self.format, self.compression) {
            (Some(range), Some(format), Some(compression)) => {
                Ok(violations.into_result((range, format, compression))?)
            }
            _ => Err(violations.into_found().into()),
        }
    }
}

fn is_missing(found: &[Violation]) -> bool {
    found.iter().any(|violation| violation.reason == Reason::Required)
}

/// What exports are managed with.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whose logs there are.
    pub organizations: Organizations,
    /// Where files are, and the links to them.
    pub links: Links,
    /// Who still may follow an export.
    pub auth: Authenticator,
    /// Where it is recorded what was exported, and for whom.
    pub system_log: SystemLog,
    /// Cancelled when the service shuts down.
    pub shutdown: CancellationToken,
}

impl Exports {
    /// Exports are kept in `store`, their files where `links` says.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, organizations, links, auth, system_log, shutdown } = parts;
        let updates = ExportUpdates::default();
        Self { store, clock, organizations, links, updates, auth, system_log, shutdown }
    }

    /// Where the worker tells what it does.
    pub fn updates(&self) -> ExportUpdates {
        self.updates.clone()
    }

    /// Starts an export of what the log holds now.
    pub async fn create(&self, caller: &Caller, new: NewExport) -> Result<ExportView> {
        permit(caller, Operation::CreateExport)?;
        let (range, format, compression) = new.validate()?;
        let tenant = self.organizations.tenant(caller, &new.organization_id).await?;
        // Each will take room in the export store. Racing calls may go a little beyond.
        let pending = self.store.count_pending_exports(&tenant.organization).await?;
        if pending >= limits::PENDING_EXPORTS {
            return Err(Error::TooManyExports(pending));
        }
        let now = self.clock.now();
        let export = {
            let mut random = rand::rng();
            Export {
                id: ExportId::generate(now, &mut random),
                environment_id: tenant.environment.clone(),
                organization_id: tenant.organization.clone(),
                state: ExportState::Pending,
                format,
                compression,
                tree_size: 0,
                range,
                filter: new.filter,
                progress: ExportProgress::default(),
                error: None,
                download_secret: random.random::<[u8; 32]>().to_vec(),
                attempt: 0,
                failures: 0,
                remains: None,
                created_at: now,
                updated_at: now,
            }
        };
        // Read after the call arrived: everything acknowledged before it is below this size.
        let tree_size = self.store.log_size(&tenant).await?;
        let export = Export { tree_size, ..export };
        let (this, caller) = (self.clone(), caller.clone());
        to_its_end(async move {
            this.store.insert_export(&export).await?;
            this.updates.waiting.notify_one();
            let done = event_of(&export, SystemEvent::by(&caller, "export.created"))
                .with("format", export.format.as_str())
                .with("filters", export.filter.kinds())
                .with("range_start", export.range.start.to_string())
                .with("range_end", export.range.end.to_string())
                .with("tree_size", tree_size);
            this.system_log.record(done).await;
            Ok(this.view(export).await)
        })
        .await
    }

    /// Returns an export as it is now.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<ExportView> {
        let found = self.find(caller, Operation::GetExport, id).await?;
        self.hands_out(caller, &found).await;
        Ok(found)
    }

    /// Records that the caller gets links to an export's file, if it does.
    async fn hands_out(&self, caller: &Caller, view: &ExportView) {
        if view.link.is_some() {
            let read = event_of(&view.export, SystemEvent::by(caller, "export.link_issued"));
            self.system_log.record_read(read).await;
        }
    }

    /// The export with that id, to do that with it.
    async fn find(&self, caller: &Caller, operation: Operation, id: &str) -> Result<ExportView> {
        permit(caller, operation)?;
        let mut violations = Violations::default();
        violations.required_text("export_id", id, limits::SHORT_TEXT_CHARS);
        violations.into_result(())?;
        let unknown = || not_found(Kind::Export, "export_id", id);
        let export = self.store.get_export(caller, &ExportId::from_stored(id)).await?;
        let export = export.ok_or_else(unknown)?;
        // It is gone with its organization.
        let known = self.organizations.find(caller, export.organization_id.clone()).await?;
        known.ok_or_else(unknown)?;
        Ok(self.view(export).await)
    }

    /// Calls an export off, unless it has ended; returns it as it is then.
    pub async fn cancel(&self, caller: &Caller, id: &str) -> Result<ExportView> {
        let found = self.find(caller, Operation::CancelExport, id).await?;
        if found.export.state == ExportState::Pending {
            let (this, by, export) = (self.clone(), caller.clone(), found.export);
            to_its_end(async move {
                if this.store.cancel_export(&export.id, this.clock.now()).await? {
                    this.updates.publish(&export.id);
                    let done = event_of(&export, SystemEvent::by(&by, "export.cancelled"));
                    this.system_log.record(done).await;
                }
                Ok(())
            })
            .await?;
        }
        let now = self.find(caller, Operation::CancelExport, id).await?;
        self.hands_out(caller, &now).await;
        Ok(now)
    }

    /// Follows an export: its present state, then each change, until it is written or given up. Ends with
    /// an error once the key is revoked, and never tells a link after that.
    pub fn watch(
        &self,
        caller: Caller,
        credential: Credential,
        id: String,
    ) -> impl Stream<Item = Result<ExportView>> + use<> {
        let exports = self.clone();
        try_stream! {
            // Before the first look, so that no change falls between the two.
            let mut updates = exports.updates.changed.subscribe();
            let mut seen = exports.get(&caller, &id).await?;
            yield seen.clone();
            while seen.export.state == ExportState::Pending {
                exports.may_have_changed(&mut updates, &id).await?;
                let caller = caller.with_grant(exports.auth.authenticate(credential).await?);
                let next = exports.get(&caller, &id).await?;
                if next.export != seen.export {
                    yield next.clone();
                    seen = next;
                }
            }
        }
    }

    /// Waits until the export may have changed.
    async fn may_have_changed(
        &self,
        updates: &mut broadcast::Receiver<ExportId>,
        id: &str,
    ) -> Result<()> {
        let look_up = tokio::time::sleep(LOOK_UP);
        tokio::pin!(look_up);
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => {
                    return Err(Error::Unavailable("shutting down; call again"));
                }
                update = updates.recv() => match update {
                    Ok(changed) if changed.as_str() != id => {}
                    // It changed, or this watcher is too far behind to know.
                    _ => return Ok(()),
                },
                () = &mut look_up => return Ok(()),
            }
        }
    }

    /// Lists exports, of one organization or all that the caller can see.
    pub async fn list(
        &self,
        caller: &Caller,
        organization: &str,
        page: PageDraft,
    ) -> Result<Page<ExportView>> {
        permit(caller, Operation::ListExports)?;
        let page = page.validate()?;
        let tenant = match organization {
            "" => None,
            id => Some(self.organizations.tenant(caller, id).await?),
        };
        if let Some(cursor) = page.cursor_text() {
            let id = ExportId::from_stored(cursor);
            let found = self.store.get_export(caller, &id).await?;
            found.ok_or_else(|| unknown_cursor(&page))?;
        }
        let organization = tenant.as_ref().map(|tenant| &tenant.organization);
        let page = self.store.list_exports(caller, organization, &page).await?;
        let links = futures::future::join_all(page.items.iter().map(|export| self.links(export)));
        let mut links = links.await.into_iter();
        let page = page.try_map(|export| {
            let (link, manifest_link) = links.next().unwrap_or_default();
            Ok::<_, Error>(ExportView { export, link, manifest_link })
        })?;
        let linked: Vec<_> = page.items.iter().filter(|view| view.link.is_some()).collect();
        if !linked.is_empty() {
            let read = SystemEvent::by(caller, "export.link_issued").with("exports", linked.len());
            let read = linked.iter().fold(read, |read, view| read.on("export", &view.export.id));
            self.system_log.record_read(read).await;
        }
        Ok(page)
    }

    async fn view(&self, export: Export) -> ExportView {
        let (link, manifest_link) = self.links(&export).await;
        ExportView { export, link, manifest_link }
    }

    /// Links to the file and to the manifest.
    async fn links(&self, export: &Export) -> (Option<Link>, Option<Link>) {
        let link = |part| self.links.make(export, part, self.clock.now());
        (link(Part::File).await, link(Part::Manifest).await)
    }
}

/// Something that happened to an export.
fn event_of(export: &Export, event: SystemEvent) -> SystemEvent {
    event.on("export", &export.id).on("organization", &export.organization_id)
}
