//! Where export files are: a directory or a bucket, behind `object_store`.

use std::{fmt, ops::Range, sync::Arc};

use futures::TryStreamExt;
use object_store::{
    Error, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, buffered::BufWriter,
    local::LocalFileSystem, parse_url_opts, path::Path,
};
use reqwest::Url;

use crate::domain::{export::Export, ids::ExportId};

/// A part of a file, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first to before the last.
    Within(Range<u64>),
    /// From there to the end.
    From(u64),
    /// That many from the end.
    Last(u64),
}

/// What there is of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The file with the events.
    File,
    /// The manifest beside it.
    Manifest,
}

impl Part {
    /// What follows the id of the export in a link.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::File => "",
            Self::Manifest => ".manifest.json",
        }
    }
}

/// A directory or a bucket for export files.
#[derive(Clone)]
pub struct ExportFiles {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl fmt::Debug for ExportFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportFiles({}/{})", self.store, self.prefix)
    }
}

/// Bytes that are held back until a part is uploaded. S3 takes parts from 5 MiB.
const PART_BYTES: usize = 8 * 1_024 * 1_024;

impl ExportFiles {
    /// Opens the place that `url` names: `file:///dir`, `s3://bucket/prefix`, `gs://`, `az://`.
    /// Credentials and endpoints come from `environment`, under the names that the clouds' own
    /// tools use (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, ...).
    pub fn open_url(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, String> {
        let parsed = Url::parse(url).map_err(|error| format!("export_url: {error}"))?;
        let failed = |error: Error| format!("export_url: {error}");
        if parsed.scheme() == "file" {
            let directory = parsed.to_file_path();
            let directory = directory.map_err(|()| "export_url: not a file path".to_owned())?;
            std::fs::create_dir_all(&directory)
                .map_err(|error| format!("export_url: {}: {error}", directory.display()))?;
            let store = LocalFileSystem::new_with_prefix(&directory).map_err(failed)?;
            let store = Arc::new(store.with_automatic_cleanup(true).with_fsync(true));
            return Ok(Self { store, prefix: Path::default() });
        }
        let options = environment.into_iter().map(|(name, value)| (name.to_lowercase(), value));
        let (store, prefix) = parse_url_opts(&parsed, options).map_err(failed)?;
        Ok(Self { store: Arc::from(store), prefix })
    }

    /// Begins to write the file of an export. It becomes visible, whole, when the writer is shut
    /// down; a writer that is dropped leaves nothing to be seen.
    pub fn create(&self, export: &Export) -> BufWriter {
        BufWriter::with_capacity(self.store.clone(), self.path(export, Part::File), PART_BYTES)
    }

    /// Writes the manifest of an export, whole or not at all.
    pub async fn put_manifest(&self, export: &Export, manifest: Vec<u8>) -> Result<(), Error> {
        self.store.put(&self.path(export, Part::Manifest), manifest.into()).await?;
        Ok(())
    }

    /// Opens the file of an export, or its manifest.
    pub async fn open(
        &self,
        export: &Export,
        part: Part,
        range: Option<ByteRange>,
    ) -> Result<GetResult, Error> {
        let range = range.map(|range| match range {
            ByteRange::Within(range) => GetRange::Bounded(range),
            ByteRange::From(first) => GetRange::Offset(first),
            ByteRange::Last(count) => GetRange::Suffix(count),
        });
        self.store
            .get_opts(&self.path(export, part), GetOptions { range, ..Default::default() })
            .await
    }

    /// Deletes everything that was written for an export, by whatever attempt.
    pub async fn delete(&self, id: &ExportId) -> Result<(), Error> {
        let directory = self.directory(id);
        let mut files = self.store.list(Some(&directory));
        while let Some(file) = files.try_next().await? {
            self.store.delete(&file.location).await?;
        }
        Ok(())
    }

    fn directory(&self, id: &ExportId) -> Path {
        self.prefix.clone().join(id.as_str())
    }

    fn path(&self, export: &Export, part: Part) -> Path {
        let extension = match part {
            Part::File => export.format.extension(),
            Part::Manifest => "manifest.json",
        };
        self.directory(&export.id).join(format!("{}.{extension}", export.attempt))
    }
}
