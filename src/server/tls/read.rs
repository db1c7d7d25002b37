//! From files to what a handshake needs; every mistake with its key.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{Error, RootCertStore, ServerConfig};

use super::{Config, TlsMistake};
use crate::auth::refuse_open_file;

/// What may be asked for in the greeting: HTTP/2 first, which gRPC insists on.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// A chain is a few KiB, a bundle of authorities a few hundred.
const PEM_BYTES_MAX: u64 = 4 << 20;

type Read<T> = Result<T, TlsMistake>;

fn mistake<T>(key: &'static str, message: impl Into<String>) -> Read<T> {
    Err(TlsMistake { key, message: message.into() })
}

/// Reads what the section names; `None` when it names nothing.
pub(super) fn server_config(config: &Config) -> Result<Option<ServerConfig>, Vec<TlsMistake>> {
    let (certificate, key) = match (&config.tls_cert_file, &config.tls_key_file) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if config.tls_client_ca_file.is_none() => return Ok(None),
        (None, _) => return one("tls_cert_file", "the key needs its certificate: a file of PEM"),
        (Some(_), None) => {
            return one("tls_key_file", "the certificate needs its key: a file of PEM");
        }
    };
    let provider = Arc::new(ring::default_provider());
    let chain = chain(certificate);
    let key = private_key(key);
    let clients = clients(config.tls_client_ca_file.as_deref(), &provider);
    match (chain, key, clients) {
        (Ok(chain), Ok(key), Ok(clients)) => {
            together(provider, chain, key, clients).map(Some).map_err(|mistake| vec![mistake])
        }
        (chain, key, clients) => {
            Err([chain.err(), key.err(), clients.err()].into_iter().flatten().collect())
        }
    }
}

fn one<T>(key: &'static str, message: &str) -> Result<T, Vec<TlsMistake>> {
    mistake(key, message).map_err(|mistake| vec![mistake])
}

fn chain(path: &Path) -> Read<Vec<CertificateDer<'static>>> {
    certificates("tls_cert_file", path)
}

fn certificates(key: &'static str, path: &Path) -> Read<Vec<CertificateDer<'static>>> {
    let bytes = bytes(key, path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(found) if found.is_empty() => {
            mistake(key, format!("{} has no certificate in it, or is not PEM", path.display()))
        }
        Ok(found) => Ok(found),
        Err(error) => mistake(key, format!("{} is not PEM: {error}", path.display())),
    }
}

fn private_key(path: &Path) -> Read<PrivateKeyDer<'static>> {
    const KEY: &str = "tls_key_file";
    refuse_open_file(path).or_else(|message| mistake(KEY, message))?;
    let bytes = bytes(KEY, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).or_else(|_| {
        // The library's error could repeat what it has read.
        let what = "has no private key in it that can be read (PEM, not encrypted)";
        mistake(KEY, format!("{} {what}", path.display()))
    })
}

/// Returns what looks at clients: nothing, or who asks each for a certificate of an authority.
fn clients(
    path: Option<&Path>,
    provider: &Arc<CryptoProvider>,
) -> Read<Arc<dyn ClientCertVerifier>> {
    const KEY: &str = "tls_client_ca_file";
    let Some(path) = path else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(KEY, path)? {
        authorities.add(certificate).or_else(|error| {
            mistake(KEY, format!("{} has no authority in it: {error}", path.display()))
        })?;
    }
    let authorities = Arc::new(authorities);
    WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider))
        .build()
        .or_else(|error| mistake(KEY, error.to_string()))
}

fn together(
    provider: Arc<CryptoProvider>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Arc<dyn ClientCertVerifier>,
) -> Read<ServerConfig> {
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions() // 1.2 and 1.3
        .expect("the provider has suites for both")
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key);
    match config {
        Ok(mut config) => {
            config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
            Ok(config)
        }
        Err(Error::InconsistentKeys(_)) => {
            mistake("tls_key_file", "the key is not that of server.tls_cert_file")
        }
        Err(error) => mistake("tls_cert_file", format!("the certificate cannot be used: {error}")),
    }
}

fn bytes(key: &'static str, path: &Path) -> Read<Vec<u8>> {
    let cannot = |error| format!("cannot read {}: {error}", path.display());
    let metadata = std::fs::metadata(path).or_else(|error| mistake(key, cannot(error)))?;
    if metadata.len() > PEM_BYTES_MAX {
        let what = "that is no certificate and no key";
        return mistake(key, format!("{} has {} bytes: {what}", path.display(), metadata.len()));
    }
    std::fs::read(path).or_else(|error| mistake(key, cannot(error)))
}
