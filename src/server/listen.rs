//! Opening the sockets, and the loop that accepts: no error of one connection ends it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connection::{self, Door, Shared};
use super::connections::Connections;
use super::tls::LiveTls;
use super::{Addresses, Config, ListenerLabels, Metrics, Routers, ServerError};
use crate::base::clock::SharedClock;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddr {
    /// Nowhere: `off`.
    Off,
    /// At this address; port 0 lets the system choose one.
    At(SocketAddr),
}

/// A text that is not an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an address to listen on: wanted `127.0.0.1:7070`, `[::1]:7070`, `:7070` (every interface) or `off`"
)]
pub struct ListenAddrError(String);

impl ListenAddr {
    /// Returns a port of 127.0.0.1.
    pub const fn loopback(port: u16) -> Self {
        ListenAddr::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// Returns true when other machines cannot reach it.
    pub fn is_loopback(&self) -> bool {
        match self {
            ListenAddr::Off => true,
            ListenAddr::At(address) => address.ip().to_canonical().is_loopback(),
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(ListenAddr::Off);
        }
        let numeric = match text.split_once(':') {
            Some(("", port)) => format!("0.0.0.0:{port}"),
            Some(("localhost", port)) => format!("127.0.0.1:{port}"),
            _ => text.to_owned(),
        };
        numeric.parse().map(ListenAddr::At).map_err(|_| ListenAddrError(text.to_owned()))
    }
}

impl std::fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenAddr::Off => f.write_str("off"),
            ListenAddr::At(address) => address.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for ListenAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Opens the sockets; spawns nothing. A client that connects from now on waits for
/// [`Bound::serve`]. With `tls`, the listeners of `tls_listeners` speak it.
pub async fn bind(
    config: &Config,
    tls: Option<LiveTls>,
    clock: SharedClock,
    metrics: Metrics,
) -> Result<Bound, ServerError> {
    let mut sockets = Vec::with_capacity(3);
    for (key, address) in config.listeners() {
        if let ListenAddr::At(address) = *address {
            let open = TcpListener::bind(address).await;
            let socket = open.map_err(|source| ServerError::Bind { key, address, source })?;
            sockets.push((key, socket));
        }
    }
    Ok(Bound { sockets, tls, config: config.clone(), clock, metrics })
}

/// Open sockets that nobody answers yet.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<(&'static str, TcpListener)>,
    tls: Option<LiveTls>,
    config: Config,
    clock: SharedClock,
    metrics: Metrics,
}

impl Bound {
    /// Returns the addresses really bound.
    pub fn addresses(&self) -> Addresses {
        let of = |key| {
            let socket = self.sockets.iter().find(|(k, _)| *k == key);
            let address = socket.and_then(|(_, socket)| socket.local_addr().ok());
            address.map_or(ListenAddr::Off, ListenAddr::At)
        };
        Addresses { http: of("http"), otlp_grpc: of("otlp_grpc"), otlp_http: of("otlp_http") }
    }

    /// Answers until `shutdown` is cancelled, then closes the sockets and waits for requests under
    /// way, at most `drain_timeout`. Returns true when all of them finished.
    pub async fn serve(self, routers: Routers, shutdown: CancellationToken) -> bool {
        let connections = Connections::new(&self.config, self.metrics.clone());
        let shared = Arc::new(Shared::new(&self.config, self.clock, connections, shutdown));
        let loops = self.sockets.into_iter().map(|(key, socket)| {
            let router = if key == "http" { &routers.http } else { &routers.otlp };
            let speaks_tls = self.config.tls_listeners.iter().any(|tls| tls.key() == key);
            let tls = self.tls.clone().filter(|_| speaks_tls);
            let head = crate::api::HeadLimits {
                header_bytes_max: self.config.header_bytes_max,
                body_timeout: self.config.body_timeout,
                refused: self.metrics.refused_requests.clone(),
            };
            let router = crate::api::limits(router.clone(), head);
            let door = Door { router, tls };
            accept_all(key, socket, door, Arc::clone(&shared), self.metrics.clone())
        });
        futures::future::join_all(loops).await;
        drain(&shared, self.config.drain_timeout.0).await
    }
}

async fn drain(shared: &Shared, timeout: Duration) -> bool {
    shared.tracker.close();
    let n_open = shared.tracker.len();
    if n_open > 0 {
        info!(n_open, "waiting for connections");
    }
    if tokio::time::timeout(timeout, shared.tracker.wait()).await.is_ok() {
        return true;
    }
    warn!(n_open = shared.tracker.len(), ?timeout, "connections outlived the drain and were cut");
    shared.cut.cancel();
    shared.tracker.wait().await;
    false
}

/// How long to wait after a failed accept: long enough not to spin when there are no more file
/// descriptors, short enough that nobody notices.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn accept_all(
    key: &'static str,
    socket: TcpListener,
    door: Door,
    shared: Arc<Shared>,
    metrics: Metrics,
) {
    let accepted = metrics.accepted.get_or_create(&ListenerLabels { listener: key }).clone();
    loop {
        let next = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            next = socket.accept() => next,
        };
        match next {
            Ok((stream, peer)) => {
                accepted.inc();
                start(stream, peer, &door, &shared);
            }
            Err(error) => {
                metrics.accept_errors.inc();
                warn!(listener = key, %error, "cannot accept a connection, going on");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start(stream: TcpStream, peer: SocketAddr, door: &Door, shared: &Arc<Shared>) {
    let Some(place) = shared.connections.admit(peer.ip()) else {
        return; // Dropping the stream closes it; the counter says why.
    };
    // Small answers must not wait for the client's acknowledgement of the last one.
    if stream.set_nodelay(true).is_err() {
        return; // The client is gone already.
    }
    connection::spawn(stream, peer.ip(), door.clone(), Arc::clone(shared), place);
}
