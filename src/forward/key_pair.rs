//! Key-pair authentication of Snowflake (docs.snowflake.com, "Using key-pair authentication"): JSON Web
//! Tokens (RFC 7519), signed with RS256.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use pkcs8::{
    AlgorithmIdentifierRef, EncryptedPrivateKeyInfoRef, ObjectIdentifier, SecretDocument,
    SubjectPublicKeyInfoRef,
    der::{Encode, asn1::BitStringRef},
};
use ring::{
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::domain::timestamp::Timestamp;

/// rsaEncryption (RFC 8017, appendix C).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// How long a token lives; Snowflake allows an hour.
const LIFE_SECONDS: i64 = 600;
/// Clocks differ.
const EARLIER_SECONDS: i64 = 30;

/// A user's key, which signs tokens.
pub struct KeyPair {
    key: RsaKeyPair,
    /// `<ACCOUNT>.<USER>`.
    subject: String,
    /// `<ACCOUNT>.<USER>.SHA256:<fingerprint of the public key>`.
    issuer: String,
}

impl KeyPair {
    /// A key in PKCS#8 and PEM, encrypted if there is a passphrase. An error is why it cannot be used; it
    /// never has parts of the key.
    pub fn new(pem: &str, passphrase: &str, account: &str, user: &str) -> Result<Self, String> {
        let wrong = || "private_key_pem is no key in PKCS#8 and PEM".to_owned();
        let (label, document) = SecretDocument::from_pem(pem.trim()).map_err(|_| wrong())?;
        let document = match label {
            "PRIVATE KEY" => document,
            "ENCRYPTED PRIVATE KEY" => EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                .map_err(|_| wrong())?
                .decrypt(passphrase)
                .map_err(|_| "private_key_passphrase does not open private_key_pem".to_owned())?,
            _ => return Err(wrong()),
        };
        let key = RsaKeyPair::from_pkcs8(document.as_bytes())
            .map_err(|error| format!("private_key_pem is no RSA key that can be used: {error}"))?;
        let subject = format!("{account}.{user}").to_uppercase();
        let issuer = format!("{subject}.SHA256:{}", fingerprint(key.public_key().as_ref())?);
        Ok(Self { key, subject, issuer })
    }

    /// A token that is good for ten minutes.
    pub fn token(&self, now: Timestamp) -> Result<String, String> {
        let now = now.seconds();
        let claims = json!({
            "iss": self.issuer,
            "sub": self.subject,
            "iat": now - EARLIER_SECONDS,
            "exp": now + LIFE_SECONDS,
        });
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let mut token = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| "the token cannot be signed".to_owned())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }
}

/// SHA-256 over the SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7) of an RSAPublicKey, in base64.
fn fingerprint(public_key: &[u8]) -> Result<String, String> {
    let failed = |error: pkcs8::der::Error| format!("private_key_pem: {error}");
    let info = SubjectPublicKeyInfoRef {
        algorithm: AlgorithmIdentifierRef {
            oid: RSA,
            parameters: Some(pkcs8::der::asn1::Null.into()),
        },
        subject_public_key: BitStringRef::from_bytes(public_key).map_err(failed)?,
    };
    Ok(STANDARD.encode(Sha256::digest(info.to_der().map_err(failed)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = include_str!("../../tests/it/receivers/snowflake/key.pem");
    const ENCRYPTED: &str = include_str!("../../tests/it/receivers/snowflake/key.aes.pem");
    const TRIPLE_DES: &str = include_str!("../../tests/it/receivers/snowflake/key.des3.pem");
    /// By OpenSSL: `openssl rsa -in key.pem -pubout -outform DER | openssl dgst -sha256 -binary |
    /// base64`.
    const FINGERPRINT: &str = include_str!("../../tests/it/receivers/snowflake/key.fingerprint");

    #[test]
    fn a_key_is_named_by_its_fingerprint() {
        let key = KeyPair::new(KEY, "", "acme-eu1", "audit_logs").unwrap();
        assert_eq!(key.subject, "ACME-EU1.AUDIT_LOGS");
        let issuer = format!("ACME-EU1.AUDIT_LOGS.SHA256:{}", FINGERPRINT.trim());
        assert_eq!(key.issuer, issuer);
        let token = key.token(Timestamp::from_micros(1_000_000_000_000_000)).unwrap();
        let claims = token.split('.').nth(1).unwrap();
        let claims: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 630);
    }

    #[test]
    fn a_passphrase_opens_a_key() {
        for pem in [ENCRYPTED, TRIPLE_DES] {
            assert!(KeyPair::new(pem, "for tests", "a", "b").is_ok());
            let error = KeyPair::new(pem, "another", "a", "b").err().unwrap();
            assert_eq!(error, "private_key_passphrase does not open private_key_pem");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let certificate = KEY.replace("PRIVATE KEY", "CERTIFICATE");
        for pem in ["", "text", &certificate, &KEY[..400]] {
            let error = KeyPair::new(pem, "", "a", "b").err().unwrap();
            assert_eq!(error, "private_key_pem is no key in PKCS#8 and PEM");
        }
    }
}
