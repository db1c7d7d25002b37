//! The handshake: one deadline for all of it, and a word for who speaks without TLS.
//!
//! A connection has its place before its handshake begins, so that the limits of connections hold
//! for those that never finish one.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::LiveTls;

/// The first byte of a TLS record that holds a handshake; no method of HTTP begins with it.
const HANDSHAKE_RECORD: u8 = 22;
/// What is said to who speaks without TLS: a client of HTTP shows it, others at least log it.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Content-Length: 47\r\nConnection: close\r\n\r\nthis port speaks TLS: begin the URL with https\n";
/// The most that is let in of a request that is told so.
const THROWN_BYTES_MAX: usize = 1 << 20;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum Unshaken {
    /// The deadline passed.
    #[error("the TLS handshake took longer than {0:?} (server.handshake_timeout)")]
    TooSlow(Duration),
    /// Its first byte was of something else.
    #[error("the client does not speak TLS")]
    NotTls,
    /// No common version or suite, a certificate refused or missing, or bytes that mean nothing.
    #[error("the TLS handshake failed: {0}")]
    Refused(io::Error),
    /// The client left, as probes of ports do.
    #[error("the client left before the TLS handshake was over")]
    Left,
}

impl Unshaken {
    /// Returns the label value, if the end was our decision.
    pub(in crate::server) fn reason(&self) -> Option<&'static str> {
        match self {
            Unshaken::TooSlow(_) => Some("handshake_timeout"),
            Unshaken::NotTls => Some("not_tls"),
            Unshaken::Refused(_) => Some("handshake_failed"),
            Unshaken::Left => None,
        }
    }
}

/// Shakes hands within `timeout`.
pub(in crate::server) async fn shake(
    stream: TcpStream,
    tls: &LiveTls,
    timeout: Duration,
) -> Result<Box<TlsStream<TcpStream>>, Unshaken> {
    let shaken = tokio::time::timeout(timeout, shake_at_leisure(stream, tls)).await;
    shaken.unwrap_or(Err(Unshaken::TooSlow(timeout)))
}

async fn shake_at_leisure(
    stream: TcpStream,
    tls: &LiveTls,
) -> Result<Box<TlsStream<TcpStream>>, Unshaken> {
    let mut first = [0];
    match stream.peek(&mut first).await {
        Ok(1) if first[0] == HANDSHAKE_RECORD => {}
        Ok(1) => return Err(say_so(stream).await),
        Ok(_) | Err(_) => return Err(Unshaken::Left),
    }
    let shaken = Box::pin(tls.acceptor().accept(stream)).await;
    shaken.map(Box::new).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::Other => Unshaken::Refused(error),
        _ => Unshaken::Left,
    })
}

/// Tells the client, and lets in what it still sends, so that the answer is not lost in a reset.
async fn say_so(mut stream: TcpStream) -> Unshaken {
    let told = async {
        stream.write_all(SPEAK_TLS).await?;
        stream.shutdown().await?;
        let (mut buffer, mut n_thrown) = ([0; 4096], 0);
        while n_thrown < THROWN_BYTES_MAX {
            match stream.read(&mut buffer).await? {
                0 => break,
                n_bytes => n_thrown += n_bytes,
            }
        }
        Ok::<_, io::Error>(())
    };
    drop(told.await); // Who does not read it is not told.
    Unshaken::NotTls
}
