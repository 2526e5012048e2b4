//! Links to export files: signed, so that a plain HTTP GET without a key can follow them, and only
//! for ten minutes.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tracing::warn;

use crate::{
    domain::{
        export::{Export, ExportState},
        limits::DOWNLOAD_SECONDS,
        timestamp::Timestamp,
    },
    export::files::{ExportFiles, Part},
};

/// Path below which the service serves export files.
pub const DOWNLOAD_PATH: &str = "/v1/exports/download";

/// How long a link lives.
const LIFE: Duration = Duration::from_secs(DOWNLOAD_SECONDS.unsigned_abs());

/// A link to an export file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The whole URL.
    pub url: String,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// Makes and checks links.
#[derive(Clone)]
pub struct Links {
    /// Where the files are.
    pub(super) files: ExportFiles,
    public_url: String,
    presigned: bool,
}

impl Links {
    /// Links start with `public_url`, unless they are `presigned` by the bucket that has the files.
    pub fn new(files: ExportFiles, public_url: String, presigned: bool) -> Self {
        Self { files, public_url, presigned }
    }

    /// A fresh link, if the export has a file.
    pub async fn make(&self, export: &Export, part: Part, now: Timestamp) -> Option<Link> {
        if export.state != ExportState::Ready {
            return None;
        }
        if self.presigned {
            match self.files.sign(export, part, LIFE).await {
                Some(Ok(url)) => {
                    return Some(Link { url, expires_at: now.plus_seconds(DOWNLOAD_SECONDS) });
                }
                // The credentials are out of reach; the service's own links may still work later.
                Some(Err(error)) => warn!(%error, "the export store cannot sign a link"),
                None => {}
            }
        }
        // Whole seconds, because that is what the link says.
        let expires = now.seconds() + DOWNLOAD_SECONDS;
        let signature = hex::encode(signature(export, part, expires)?.finalize().into_bytes());
        let (base, id) = (self.public_url.trim_end_matches('/'), &export.id);
        Some(Link {
            url: format!(
                "{base}{DOWNLOAD_PATH}/{id}{}?expires={expires}&signature={signature}",
                part.suffix()
            ),
            expires_at: Timestamp::from_micros(0).plus_seconds(expires),
        })
    }
}

/// Whether the parts of a link belong together and it has not expired.
pub fn is_valid(
    export: &Export,
    part: Part,
    expires: i64,
    signature_hex: &str,
    now: Timestamp,
) -> bool {
    let Ok(sent) = hex::decode(signature_hex) else { return false };
    let authentic =
        signature(export, part, expires).is_some_and(|mac| mac.verify_slice(&sent).is_ok());
    authentic && now.seconds() < expires
}

/// HMAC-SHA256 over id, what is to be had of it, and expiry, under the export's own secret.
fn signature(export: &Export, part: Part, expires: i64) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&export.download_secret).ok()?;
    mac.update(export.id.as_str().as_bytes());
    mac.update(part.suffix().as_bytes());
    mac.update(&expires.to_be_bytes());
    Some(mac)
}
