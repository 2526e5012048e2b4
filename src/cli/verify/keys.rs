//! Which public keys a check believes, from arguments and settings.

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{config::Settings, merkle::VerifierKey, signing_key, verify::TrustedKeys};

#[derive(Debug, Args)]
pub struct KeyArguments {
    /// A public key that signs the log's checkpoints, as `name+id+key`, or a file of such lines; can
    /// be given several times [default: the public half of this machine's signing key]
    #[arg(long = "public-key", value_name = "VKEY_OR_FILE")]
    public_keys: Vec<String>,
}

impl KeyArguments {
    /// The keys that were given. If there are none, the operator's own, if this machine has it; says
    /// so on standard error.
    pub fn given_or_own(&self, settings: &Settings) -> Result<TrustedKeys> {
        if self.are_given() {
            return self.given();
        }
        let mut keys = TrustedKeys::default();
        let path = signing_key::path(settings);
        let Some(key) = signing_key::read(&path)? else {
            bail!(
                "there is no public key to check signatures with: {} does not exist; give the key \
                 with --public-key, from a source that you trust, or ask the service for it with\n  \
                 grpcurl -plaintext -H \"authorization: Bearer $KEY\" \
                 -d '{{\"organization_id\": \"ORGANIZATION\"}}' \
                 {} auditlogs.v1.TransparencyLog/GetPublicKey",
                path.display(),
                settings.listen
            );
        };
        eprintln!("Believing the public half of {}.", path.display());
        keys.add_operator(key.public_key());
        Ok(keys)
    }

    /// Whether any key was given.
    pub fn are_given(&self) -> bool {
        !self.public_keys.is_empty()
    }

    /// The keys that were given.
    pub fn given(&self) -> Result<TrustedKeys> {
        let mut keys = TrustedKeys::default();
        for given in &self.public_keys {
            for key in read(given)? {
                keys.add(key);
            }
        }
        Ok(keys)
    }
}

/// A key, or the keys of a file.
fn read(given: &str) -> Result<Vec<VerifierKey>> {
    if let Ok(key) = VerifierKey::parse(given.trim()) {
        return Ok(vec![key]);
    }
    let text = std::fs::read_to_string(given)
        .with_context(|| format!("--public-key {given} is neither a key nor a file"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Result<Vec<_>, _> = lines.map(VerifierKey::parse).collect();
    let keys = keys.with_context(|| format!("{given} has a line that is no public key"))?;
    if keys.is_empty() {
        bail!("{given} has no public key");
    }
    Ok(keys)
}
