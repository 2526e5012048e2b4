//! TLS and mTLS on the listener: real clients against a real server in a process of its own.

pub mod authority;
mod refusing;
mod renewing;
mod speaking;

use std::sync::Arc;

use audit_logs::client::{Client, Trust};
use reqwest::{Certificate, ClientBuilder};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use self::authority::{Authority, Identity};
use crate::{
    program::process::{Process, Program},
    support::{Engine, until},
};

/// A server with TLS, and who it is.
pub struct Secured {
    pub program: Program,
    pub process: Process,
    pub url: String,
    /// Who certified the server.
    pub authority: Authority,
}

impl Secured {
    /// Takes every client, or only those that `clients` has certified.
    pub async fn start(clients: Option<&Authority>, variables: &[(&str, &str)]) -> Self {
        let authority = Authority::new();
        let mut program = Program::on(Engine::Sqlite).await;
        write_identity(&program, &authority.server());
        for (name, file) in
            [("AUDIT_LOGS_TLS_CERT", "server.pem"), ("AUDIT_LOGS_TLS_KEY", "server.key")]
        {
            let path = program_path(&program, file);
            program = program.with(name, &path);
        }
        if let Some(clients) = clients {
            program.write("clients.pem", &clients.pem);
            let path = program_path(&program, "clients.pem");
            program = program.with("AUDIT_LOGS_TLS_CLIENT_CA", &path);
        }
        for (name, value) in variables {
            program = program.with(name, value);
        }
        let mut process = program.start(&["serve"]);
        let url = process.listening().await.replace("http://", "https://");
        until("the server is ready", async || {
            process.stderr.text().contains(r#""message":"ready""#).then_some(())
        })
        .await;
        Self { program, process, url, authority }
    }

    /// Where it listens, without the scheme.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("https://")
    }

    /// Knows the server, and shows itself as `identity`.
    pub fn trust(&self, identity: Option<&Identity>) -> Trust {
        self.program.write("ca.pem", &self.authority.pem);
        let [ca, certificate, key] = ["ca.pem", "me.pem", "me.key"].map(|n| self.program.path(n));
        let Some(identity) = identity else { return Trust::read(Some(&ca), None, None).unwrap() };
        self.program.write("me.pem", &identity.certificate);
        self.program.write("me.key", &identity.key);
        Trust::read(Some(&ca), Some(&certificate), Some(&key)).unwrap()
    }

    /// How a client speaks TLS 1.3 that knows the server and shows itself as `identity`.
    pub fn rustls(&self, identity: &Identity) -> ClientConfig {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.authority.pem)).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate(&identity.certificate)], key)
            .unwrap()
    }

    /// A client of gRPC.
    pub async fn client(&self, identity: Option<&Identity>) -> anyhow::Result<Client> {
        let key = crate::support::server::ROOT_KEY;
        Client::connect_with(&self.url, key, &self.trust(identity)).await
    }

    /// A client of HTTP that knows the server and has no connections yet.
    pub fn http(&self) -> ClientBuilder {
        let root = Certificate::from_pem(self.authority.pem.as_bytes()).unwrap();
        reqwest::Client::builder().add_root_certificate(root)
    }
}

fn program_path(program: &Program, name: &str) -> String {
    program.path(name).display().to_string()
}

/// Writes what the server shows.
fn write_identity(program: &Program, identity: &Identity) {
    program.write("server.key", &identity.key);
    program.write("server.pem", &identity.certificate);
}
