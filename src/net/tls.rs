//! TLS for everything that goes out: rustls with ring, and the certificates of the platform.

/// Makes ring the provider of this process, once; one that is installed already stays.
///
/// reqwest and oci-client are built without a provider of their own and take the process's. Both then
/// check certificates as the platform does, and honour `SSL_CERT_FILE` and `SSL_CERT_DIR` on Unix.
pub(super) fn provider() {
    // The error is the provider that somebody installed before: as good as ours.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
