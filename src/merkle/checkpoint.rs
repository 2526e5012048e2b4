//! Checkpoints (C2SP tlog-checkpoint): signed statements of a log's size and root.

use super::Hash;
use super::encoding::{decimal, hash_from_base64, to_base64};
use super::key::{SigningKey, VerifierKey};
use super::note::{self, Note, NoteError};
use thiserror::Error;

/// Why a text is no checkpoint of a log, or is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// It is no note, or nobody we know signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// There are fewer than three lines, an empty one, or a last one without newline.
    #[error("a checkpoint is three or more lines that are not empty, each ending in a newline")]
    BadLines,
    /// The second line is no number.
    #[error("the tree size {0:?} is no decimal number of 64 bits without leading zeros")]
    BadSize(String),
    /// The third line is no hash.
    #[error("the root hash {0:?} is not the base64 of 32 bytes")]
    BadRoot(String),
    /// Known keys signed the checkpoint, but none that speaks for its log.
    #[error("no key with the name of the checkpoint's origin {0:?} signed it")]
    WrongSigner(String),
}

/// Size and root of a log at some time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// Name of the log, and of the key that signs for it: one line, such as `example.com/log42`.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root of the tree (RFC 6962, section 2.1).
    pub root: Hash,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, to_base64(&self.root))
    }

    /// Reads the text that is signed. Extension lines are allowed and ignored.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines = text.strip_suffix('\n').ok_or(CheckpointError::BadLines)?;
        let lines: Vec<&str> = lines.split('\n').collect();
        let [origin, size, root, ..] = lines[..] else { return Err(CheckpointError::BadLines) };
        if lines.iter().any(|line| line.is_empty()) {
            return Err(CheckpointError::BadLines);
        }
        let bad_size = || CheckpointError::BadSize(size.to_owned());
        let bad_root = || CheckpointError::BadRoot(root.to_owned());
        Ok(Self {
            origin: origin.to_owned(),
            size: decimal(size).ok_or_else(bad_size)?,
            root: hash_from_base64(root).ok_or_else(bad_root)?,
        })
    }

    /// Signs the checkpoint under the name of its origin, and gives the note.
    pub fn sign(&self, key: &SigningKey) -> Result<String, NoteError> {
        note::sign(&self.to_text(), &self.origin, key)
    }

    /// Reads a note that is a checkpoint, and that one of the keys signed under the name of the
    /// checkpoint's origin.
    pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let note = Note::parse(note)?;
        let signers = note.verified_by(keys)?;
        let checkpoint = Self::parse(note.text())?;
        if signers.iter().any(|key| key.name == checkpoint.origin) {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::WrongSigner(checkpoint.origin))
        }
    }
}
