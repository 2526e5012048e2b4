//! Export jobs, as callers see them.

use std::{sync::Arc, time::Duration};

use async_stream::try_stream;
use futures::Stream;
use object_store::GetResult;
use rand::RngExt;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use super::{
    auth::{Authenticator, Credential},
    download::{self, Link, Links},
    error::{Error, Kind, Result},
    not_found,
    organizations::{Organizations, check_id},
    require, unknown_cursor,
};
use crate::{
    domain::{
        api_key::Scope,
        caller::Caller,
        clock::Clock,
        event_draft::TimeDraft,
        export::{Export, ExportCompression, ExportFormat, ExportProgress, ExportState},
        filter::{EventFilter, ExportRange},
        ids::ExportId,
        limits,
        page::{Page, PageDraft},
        violation::{Reason, Violation, Violations},
    },
    export::files::{ByteRange, Part},
    store::Store,
};

/// How often a watched export is looked up in the database, in case another replica writes it.
const LOOK_UP: Duration = Duration::from_millis(700);
/// Changes of exports on this replica that a watcher may be behind.
const UPDATES: usize = 256;

/// What is told of an export whose file has another length than was written.
const DAMAGED: &str = "the file was damaged or lost after it was written; export again";

/// Manages exports.
#[derive(Clone)]
pub struct Exports {
    store: Store,
    clock: Arc<dyn Clock>,
    organizations: Organizations,
    links: Links,
    updates: ExportUpdates,
    auth: Authenticator,
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
    /// Cancelled when the service shuts down.
    pub shutdown: CancellationToken,
}

impl Exports {
    /// Exports are kept in `store`, their files where `links` says.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, organizations, links, auth, shutdown } = parts;
        let updates = ExportUpdates::default();
        Self { store, clock, organizations, links, updates, auth, shutdown }
    }

    /// Where the worker tells what it does.
    pub fn updates(&self) -> ExportUpdates {
        self.updates.clone()
    }

    /// Starts an export of what the log holds now.
    pub async fn create(&self, caller: &Caller, new: NewExport) -> Result<ExportView> {
        require(caller, Scope::Exports)?;
        let (range, format, compression) = new.validate()?;
        let tenant = self.organizations.tenant(caller, &new.organization_id).await?;
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
        self.store.insert_export(&export).await?;
        self.updates.waiting.notify_one();
        Ok(self.view(export).await)
    }

    /// Returns an export as it is now.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<ExportView> {
        require(caller, Scope::Exports)?;
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
        let found = self.get(caller, id).await?;
        if found.export.state != ExportState::Pending {
            return Ok(found);
        }
        if self.store.cancel_export(&found.export.id, self.clock.now()).await? {
            self.updates.publish(&found.export.id);
        }
        self.get(caller, id).await
    }

    /// Follows an export: its present state, then each change, until it is written or given up. Ends with
    /// an error once the key is revoked, and never tells a link after that.
    pub fn watch(
        &self,
        caller: Arc<Caller>,
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
                let caller = exports.auth.authenticate(credential).await?;
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
        require(caller, Scope::Exports)?;
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
        page.try_map(|export| {
            let (link, manifest_link) = links.next().unwrap_or_default();
            Ok(ExportView { export, link, manifest_link })
        })
    }

    /// Opens the file or the manifest that a link names, from the start or a part of it.
    pub async fn open(
        &self,
        id: &str,
        part: Part,
        expires: i64,
        signature: &str,
        range: Option<ByteRange>,
    ) -> Result<(Export, GetResult)> {
        if id.chars().any(char::is_control) {
            return Err(Error::LinkRefused);
        }
        let export = self.store.find_export(&ExportId::from_stored(id)).await?;
        let export = export.ok_or(Error::LinkRefused)?;
        if !download::is_valid(&export, part, expires, signature, self.clock.now()) {
            return Err(Error::LinkRefused);
        }
        let Export { environment_id, organization_id, .. } = &export;
        let organization = self.store.get_organization(environment_id, organization_id).await?;
        if export.state != ExportState::Ready || organization.is_none() {
            return Err(not_found(Kind::Export, "export_id", id));
        }
        // Nobody waits until a local file is on the disk; after a power failure it may not be, or not whole.
        match self.links.files.open(&export, part, range).await {
            Ok(file) if part != Part::File || file.meta.size == export.progress.bytes_written => {
                Ok((export, file))
            }
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                self.store.fail_damaged_export(&export, DAMAGED, self.clock.now()).await?;
                Err(not_found(Kind::Export, "export_id", id))
            }
            Err(error) => Err(Error::Files(error)),
        }
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
