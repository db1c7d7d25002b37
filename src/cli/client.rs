//! Asking a running server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::CliError;

/// How to reach a server.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ServerArgs {
    /// The server's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7070")]
    pub(super) server: String,
    /// The token; better given in the environment, where `ps` does not show it
    #[arg(long, value_name = "TOKEN", env = "COMMONWATCH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The authority of the server's certificate, a file of PEM, in place of the web's
    #[arg(long, value_name = "FILE", env = "COMMONWATCH_CA_FILE")]
    ca_file: Option<PathBuf>,
}

impl ServerArgs {
    /// Returns a server that asks for no token.
    pub(super) fn at(server: String) -> Self {
        Self { server, token: None, ca_file: None }
    }
}

/// Longer than the longest question may take.
const TIMEOUT: Duration = Duration::from_secs(150);
/// For what may fetch a whole store from elsewhere.
const LONG_TIMEOUT: Duration = Duration::from_secs(86_400);

/// A server that can be asked.
pub(super) struct Client {
    http: HyperClient<HttpsConnector<HttpConnector>, Body>,
    server: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

/// What a server said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) fn new(args: &ServerArgs) -> Result<Self, CliError> {
        let is_url = args.server.starts_with("http://") || args.server.starts_with("https://");
        if !is_url {
            let message =
                format!("--server: `{}` must begin with http:// or https://", args.server);
            return Err(CliError::usage(message));
        }
        let authorization = args.token.as_ref().map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
                .map_err(|_| CliError::usage("the token has characters that no token has"))?;
            value.set_sensitive(true);
            Ok::<_, CliError>(value)
        });
        let builder = HttpsConnectorBuilder::new();
        let builder = match &args.ca_file {
            Some(path) => builder.with_tls_config(trusting(path)?),
            None => builder.with_webpki_roots(),
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self {
            http: HyperClient::builder(TokioExecutor::new()).build(connector),
            server: args.server.trim_end_matches('/').to_owned(),
            authorization: authorization.transpose()?,
            timeout: TIMEOUT,
        })
    }

    /// Returns a client that waits for a day.
    pub(super) fn patient(self) -> Self {
        Self { timeout: LONG_TIMEOUT, ..self }
    }

    pub(super) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<Answer, CliError> {
        let url = format!("{}{target}", self.server);
        let mut request = Request::builder().method(method).uri(&url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Body::from(body))
            .map_err(|error| CliError::usage(format!("{url} cannot be asked: {error}")))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| {
                let hint = "is the server running? (--server URL)";
                CliError::failed(format!("cannot reach {}: {}; {hint}", self.server, chain(&error)))
            })?;
            let status = response.status();
            let body = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX)
                .await
                .map_err(|error| CliError::failed(format!("the answer broke off: {error}")))?;
            Ok(Answer { status, body: body.to_vec() })
        };
        let Self { server, timeout, .. } = self;
        match tokio::time::timeout(*timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(CliError::failed(format!("no answer from {server} in {timeout:?}"))),
        }
    }
}

/// Returns what trusts the authorities of a file and nobody else.
fn trusting(path: &Path) -> Result<ClientConfig, CliError> {
    let wrong = |error: &dyn std::fmt::Display| {
        CliError::usage(format!("--ca-file: {}: {error}", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        authorities.add(certificate).map_err(|error| wrong(&error))?;
    }
    if authorities.is_empty() {
        return Err(wrong(&"there is no certificate in it, or it is not PEM"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions");
    Ok(config.with_root_certificates(authorities).with_no_client_auth())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

impl Answer {
    /// Returns the body, or the server's complaint as an error.
    pub(super) fn into_body(self) -> Result<Vec<u8>, CliError> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let text = String::from_utf8_lossy(&self.body);
        let json: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        let message = json.as_ref().and_then(|json| json["error"].as_str()).unwrap_or(text.trim());
        let hint = match self.status.as_u16() {
            401 => " (--token, or COMMONWATCH_TOKEN)",
            _ => "",
        };
        Err(CliError::failed(format!("the server says {}: {message}{hint}", self.status.as_u16())))
    }
}
