//! Where export files are: a directory or a bucket, behind `object_store`.

use std::{fmt, io, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use futures::TryStreamExt;
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, GetRange, GetResult, ObjectStore,
    ObjectStoreExt, ObjectStoreScheme, RetryConfig,
    aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder,
    gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem,
    multipart::MultipartStore,
    path::Path,
    signer::{Method, SignedUrlOptions, Signer},
};
use reqwest::Url;

use super::upload::Upload;
use crate::{
    directory,
    domain::{
        export::{Export, Remains},
        ids::ExportId,
    },
};

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

    /// The name under which a download is saved.
    pub fn file_name(self, export: &Export) -> String {
        format!("{}.{}", export.id, self.extension(export))
    }

    /// Its media type. A compressed file is what it is: nothing on the way unpacks it.
    pub const fn content_type(self, export: &Export) -> &'static str {
        match self {
            Self::File => export.content_type(),
            Self::Manifest => "application/json",
        }
    }

    fn extension(self, export: &Export) -> String {
        match self {
            Self::File => export.extension(),
            Self::Manifest => "manifest.json".to_owned(),
        }
    }
}

/// Attempts at an export. Each has a file of its own, whose name starts with its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// All that there ever were: for an export that has ended.
    All,
    /// Those up to one: while another may be under way that came after it.
    UpTo(u64),
}

impl Attempts {
    fn contain(self, attempt: u64) -> bool {
        match self {
            Self::All => true,
            Self::UpTo(last) => attempt <= last,
        }
    }

    /// Whether one of them wrote the file with that name.
    fn wrote(self, name: &str) -> bool {
        let attempt = name.split('.').next().and_then(|number| number.parse().ok());
        attempt.map_or(self == Self::All, |attempt| self.contain(attempt))
    }
}

/// A directory or a bucket for export files.
#[derive(Clone)]
pub struct ExportFiles {
    place: Place,
    prefix: Path,
}

#[derive(Clone)]
enum Place {
    Directory { root: PathBuf, store: Arc<LocalFileSystem> },
    Bucket(Bucket),
}

/// A bucket, in all the ways that it is used.
#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) parts: Arc<dyn MultipartStore>,
    signer: Arc<dyn Signer>,
}

impl Bucket {
    fn of<T: ObjectStore + MultipartStore + Signer>(store: T) -> Self {
        let store = Arc::new(store);
        Self { store: store.clone(), parts: store.clone(), signer: store }
    }
}

impl fmt::Debug for ExportFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExportFiles({}/{})", self.store(), self.prefix)
    }
}

/// How long one request to a bucket may take.
const REQUEST: Duration = Duration::from_secs(30);

/// For as long as `patience`, however often: first at once, soon at most every tenth of it.
fn retries(patience: Duration) -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: patience / 600, max_backoff: patience / 10, base: 3.0 };
    RetryConfig { backoff, max_retries: usize::MAX, retry_timeout: patience }
}

/// Makes the client of a bucket, with the options that its builder knows.
macro_rules! bucket {
    ($builder:ty, $url:expr, $options:expr, $retry:expr, $client:expr) => {{
        let builder = <$builder>::new().with_url($url).with_client_options($client);
        let known = |builder: $builder, (name, value): (String, String)| match name
            .to_lowercase()
            .parse()
        {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        };
        $options.into_iter().fold(builder, known).with_retry($retry).build().map(Bucket::of)
    }};
}

impl ExportFiles {
    /// Opens the place that `url` names: `file:///dir`, `s3://bucket/prefix`, `gs://`, `az://`.
    /// Credentials and endpoints come from `environment`, under the names that the clouds' own
    /// tools use (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, ...). What a bucket refuses or does not answer
    /// is tried again for as long as `patience`.
    pub fn open_url(
        url: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        patience: Duration,
    ) -> Result<Self, String> {
        let parsed = Url::parse(url).map_err(|error| format!("export_url: {error}"))?;
        let failed = |error: Error| format!("export_url: {error}");
        if parsed.scheme() == "file" {
            let root = parsed.to_file_path();
            let root = root.map_err(|()| "export_url: not a file path".to_owned())?;
            directory::create(&root)
                .map_err(|error| format!("export_url: {}: {error}", root.display()))?;
            let store = Arc::new(LocalFileSystem::new_with_prefix(&root).map_err(failed)?);
            return Ok(Self { place: Place::Directory { root, store }, prefix: Path::default() });
        }
        let (scheme, path) = ObjectStoreScheme::parse(&parsed).map_err(|e| failed(e.into()))?;
        let prefix = Path::parse(path).map_err(|error| failed(error.into()))?;
        let retry = retries(patience);
        let client = ClientOptions::new().with_timeout(REQUEST.min(patience));
        let bucket = match scheme {
            ObjectStoreScheme::AmazonS3 => {
                bucket!(AmazonS3Builder, url, environment, retry, client)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                bucket!(GoogleCloudStorageBuilder, url, environment, retry, client)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                bucket!(MicrosoftAzureBuilder, url, environment, retry, client)
            }
            _ => return Err("export_url: it must start with file, s3, gs or az".to_owned()),
        };
        Ok(Self { place: Place::Bucket(bucket.map_err(failed)?), prefix })
    }

    /// Begins to write the file of an export. It becomes visible, whole, when the upload is finished;
    /// one that is aborted leaves nothing.
    pub async fn create(&self, export: &Export) -> io::Result<Upload> {
        let path = self.path(export, Part::File);
        match &self.place {
            Place::Directory { root, .. } => Upload::to_file(root.join(path.as_ref())).await,
            Place::Bucket(bucket) => Ok(Upload::to_bucket(bucket.clone(), path)),
        }
    }

    /// Writes the manifest of an export, whole or not at all.
    pub async fn put_manifest(&self, export: &Export, manifest: Vec<u8>) -> Result<(), Error> {
        self.store().put(&self.path(export, Part::Manifest), manifest.into()).await?;
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
        self.store()
            .get_opts(&self.path(export, part), GetOptions { range, ..Default::default() })
            .await
    }

    /// A link to a file that the bucket itself honours for so long, with the name under which it is
    /// saved. `None` where the bucket does not sign such links.
    pub async fn sign(
        &self,
        export: &Export,
        part: Part,
        lives: Duration,
    ) -> Option<Result<String, Error>> {
        let Place::Bucket(bucket) = &self.place else { return None };
        let name = format!("attachment; filename=\"{}\"", part.file_name(export));
        let options = SignedUrlOptions::new().with_query([
            ("response-content-disposition", name.as_str()),
            ("response-content-type", part.content_type(export)),
        ]);
        let path = self.path(export, part);
        match bucket.signer.signed_url_opts(Method::GET, &path, lives, &options).await {
            Err(Error::NotSupported { .. }) => None,
            signed => Some(signed.map(Into::into)),
        }
    }

    /// Takes back what some attempts at an export wrote: their files, and the parts of an upload that was
    /// not finished, which a bucket keeps without showing them.
    pub async fn clear(&self, export: &Export, attempts: Attempts) -> Result<(), Error> {
        let directory = self.directory(&export.id);
        let bucket = match &self.place {
            Place::Bucket(bucket) => bucket,
            Place::Directory { root, .. } => {
                let cleared = clear_directory(root.join(directory.as_ref()), attempts).await;
                return cleared
                    .map_err(|error| Error::Generic { store: "directory", source: error.into() });
            }
        };
        if let Some(Remains { attempt, upload: Some(upload) }) = &export.remains
            && attempts.contain(*attempt)
        {
            let path = self.path(&Export { attempt: *attempt, ..export.clone() }, Part::File);
            unless_gone(bucket.parts.abort_multipart(&path, upload).await)?;
        }
        let mut files = bucket.store.list(Some(&directory));
        while let Some(file) = files.try_next().await? {
            if attempts.wrote(file.location.filename().unwrap_or_default()) {
                unless_gone(bucket.store.delete(&file.location).await)?;
            }
        }
        Ok(())
    }

    fn store(&self) -> &dyn ObjectStore {
        match &self.place {
            Place::Directory { store, .. } => store.as_ref(),
            Place::Bucket(bucket) => bucket.store.as_ref(),
        }
    }

    fn directory(&self, id: &ExportId) -> Path {
        self.prefix.clone().join(id.as_str())
    }

    fn path(&self, export: &Export, part: Part) -> Path {
        let name = format!("{}.{}", export.attempt, part.extension(export));
        self.directory(&export.id).join(name)
    }
}

/// With what was not finished, which the store does not list.
async fn clear_directory(path: PathBuf, attempts: Attempts) -> io::Result<()> {
    if attempts == Attempts::All {
        return unless_missing(tokio::fs::remove_dir_all(&path).await);
    }
    let mut files = match tokio::fs::read_dir(&path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files?,
    };
    while let Some(file) = files.next_entry().await? {
        if attempts.wrote(&file.file_name().to_string_lossy()) {
            unless_missing(tokio::fs::remove_file(file.path()).await)?;
        }
    }
    Ok(())
}

/// Another replica was faster.
fn unless_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The same of a bucket.
fn unless_gone(removed: Result<(), Error>) -> Result<(), Error> {
    match removed {
        Err(Error::NotFound { .. }) => Ok(()),
        removed => removed,
    }
}
