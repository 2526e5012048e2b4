//! Secrets of destinations at rest: AES-256-GCM (NIST SP 800-38D) under a key of the operator's.
//!
//! A sealed text is, in this order:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | version of this format: 1 |
//! | 8 | id of the key: the first bytes of its SHA-256 |
//! | 12 | nonce, random |
//! | n | ciphertext of a JSON object of names and values |
//! | 16 | tag |
//!
//! The associated data are the bytes before the nonce and then the context, which is the id of the
//! stream: so nobody who can write to the database can give one stream the secrets of another.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest,
    rand::{SecureRandom, SystemRandom},
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::domain::destination::Secrets;

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;
const HEAD_BYTES: usize = 1 + ID_BYTES;
const TAG_BYTES: usize = 16;

/// The start of a key's SHA-256: tells keys apart and tells nothing of them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct KeyId([u8; ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

struct Key {
    id: KeyId,
    cipher: LessSafeKey,
}

/// The keys that secrets are sealed with: the first seals, all open.
#[derive(Default)]
pub struct SecretKeys(Vec<Key>);

/// Why secrets could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// There is no key.
    #[error("no key to encrypt secrets with is configured")]
    NoKey,
    /// The system has no randomness, or the cipher refused.
    #[error("secrets could not be encrypted")]
    Failed,
}

/// Why sealed secrets could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OpenError {
    /// They were sealed with a key that is not among these.
    #[error("the secrets are encrypted with the key {0}, which is not configured")]
    UnknownKey(
        /// Id of the key: the first 8 bytes of its SHA-256, in hexadecimal.
        String,
    ),
    /// Not what was sealed, or not for this context.
    #[error("the encrypted secrets are damaged or belong to another stream")]
    Damaged,
}

impl SecretKeys {
    /// From settings: `current` seals; `previous`, separated by commas, open too what they sealed.
    /// Each is 32 bytes in base64 (RFC 4648, section 4 or 5, padded or not). An error says which key
    /// is none, without its text.
    pub fn parse(current: Option<&str>, previous: &str) -> Result<Self, String> {
        let current = current.map(str::trim).filter(|text| !text.is_empty());
        let previous: Vec<&str> =
            previous.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        if current.is_none() && !previous.is_empty() {
            return Err("there are previous keys, but no current one".to_owned());
        }
        let mut keys = Vec::new();
        if let Some(text) = current {
            keys.push(Key::parse(text).map_err(|error| format!("the current key {error}"))?);
        }
        for (place, text) in (1..).zip(previous) {
            let key = Key::parse(text);
            keys.push(key.map_err(|error| format!("previous key number {place} {error}"))?);
        }
        Ok(Self(keys))
    }

    /// Whether there is a key to seal with.
    pub fn is_configured(&self) -> bool {
        !self.0.is_empty()
    }

    /// The secrets, sealed with the current key for a context.
    pub fn seal(&self, context: &str, secrets: &Secrets) -> Result<Vec<u8>, SealError> {
        let key = self.0.first().ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Failed)?;
        let mut text = plaintext(secrets)?;
        let head = head(key.id);
        let associated = associated_data(&head, context);
        let nonce_for_cipher = Nonce::assume_unique_for_key(nonce);
        let tag = key
            .cipher
            .seal_in_place_separate_tag(nonce_for_cipher, Aad::from(associated), &mut text)
            .map_err(|_| SealError::Failed)?;
        Ok([&head[..], &nonce, &text, tag.as_ref()].concat())
    }

    /// The secrets that were sealed for that context.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Secrets, OpenError> {
        let (id, nonce, ciphertext) = parts(sealed).ok_or(OpenError::Damaged)?;
        let key = self.0.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| OpenError::UnknownKey(id.to_string()))?;
        let associated = associated_data(&head(id), context);
        let mut text = Zeroizing::new(ciphertext.to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = key.cipher.open_in_place(nonce, Aad::from(associated), &mut text);
        let opened = opened.map_err(|_| OpenError::Damaged)?;
        let values: BTreeMap<String, String> =
            serde_json::from_slice(opened).map_err(|_| OpenError::Damaged)?;
        let mut secrets = Secrets::default();
        // The texts are moved, so that no copy is left behind.
        for (name, value) in values {
            secrets.set(name, value);
        }
        Ok(secrets)
    }

    /// Whether that was sealed with the current key. What was not is to be sealed anew before its key
    /// is taken away.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        let sealed_with = parts(sealed).map(|(id, ..)| id);
        sealed_with.is_some() && sealed_with == self.0.first().map(|key| key.id)
    }
}

/// Tells the ids, never the keys.
impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|key| key.id.to_string())).finish()
    }
}

impl Key {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let standard =
            Zeroizing::new(text.trim_end_matches('=').replace('-', "+").replace('_', "/"));
        let bytes = Zeroizing::new(
            STANDARD_NO_PAD.decode(standard.as_bytes()).map_err(|_| "is not base64")?,
        );
        if bytes.len() != KEY_BYTES {
            return Err("is not 32 bytes long; `openssl rand -base64 32` makes one");
        }
        let digest = digest::digest(&digest::SHA256, &bytes);
        let id = digest.as_ref().first_chunk().ok_or("has no digest")?;
        let cipher = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| "is not 32 bytes long")?;
        Ok(Self { id: KeyId(*id), cipher: LessSafeKey::new(cipher) })
    }
}

fn head(id: KeyId) -> [u8; HEAD_BYTES] {
    let mut head = [VERSION; HEAD_BYTES];
    head[1..].copy_from_slice(&id.0);
    head
}

fn associated_data(head: &[u8; HEAD_BYTES], context: &str) -> Vec<u8> {
    [&head[..], context.as_bytes()].concat()
}

fn plaintext(secrets: &Secrets) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let values: BTreeMap<&str, &str> = secrets.iter().collect();
    // Room for the longest escapes, so that the text never moves and leaves a copy of itself.
    let longest = |text: &str| 6 * text.len() + 4;
    let room = values.iter().map(|(name, value)| longest(name) + longest(value)).sum::<usize>();
    let mut text = Zeroizing::new(Vec::with_capacity(room + 2));
    serde_json::to_writer(&mut *text, &values).map_err(|_| SealError::Failed)?;
    Ok(text)
}

/// The key's id, the nonce, and the ciphertext with its tag.
fn parts(sealed: &[u8]) -> Option<(KeyId, [u8; NONCE_LEN], &[u8])> {
    let (&VERSION, rest) = sealed.split_first()? else { return None };
    let (id, rest) = rest.split_first_chunk()?;
    let (nonce, ciphertext) = rest.split_first_chunk()?;
    (ciphertext.len() >= TAG_BYTES).then_some((KeyId(*id), *nonce, ciphertext))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn text(byte: u8) -> String {
        STANDARD.encode([byte; KEY_BYTES])
    }

    fn keys(current: u8) -> SecretKeys {
        SecretKeys::parse(Some(&text(current)), "").unwrap()
    }

    fn secrets() -> Secrets {
        let mut secrets = Secrets::default();
        secrets.set("api_key", "s3cr\"et");
        secrets.set("header:authorization", "Bearer \u{1}é");
        secrets
    }

    #[test]
    fn keys_are_32_bytes_in_either_base64() {
        let key = [0xfb; KEY_BYTES];
        let sealed = SecretKeys::parse(Some(&STANDARD.encode(key)), "").unwrap();
        let sealed = sealed.seal("a", &secrets()).unwrap();
        for form in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            let keys = SecretKeys::parse(Some(&form.encode(key)), "").unwrap();
            assert_eq!(keys.open("a", &sealed), Ok(secrets()));
        }
        for (wrong, why) in [(STANDARD.encode([0; 31]), "32 bytes"), ("ä".to_owned(), "base64")] {
            let error = SecretKeys::parse(Some(&wrong), "").unwrap_err();
            assert!(error.contains(why) && !error.contains(&wrong), "{error}");
        }
        let error = SecretKeys::parse(Some(&text(1)), &format!("{},x", text(2))).unwrap_err();
        assert!(error.starts_with("previous key number 2"), "{error}");
        assert!(SecretKeys::parse(None, &text(1)).is_err());
    }

    #[test]
    fn without_a_key_nothing_is_sealed() {
        for none in [None, Some(""), Some(" ")] {
            let keys = SecretKeys::parse(none, "").unwrap();
            assert!(!keys.is_configured());
            assert_eq!(keys.seal("a", &secrets()), Err(SealError::NoKey));
            assert!(!keys.is_current(&[]));
        }
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let keys = keys(1);
        let sealed = keys.seal("stream_1", &secrets()).unwrap();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                let expected_unknown = (1..HEAD_BYTES).contains(&at);
                match keys.open("stream_1", &changed) {
                    Err(OpenError::UnknownKey(_)) => assert!(expected_unknown, "byte {at}"),
                    Err(OpenError::Damaged) => assert!(!expected_unknown, "byte {at}"),
                    Ok(_) => panic!("byte {at} is not covered"),
                }
            }
        }
        for length in 0..sealed.len() {
            assert_eq!(keys.open("stream_1", &sealed[..length]), Err(OpenError::Damaged));
        }
    }

    #[test]
    fn secrets_do_not_move_to_another_stream() {
        let sealed = keys(1).seal("stream_1", &secrets()).unwrap();
        assert_eq!(keys(1).open("stream_2", &sealed), Err(OpenError::Damaged));
    }

    #[test]
    fn a_key_is_replaced_without_losing_what_it_sealed() {
        let old = keys(1).seal("a", &secrets()).unwrap();
        let both =
            SecretKeys::parse(Some(&text(2)), &format!(" {} , {}", text(3), text(1))).unwrap();
        assert!(keys(1).is_current(&old) && !both.is_current(&old));
        let new = both.seal("a", &both.open("a", &old).unwrap()).unwrap();
        assert!(both.is_current(&new));
        assert_eq!(keys(2).open("a", &new), Ok(secrets()));
        let id = hex::encode(&digest::digest(&digest::SHA256, &[1; KEY_BYTES]).as_ref()[..8]);
        assert_eq!(keys(2).open("a", &old), Err(OpenError::UnknownKey(id)));
    }

    #[test]
    fn equal_secrets_are_sealed_differently() {
        let keys = keys(1);
        assert_ne!(keys.seal("a", &secrets()).unwrap(), keys.seal("a", &secrets()).unwrap());
    }

    #[test]
    fn debug_hides_the_keys() {
        let shown = format!("{:?}", keys(7));
        assert!(!shown.contains(&text(7)) && shown.len() < 30, "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(
            context in any::<String>(),
            values in prop::collection::btree_map(any::<String>(), ".{1,40}", 0..5),
        ) {
            let mut secrets = Secrets::default();
            for (name, value) in &values {
                secrets.set(name, value);
            }
            let sealed = keys(1).seal(&context, &secrets).unwrap();
            prop_assert_eq!(keys(1).open(&context, &sealed), Ok(secrets));
        }

        #[test]
        fn foreign_bytes_are_refused(bytes in any::<Vec<u8>>()) {
            prop_assert!(keys(1).open("a", &bytes).is_err());
        }
    }
}
