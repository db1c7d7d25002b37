//! What there is to ask for: streams with their labels and sizes, without reading a line.

use std::collections::{BTreeMap, BTreeSet};

use super::counted::Counted;
use super::error::{KEY_MEMORY, KEY_SERIES, LogqlError};
use super::scan::Scan;
use super::select::Pairs;
use super::syntax::LogExpr;
use crate::model::Matcher;
use crate::query::promql::Budget;
use crate::storage::Snapshot;

/// Which streams are meant, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamsWanted {
    /// A stream is meant when all of any of these hold; none means every stream.
    pub sets: Vec<Vec<Matcher>>,
    /// First ns, inclusive.
    pub start_ns: i64,
    /// Last ns, exclusive.
    pub end_ns: i64,
    /// Sizes are counted for each of these spans; `None` is the whole time.
    pub step_ns: Option<i64>,
}

/// A stream that has lines in the time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamUse {
    /// Its labels, sorted.
    pub labels: Pairs,
    /// Its lines.
    pub n_lines: u64,
    /// Its bytes, by its share of the pieces that hold it: as in Loki, no line is read for this.
    pub n_bytes: f64,
    /// Bytes by the number of the span.
    pub by_span: BTreeMap<i64, f64>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamsFound {
    /// The streams, sorted by their labels.
    pub streams: Vec<StreamUse>,
    /// Batches and row groups that hold them.
    pub n_pieces: u64,
}

/// What a stream takes in memory beside its labels, and what each of its spans does.
const STREAM_BYTES: usize = 256;
const SPAN_BYTES: usize = 48;

/// Returns the streams that have lines in the time.
pub(super) fn streams(
    snapshot: &Snapshot,
    wanted: &StreamsWanted,
    budget: &Budget,
) -> Result<StreamsFound, LogqlError> {
    let all = [Vec::new()];
    let sets = if wanted.sets.is_empty() { &all[..] } else { &wanted.sets };
    let times = (wanted.start_ns, wanted.end_ns.saturating_sub(1));
    let mut scan = Scan::new(snapshot, budget, sets, times);
    let mut found: BTreeMap<Pairs, StreamUse> = BTreeMap::new();
    let mut n_held = 0;
    let span_of = |ts_ns: i64| {
        wanted.step_ns.map_or(0, |step_ns| (ts_ns - wanted.start_ns).div_euclid(step_ns.max(1)))
    };
    // What lies in one span of the wanted time need not be looked at row by row.
    let is_inside = |(min_ns, max_ns): &(i64, i64)| {
        times.0 <= *min_ns && *max_ns <= times.1 && span_of(*min_ns) == span_of(*max_ns)
    };
    for piece in &scan.pieces()? {
        let row_bytes = piece.n_bytes as f64 / piece.n_rows.max(1) as f64;
        let mut of_piece: BTreeMap<(usize, i64), u64> = BTreeMap::new();
        let whole = piece.times_of_group().filter(is_inside);
        let counted = whole.map(|_| scan.counted(piece)).transpose()?.flatten();
        if let Some(counted) = counted {
            for Counted { stream_idx, n_rows, .. } in counted.counts {
                *of_piece.entry((stream_idx, span_of(piece.min_ns))).or_default() += n_rows;
            }
        } else {
            for place in scan.places(piece, None)? {
                *of_piece.entry((place.stream_idx, span_of(place.ts_ns))).or_default() += 1;
            }
        }
        for ((stream_idx, span), n_lines) in of_piece {
            let labels = scan.stream(stream_idx).labels.clone();
            let one = found.entry(labels).or_insert_with_key(|labels| {
                let texts = labels.iter().map(|(name, value)| name.len() + value.len());
                n_held += STREAM_BYTES + texts.sum::<usize>();
                StreamUse::default()
            });
            let n_bytes = row_bytes * n_lines as f64;
            one.n_lines += n_lines;
            one.n_bytes += n_bytes;
            *one.by_span.entry(span).or_insert_with(|| {
                n_held += SPAN_BYTES;
                0.0
            }) += n_bytes;
        }
        check_series(found.len(), budget)?;
        check_held(n_held, budget)?;
    }
    let streams = found.into_iter().map(|(labels, one)| StreamUse { labels, ..one });
    Ok(StreamsFound { streams: streams.collect(), n_pieces: scan.stats.n_pieces })
}

/// Returns how many rows the streams of a query have in each span of `step_ns`, by the span's start, in
/// order.
pub(super) fn rows_by_span(
    snapshot: &Snapshot,
    log: &LogExpr,
    (start_ns, end_ns): (i64, i64),
    step_ns: i64,
    budget: &Budget,
) -> Result<Vec<(i64, u64)>, LogqlError> {
    let sets = [log.matchers.clone()];
    let mut scan = Scan::new(snapshot, budget, &sets, (start_ns, end_ns.saturating_sub(1)));
    let mut rows: BTreeMap<i64, u64> = BTreeMap::new();
    for piece in &scan.pieces()? {
        for place in scan.places(piece, None)? {
            let span_ns = place.ts_ns.div_euclid(step_ns).saturating_mul(step_ns);
            *rows.entry(span_ns).or_default() += 1;
        }
        check_held(rows.len() * SPAN_BYTES, budget)?;
    }
    Ok(rows.into_iter().collect())
}

fn check_series(n: usize, budget: &Budget) -> Result<(), LogqlError> {
    let max = budget.limits.series_max;
    if n <= max {
        return Ok(());
    }
    Err(LogqlError::Limit { what: "streams", n: n as u64, max: max as u64, key: KEY_SERIES })
}

/// Fails when streams and spans take more memory than a question may: a step of a millisecond makes a
/// span of every line.
fn check_held(n_bytes: usize, budget: &Budget) -> Result<(), LogqlError> {
    let max = budget.limits.memory_bytes_max;
    if n_bytes <= max {
        return Ok(());
    }
    Err(LogqlError::Limit {
        what: "bytes of streams and steps",
        n: n_bytes as u64,
        max: max as u64,
        key: KEY_MEMORY,
    })
}

impl StreamsFound {
    /// Returns the names of the streams' labels, sorted.
    pub fn names(&self) -> Vec<String> {
        let pairs = self.streams.iter().flat_map(|stream| &stream.labels);
        let names: BTreeSet<&str> = pairs.map(|(name, _)| name.as_str()).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Returns the values of a label, sorted.
    pub fn values(&self, wanted: &str) -> Vec<String> {
        let pairs = self.streams.iter().flat_map(|stream| &stream.labels);
        let values: BTreeSet<&str> =
            pairs.filter(|(name, _)| name == wanted).map(|(_, value)| value.as_str()).collect();
        values.into_iter().map(str::to_owned).collect()
    }
}
