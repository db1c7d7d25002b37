//! One connection: its handshake where TLS is spoken, then HTTP/1.1 or HTTP/2 by its first bytes,
//! until it ends, dawdles or is drained.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Version;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::debug;

use super::Config;
use super::activity::{Activity, Running, Verdict, Watched};
use super::connections::{Connections, Place};
use super::lingering::{Lingering, Rest};
use super::tls::{LiveTls, handshake};
use crate::auth::Peer;
use crate::base::clock::SharedClock;
use crate::base::tasks::spawn_detached;

/// What all connections have in common.
#[derive(Debug)]
pub(super) struct Shared {
    builder: auto::Builder<TokioExecutor>,
    clock: SharedClock,
    handshake_timeout: Duration,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
    linger_timeout: Duration,
    pub(super) connections: Connections,
    pub(super) tracker: TaskTracker,
    /// Cancelled: accept nothing more, finish what is under way.
    pub(super) shutdown: CancellationToken,
    /// Cancelled: end at once.
    pub(super) cut: CancellationToken,
}

impl Shared {
    pub(super) fn new(
        config: &Config,
        clock: SharedClock,
        connections: Connections,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            builder: builder(config),
            clock,
            handshake_timeout: config.handshake_timeout.0,
            header_timeout: config.header_timeout.0,
            idle_timeout: config.idle_timeout.0,
            write_timeout: config.write_timeout.0,
            linger_timeout: config.linger_timeout.0,
            connections,
            tracker: TaskTracker::new(),
            shutdown,
            cut: CancellationToken::new(),
        }
    }
}

/// The longest request line that hyper takes is 64 KiB; the headers come on top.
const REQUEST_LINE_BYTES_MAX: usize = 64 << 10;
/// One OTLP export arrives without waiting for window updates. What a connection may send before
/// anybody has admitted it is memory that no account shows, so it is little.
const H2_STREAM_WINDOW_BYTES: u32 = 1 << 20;
const H2_CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
const H2_FRAME_BYTES_MAX: u32 = 256 << 10;
/// A connection that was closed politely, whose client takes an answer by drops, lives this long.
const CLOSING_MAX: Duration = Duration::from_secs(600);

fn builder(config: &Config) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None) // See `activity`.
        .max_headers(config.headers_max)
        .max_buf_size(REQUEST_LINE_BYTES_MAX + config.header_bytes_max.bytes().max(8 << 10))
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.h2_streams_max)
        .max_pending_accept_reset_streams(config.h2_resets_max)
        .max_local_error_reset_streams(config.h2_resets_max)
        .max_header_list_size(u32::try_from(config.h2_header_bytes_max.0).unwrap_or(u32::MAX))
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES_MAX)
        .keep_alive_interval(Some(config.h2_keep_alive.0))
        .keep_alive_timeout(config.h2_keep_alive_timeout.0);
    builder
}

/// What stands behind a listener.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) router: Router,
    /// Where TLS is spoken.
    pub(super) tls: Option<LiveTls>,
}

/// Starts answering a connection; the place is given back when it ends.
pub(super) fn spawn(
    stream: TcpStream,
    address: IpAddr,
    door: Door,
    shared: Arc<Shared>,
    place: Place,
) {
    let tracker = shared.tracker.clone();
    spawn_detached(tracker.track_future(async move {
        let _place = place;
        greet(stream, address, door, &shared).await;
    }));
}

/// Shakes hands where TLS is spoken, and answers.
async fn greet(stream: TcpStream, address: IpAddr, door: Door, shared: &Shared) {
    let Door { router, tls } = door;
    let Some(tls) = tls else { return run(stream, address, router, shared).await };
    let shaken = tokio::select! {
        shaken = handshake::shake(stream, &tls, shared.handshake_timeout) => shaken,
        () = shared.shutdown.cancelled() => return, // Nothing has been asked yet.
    };
    match shaken {
        Ok(stream) => {
            shared.connections.metrics.handshakes.inc();
            Box::pin(run(stream, address, router, shared)).await;
        }
        Err(unshaken) => {
            debug!(%address, reason = %unshaken, "no TLS connection");
            unshaken
                .reason()
                .into_iter()
                .for_each(|reason| shared.connections.count_closed(reason));
        }
    }
}

async fn run<S>(stream: S, address: IpAddr, router: Router, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::new(Arc::clone(&shared.clock));
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let (counted, linger_timeout) = (Arc::clone(&activity), shared.linger_timeout);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let running = Arc::new(counted.begin());
        // Who asks whether to send a body is answered first: reading on would be a yes.
        let is_coming = !request.headers().contains_key(http::header::EXPECT);
        let (mut request, rest) = letting_in(request, linger_timeout, &running);
        request.extensions_mut().insert(Peer(address));
        let router = router.clone();
        async move {
            let answer = router.oneshot(request).await;
            if let Some(rest) = rest {
                rest.let_in(is_coming).await;
            }
            drop(running);
            answer
        }
    });
    let mut serving = pin!(shared.builder.serve_connection_with_upgrades(io, service));
    let mut closing: Option<Closing> = None;
    loop {
        let is_closing = closing.is_some();
        let verdict = tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    shared.connections.count_closed(why_ended(&*error));
                    debug!(error, "connection ended badly");
                }
                return;
            }
            () = shared.cut.cancelled() => return,
            () = shared.shutdown.cancelled(), if !is_closing => None,
            verdict = dawdled(&activity, shared), if !is_closing => Some(verdict),
            () = not_taken(&activity, shared), if closing == Some(Closing::Idle) => {
                return shared.connections.count_closed("write_timeout");
            }
        };
        match verdict {
            Some(Verdict::SlowHeaders) => {
                return shared.connections.count_closed("header_timeout");
            }
            Some(_) => shared.connections.count_closed("idle_timeout"),
            None => {}
        }
        closing = Some(if verdict.is_some() { Closing::Idle } else { Closing::Shutdown });
        serving.as_mut().graceful_shutdown();
    }
}

/// Why a connection is being closed politely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// It has asked for nothing; what it still has to take, it must take.
    Idle,
    /// The server stops, and has a deadline of its own for all.
    Shutdown,
}

/// Gives a request a body whose rest is let in; see [`Lingering`].
fn letting_in(
    request: Request<Incoming>,
    timeout: Duration,
    running: &Arc<Running>,
) -> (Request<axum::body::Body>, Option<Rest<Incoming>>) {
    if request.version() == Version::HTTP_2 {
        return (request.map(axum::body::Body::new), None);
    }
    let (head, body) = request.into_parts();
    let (body, rest) = Lingering::new(body, timeout, Arc::clone(running));
    (Request::from_parts(head, axum::body::Body::new(body)), Some(rest))
}

/// Returns the label value for a connection that ended badly.
fn why_ended(error: &(dyn std::error::Error + Send + Sync + 'static)) -> &'static str {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return match error.reason() {
                Some(h2::Reason::ENHANCE_YOUR_CALM) => "h2_calm",
                Some(_) => "h2_protocol",
                None => "broken",
            };
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_timeout) {
            return "h2_keep_alive_timeout";
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return "not_http";
        }
        next = error.source();
    }
    "broken"
}

/// Returns when the client has taken nothing for `write_timeout`, or has dawdled for very long.
async fn not_taken(activity: &Activity, shared: &Shared) {
    let timeout_ns = u64::try_from(shared.write_timeout.as_nanos()).unwrap_or(u64::MAX);
    let pause = (shared.write_timeout / 4).max(Duration::from_millis(10));
    activity.took_bytes(); // The time begins with the goodbye.
    let wait = async {
        while activity.untaken_ns() < timeout_ns {
            tokio::time::sleep(pause).await;
        }
    };
    drop(tokio::time::timeout(CLOSING_MAX, wait).await);
}

/// Returns when the connection has dawdled; looked at four times within the shorter limit.
async fn dawdled(activity: &Activity, shared: &Shared) -> Verdict {
    let to_ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (header_ns, idle_ns) = (to_ns(shared.header_timeout), to_ns(shared.idle_timeout));
    let pause = shared.header_timeout.min(shared.idle_timeout) / 4;
    loop {
        tokio::time::sleep(pause.max(Duration::from_millis(10))).await;
        match activity.verdict(header_ns, idle_ns) {
            Verdict::Keep => {}
            verdict => return verdict,
        }
    }
}
