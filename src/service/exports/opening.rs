//! Opening what a link names. A link is its own credential.

use std::sync::Arc;

use object_store::GetResult;

use super::{Error, Exports, Kind, Result, SystemEvent, download, event_of, not_found};
use crate::{
    domain::{
        caller::Origin,
        export::{Export, ExportState},
        ids::ExportId,
    },
    export::files::{ByteRange, Part},
};

/// What is told of an export whose file has another length than was written, or is gone.
const DAMAGED: &str = "the file was damaged or lost after it was written; export again";

impl Exports {
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

    /// Records that a file or a manifest was opened with a link.
    pub async fn downloaded(&self, export: &Export, part: Part, origin: &Arc<Origin>) {
        let environment = export.environment_id.clone();
        let read = SystemEvent::by_link(environment, &export.id, origin, "export.downloaded");
        let read = event_of(export, read).with("manifest", part == Part::Manifest);
        self.system_log.record_read(read).await;
    }
}
