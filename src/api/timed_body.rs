//! A request's body with a deadline: who sends it by drops is told so, whichever route it is for.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use crate::base::units::HumanDuration;

/// The body did not arrive in time.
#[derive(Debug, thiserror::Error)]
#[error("the body did not arrive in time")]
struct Late;

/// A body that ends with an error at its deadline, and says so to the one who answers.
struct Timed {
    body: Body,
    deadline: Pin<Box<Sleep>>,
    is_late: Arc<AtomicBool>,
}

/// Gives a request's body `max` from now; the flag tells whether it was too slow.
pub(super) fn timed(request: Request, max: HumanDuration) -> (Request, Arc<AtomicBool>) {
    let is_late = Arc::<AtomicBool>::default();
    let request = request.map(|body| {
        let deadline = Box::pin(tokio::time::sleep(max.0));
        Body::new(Timed { body, deadline, is_late: Arc::clone(&is_late) })
    });
    (request, is_late)
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        std::task::ready!(self.deadline.as_mut().poll(cx));
        self.is_late.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(Late.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
