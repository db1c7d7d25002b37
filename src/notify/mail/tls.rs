//! TLS with a relay: the public authorities, or the one that the configuration names.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Whom we trust to be the relay.
#[derive(Clone)]
pub(in crate::notify) struct Tls {
    config: Arc<ClientConfig>,
    /// The name that its certificate must have, where that is not the relay's host.
    server_name: Option<String>,
    /// The authority, as text, to tell two configurations apart.
    authority: Option<String>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        (&self.server_name, &self.authority) == (&other.server_name, &other.authority)
    }
}

impl Tls {
    /// Returns what trusts the public authorities, or those of a PEM text instead.
    pub(in crate::notify) fn new(
        authority: Option<String>,
        server_name: Option<String>,
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        match &authority {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(pem) => {
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let wrong = |error: &dyn std::fmt::Display| format!("not a PEM file: {error}");
                    let certificate = certificate.map_err(|error| wrong(&error))?;
                    roots.add(certificate).map_err(|error| wrong(&error))?;
                }
                if roots.is_empty() {
                    return Err("no certificate is in it".to_owned());
                }
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for every version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), server_name, authority })
    }

    /// Begins TLS on a stream.
    pub(super) async fn wrap(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name.clone())
            .map_err(|_| format!("`{name}` is not a name that a certificate can have"))?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let wrapped = connector.connect(name, stream).await;
        wrapped.map_err(|error| format!("TLS with {host} did not begin: {error}"))
    }
}
