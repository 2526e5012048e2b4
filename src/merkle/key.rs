//! Ed25519 keys of signed notes, and how they are written (C2SP signed-note, "Verifier keys").

use super::encoding::{from_base64, to_base64};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;
use zeroize::Zeroizing;

/// Signature type of plain Ed25519 signatures.
const ED25519: u8 = 0x01;

/// How Go's `note.GenerateKey` starts the line with a private key.
const GO_PRIVATE_KEY: &str = "PRIVATE+KEY+";

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The text is neither PEM nor a line as Go writes it.
    #[error("a signing key is a PKCS#8 PEM block or a line that starts with {GO_PRIVATE_KEY}")]
    UnknownFormat,
    /// The PEM text holds no Ed25519 private key.
    #[error("the PEM text is no Ed25519 private key in PKCS#8: {0}")]
    Pem(String),
    /// A line lacks one of its parts.
    #[error("a key has the parts name, key id and key, joined by '+'")]
    MissingPart,
    /// The key's name cannot stand in a note.
    #[error("the key name {0:?} is empty or has white space, a '+' or a control character")]
    BadName(String),
    /// The key id is written in another way.
    #[error("the key id {0:?} is not eight lower-case hexadecimal digits")]
    BadId(String),
    /// The key id belongs to another name or key.
    #[error("the key id is {stated:08x}, but name and key give {computed:08x}")]
    WrongId {
        /// In the text.
        stated: u32,
        /// As it should be.
        computed: u32,
    },
    /// The key is not base64 of a signature type and 32 bytes.
    #[error("the key is not the base64 of a signature type and 32 bytes")]
    BadEncoding,
    /// Another signature type.
    #[error("signature type {0} is not supported, only Ed25519 (1)")]
    UnsupportedType(u8),
    /// The bytes of a public key are no point of the curve, or one whose signatures say nothing.
    #[error("the bytes are no usable Ed25519 public key")]
    NoPublicKey,
}

/// An Ed25519 private key. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Key of a seed: 32 bytes that must come from a cryptographic random generator (RFC 8032,
    /// section 5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&Zeroizing::new(seed)))
    }

    /// Reads a PKCS#8 PEM text (RFC 8410), or a line `PRIVATE+KEY+<name>+<id>+<key>` as Go's
    /// `golang.org/x/mod/sumdb/note` writes it. White space around it is ignored.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if let Some(parts) = text.strip_prefix(GO_PRIVATE_KEY) {
            return Self::from_go_parts(parts);
        }
        if !text.starts_with("-----BEGIN ") {
            return Err(KeyError::UnknownFormat);
        }
        ed25519_dalek::SigningKey::from_pkcs8_pem(text)
            .map(Self)
            .map_err(|error| KeyError::Pem(error.to_string()))
    }

    fn from_go_parts(parts: &str) -> Result<Self, KeyError> {
        let named = NamedKey::parse(parts)?;
        let key = Self(ed25519_dalek::SigningKey::from_bytes(&named.bytes));
        named.check_id(&key.public_key())?;
        Ok(key)
    }

    /// The key in PKCS#8 PEM text (RFC 8410), without the public key: only version 1 of the format,
    /// which has none, is read everywhere.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        KeypairBytes { secret_key: self.0.to_bytes(), public_key: None }
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| KeyError::Pem(error.to_string()))
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    /// Shows the public half only.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SigningKey").field(&self.public_key()).finish()
    }
}

/// An Ed25519 public key as RFC 8032 encodes it. Bytes that are no point of the curve verify
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// First four bytes of SHA-256(name || 0x0A || signature type || key).
    pub fn key_id(&self, name: &str) -> u32 {
        let mut hash = Sha256::new();
        hash.update(name);
        hash.update([b'\n', ED25519]);
        hash.update(self.0);
        let [a, b, c, d, ..]: [u8; 32] = hash.finalize().into();
        u32::from_be_bytes([a, b, c, d])
    }

    /// True if this key signed the message. Signatures that fit several messages or keys are
    /// refused.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (Ok(key), Ok(signature)) =
            (VerifyingKey::from_bytes(&self.0), Signature::from_slice(signature))
        else {
            return false;
        };
        key.verify_strict(message, &signature).is_ok()
    }

    fn is_usable(&self) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| !key.is_weak())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", hex::encode(self.0))
    }
}

/// Public key under the name that its signatures bear. Its text is
/// `<name>+<key id in hex>+base64(0x01 || key)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    /// The name. One that [`is_key_name`] refuses is found in no note.
    pub name: String,
    /// The key.
    pub public_key: PublicKey,
}

impl VerifierKey {
    /// Names a key, if the name can stand in a note and the key is a point of the curve.
    pub fn new(name: impl Into<String>, public_key: PublicKey) -> Result<Self, KeyError> {
        let name = name.into();
        if !is_key_name(&name) {
            return Err(KeyError::BadName(name));
        }
        if public_key.is_usable() {
            Ok(Self { name, public_key })
        } else {
            Err(KeyError::NoPublicKey)
        }
    }

    /// Reads the key's text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let named = NamedKey::parse(text)?;
        let key = Self::new(named.name, PublicKey(*named.bytes))?;
        named.check_id(&key.public_key)?;
        Ok(key)
    }

    /// Identifies the key among those of its name. It is too short to trust a key by.
    pub fn key_id(&self) -> u32 {
        self.public_key.key_id(&self.name)
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend(self.public_key.0);
        write!(formatter, "{}+{:08x}+{}", self.name, self.key_id(), to_base64(&key))
    }
}

/// True if a key may have this name: not empty, without Unicode white space, `+` or control
/// characters.
pub fn is_key_name(name: &str) -> bool {
    let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    !name.is_empty() && !name.contains(refused)
}

/// The parts that texts of private and of public keys share.
struct NamedKey<'a> {
    name: &'a str,
    id: u32,
    bytes: Zeroizing<[u8; 32]>,
}

impl<'a> NamedKey<'a> {
    fn parse(text: &'a str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::MissingPart)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::MissingPart)?;
        if !is_key_name(name) {
            return Err(KeyError::BadName(name.to_owned()));
        }
        let number =
            u32::from_str_radix(id, 16).ok().filter(|number| format!("{number:08x}") == id);
        let id = number.ok_or_else(|| KeyError::BadId(id.to_owned()))?;
        let key = Zeroizing::new(from_base64(key).ok_or(KeyError::BadEncoding)?);
        let (kind, bytes) = key.split_first().ok_or(KeyError::BadEncoding)?;
        if *kind != ED25519 {
            return Err(KeyError::UnsupportedType(*kind));
        }
        let bytes = bytes.try_into().map_err(|_| KeyError::BadEncoding)?;
        Ok(Self { name, id, bytes: Zeroizing::new(bytes) })
    }

    fn check_id(&self, key: &PublicKey) -> Result<(), KeyError> {
        let (stated, computed) = (self.id, key.key_id(self.name));
        if stated == computed { Ok(()) } else { Err(KeyError::WrongId { stated, computed }) }
    }
}
