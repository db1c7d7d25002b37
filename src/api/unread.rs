//! Answers that wait for their readers: what they hold in memory is bounded.
//!
//! A question is over when its answer is written, but the answer stays in memory until its reader
//! has taken it; somebody who asks and does not read could fill any memory, a question after the
//! other. So each larger answer holds its bytes of one budget until it is gone, and an answer that
//! does not fit is thrown away and its client told when to come back. The body is handed over in
//! small pieces, or the connection would take it whole and it would seem to be read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::error::{ApiError, Dialect};
use crate::base::Kind;
use crate::base::units::HumanSize;

/// Smaller answers are not counted: there is at most one for each connection or stream.
const COUNTED_BYTES_MIN: usize = 64 << 10;
/// What a connection is handed at a time.
const PIECE_BYTES: usize = 64 << 10;
/// When to come back.
const RETRY_AFTER_S: u32 = 5;

/// The budget; cloning costs one counter.
#[derive(Debug, Clone)]
pub struct Unread {
    n_bytes: Arc<AtomicUsize>,
    max: HumanSize,
    held: Gauge,
    refused: Counter,
}

impl Unread {
    /// Returns a budget of `max` (`server.unread_answers_max`), registered as `commonwatch_api_…`.
    pub fn register(max: HumanSize, registry: &mut Registry) -> Self {
        let own = Self {
            n_bytes: Arc::default(),
            max,
            held: Gauge::default(),
            refused: Counter::default(),
        };
        let name = "commonwatch_api_unread_answer_bytes";
        registry.register(name, "Answers that wait for their readers", own.held.clone());
        let name = "commonwatch_api_refused_answers";
        let help = "Answers thrown away because too many wait for their readers";
        registry.register(name, help, own.refused.clone());
        own
    }

    /// Reserves so many bytes; a single answer is let through whatever its size.
    fn hold(&self, n_bytes: usize) -> Option<Held> {
        let fits = |held: usize| {
            let sum = held.saturating_add(n_bytes);
            (held == 0 || sum <= self.max.bytes()).then_some(sum)
        };
        let before = self.n_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fits);
        if before.is_err() {
            self.refused.inc();
            return None;
        }
        self.held.inc_by(i64::try_from(n_bytes).unwrap_or(i64::MAX));
        Some(Held { unread: self.clone(), n_bytes })
    }

    fn full(&self, n_bytes: usize) -> ApiError {
        let message = format!(
            "the answer has {n_bytes} bytes, and too many others wait for their readers, of at most \
             {} (server.unread_answers_max): read them, ask for less, or come back in \
             {RETRY_AFTER_S} s",
            self.max
        );
        ApiError { retry_after_s: Some(RETRY_AFTER_S), ..ApiError::new(Kind::Overloaded, message) }
    }
}

/// Bytes of the budget, given back when dropped.
#[derive(Debug)]
struct Held {
    unread: Unread,
    n_bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.unread.n_bytes.fetch_sub(self.n_bytes, Ordering::SeqCst);
        self.unread.held.dec_by(i64::try_from(self.n_bytes).unwrap_or(i64::MAX));
    }
}

/// Lets an answer hold its bytes until it is read.
pub(super) async fn count(State(unread): State<Unread>, request: Request, next: Next) -> Response {
    let dialect = Dialect::of(request.uri().path(), request.headers());
    let response = next.run(request).await;
    let size = response.body().size_hint().exact().and_then(|size| usize::try_from(size).ok());
    let Some(n_bytes) = size.filter(|size| *size >= COUNTED_BYTES_MIN) else { return response };
    match unread.hold(n_bytes) {
        Some(held) => {
            response.map(|body| Body::new(Pieces { body, rest: Bytes::new(), _held: held }))
        }
        None => unread.full(n_bytes).into_dialect(dialect),
    }
}

/// A body in pieces.
struct Pieces {
    body: Body,
    rest: Bytes,
    _held: Held,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    self.rest = frame.into_data().unwrap_or_default();
                }
                other => return other,
            }
        }
        let n_bytes = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(n_bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn budget(kib: u64) -> Unread {
        Unread::register(HumanSize(kib << 10), &mut Registry::default())
    }

    #[test]
    fn what_does_not_fit_is_refused_until_something_is_read() {
        let unread = budget(100);

        let first = unread.hold(60 << 10).unwrap();
        assert!(unread.hold(60 << 10).is_none());
        let second = unread.hold(40 << 10);
        assert!(second.is_some());
        assert_eq!((unread.held.get(), unread.refused.get()), (100 << 10, 1));

        drop((first, second));
        assert_eq!(unread.held.get(), 0);
        assert!(unread.hold(1 << 30).is_some(), "one alone is let through");
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_the_same_body_and_says_its_length() {
        let whole: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let unread = budget(1 << 10);
        let held = unread.hold(whole.len()).unwrap();
        let mut pieces =
            Pieces { body: Body::from(whole.clone()), rest: Bytes::new(), _held: held };

        let mut read = Vec::new();
        while !http_body::Body::is_end_stream(&pieces) {
            assert_eq!(
                http_body::Body::size_hint(&pieces).exact(),
                Some(300_000 - read.len() as u64)
            );
            let frame = pieces.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(frame.len() <= PIECE_BYTES);
            read.extend_from_slice(&frame);
        }

        assert_eq!(read, whole);
        drop(pieces);
        assert_eq!(unread.held.get(), 0);
    }
}
