//! One connection: HTTP/1.1 or h2c by its first bytes, until it ends, dawdles or is drained.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::debug;

use super::Config;
use super::activity::{Activity, Verdict, Watched};
use super::connections::{Connections, Place};
use crate::auth::Peer;
use crate::base::clock::SharedClock;
use crate::base::tasks::spawn_detached;

/// What all connections have in common.
#[derive(Debug)]
pub(super) struct Shared {
    builder: auto::Builder<TokioExecutor>,
    clock: SharedClock,
    header_timeout: Duration,
    idle_timeout: Duration,
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
            header_timeout: config.header_timeout.0,
            idle_timeout: config.idle_timeout.0,
            connections,
            tracker: TaskTracker::new(),
            shutdown,
            cut: CancellationToken::new(),
        }
    }
}

/// The longest request line that hyper takes is 64 KiB; the headers come on top.
const REQUEST_LINE_BYTES_MAX: usize = 64 << 10;
/// One remote-write body or OTLP export arrives without waiting for window updates.
const H2_STREAM_WINDOW_BYTES: u32 = 4 << 20;
const H2_CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const H2_FRAME_BYTES_MAX: u32 = 256 << 10;
const H2_HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// Rapid reset (CVE-2023-44487): a client that opens and cancels faster than we answer.
const H2_PENDING_RESETS_MAX: usize = 20;

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
        .max_pending_accept_reset_streams(H2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(H2_PENDING_RESETS_MAX)
        .max_header_list_size(H2_HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES_MAX)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Starts answering a connection; the place is given back when it ends.
pub(super) fn spawn(
    stream: TcpStream,
    address: IpAddr,
    router: Router,
    shared: Arc<Shared>,
    place: Place,
) {
    let tracker = shared.tracker.clone();
    spawn_detached(tracker.track_future(async move {
        let _place = place;
        run(stream, address, router, &shared).await;
    }));
}

async fn run(stream: TcpStream, address: IpAddr, router: Router, shared: &Shared) {
    let activity = Activity::new(Arc::clone(&shared.clock));
    let io = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let counted = Arc::clone(&activity);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let running = counted.begin();
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(Peer(address));
        let router = router.clone();
        async move {
            let answer = router.oneshot(request).await;
            drop(running);
            answer
        }
    });
    let mut serving = pin!(shared.builder.serve_connection_with_upgrades(io, service));
    let mut is_closing = false;
    loop {
        let verdict = tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    debug!(error, "connection ended badly");
                }
                return;
            }
            () = shared.cut.cancelled() => return,
            () = shared.shutdown.cancelled(), if !is_closing => None,
            verdict = dawdled(&activity, shared), if !is_closing => Some(verdict),
        };
        match verdict {
            Some(Verdict::SlowHeaders) => {
                shared.connections.count_closed("header_timeout");
                return;
            }
            Some(_) => shared.connections.count_closed("idle_timeout"),
            None => {}
        }
        serving.as_mut().graceful_shutdown();
        is_closing = true;
    }
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
