//! What a connection is doing, so that one that does nothing can be closed.
//!
//! hyper's own header timer also runs between two requests, so it cannot tell a slow sender of
//! headers (10 s) from a sender that ships every 30 s over one connection (75 s). The stream is
//! therefore watched: bytes that arrive while no request runs are the head of the next one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::base::clock::SharedClock;

/// What should happen to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works, or waits within its time.
    Keep,
    /// Its headers take too long: cut it.
    SlowHeaders,
    /// It has no request: close it politely.
    Idle,
}

/// What one connection is doing, shared by its stream, its service and its watcher.
#[derive(Debug)]
pub(super) struct Activity {
    clock: SharedClock,
    n_requests: AtomicUsize,
    /// When the last byte came or the last request ended; over HTTP/2 only the latter, so that
    /// pings and headers by drops do not keep a connection that asks for nothing.
    last_ns: AtomicU64,
    /// When the client last took bytes from us.
    taken_ns: AtomicU64,
    /// When the head under way began.
    head_ns: AtomicU64,
    is_in_head: AtomicBool,
    is_h2: AtomicBool,
    /// Bytes of an HTTP/2 connection so far, as far as its greeting.
    n_greeted: AtomicUsize,
}

/// A client's greeting in HTTP/2: 24 bytes of preface and the head of its settings.
const GREETING_BYTES: usize = 24 + 9;

impl Activity {
    pub(super) fn new(clock: SharedClock) -> Arc<Self> {
        let now_ns = clock.monotonic_ns();
        Arc::new(Self {
            clock,
            n_requests: AtomicUsize::new(0),
            last_ns: AtomicU64::new(now_ns),
            taken_ns: AtomicU64::new(now_ns),
            head_ns: AtomicU64::new(now_ns),
            // Who connects must say something: silence counts as a head under way.
            is_in_head: AtomicBool::new(true),
            is_h2: AtomicBool::new(false),
            n_greeted: AtomicUsize::new(0),
        })
    }

    /// Notes that a request's head is complete; dropping the answer ends the request.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.n_requests.fetch_add(1, Ordering::SeqCst);
        self.is_in_head.store(false, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    fn saw_bytes(&self, bytes: &[u8]) {
        let now_ns = self.clock.monotonic_ns();
        if !self.is_h2.load(Ordering::SeqCst) {
            self.last_ns.store(now_ns, Ordering::SeqCst);
        }
        // The preface of HTTP/2 begins with `PRI`, which is no method of HTTP/1.
        if bytes.starts_with(b"PRI") {
            self.is_h2.store(true, Ordering::SeqCst);
        }
        if self.is_h2.load(Ordering::SeqCst) {
            let n_before = self.n_greeted.load(Ordering::SeqCst);
            let n_greeted = n_before.saturating_add(bytes.len()).min(GREETING_BYTES);
            self.n_greeted.store(n_greeted, Ordering::SeqCst);
            if n_before < GREETING_BYTES && n_greeted == GREETING_BYTES {
                self.is_in_head.store(false, Ordering::SeqCst);
            }
        }
        let is_between = self.n_requests.load(Ordering::SeqCst) == 0;
        if is_between && !self.is_h2.load(Ordering::SeqCst) {
            let was_in_head = self.is_in_head.swap(true, Ordering::SeqCst);
            if !was_in_head {
                self.head_ns.store(now_ns, Ordering::SeqCst);
            }
        }
    }

    /// Returns for how long the client has taken nothing from us.
    pub(super) fn untaken_ns(&self) -> u64 {
        self.clock.monotonic_ns().saturating_sub(self.taken_ns.load(Ordering::SeqCst))
    }

    /// Notes that the client has room for more of an answer.
    pub(super) fn took_bytes(&self) {
        self.taken_ns.store(self.clock.monotonic_ns(), Ordering::SeqCst);
    }

    /// Returns what should happen now.
    pub(super) fn verdict(&self, header_timeout_ns: u64, idle_timeout_ns: u64) -> Verdict {
        if self.n_requests.load(Ordering::SeqCst) > 0 {
            return Verdict::Keep;
        }
        let now_ns = self.clock.monotonic_ns();
        let since = |at: &AtomicU64| now_ns.saturating_sub(at.load(Ordering::SeqCst));
        if self.is_in_head.load(Ordering::SeqCst) {
            let is_late = since(&self.head_ns) >= header_timeout_ns;
            return if is_late { Verdict::SlowHeaders } else { Verdict::Keep };
        }
        if since(&self.last_ns) >= idle_timeout_ns { Verdict::Idle } else { Verdict::Keep }
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.last_ns.store(self.0.clock.monotonic_ns(), Ordering::SeqCst);
        self.0.n_requests.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A stream that tells an [`Activity`] of the bytes that arrive.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n_before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        let arrived = &buf.filled()[n_before..];
        if !arrived.is_empty() {
            self.activity.saw_bytes(arrived);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(1..)) = polled {
            self.activity.took_bytes();
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(1..)) = polled {
            self.activity.took_bytes();
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
