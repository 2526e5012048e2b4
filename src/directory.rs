//! Directories of the service's own.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt, path::Path};

/// Nobody else looks into them: they have what callers are asked for keys for.
const OWNER_ONLY: u32 = 0o700;

/// Makes a directory, and those above it, for the user of this process alone. One that is there stays as it is.
pub fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path)
}
