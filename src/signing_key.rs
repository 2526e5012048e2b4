//! The file of the key that signs checkpoints.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tracing::{info, warn};

use crate::{config::Settings, directory, merkle::SigningKey};

/// Only the owner may read and write.
const OWNER_ONLY: u32 = 0o600;
/// A group may read it: so do Kubernetes and systemd hand it to those whom it is for.
const OTHERS: u32 = 0o037;

/// Where the key is: the configured file, or one in the data directory.
pub fn path(settings: &Settings) -> PathBuf {
    let default = || settings.data_dir.join("signing-key.pem");
    settings.signing_key_file.clone().unwrap_or_else(default)
}

/// Reads the signing key. If no file is configured and there is none in the data directory, makes
/// one there, which only its owner can read, and says so. A configured file must be there.
pub fn load_or_create(settings: &Settings) -> Result<SigningKey> {
    let path = path(settings);
    match read(&path)? {
        Some(key) => Ok(key),
        None if settings.signing_key_file.is_some() => bail!(
            "the signing key file {} does not exist; make one with \
             `openssl genpkey -algorithm ed25519 -out {0}`",
            path.display()
        ),
        None => create(&path),
    }
}

/// Reads the signing key, if its file is there.
pub fn read(path: &Path) -> Result<Option<SigningKey>> {
    let cannot = || format!("cannot read the signing key file {}", path.display());
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(cannot)?,
    };
    let mode = fs::metadata(path).with_context(cannot)?.permissions().mode();
    if mode & OTHERS != 0 {
        let path = path.display();
        warn!("others can read the signing key file {path}; `chmod 600` it");
    }
    Ok(Some(SigningKey::parse(&text).with_context(cannot)?))
}

fn create(path: &Path) -> Result<SigningKey> {
    let cannot = || format!("cannot make the signing key file {}", path.display());
    if let Some(directory) = path.parent() {
        directory::create(directory).with_context(cannot)?;
    }
    let key = SigningKey::from_seed(rand::random());
    // Complete under another name first: whoever finds the file finds a whole key, whatever happens
    // meanwhile; and of two processes that do this at once, one wins and both use its key.
    let draft = path.with_extension(format!("{:016x}.draft", rand::random::<u64>()));
    write_private(&draft, key.to_pem()?.as_bytes()).with_context(cannot)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).with_context(cannot)?;
    match linked {
        Ok(()) => {
            // The name must survive a power cut, too: checkpoints are signed from now on.
            if let Some(directory) = path.parent() {
                File::open(directory)?.sync_all().with_context(cannot)?;
            }
            info!(path = %path.display(), "made a key to sign checkpoints with; keep a copy of it");
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read(path)?.with_context(cannot),
        Err(error) => Err(error).with_context(cannot),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    file.write_all(bytes)?;
    // Whatever the umask made of it.
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(directory: &Path) -> Settings {
        Settings { data_dir: directory.to_owned(), ..Settings::default() }
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(&directory.path().join("new"));
        let made = load_or_create(&settings).unwrap();
        let again = load_or_create(&settings).unwrap();
        assert_eq!(made.public_key(), again.public_key());
        let permissions = fs::metadata(path(&settings)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o777, OWNER_ONLY);
        let files = fs::read_dir(&settings.data_dir).unwrap().count();
        assert_eq!(files, 1, "drafts are removed");
    }

    #[test]
    fn a_configured_file_must_be_there_and_be_a_key() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        let settings =
            Settings { signing_key_file: Some(file.clone()), ..settings(directory.path()) };
        let error = load_or_create(&settings).unwrap_err().to_string();
        assert!(error.contains("does not exist") && error.contains("openssl"), "{error}");
        fs::write(&file, "no key").unwrap();
        let error = format!("{:#}", load_or_create(&settings).unwrap_err());
        assert!(error.contains("key.pem"), "{error}");
    }
}
