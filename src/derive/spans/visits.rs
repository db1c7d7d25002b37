//! Requests from outside: spans of servers that nobody called.
//!
//! Who sits at a browser or calls with curl sends no spans, and is drawn as `user`, as Tempo names
//! it. There is no other half to wait for, so those of one party in a batch are counted at once.

use super::graph::{FAILED, REQUESTS, SERVER, VIRTUAL};
use super::{Party, Span};
use crate::derive::book::{Book, Tally};
use crate::derive::examples::SpanRef;

/// The caller of a span without a parent.
const USER: &str = "user";

/// Visits of one party.
pub(super) struct Visits<'a> {
    n_spans: u32,
    n_failed: u32,
    served: Tally,
    longest: Option<Span<'a>>,
    latest: Option<Span<'a>>,
}

impl<'a> Visits<'a> {
    /// Begins without any.
    pub(super) fn new() -> Self {
        let served = Tally::new(&SERVER);
        Self { n_spans: 0, n_failed: 0, served, longest: None, latest: None }
    }

    /// Adds the span of a server that nobody called.
    pub(super) fn add(&mut self, span: Span<'a>) {
        self.n_spans += 1;
        self.n_failed += u32::from(span.is_failed);
        self.served.add(span.duration_s);
        if self.longest.is_none_or(|longest| longest.duration_s < span.duration_s) {
            self.longest = Some(span);
        }
        self.latest = Some(span);
    }

    /// Writes the sums into the book. How long a user waited nobody knows.
    pub(super) fn settle(mut self, book: &mut Book, party: &Party) {
        if self.n_spans == 0 {
            return;
        }
        for span in [self.longest, self.latest].into_iter().flatten() {
            self.served.exemplify(span.duration_s, SpanRef::of(span.trace_id, span.span_id));
        }
        let pairs = [
            ("client", USER),
            ("server", &*party.service),
            ("connection_type", VIRTUAL),
            ("client_service_namespace", ""),
            ("server_service_namespace", &*party.namespace),
        ];
        // As of calls: left out where there is none.
        let pairs = if party.namespace.is_empty() { &pairs[..3] } else { &pairs[..] };
        let (tags, n) = (&party.tags, u64::from(self.n_spans));
        book.count_all(&REQUESTS, tags, pairs, n, f64::from(self.n_spans));
        book.count_all(&FAILED, tags, pairs, n, f64::from(self.n_failed));
        book.observe_all(&self.served, tags, pairs);
    }
}
