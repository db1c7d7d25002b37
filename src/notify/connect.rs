//! Connects to a receiver's host at an address that was checked.
//!
//! The name is resolved here and the connection goes to the very address that was judged, so that a
//! name which resolves differently the second time (DNS rebinding) gains nothing.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::Service;

use super::address::AddressPolicy;

/// A connector of hyper's that checks where it goes.
#[derive(Debug, Clone)]
pub(super) struct CheckedConnector {
    pub(super) policy: AddressPolicy,
}

impl Service<Uri> for CheckedConnector {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<TcpStream>>> + Send>>;

    fn poll_ready(&mut self, _ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let policy = self.policy.clone();
        Box::pin(async move { connect(&policy, Place::of(&uri)).await.map(TokioIo::new) })
    }
}

/// A host and a port, before the host is resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
}

impl<'a> Place<'a> {
    fn of(uri: &'a Uri) -> Self {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        Self { host, port: uri.port_u16().unwrap_or(default_port) }
    }
}

/// Connects to a host at an address that the policy allows.
pub(super) async fn connect(policy: &AddressPolicy, place: Place<'_>) -> io::Result<TcpStream> {
    let Place { host, port } = place;
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    for address in &addresses {
        policy.check(host, address.ip()).map_err(|refusal| {
            let reason = format!("address {} of {host} {refusal}", address.ip());
            io::Error::new(io::ErrorKind::PermissionDenied, reason)
        })?;
    }
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
