//! What became of the items of one request: parts for storage, and what was refused.
//!
//! Logs and spans are collected per commons; beside each batch stands where its rows come
//! from, in runs, so that `derive` can look at the rows once they are stored, and not before: a
//! request that is refused and sent again must not be counted twice.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::context::Context;
use crate::derive::{Derive, ReadLine};
use crate::ingest::IngestError;
use crate::ingest::outcome::{Refusal, Rejected};
use crate::ingest::wire::WireError;
use crate::model::{Commons, LogsBuilder, SpansBuilder, Tags};
use crate::storage::Part;

/// Why one row is not written: the row itself, or the bytes of the whole request.
#[derive(Debug)]
pub(in crate::ingest) enum RowError {
    /// The request is not protobuf: nothing after this place can be read.
    Wire(WireError),
    /// Only this row is refused.
    Refused(Refusal),
}

impl From<WireError> for RowError {
    fn from(error: WireError) -> Self {
        RowError::Wire(error)
    }
}

impl From<Refusal> for RowError {
    fn from(refusal: Refusal) -> Self {
        RowError::Refused(refusal)
    }
}

/// Where rows come from, decided: an OTLP resource or a Loki stream.
#[derive(Debug)]
pub(in crate::ingest) struct Origin {
    /// Where the rows belong.
    pub(in crate::ingest) tags: Tags,
    /// The application, for the log formats that only one application writes; or empty.
    pub(in crate::ingest) app: String,
}

impl Origin {
    /// Reads the text of one of its records.
    pub(in crate::ingest) fn read_line(&self, derive: &Derive, body: &str) -> ReadLine {
        let app = Some(&*self.app).filter(|app| !app.is_empty());
        derive.read_line(&self.tags, app, body)
    }
}

/// Origins that were decided once more by what a line said, so that equal ones are one.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Retagged {
    known: Vec<Arc<Origin>>,
}

impl Retagged {
    /// Returns where a line belongs: where its origin does, unless that was a guess and the line
    /// says better (the host in a Faro event, the namespace in an access log).
    pub(in crate::ingest) fn origin(
        &mut self,
        ctx: &Context<'_>,
        origin: &Arc<Origin>,
        line: &str,
    ) -> Result<Arc<Origin>, Refusal> {
        let grant = ctx.sender.grant;
        let Some(tags) = ctx.ingest.tagger.tag_line(grant, &origin.tags, line) else {
            return Ok(Arc::clone(origin));
        };
        let is_it = |known: &&Arc<Origin>| known.tags == tags && known.app == origin.app;
        if let Some(known) = self.known.iter().find(is_it) {
            return Ok(Arc::clone(known));
        }
        ctx.ingest.may_store(grant, &tags.commons)?;
        let retagged = Arc::new(Origin { tags, app: origin.app.clone() });
        self.known.push(Arc::clone(&retagged));
        Ok(retagged)
    }
}

/// A decoded request.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Decoded {
    /// What is to be stored.
    pub(in crate::ingest) parts: Vec<Part>,
    /// Records, spans or data points in the request.
    pub(in crate::ingest) n_received: u64,
    /// Those that are not stored.
    pub(in crate::ingest) rejected: Rejected,
    /// The log batches among `parts`, for `derive`.
    pub(in crate::ingest) logs: Vec<LogRuns>,
    /// The commons that the request has rows of.
    pub(in crate::ingest) commons: Vec<Commons>,
    /// Resources, streams, scopes and metrics so far, also those without rows: each is decided, which
    /// takes longer than a row.
    pub(in crate::ingest) n_groups: usize,
    /// Bytes of text made so far; a small request must not become a large batch.
    pub(in crate::ingest) n_built_bytes: usize,
    /// True when a record came without a time and got that of its coming: the same bytes, when they
    /// come again, may mean another one.
    pub(in crate::ingest) times_are_ours: bool,
}

/// A batch of log records, and whose they are.
#[derive(Debug)]
pub(in crate::ingest) struct LogRuns {
    /// The rows.
    pub(in crate::ingest) batch: RecordBatch,
    /// Origins in the order of the rows, each with its number of rows.
    pub(in crate::ingest) runs: Vec<(Arc<Origin>, usize)>,
    /// What was read of each row's text.
    pub(in crate::ingest) lines: Vec<ReadLine>,
}

impl Decoded {
    /// Counts a row that was refused; bytes that are no protobuf end the request.
    pub(in crate::ingest) fn note(
        &mut self,
        outcome: Result<(), RowError>,
    ) -> Result<(), IngestError> {
        match outcome {
            Ok(()) => {}
            Err(RowError::Refused(refusal)) => self.rejected.add_refusal(refusal, 1),
            Err(RowError::Wire(error)) => return Err(error.into()),
        }
        Ok(())
    }
}

/// One builder a commons.
#[derive(Debug)]
pub(in crate::ingest) struct Batches<B> {
    batches: Vec<Batch<B>>,
    last_idx: usize,
    /// The body that the rows are read from.
    n_body_bytes: usize,
}

/// Collects rows; told how many to expect, it need not grow.
pub(in crate::ingest) trait Builder {
    /// Returns a builder with room for `n_rows` rows that have `n_bytes` of text.
    fn with_room(n_rows: usize, n_bytes: usize) -> Self;
}

impl Builder for LogsBuilder {
    fn with_room(n_rows: usize, n_bytes: usize) -> Self {
        LogsBuilder::with_room(n_rows, n_bytes)
    }
}

impl Builder for SpansBuilder {
    fn with_room(n_rows: usize, n_bytes: usize) -> Self {
        SpansBuilder::with_room(n_rows, n_bytes)
    }
}

/// Few real records take less than this. A guess too high has all columns double, and keep what
/// they do not fill.
const ROW_BYTES_GUESS: usize = 256;
/// The largest body that room is made for before its rows are seen.
const ROOM_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
struct Batch<B> {
    commons: Commons,
    builder: B,
    runs: Vec<(Arc<Origin>, usize)>,
    /// What was read of each row's text; empty for spans.
    lines: Vec<ReadLine>,
}

impl<B: Builder> Batches<B> {
    /// Returns an empty collection for the rows of a body of this size.
    pub(in crate::ingest) fn of_body(n_bytes: usize) -> Self {
        Self { batches: Vec::new(), last_idx: 0, n_body_bytes: n_bytes.min(ROOM_BYTES_MAX) }
    }

    /// Returns the builder of the origin's commons, and notes that it gets one more row.
    pub(in crate::ingest) fn of(&mut self, origin: &Arc<Origin>) -> &mut B {
        let commons = &origin.tags.commons;
        let is_it = |batch: &Batch<B>| batch.commons == *commons;
        if !self.batches.get(self.last_idx).is_some_and(is_it) {
            self.last_idx = self.batches.iter().position(is_it).unwrap_or_else(|| {
                // Most requests are of one commons; the others' columns grow as they need.
                let n_bytes = if self.batches.is_empty() { self.n_body_bytes } else { 0 };
                let builder = B::with_room(n_bytes / ROW_BYTES_GUESS, n_bytes);
                let commons = commons.clone();
                let (runs, lines) = (Vec::new(), Vec::new());
                self.batches.push(Batch { commons, builder, runs, lines });
                self.batches.len() - 1
            });
        }
        let batch = &mut self.batches[self.last_idx];
        match batch.runs.last_mut() {
            Some((last, n_rows)) if Arc::ptr_eq(last, origin) => *n_rows += 1,
            _ => batch.runs.push((Arc::clone(origin), 1)),
        }
        &mut batch.builder
    }
}

impl Batches<LogsBuilder> {
    /// Keeps what was read of the text of the record that was pushed last.
    pub(in crate::ingest) fn keep(&mut self, line: ReadLine) {
        self.batches[self.last_idx].lines.push(line);
    }

    /// Hands the batches over.
    pub(in crate::ingest) fn into_logs(self, decoded: &mut Decoded) {
        for Batch { commons, mut builder, runs, lines } in self.batches {
            let batch = builder.finish();
            decoded.commons.push(commons.clone());
            decoded.parts.push(Part::Logs { commons, batch: batch.clone() });
            decoded.logs.push(LogRuns { batch, runs, lines });
        }
    }
}

impl Batches<SpansBuilder> {
    /// Hands the batches over.
    pub(in crate::ingest) fn into_spans(self, decoded: &mut Decoded) {
        for Batch { commons, mut builder, .. } in self.batches {
            decoded.commons.push(commons.clone());
            decoded.parts.push(Part::Spans { commons, batch: builder.finish() });
        }
    }
}
