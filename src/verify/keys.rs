//! Whose signatures count.

use serde_json::Value;
use thiserror::Error;

use crate::{
    domain::ids::OrganizationId,
    export::manifest,
    merkle::{Checkpoint, CheckpointError, Note, NoteError, PublicKey, VerifierKey},
};

/// The keys that a verifier believes.
#[derive(Debug, Clone, Default)]
pub struct TrustedKeys {
    /// Each speaks for the log whose origin is its name.
    named: Vec<VerifierKey>,
    /// Each speaks for every log: the keys of an operator, who signs all of them.
    operators: Vec<PublicKey>,
}

/// A checkpoint that is to be believed, and the first key that vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// Name and id of the key, as `name+id`.
    pub signer: String,
    /// The key.
    pub key: PublicKey,
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Distrust {
    /// No trusted key has the name of the checkpoint's origin: nothing can be said about it.
    #[error("none of the public keys is for the log {0}")]
    NoKey(String),
    /// It is another log's.
    #[error("the checkpoint is of the log {origin}, which is not that of {organization}")]
    OtherLog {
        /// The log that it is of.
        origin: String,
        /// The organization whose log it should be of.
        organization: OrganizationId,
    },
    /// No trusted key signed it as it is.
    #[error("the checkpoint of {0} is not signed by a trusted key")]
    Unsigned(String),
    /// It is no checkpoint, or a signature does not fit.
    #[error(transparent)]
    Broken(#[from] CheckpointError),
}

/// Why the manifest of an export is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestDistrust {
    /// There is no signature: nothing can be said about it.
    #[error(
        "the manifest is not signed, so nothing in it can be believed: it is of an export from before \
         manifests were signed (export again), or its signature was taken away"
    )]
    NotSigned,
    /// No trusted key is for the log that it names: nothing can be said about it.
    #[error("none of the public keys is for the log {0}")]
    NoKey(String),
    /// The signature is not one of a trusted key.
    #[error("the signature of the manifest: {0}")]
    Note(#[from] NoteError),
    /// Something else was signed.
    #[error("the signature of the manifest is of something else: the manifest was changed")]
    OtherText,
}

impl From<NoteError> for Distrust {
    fn from(error: NoteError) -> Self {
        Self::Broken(error.into())
    }
}

impl TrustedKeys {
    /// Believes a key for the log whose origin is the key's name.
    pub fn add(&mut self, key: VerifierKey) {
        self.named.push(key);
    }

    /// Believes a key for every log.
    pub fn add_operator(&mut self, key: PublicKey) {
        if !self.operators.contains(&key) {
            self.operators.push(key);
        }
    }

    /// Whether nothing can be believed.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.operators.is_empty()
    }

    /// Reads a checkpoint of an organization's log: a signed note of the origin
    /// `<log name>/<organization id>` that a trusted key signed under that name.
    pub fn open(&self, note: &str, organization: &OrganizationId) -> Result<Signed, Distrust> {
        let signed = self.open_any(note)?;
        if organization_of(&signed.checkpoint.origin) == Some(organization.as_str()) {
            return Ok(signed);
        }
        let (origin, organization) = (signed.checkpoint.origin, organization.clone());
        Err(Distrust::OtherLog { origin, organization })
    }

    /// Reads a checkpoint of whatever log.
    pub fn open_any(&self, note: &str) -> Result<Signed, Distrust> {
        let parsed = Note::parse(note)?;
        let checkpoint = Checkpoint::parse(parsed.text())?;
        let keys = self.speaking_for(&checkpoint.origin);
        if keys.is_empty() {
            return Err(Distrust::NoKey(checkpoint.origin));
        }
        match parsed.verified_by(&keys) {
            Ok(signers) => {
                let key = signers.first().ok_or(NoteError::NoKnownKey)?;
                let signer = format!("{}+{:08x}", key.name, key.key_id());
                Ok(Signed { checkpoint, signer, key: key.public_key })
            }
            Err(NoteError::NoKnownKey) => Err(Distrust::Unsigned(checkpoint.origin)),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks that the manifest of an export of an organization's log is as a trusted key of that log
    /// signed it.
    pub fn check_manifest(
        &self,
        manifest: &Value,
        organization: &OrganizationId,
    ) -> Result<(), ManifestDistrust> {
        let note = manifest::signature(manifest).ok_or(ManifestDistrust::NotSigned)?;
        let note = Note::parse(note)?;
        let origin = manifest::signed_origin(note.text()).ok_or(ManifestDistrust::OtherText)?;
        if organization_of(origin) != Some(organization.as_str()) {
            return Err(ManifestDistrust::OtherText);
        }
        let keys = self.speaking_for(origin);
        if keys.is_empty() {
            return Err(ManifestDistrust::NoKey(origin.to_owned()));
        }
        let text = note.verify(&keys)?;
        let expected = manifest::signed_text(origin, manifest);
        if expected.as_deref() == Some(text) { Ok(()) } else { Err(ManifestDistrust::OtherText) }
    }

    /// The keys under the name of a log.
    fn speaking_for(&self, origin: &str) -> Vec<VerifierKey> {
        let named = self.named.iter().filter(|key| key.name == origin).cloned();
        // A name without an organization is no log of ours.
        let operators = organization_of(origin).map(|_| &*self.operators).unwrap_or_default();
        let derived = operators.iter().filter_map(|key| VerifierKey::new(origin, *key).ok());
        named.chain(derived).collect()
    }
}

/// The organization whose log has that origin: what follows the last `/`, which no organization id
/// contains.
pub fn organization_of(origin: &str) -> Option<&str> {
    let (log_name, organization) = origin.rsplit_once('/')?;
    (!log_name.is_empty() && OrganizationId::is_valid(organization)).then_some(organization)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::SigningKey;

    fn note(origin: &str, key: &SigningKey) -> String {
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: 7, root: [1; 32] };
        checkpoint.sign(key).unwrap()
    }

    #[test]
    fn a_named_key_speaks_for_its_log_and_an_operators_key_for_all() {
        let (key, other) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
        let (acme, hooli) =
            (OrganizationId::from_stored("acme"), OrganizationId::from_stored("hooli"));
        let mut named = TrustedKeys::default();
        named.add(VerifierKey::new("logs.example/acme", key.public_key()).unwrap());
        let signed = named.open(&note("logs.example/acme", &key), &acme).unwrap();
        assert_eq!((signed.checkpoint.size, signed.key), (7, key.public_key()));
        assert!(signed.signer.starts_with("logs.example/acme+"));
        let unknown = named.open(&note("logs.example/hooli", &key), &hooli).unwrap_err();
        assert_eq!(unknown, Distrust::NoKey("logs.example/hooli".into()));

        let mut operator = TrustedKeys::default();
        operator.add_operator(key.public_key());
        assert!(operator.open(&note("logs.example/acme", &key), &acme).is_ok());
        assert!(operator.open(&note("other/hooli", &key), &hooli).is_ok());
        let forged = operator.open(&note("logs.example/acme", &other), &acme).unwrap_err();
        assert_eq!(forged, Distrust::Unsigned("logs.example/acme".into()));
        let moved = operator.open(&note("logs.example/acme", &key), &hooli).unwrap_err();
        assert!(matches!(moved, Distrust::OtherLog { .. }), "{moved}");
        let nameless = operator.open(&note("acme", &key), &acme).unwrap_err();
        assert_eq!(nameless, Distrust::NoKey("acme".into()));
        let altered = note("logs.example/acme", &key).replace("\n7\n", "\n8\n");
        assert!(matches!(operator.open(&altered, &acme), Err(Distrust::Broken(_))));
    }
}
