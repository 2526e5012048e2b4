//! One TLS provider for the whole process, the authorities that clients trust, and the certificate of the
//! listener.

mod server;

use std::sync::{Arc, OnceLock};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

pub use self::server::{ServerFiles, ServerTls, TlsError};

/// Makes ring the provider of this process, unless one was installed already. HTTP clients panic
/// without one.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What a TLS client needs to reach servers that an authority of this host, or one of those in
/// `ca_certificates_pem`, has certified. The host's authorities are read once and shared. An error says
/// what is wrong with the PEM.
pub fn client_config(ca_certificates_pem: &str) -> Result<ClientConfig, String> {
    client_config_as(ca_certificates_pem, None)
}

/// The same for a client that shows a certificate: with those above it, and its private key, both PEM.
pub fn client_config_as(
    ca_certificates_pem: &str,
    identity: Option<(&str, &str)>,
) -> Result<ClientConfig, String> {
    let roots = roots(ca_certificates_pem)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| error.to_string())?.with_root_certificates(roots);
    let Some((certificate, key)) = identity else { return Ok(versions.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("the client's certificate: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    let key = key.map_err(|error| format!("the client's key: {error}"))?;
    versions
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("the client's certificate: {error}"))
}

fn roots(ca_certificates_pem: &str) -> Result<Arc<RootCertStore>, String> {
    if ca_certificates_pem.trim().is_empty() {
        return Ok(host_roots().clone());
    }
    let mut roots = RootCertStore::clone(host_roots());
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(ca_certificates_pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("ca_certificates_pem: {error}"))?;
        roots.add(certificate).map_err(|error| format!("ca_certificates_pem: {error}"))?;
    }
    if roots.len() == before {
        return Err("ca_certificates_pem: no certificate in it".to_owned());
    }
    Ok(Arc::new(roots))
}

/// The authorities that this host trusts; what it has and cannot be read is left out.
fn host_roots() -> &'static Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    })
}
