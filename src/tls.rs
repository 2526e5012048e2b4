//! One TLS provider for every client in the process.

/// Makes ring the provider of this process, unless one was installed already. HTTP clients panic
/// without one.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
