//! TLS for the listeners: a certificate and its key, read from files, and replaced by a reload
//! while connections go on.
//!
//! The one idea: a [`Tls`] is built whole from the files or not at all, and [`LiveTls`] holds the
//! one in force. Each handshake takes what is in force then; a connection that stands keeps what it
//! was made with. A client that does not finish its handshake in time is cut, see [`handshake`].
//! Which credential a request shows is still `auth`'s business: a client's certificate opens the
//! door and nothing else.

pub(super) mod handshake;
mod read;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::Config;

/// A listener, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Listener {
    /// `server.http`.
    Http,
    /// `server.otlp_grpc`.
    OtlpGrpc,
    /// `server.otlp_http`.
    OtlpHttp,
}

impl Listener {
    /// Every listener.
    pub const ALL: [Listener; 3] = [Listener::Http, Listener::OtlpGrpc, Listener::OtlpHttp];

    /// Returns its key in the section `server`.
    pub fn key(self) -> &'static str {
        match self {
            Listener::Http => "http",
            Listener::OtlpGrpc => "otlp_grpc",
            Listener::OtlpHttp => "otlp_http",
        }
    }
}

/// A mistake in a file that TLS needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsMistake {
    /// The key of the section `server`.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// A certificate with its key, ready to be shown.
#[derive(Clone)]
pub struct Tls(Arc<ServerConfig>);

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls") // Behind it is a private key.
    }
}

impl Tls {
    /// Reads the files that the section names; `None` when it names none. All mistakes are told
    /// together.
    pub fn load(config: &Config) -> Result<Option<Self>, Vec<TlsMistake>> {
        read::server_config(config).map(|read| read.map(|config| Self(Arc::new(config))))
    }
}

/// What is in force, shared by all listeners.
#[derive(Debug, Clone)]
pub struct LiveTls(Arc<RwLock<Tls>>);

impl LiveTls {
    /// Returns the first that is in force.
    pub fn new(tls: Tls) -> Self {
        Self(Arc::new(RwLock::new(tls)))
    }

    /// Puts another one in force, for handshakes from now on.
    pub fn replace(&self, tls: Tls) {
        *self.0.write() = tls;
    }

    fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.read().0))
    }
}
