//! Log queries: the newest or oldest lines that come out of a pipeline.
//!
//! Pieces are looked at in the order of the answer, and the walk stops when no piece that is left
//! can hold a line that would still be shown. Within a piece the rows nearest to the wanted end come
//! first, few at first and more as long as a filter lets too few through.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::LogLimits;
use super::error::{KEY_LINES, LogqlError};
use super::fields::Source;
use super::pipeline::{Entry, Pipeline, Wanted};
use super::prune::need;
use super::scan::{Place, Scan, ScanStats};
use super::syntax::LogExpr;
use crate::query::promql::Budget;
use crate::storage::{LogPiece, Snapshot};

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    /// First ns, inclusive.
    pub start_ns: i64,
    /// Last ns, exclusive.
    pub end_ns: i64,
    /// At most this many.
    pub limit: usize,
    /// The newest, newest first; else the oldest, oldest first.
    pub is_backward: bool,
    /// Of each stream only lines that are at least so far apart, ns; 0 is all.
    pub interval_ns: i64,
}

/// Pairs of names and values.
pub type Pairs = Vec<(String, String)>;

/// A line of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// ns since 1970 UTC.
    pub ts_ns: i64,
    /// The text, as the pipeline left it.
    pub line: String,
    /// What is left of the stream's labels.
    pub stream: Pairs,
    /// The line's structured metadata.
    pub metadata: Pairs,
    /// What the pipeline found.
    pub parsed: Pairs,
}

impl LogLine {
    /// Returns how much memory the line holds, about.
    pub(super) fn n_bytes(&self) -> usize {
        let pairs = [&self.stream, &self.metadata, &self.parsed];
        let pairs = pairs.into_iter().flatten().map(|(n, v)| n.len() + v.len() + 48);
        self.line.len() + pairs.sum::<usize>() + 96
    }

    pub(super) fn of(entry: &Entry<'_>) -> Self {
        let sorted = |pairs: &mut dyn Iterator<Item = (&str, &str)>| {
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let mut pairs: Pairs = pairs.collect();
            pairs.sort_unstable();
            pairs
        };
        Self {
            ts_ns: entry.ts_ns,
            line: entry.line.clone().into_owned(),
            stream: sorted(&mut entry.fields.stream()),
            metadata: sorted(&mut entry.fields.own(Source::Metadata)),
            parsed: sorted(&mut entry.fields.own(Source::Parsed)),
        }
    }
}

/// Lines in the wanted order, and what it took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogAnswer {
    /// The lines.
    pub lines: Vec<LogLine>,
    /// What was read.
    pub stats: ScanStats,
}

/// Rows whose lines are read at a time, at first and at most.
const CHUNK_ROWS_MIN: usize = 256;
const CHUNK_ROWS_MAX: usize = 32_768;

/// Answers a log query.
pub(super) fn select(
    snapshot: &Snapshot,
    log: &LogExpr,
    range: LogRange,
    limits: &LogLimits,
    budget: &Budget,
    now_ns: i64,
) -> Result<LogAnswer, LogqlError> {
    if range.limit > limits.lines_max {
        return Err(LogqlError::Limit {
            what: "lines asked for",
            n: range.limit as u64,
            max: limits.lines_max as u64,
            key: KEY_LINES,
        });
    }
    let pipeline = Pipeline::new(log, Wanted::All, now_ns)?;
    let sets = [log.matchers.clone()];
    let times = (range.start_ns, range.end_ns.saturating_sub(1));
    let mut scan = Scan::new(snapshot, budget, &sets, times).through(&pipeline, need(log));
    let n_kept_max = if range.interval_ns > 0 { limits.lines_max } else { range.limit };
    let mut kept = Kept::new(range.is_backward, n_kept_max, limits.result_bytes_max);
    let mut left = Left::new(scan.pieces()?, range.is_backward);
    let mut n_rows = match pipeline.keeps_all() {
        true => kept.n_max.clamp(1, CHUNK_ROWS_MAX),
        false => CHUNK_ROWS_MIN.max(kept.n_max.min(CHUNK_ROWS_MAX)),
    };
    while let Some(Next { piece, is_whole, .. }) = left.next(&kept) {
        if is_whole {
            if let Some(piece) = scan.narrow(&piece)? {
                left.put(scan.split(piece)?);
            }
        } else {
            take_piece(&mut scan, &pipeline, &piece, &mut kept, &mut n_rows)?;
        }
    }
    let mut lines = kept.finish();
    if range.interval_ns > 0 {
        lines = apart(lines, range.interval_ns);
    }
    scan.stats.n_kept = lines.len() as u64;
    lines.truncate(range.limit);
    Ok(LogAnswer { lines, stats: scan.stats })
}

fn take_piece(
    scan: &mut Scan<'_>,
    pipeline: &Pipeline,
    piece: &LogPiece,
    kept: &mut Kept,
    n_rows: &mut usize,
) -> Result<(), LogqlError> {
    let mut places = scan.places(piece, None)?;
    // Of equal times the order of arrival stands, or its reverse.
    let key = |place: &Place| if kept.is_backward { -place.ts_ns } else { place.ts_ns };
    if kept.is_backward {
        places.reverse();
    }
    places.sort_by_key(key);
    let mut rest = places.as_slice();
    while rest.first().is_some_and(|first| !kept.is_past(first.ts_ns)) {
        let (chunk, behind) = rest.split_at((*n_rows).min(rest.len()));
        rest = behind;
        if chunk.len() == *n_rows && !pipeline.keeps_all() {
            // More from now on, in the pieces behind this one too: too few were kept so far.
            *n_rows = (*n_rows * 4).min(CHUNK_ROWS_MAX);
        }
        let mut chunk = chunk.to_vec();
        chunk.sort_unstable_by_key(|place| place.row_idx);
        take_lines(scan, pipeline, piece, &chunk, kept)?;
        // Rows come in the piece's order: only now is known how far the answer reaches.
        kept.settle();
    }
    Ok(())
}

fn take_lines(
    scan: &mut Scan<'_>,
    pipeline: &Pipeline,
    piece: &LogPiece,
    places: &[Place],
    kept: &mut Kept,
) -> Result<(), LogqlError> {
    let streams = scan.streams();
    scan.lines(piece, places, &mut |places, lines| {
        for (row, place) in places.iter().enumerate() {
            if kept.is_past(place.ts_ns) {
                continue;
            }
            let stream = &streams[place.stream_idx];
            let metadata = lines.metadata(row, stream);
            let mut entry = Entry::new(place.ts_ns, lines.body(row), &stream.labels);
            if pipeline.run_rest(&mut entry, &metadata) {
                pipeline.complete(&mut entry, &metadata);
                kept.push(LogLine::of(&entry))?;
            }
        }
        Ok(true)
    })
}

/// The pieces that were not looked at, the nearest to the wanted end first. Whole ones are narrowed
/// and split when it is their turn, so that an answer of a few lines reads no more than it needs.
struct Left {
    is_backward: bool,
    pieces: BinaryHeap<Next>,
    n_put: usize,
}

struct Next {
    /// The nearest time that it may hold; the larger, the nearer.
    nearest: i64,
    /// Of equally near ones the first put comes first.
    turn: Reverse<usize>,
    /// Nothing has been done to it yet.
    is_whole: bool,
    piece: LogPiece,
}

impl Left {
    fn new(pieces: Vec<LogPiece>, is_backward: bool) -> Self {
        let mut left = Self { is_backward, pieces: BinaryHeap::new(), n_put: 0 };
        left.push(pieces, true);
        left
    }

    fn push(&mut self, pieces: impl IntoIterator<Item = LogPiece>, is_whole: bool) {
        for piece in pieces {
            // A time may be the smallest there is, which has no positive.
            let nearest = if self.is_backward { piece.max_ns } else { !piece.min_ns };
            self.n_put += 1;
            self.pieces.push(Next { nearest, turn: Reverse(self.n_put), is_whole, piece });
        }
    }

    /// Puts back what became of a whole piece.
    fn put(&mut self, mut pieces: Vec<LogPiece>) {
        if self.is_backward {
            pieces.reverse();
        }
        self.push(pieces, false);
    }

    /// Returns the nearest piece, unless none that is left can hold a line that would be shown.
    fn next(&mut self, kept: &Kept) -> Option<Next> {
        let next = self.pieces.pop()?;
        let nearest_ns = if self.is_backward { next.nearest } else { !next.nearest };
        (!kept.is_past(nearest_ns)).then_some(next)
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.nearest, self.turn).cmp(&(other.nearest, other.turn))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Next {}

/// The lines that would be shown if nothing else came.
struct Kept {
    is_backward: bool,
    n_max: usize,
    bytes_max: usize,
    n_bytes: usize,
    lines: Vec<LogLine>,
    /// When there are enough: the time of the last one.
    worst_ns: Option<i64>,
}

impl Kept {
    fn new(is_backward: bool, n_max: usize, bytes_max: usize) -> Self {
        Self { is_backward, n_max, bytes_max, n_bytes: 0, lines: Vec::new(), worst_ns: None }
    }

    /// Returns true when a line of that time would not be shown any more.
    fn is_past(&self, ts_ns: i64) -> bool {
        self.n_max == 0
            || self.worst_ns.is_some_and(|worst| match self.is_backward {
                true => ts_ns < worst,
                false => ts_ns > worst,
            })
    }

    fn push(&mut self, line: LogLine) -> Result<(), LogqlError> {
        self.n_bytes += line.n_bytes();
        self.lines.push(line);
        if self.lines.len() >= 2 * self.n_max.max(CHUNK_ROWS_MIN) || self.n_bytes > self.bytes_max {
            self.settle();
        }
        if self.n_bytes > self.bytes_max {
            return Err(LogqlError::Limit {
                what: "bytes of answer",
                n: self.n_bytes as u64,
                max: self.bytes_max as u64,
                key: "query.result_bytes_max",
            });
        }
        if self.lines.len() == self.n_max && self.worst_ns.is_none() {
            self.settle();
        }
        Ok(())
    }

    /// Forgets what would not be shown.
    fn settle(&mut self) {
        match self.is_backward {
            true => self.lines.sort_by_key(|line| std::cmp::Reverse(line.ts_ns)),
            false => self.lines.sort_by_key(|line| line.ts_ns),
        }
        self.lines.truncate(self.n_max);
        self.n_bytes = self.lines.iter().map(LogLine::n_bytes).sum();
        if self.lines.len() == self.n_max {
            self.worst_ns = self.lines.last().map(|line| line.ts_ns);
        }
    }

    fn finish(mut self) -> Vec<LogLine> {
        self.settle();
        self.lines
    }
}

/// Leaves out lines that are too near to the one of their stream before them.
fn apart(lines: Vec<LogLine>, interval_ns: i64) -> Vec<LogLine> {
    let mut last: Vec<(Pairs, i64)> = Vec::new();
    let mut kept = Vec::new();
    for line in lines {
        match last.iter_mut().find(|(stream, _)| *stream == line.stream) {
            Some((_, ns)) if (line.ts_ns - *ns).abs() < interval_ns => continue,
            Some((_, ns)) => *ns = line.ts_ns,
            None => last.push((line.stream.clone(), line.ts_ns)),
        }
        kept.push(line);
    }
    kept
}
