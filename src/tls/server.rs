//! The certificate of the listener, read from files and read again whenever they change.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use sha2::{Digest, Sha256};

/// What is spoken inside, in the order of preference (RFC 7301; the names are those of IANA).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where certificates are: files in PEM (RFC 7468).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate of the server, then those between it and a root.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
    /// The authorities one of which must have certified a client; without it clients need no certificate.
    pub client_authorities: Option<PathBuf>,
}

/// Why files make no server. The setting that names the file is told, never what is in it.
#[derive(Debug)]
pub struct TlsError {
    setting: &'static str,
    path: PathBuf,
    why: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used: {}: {}", self.setting, self.path.display(), self.why)
    }
}

impl std::error::Error for TlsError {}

/// The SHA-256 of all files together: tells whether they changed.
type Fingerprint = [u8; 32];

/// The files as they were read at one time.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

/// What new connections are greeted with.
pub struct ServerTls {
    files: ServerFiles,
    current: RwLock<Arc<ServerConfig>>,
    /// The files that were looked at last, whether they could be used or not.
    seen: Mutex<Fingerprint>,
}

impl ServerTls {
    /// Reads the files. An error names the setting of the file that is wrong.
    pub fn load(files: ServerFiles) -> Result<Self, TlsError> {
        let contents = files.read()?;
        let current = RwLock::new(Arc::new(files.config(&contents)?));
        Ok(Self { files, current, seen: Mutex::new(contents.fingerprint()) })
    }

    /// What the next connection is greeted with.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files again. `Ok(true)` if they have changed and are used from now on; an error, once for
    /// each change, if they cannot be used: then everything stays as it was.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let contents = self.files.read();
        let fingerprint = match &contents {
            Ok(contents) => contents.fingerprint(),
            Err(error) => Sha256::digest(error.to_string()).into(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == fingerprint {
            return Ok(false);
        }
        *seen = fingerprint;
        let config = Arc::new(self.files.config(&contents?)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(true)
    }
}

impl ServerFiles {
    fn read(&self) -> Result<Contents, TlsError> {
        let read = |setting, path: &Path| {
            fs::read(path).map_err(|error| TlsError {
                setting,
                path: path.to_owned(),
                why: error.to_string(),
            })
        };
        Ok(Contents {
            certificate: read("tls.cert", &self.certificate)?,
            key: read("tls.key", &self.key)?,
            client_authorities: self
                .client_authorities
                .as_deref()
                .map(|path| read("tls.client_ca", path))
                .transpose()?,
        })
    }

    fn config(&self, contents: &Contents) -> Result<ServerConfig, TlsError> {
        let wrong =
            |setting, path: &Path, why: String| TlsError { setting, path: path.to_owned(), why };
        let chain = certificates(&contents.certificate)
            .map_err(|why| wrong("tls.cert", &self.certificate, why))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| wrong("tls.key", &self.key, format!("no private key: {error}")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("tls.cert", &self.certificate, error.to_string()))?;
        let builder = match (&contents.client_authorities, &self.client_authorities) {
            (Some(pem), Some(path)) => {
                let refused = |why| wrong("tls.client_ca", path, why);
                let mut roots = RootCertStore::empty();
                for authority in certificates(pem).map_err(refused)? {
                    roots.add(authority).map_err(|error| refused(error.to_string()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.build().map_err(|error| refused(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let why = format!("it does not fit the certificate of tls.cert: {error}");
            wrong("tls.key", &self.key, why)
        })?;
        if contents.client_authorities.is_some() {
            // A session that goes on is one whose client's certificate nobody looks at again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| format!("no PEM: {error}"))?;
    if all.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(all) }
}

impl Contents {
    fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        let none = Vec::new();
        for part in
            [&self.certificate, &self.key, self.client_authorities.as_ref().unwrap_or(&none)]
        {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }
}
