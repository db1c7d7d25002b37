//! TLS with a receiver or a relay: the public authorities or those that the configuration names, and who we
//! say we are.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What a configuration says of TLS, as texts.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    /// The authorities that are trusted instead of the public ones, PEM.
    pub(super) authority: Option<String>,
    /// The name that the certificate must have, where that is not the host's.
    pub(super) server_name: Option<String>,
    /// What we show of ourselves, PEM: certificates and their key.
    pub(super) own: Option<(String, String)>,
}

/// Whom we trust to be who answers, and who we are ourselves.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    /// The name that the certificate must have, where that is not the host's.
    server_name: Option<ServerName<'static>>,
    /// To tell two configurations apart.
    said: Said,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.said.server_name).finish_non_exhaustive()
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.said == other.said
    }
}

impl Eq for Tls {}

impl Tls {
    /// Returns what a configuration says, or what is wrong with it.
    pub(super) fn new(said: Said) -> Result<Self, String> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for every version")
            .with_root_certificates(roots(said.authority.as_deref())?);
        let config = match &said.own {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let wrong = |error: &dyn std::fmt::Display| format!("not a PEM file: {error}");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
                let key = key.map_err(|error| format!("the key is {}", wrong(&error)))?;
                let own = config.with_client_auth_cert(certificates(chain)?, key);
                own.map_err(|error| format!("certificate and key do not fit: {error}"))?
            }
        };
        let server_name = said.server_name.as_deref().map(named).transpose()?;
        Ok(Self { config: Arc::new(config), server_name, said })
    }

    /// Returns it for a client that makes its connections itself, with the name that a certificate must
    /// have where that is not the host's.
    pub(super) fn for_client(&self) -> (ClientConfig, Option<ServerName<'static>>) {
        ((*self.config).clone(), self.server_name.clone())
    }

    /// Begins TLS on a stream.
    pub(super) async fn wrap(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = self.server_name.clone().map_or_else(|| named(host), Ok)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let wrapped = connector.connect(name, stream).await;
        wrapped.map_err(|error| format!("TLS with {host} did not begin: {error}"))
    }
}

fn named(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("`{name}` is not a name that a certificate can have"))
}

fn roots(authority: Option<&str>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match authority {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in certificates(pem)? {
                let added = roots.add(certificate);
                added.map_err(|error| format!("not a PEM file: {error}"))?;
            }
        }
    }
    Ok(roots)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err("no certificate is in it".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("not a PEM file: {error}")),
    }
}
