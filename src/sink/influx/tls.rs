//! TLS: whose certificates are believed, and which one is shown.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{Options, Proxy};

/// The client's side of a connection.
///
/// # Errors
/// Which file is missing or holds something else.
pub(super) fn config(options: &Options) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let is_needed = options.url.is_https()
        || matches!(&options.proxy, Proxy::Url(url) if url.starts_with("https"));
    match &options.tls.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| {
                    format!(
                        "{} holds no certificate to believe: {error}",
                        path.display()
                    )
                })?;
            }
        }
        None if is_needed => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                return Err(
                    "the system has no certificates to believe; name one with tls.ca".to_owned(),
                );
            }
        }
        None => {}
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    match &options.tls.client {
        Some((certificate, key)) => {
            let found = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("{} holds no private key: {error}", key.display()))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, found)
                .map_err(|error| {
                    format!(
                        "{} and {} do not fit: {error}",
                        certificate.display(),
                        key.display()
                    )
                })
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: rustls::pki_types::pem::Error| {
        format!("{} holds no certificate: {error}", path.display())
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(wrong)?
        .collect();
    let found = found.map_err(wrong)?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate", path.display()));
    }
    Ok(found)
}
