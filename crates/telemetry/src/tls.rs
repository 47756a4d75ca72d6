//! Whom a connection to an `https` server trusts: the certificates of the system, or those of one
//! file in their place. TLS is rustls with ring, so that the binary stays static.
//!
//! Deliberately absent: client certificates, and a way to trust anybody.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// Whose word is taken for a server's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust<'a> {
    /// Nobody's: for a connection without TLS, which asks for none.
    Nobody,
    /// The authorities that the system trusts.
    System,
    /// The certificates of this PEM file alone.
    Only(&'a Path),
}

/// The client's side of TLS.
///
/// # Errors
/// Why the certificates cannot be used, in words.
pub fn client_config(trust: Trust<'_>) -> Result<ClientConfig, String> {
    let roots = match trust {
        Trust::Nobody => RootCertStore::empty(),
        Trust::System => system()?,
        Trust::Only(file) => only(&read(file)?, file)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The text of a file of certificates, of which at least one can be used.
pub(crate) fn checked_pem(file: &Path) -> Result<Vec<u8>, String> {
    let text = read(file)?;
    only(&text, file)?;
    Ok(text)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("cannot read `{}`: {error}", file.display()))
}

fn only(text: &[u8], file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.is_empty() {
        return Err(format!("`{}` holds no certificate in PEM form", file.display()));
    }
    Ok(roots)
}

/// The certificates that the system trusts; those that cannot be read are left out.
pub(crate) fn system() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "no file is named, and the system has no certificates to trust an https server by"
                .to_owned(),
        );
    }
    Ok(roots)
}
