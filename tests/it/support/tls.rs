//! A client that speaks TLS, trusting the authority of `tests/cases/tls` and nobody else.

use std::io::{self, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::http::{self, Request, Response};
use super::wait::PATIENCE;

/// Returns a file of `tests/cases/tls`.
pub(crate) fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tls").join(name)
}

/// Puts a certificate and its key where a server's configuration expects `tls.pem` and `tls.key`.
pub(crate) fn install(home: &Path, name: &str) {
    for (kind, mode) in [("pem", 0o644), ("key", 0o600)] {
        let to = home.join(format!("tls.{kind}"));
        drop(std::fs::remove_file(&to));
        std::fs::copy(case(&format!("{name}.{kind}")), &to).expect("the folder is ours");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&to, mode).expect("the file is ours");
    }
}

/// Someone who connects over TLS.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<ClientConfig>);

impl Client {
    /// Returns a client without a certificate of its own.
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    /// Returns a client that shows a certificate of `tests/cases/tls`.
    pub(crate) fn showing(name: &str) -> Self {
        Self::with(Some(name))
    }

    fn with(name: Option<&str>) -> Self {
        let read = |file: &str| CertificateDer::from_pem_file(case(file)).expect("a case");
        let mut roots = RootCertStore::empty();
        roots.add(read("authority.pem")).expect("a case");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has suites")
            .with_root_certificates(roots);
        let config = match name {
            None => config.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(case(&format!("{name}.key")));
                let chain = vec![read(&format!("{name}.pem"))];
                config.with_client_auth_cert(chain, key.expect("a case")).expect("a pair")
            }
        };
        Self(Arc::new(config))
    }

    /// Returns the first bytes that a client says.
    pub(crate) fn hello(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.session().write_tls(&mut bytes).expect("memory takes all");
        bytes
    }

    fn session(&self) -> ClientConnection {
        let name = ServerName::try_from("localhost").expect("a name");
        ClientConnection::new(Arc::clone(&self.0), name).expect("the configuration is whole")
    }

    /// Connects and shakes hands.
    pub(crate) fn open(&self, address: &str) -> io::Result<Connection> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut session = self.session();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let stream = BufReader::new(StreamOwned::new(session, socket));
        Ok(Connection { address: address.to_owned(), stream })
    }
}

/// A connection that is kept between requests.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Connection {
    pub(crate) fn send(&mut self, request: &Request) -> io::Result<Response> {
        let stream = self.stream.get_mut();
        stream.write_all(&request.to_bytes_kept(&self.address))?;
        stream.flush()?;
        http::read_response(&mut self.stream)
    }

    /// Returns the certificate that the server has shown.
    pub(crate) fn shown(&self) -> CertificateDer<'static> {
        let chain = self.stream.get_ref().conn.peer_certificates();
        chain.expect("the handshake is over")[0].clone().into_owned()
    }
}
