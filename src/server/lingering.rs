//! What nobody reads of a request's body is read here and thrown away.
//!
//! A server that refuses early, by the head or by the first bytes of a body, and then closes, makes
//! the client's kernel discard the answer: unread bytes turn a close into a reset, and the sender
//! learns nothing but that the connection broke. So the rest is let in, for a while and up to a
//! size, while the answer is on its way; and a connection whose body was let in whole serves the
//! next request. What is short and here already is let in before the answer goes, which costs a
//! server that refuses thousands no task each. HTTP/2 needs none of this: there a stream is reset
//! and the answer stands.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;

use super::activity::Running;
use crate::base::tasks::spawn_detached;

/// The most that is thrown away of one body.
const THROWN_BYTES_MAX: usize = 64 << 20;
/// For so much of a body, and so long, its answer waits.
const AT_ONCE_BYTES_MAX: u64 = 256 << 10;
const AT_ONCE_MAX: Duration = Duration::from_millis(20);

/// A body whose rest is read when it is dropped.
#[derive(Debug)]
pub(super) struct Lingering<B: Body<Data = Bytes> + Unpin + Send + 'static> {
    body: Option<B>,
    rest: Rest<B>,
}

/// The rest of a body that its handler has dropped; clones are of the same body.
#[derive(Debug)]
pub(super) struct Rest<B> {
    state: Arc<Mutex<State<B>>>,
    timeout: Duration,
    /// The request lasts as long as its body.
    running: Arc<Running>,
}

#[derive(Debug)]
enum State<B> {
    /// The handler may still read it.
    InUse,
    /// The handler has dropped it, and the request is not answered yet.
    Dropped(B),
    /// The request is answered: what is dropped now, nobody waits for.
    Answered,
}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Lingering<B> {
    /// Returns the body of a request over HTTP/1, and what will be its rest.
    pub(super) fn new(body: B, timeout: Duration, running: Arc<Running>) -> (Self, Rest<B>) {
        let state = Arc::new(Mutex::new(State::InUse));
        let rest = || Rest { state: Arc::clone(&state), timeout, running: Arc::clone(&running) };
        (Self { body: Some(body), rest: rest() }, rest())
    }
}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Rest<B> {
    /// Lets in what is left: before the request is answered when that is little and `is_coming`, or
    /// afterwards.
    pub(super) async fn let_in(self, is_coming: bool) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Answered);
        let State::Dropped(mut body) = state else { return };
        if is_coming
            && body.size_hint().upper().is_some_and(|n_bytes| n_bytes <= AT_ONCE_BYTES_MAX)
            && tokio::time::timeout(AT_ONCE_MAX, throw_away(&mut body)).await.is_ok()
        {
            return;
        }
        self.let_in_later(body);
    }

    fn let_in_later(&self, mut body: B) {
        let (timeout, running) = (self.timeout, Arc::clone(&self.running));
        spawn_detached(async move {
            drop(tokio::time::timeout(timeout, throw_away(&mut body)).await);
            drop(running);
        });
    }
}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Body for Lingering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None; // There is no rest.
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Drop for Lingering<B> {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let mut state = self.rest.state.lock();
        match *state {
            State::Answered => self.rest.let_in_later(body),
            State::InUse | State::Dropped(_) => *state = State::Dropped(body),
        }
    }
}

async fn throw_away<B: Body<Data = Bytes> + Unpin>(body: &mut B) {
    let mut n_thrown = 0;
    while let Some(Ok(frame)) = body.frame().await {
        n_thrown += frame.data_ref().map_or(0, Bytes::len);
        if n_thrown > THROWN_BYTES_MAX {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::activity::Activity;
    use super::*;
    use crate::base::ManualClock;

    /// A body of as many pieces of 1 KiB, which come when they are asked for, and a count of those
    /// that were.
    struct Pieces {
        n_left: usize,
        n_read: Arc<AtomicUsize>,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            let Some(n_left) = self.n_left.checked_sub(1) else { return Poll::Ready(None) };
            self.n_left = n_left;
            self.n_read.fetch_add(1, Ordering::SeqCst);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024])))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.n_left as u64 * 1024)
        }
    }

    /// Drops a body unread and lets its rest in; returns how many pieces were read before the answer
    /// may go, and how many in the end.
    async fn n_read(n_pieces: usize, is_coming: bool) -> (usize, usize) {
        let n_read = Arc::new(AtomicUsize::new(0));
        let pieces = Pieces { n_left: n_pieces, n_read: Arc::clone(&n_read) };
        let running = Arc::new(Activity::new(ManualClock::at_ms(0)).begin());
        let (body, rest) = Lingering::new(pieces, Duration::from_secs(60), running);
        drop(body);
        rest.let_in(is_coming).await;
        let at_once = n_read.load(Ordering::SeqCst);
        while n_read.load(Ordering::SeqCst) < n_pieces {
            tokio::task::yield_now().await;
        }
        (at_once, n_pieces)
    }

    #[tokio::test]
    async fn what_is_short_and_coming_is_let_in_before_the_answer() {
        assert_eq!(n_read(256, true).await, (256, 256));
    }

    #[tokio::test]
    async fn what_is_long_or_waits_for_a_word_is_let_in_behind_the_answer() {
        assert_eq!(n_read(257, true).await, (0, 257));
        assert_eq!(n_read(1, false).await, (0, 1));
    }
}
