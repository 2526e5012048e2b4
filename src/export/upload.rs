//! The file of an export while it is written. Nobody sees it before it is whole.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path as FilePath, PathBuf},
};

use object_store::{Error, MultipartId, ObjectStoreExt, PutPayload, multipart::PartId, path::Path};
use tokio::task::{JoinSet, spawn_blocking};

use super::files::Bucket;
use crate::directory;

/// Bytes of a part. S3 takes parts from 5 MiB and 10,000 of them: a file may have 78 GiB.
const PART_BYTES: usize = 8 * 1_024 * 1_024;
/// Parts under way at once; each is held in memory.
const PARTS_UNDER_WAY: usize = 2;

/// A file that is being written.
#[derive(Debug)]
pub struct Upload(Target);

#[derive(Debug)]
enum Target {
    File(LocalFile),
    Bucket(BucketFile),
}

impl Upload {
    pub(super) async fn to_file(whole: PathBuf) -> io::Result<Self> {
        Ok(Self(Target::File(blocking(move || LocalFile::create(whole)).await?)))
    }

    pub(super) fn to_bucket(bucket: Bucket, path: Path) -> Self {
        Self(Target::Bucket(BucketFile {
            bucket,
            path,
            id: None,
            waiting: Vec::new(),
            begun: 0,
            under_way: JoinSet::new(),
            parts: Vec::new(),
        }))
    }

    /// Begins an upload in parts if these bytes make it one, and returns its name. It must be
    /// remembered before anything is written: a bucket keeps parts until they are taken back.
    pub async fn begin_parts(&mut self, bytes: usize) -> io::Result<Option<MultipartId>> {
        match &mut self.0 {
            Target::Bucket(file)
                if file.id.is_none() && file.waiting.len() + bytes >= PART_BYTES =>
            {
                let id = file.bucket.parts.create_multipart(&file.path).await?;
                file.id = Some(id.clone());
                Ok(Some(id))
            }
            _ => Ok(None),
        }
    }

    /// Writes what comes next.
    pub async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        match &mut self.0 {
            Target::File(file) => file.write(bytes).await,
            Target::Bucket(file) => Ok(file.write(bytes).await?),
        }
    }

    /// Makes the file visible.
    pub async fn finish(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Target::File(file) => file.finish().await,
            Target::Bucket(file) => Ok(file.finish().await?),
        }
    }

    /// Takes back what was written.
    pub async fn abort(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Target::File(file) => match tokio::fs::remove_file(&file.partial).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            Target::Bucket(file) => Ok(file.abort().await?),
        }
    }
}

/// A file beside the place where it will be.
#[derive(Debug)]
struct LocalFile {
    partial: PathBuf,
    whole: PathBuf,
    /// `None` after a failure.
    file: Option<File>,
}

impl LocalFile {
    fn create(whole: PathBuf) -> io::Result<Self> {
        let mut partial = whole.clone().into_os_string();
        partial.push(".part");
        let partial = PathBuf::from(partial);
        if let Some(directory) = whole.parent() {
            directory::create(directory)?;
        }
        let file = Some(File::create(&partial)?);
        Ok(Self { partial, whole, file })
    }

    async fn write(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let Some(mut file) = self.file.take() else { return Err(broken()) };
        self.file = Some(blocking(move || file.write_all(&bytes).map(|()| file)).await?);
        Ok(())
    }

    /// Nobody waits for the disk: what is written can be written again. A file that a power failure cut
    /// off is known by its length.
    async fn finish(&mut self) -> io::Result<()> {
        let file = self.file.take().ok_or_else(broken)?;
        tokio::fs::rename(&self.partial, &self.whole).await?;
        let whole = self.whole.clone();
        spawn_blocking(move || {
            if let Err(error) = file.sync_all().and_then(|()| sync_parents(&whole)) {
                tracing::warn!(file = %whole.display(), %error, "cannot bring a file to the disk");
            }
        });
        Ok(())
    }
}

/// Brings the names of a file and of its directory to the disk.
fn sync_parents(file: &FilePath) -> io::Result<()> {
    for directory in file.ancestors().skip(1).take(2) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// A file in a bucket: one request if it is small, parts if not.
struct BucketFile {
    bucket: Bucket,
    path: Path,
    id: Option<MultipartId>,
    waiting: Vec<u8>,
    /// Parts that were begun.
    begun: usize,
    under_way: JoinSet<Result<(usize, PartId), Error>>,
    parts: Vec<(usize, PartId)>,
}

impl std::fmt::Debug for BucketFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BucketFile({}, {:?})", self.path, self.id)
    }
}

impl BucketFile {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.waiting.extend_from_slice(&bytes);
        while self.id.is_some() && self.waiting.len() >= PART_BYTES {
            // Some stores take only parts of one size.
            let rest = self.waiting.split_off(PART_BYTES);
            self.begin_part().await?;
            self.waiting = rest;
        }
        Ok(())
    }

    /// Sends what waits.
    async fn begin_part(&mut self) -> Result<(), Error> {
        while self.under_way.len() >= PARTS_UNDER_WAY {
            self.end_part().await?;
        }
        let Some(id) = self.id.clone() else { return Ok(()) };
        let payload = PutPayload::from(std::mem::take(&mut self.waiting));
        let (parts, path) = (self.bucket.parts.clone(), self.path.clone());
        let number = self.begun;
        self.begun += 1;
        self.under_way
            .spawn(async move { Ok((number, parts.put_part(&path, &id, number, payload).await?)) });
        Ok(())
    }

    /// Waits for a part. Returns whether there was one.
    async fn end_part(&mut self) -> Result<bool, Error> {
        let Some(ended) = self.under_way.join_next().await else { return Ok(false) };
        self.parts.push(ended.map_err(|error| Error::JoinError { source: error })??);
        Ok(true)
    }

    async fn finish(&mut self) -> Result<(), Error> {
        let Some(id) = self.id.clone() else {
            let payload = PutPayload::from(std::mem::take(&mut self.waiting));
            self.bucket.store.put(&self.path, payload).await?;
            return Ok(());
        };
        if !self.waiting.is_empty() {
            self.begin_part().await?;
        }
        while self.end_part().await? {}
        self.parts.sort_unstable_by_key(|(number, _)| *number);
        let parts = std::mem::take(&mut self.parts).into_iter().map(|(_, part)| part).collect();
        self.bucket.parts.complete_multipart(&self.path, &id, parts).await?;
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), Error> {
        // A part that arrives after the end of its upload might be kept for ever.
        self.under_way.shutdown().await;
        match &self.id {
            Some(id) => self.bucket.parts.abort_multipart(&self.path, id).await,
            None => Ok(()),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(|_| broken())?
}

fn broken() -> io::Error {
    io::Error::other("writing was given up")
}
