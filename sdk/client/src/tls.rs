//! TLS for REST and WebSockets alike: rustls with ring, and the roots that the machine itself trusts.
//!
//! The machine's roots and not a bundled list: research clusters sign their own servers, and `SSL_CERT_FILE` or the
//! system's store is where their administrators put that root. Without any root the error says so.

use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;

/// The configuration, made once per process (reading the machine's roots takes milliseconds).
///
/// # Errors
///
/// The reason when the machine's roots cannot be read.
pub(crate) fn client_config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    CONFIG.get_or_init(build).clone()
}

fn build() -> Result<Arc<ClientConfig>, String> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| {
            format!("no TLS: {error}; install the package ca-certificates or set SSL_CERT_FILE to the root's PEM file")
        })?;
    Ok(Arc::new(config.with_no_client_auth()))
}

/// The configuration of a client that speaks plain HTTP: it trusts nobody, and nothing is read to make it.
pub(crate) fn no_roots_config() -> Arc<ClientConfig> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions");
    Arc::new(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}
