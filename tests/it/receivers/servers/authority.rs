//! An authority that certifies receivers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// A certificate authority of one test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The files of a server's certificate.
pub struct ServerFiles {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key, PKCS#8.
    pub key: PathBuf,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// What `ca_certificates_pem` is to be.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Certificate and key, in PEM, of a server of that name or address.
    pub fn certify(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The same, as files in a directory.
    pub fn certify_in(&self, directory: &Path, name: &str) -> ServerFiles {
        let (certificate, key) = self.certify(name);
        let written = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        ServerFiles {
            authority: written("authority.pem", self.pem()),
            certificate: written("certificate.pem", &certificate),
            key: written("key.pem", &key),
        }
    }
}
