//! Sockets: which router answers on which port, how many connections there may be and how long
//! each may dawdle. Knows nothing of what is asked.
//!
//! The shape is bind -> serve -> drain. [`bind`] opens the sockets and spawns nothing, so that a
//! port that is taken is a start-up error and the addresses really bound can be written down first.
//! [`Bound::serve`] accepts until it is told to stop, then lets what is under way finish until a
//! deadline.

mod activity;
mod connection;
mod connections;
mod files;
mod lingering;
mod listen;
mod tls;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Router;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use crate::base::Kind;
use crate::base::units::{HumanDuration, HumanSize};

pub use listen::{Bound, ListenAddr, ListenAddrError, bind};
pub use tls::{Listener, LiveTls, Tls, TlsMistake};

/// The section `server`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Everything the server stores.
    pub data_dir: PathBuf,
    /// Memory that the process may plan with; what the machine or the container has, when not set.
    /// Marks and limits of memory that are not set are parts of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<HumanSize>,
    /// Query APIs, remote write, Loki push, administration.
    pub http: ListenAddr,
    /// OTLP; gRPC and HTTP are both taken.
    pub otlp_grpc: ListenAddr,
    /// OTLP; gRPC and HTTP are both taken.
    pub otlp_http: ListenAddr,
    /// The certificate that the listeners of `tls_listeners` show, then those between it and its
    /// authority; PEM. Without it they speak HTTP in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert_file: Option<PathBuf>,
    /// Its private key; PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key_file: Option<PathBuf>,
    /// Authorities of which every client must show a certificate; PEM. Without it none is asked
    /// for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// Who speaks TLS, once there is a certificate.
    pub tls_listeners: Vec<Listener>,
    /// The most connections at once, over all listeners.
    pub connections_max: usize,
    /// The most connections at once from one address that is not loopback.
    pub connections_per_address_max: usize,
    /// How long a TLS handshake may take, from the connection's first moment.
    pub handshake_timeout: HumanDuration,
    /// How long a client may take to send a request's headers.
    pub header_timeout: HumanDuration,
    /// How long a client may take to send a request's body, whatever the route; `limits.body_read`
    /// is the shorter one of telemetry.
    pub body_timeout: HumanDuration,
    /// How long a connection may stand without a request.
    pub idle_timeout: HumanDuration,
    /// How long a client that is being told something may read nothing.
    pub write_timeout: HumanDuration,
    /// The most bytes of answers, all together, that wait for their readers.
    pub unread_answers_max: HumanSize,
    /// How long the rest of a body that was refused is let in, so that the answer arrives.
    pub linger_timeout: HumanDuration,
    /// How long requests under way may take to finish when the server stops.
    pub drain_timeout: HumanDuration,
    /// The most bytes of headers in a request.
    pub header_bytes_max: HumanSize,
    /// The most headers in a request.
    pub headers_max: usize,
    /// The most requests at once on one HTTP/2 connection.
    pub h2_streams_max: u32,
    /// The most requests of one HTTP/2 connection that were cancelled before we got to them; one
    /// more ends the connection (CVE-2023-44487).
    pub h2_resets_max: usize,
    /// The most bytes of headers in a request over HTTP/2, unpacked.
    pub h2_header_bytes_max: HumanSize,
    /// How often a silent HTTP/2 connection is asked whether it is alive.
    pub h2_keep_alive: HumanDuration,
    /// How long it may take to say so.
    pub h2_keep_alive_timeout: HumanDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            memory: None,
            http: ListenAddr::loopback(7070),
            otlp_grpc: ListenAddr::loopback(4317),
            otlp_http: ListenAddr::loopback(4318),
            tls_cert_file: None,
            tls_key_file: None,
            tls_client_ca_file: None,
            tls_listeners: Listener::ALL.to_vec(),
            connections_max: 4_096,
            connections_per_address_max: 256,
            handshake_timeout: HumanDuration::from_secs(5),
            header_timeout: HumanDuration::from_secs(10),
            body_timeout: HumanDuration::from_secs(60),
            idle_timeout: HumanDuration::from_secs(75),
            write_timeout: HumanDuration::from_secs(30),
            unread_answers_max: HumanSize::from_mib(256),
            linger_timeout: HumanDuration::from_secs(5),
            drain_timeout: HumanDuration::from_secs(5),
            header_bytes_max: HumanSize(32 << 10),
            headers_max: 100,
            h2_streams_max: 128,
            h2_resets_max: 20,
            h2_header_bytes_max: HumanSize(16 << 10),
            h2_keep_alive: HumanDuration::from_secs(30),
            h2_keep_alive_timeout: HumanDuration::from_secs(20),
        }
    }
}

impl Config {
    /// Returns the listeners by their keys.
    pub fn listeners(&self) -> [(&'static str, &ListenAddr); 3] {
        [("http", &self.http), ("otlp_grpc", &self.otlp_grpc), ("otlp_http", &self.otlp_http)]
    }

    /// Returns the listeners that tell other machines what is said to them in the clear.
    pub fn in_the_clear(&self) -> Vec<&'static str> {
        let has_tls = self.tls_cert_file.is_some();
        let speaks_tls =
            |key| has_tls && self.tls_listeners.iter().any(|listener| listener.key() == key);
        let open = self.listeners().into_iter().filter(|(_, address)| !address.is_loopback());
        open.map(|(key, _)| key).filter(|key| !speaks_tls(*key)).collect()
    }

    /// Returns every mistake in the section, each beginning with its key.
    pub fn mistakes(&self) -> Vec<String> {
        let counts = [
            ("connections_max", self.connections_max),
            ("connections_per_address_max", self.connections_per_address_max),
            ("headers_max", self.headers_max),
            ("h2_streams_max", usize::try_from(self.h2_streams_max).unwrap_or(usize::MAX)),
            ("h2_resets_max", self.h2_resets_max),
            ("h2_header_bytes_max", self.h2_header_bytes_max.bytes()),
        ];
        let times = [
            ("handshake_timeout", self.handshake_timeout),
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("idle_timeout", self.idle_timeout),
            ("write_timeout", self.write_timeout),
            ("linger_timeout", self.linger_timeout),
            ("drain_timeout", self.drain_timeout),
            ("h2_keep_alive", self.h2_keep_alive),
            ("h2_keep_alive_timeout", self.h2_keep_alive_timeout),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count == 0).map(|(key, _)| key);
        let times = times.into_iter().filter(|(_, time)| time.0.is_zero()).map(|(key, _)| key);
        let mut found: Vec<String> =
            counts.chain(times).map(|key| format!("server.{key} must be more than 0")).collect();
        if self.listeners().iter().all(|(_, address)| **address == ListenAddr::Off) {
            found.push(
                "server.http is off, and so are the others: nobody could reach the server".into(),
            );
        }
        found
    }

    /// Returns true when only this machine can reach the server.
    pub fn is_loopback_only(&self) -> bool {
        self.listeners().iter().all(|(_, address)| address.is_loopback())
    }
}

/// Why the server could not open its sockets.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A port is taken, or an address is not this machine's.
    #[error("cannot listen on {address} (server.{key}): {source}")]
    Bind {
        /// The configuration's key.
        key: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
}

impl ServerError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            ServerError::Bind { .. } => Kind::Unavailable,
        }
    }
}

/// Which router answers on which port.
#[derive(Debug, Clone)]
pub struct Routers {
    /// On `http`: everything.
    pub http: Router,
    /// On both OTLP ports.
    pub otlp: Router,
}

/// The addresses really bound; as JSON, this is `addresses.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// Of `server.http`.
    pub http: ListenAddr,
    /// Of `server.otlp_grpc`.
    pub otlp_grpc: ListenAddr,
    /// Of `server.otlp_http`.
    pub otlp_http: ListenAddr,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClosedLabels {
    reason: &'static str,
}

/// What the room counts.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    accepted: Family<ListenerLabels, Counter>,
    refused: Family<ClosedLabels, Counter>,
    closed: Family<ClosedLabels, Counter>,
    refused_requests: crate::api::RefusedRequests,
    accept_errors: Counter,
    open: Gauge,
    handshakes: Counter,
}

impl Metrics {
    /// Returns the room's metrics, registered as `commonwatch_server_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let own = Self::default();
        let name = "commonwatch_server_accepted_connections";
        registry.register(name, "Connections accepted", own.accepted.clone());
        let name = "commonwatch_server_refused_connections";
        registry.register(name, "Connections closed for a limit at once", own.refused.clone());
        let name = "commonwatch_server_closed_connections";
        registry.register(name, "Connections closed by us, by cause", own.closed.clone());
        let name = "commonwatch_server_refused_requests";
        let help = "Requests refused for their head or the time of their body, by the limit's key";
        registry.register(name, help, own.refused_requests.clone());
        let name = "commonwatch_server_accept_errors";
        registry.register(name, "Failed accepts; accepting went on", own.accept_errors.clone());
        let name = "commonwatch_server_open_connections";
        registry.register(name, "Connections open now", own.open.clone());
        let name = "commonwatch_server_tls_handshakes";
        registry.register(name, "TLS handshakes that were finished", own.handshakes.clone());
        own
    }
}
