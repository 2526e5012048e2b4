//! Signed notes (C2SP signed-note): a text with Ed25519 signatures below it.

use super::encoding::{from_base64, to_base64};
use super::key::{SigningKey, VerifierKey, is_key_name};
use thiserror::Error;

/// Longest note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 1 << 20;

/// Most signatures of a note that is read.
pub const MAX_SIGNATURES: usize = 64;

/// What a signature line starts with: em dash and space.
const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// Bytes of a key id.
const KEY_ID_BYTES: usize = 4;

/// Why a text is no signed note, or is not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// More than [`MAX_NOTE_BYTES`].
    #[error("the note has {0} bytes, more than {MAX_NOTE_BYTES}")]
    TooLong(usize),
    /// More than [`MAX_SIGNATURES`].
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// There is a character below U+0020 that is no newline.
    #[error("the note has a control character other than newline")]
    ControlCharacter,
    /// The text that is signed ends within a line.
    #[error("the text of the note does not end in a newline")]
    UnfinishedText,
    /// No empty line separates a text from signatures.
    #[error("the note has no signatures after an empty line")]
    NoSignatures,
    /// A signature line does not have the form of one. Lines count from 1, at the first signature.
    #[error(
        "signature line {0} is not an em dash, a key name and a base64 signature, then newline"
    )]
    BadSignatureLine(usize),
    /// The signer's name cannot stand in a note.
    #[error("the key name {0:?} is empty or has white space, a '+' or a control character")]
    BadKeyName(String),
    /// No signature bears the name and id of a known key.
    #[error("no signature of the note is by a known key")]
    NoKnownKey,
    /// A signature bears the name and id of a known key, and is not by it.
    #[error("the signature of {name}+{key_id:08x} does not fit the note")]
    BadSignature {
        /// Name of the key.
        name: String,
        /// Id of the key.
        key_id: u32,
    },
}

/// One signature of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key.
    pub name: String,
    /// Id of the key.
    pub key_id: u32,
    /// The signature: 64 bytes for Ed25519, others for signature types we do not know.
    pub signature: Vec<u8>,
}

/// A note as it was read. Nothing in it is to be trusted before it was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// Reads a note, without checking who signed it.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(note.len()));
        }
        check_characters(note)?;
        let end = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, lines) = (&note[..=end], &note[end + 2..]);
        if lines.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        let mut signatures = Vec::new();
        for (position, line) in lines.split_inclusive('\n').enumerate() {
            if position == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            let signature =
                parse_signature(line).ok_or(NoteError::BadSignatureLine(position + 1))?;
            signatures.push(signature);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The text, unverified, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The text, if at least one of the keys signed it. Signatures by other keys are ignored; one
    /// that claims to be by one of these and is not, spoils the note.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<&str, NoteError> {
        self.verified_by(keys).map(|_| self.text())
    }

    /// Which of the keys signed the text, in the order of the signatures; at least one. Fails as
    /// [`Note::verify`] does.
    pub fn verified_by<'k>(
        &self,
        keys: &'k [VerifierKey],
    ) -> Result<Vec<&'k VerifierKey>, NoteError> {
        let mut signers = Vec::new();
        for signature in &self.signatures {
            signers.extend(self.signer(signature, keys)?);
        }
        if signers.is_empty() { Err(NoteError::NoKnownKey) } else { Ok(signers) }
    }

    /// The key that made the signature; `None` if none of the keys has its name and id.
    fn signer<'k>(
        &self,
        signature: &NoteSignature,
        keys: &'k [VerifierKey],
    ) -> Result<Option<&'k VerifierKey>, NoteError> {
        let mut claimed = keys
            .iter()
            .filter(|key| key.name == signature.name && key.key_id() == signature.key_id)
            .peekable();
        if claimed.peek().is_none() {
            return Ok(None);
        }
        let verifies = |key: &&VerifierKey| {
            key.public_key.verifies(self.text.as_bytes(), &signature.signature)
        };
        claimed.find(verifies).map(Some).ok_or_else(|| NoteError::BadSignature {
            name: signature.name.clone(),
            key_id: signature.key_id,
        })
    }
}

/// Signs a text, which must end in a newline and have no other control characters, and gives the
/// note.
pub fn sign(text: &str, name: &str, key: &SigningKey) -> Result<String, NoteError> {
    if !is_key_name(name) {
        return Err(NoteError::BadKeyName(name.to_owned()));
    }
    if !text.ends_with('\n') {
        return Err(NoteError::UnfinishedText);
    }
    check_characters(text)?;
    let mut signature = key.public_key().key_id(name).to_be_bytes().to_vec();
    signature.extend(key.sign(text.as_bytes()));
    let note = format!("{text}\n{SIGNATURE_PREFIX}{name} {}\n", to_base64(&signature));
    if note.len() > MAX_NOTE_BYTES { Err(NoteError::TooLong(note.len())) } else { Ok(note) }
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    let refused = |byte: u8| byte < b' ' && byte != b'\n';
    if text.bytes().any(refused) { Err(NoteError::ControlCharacter) } else { Ok(()) }
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, encoded) =
        line.strip_suffix('\n')?.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
    let bytes = from_base64(encoded)?;
    let (key_id, signature) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
    (is_key_name(name) && !signature.is_empty()).then(|| NoteSignature {
        name: name.to_owned(),
        key_id: u32::from_be_bytes(*key_id),
        signature: signature.to_vec(),
    })
}
