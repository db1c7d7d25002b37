//! Following the log: the lines that have come since the last look.

use super::columns::rows_of;
use super::error::LogqlError;
use super::pipeline::{Entry, Pipeline, Wanted};
use super::select::LogLine;
use super::syntax::LogExpr;
use crate::model::Commons;
use arrow::array::RecordBatch;

/// A log query that is asked again and again.
#[derive(Debug)]
pub(in crate::query) struct Follower {
    log: LogExpr,
    pipeline: Pipeline,
}

impl Follower {
    pub(in crate::query) fn new(log: LogExpr, now_ns: i64) -> Result<Self, LogqlError> {
        let pipeline = Pipeline::new(&log, Wanted::All, now_ns)?;
        Ok(Self { log, pipeline })
    }

    /// Returns what of new records comes out of the pipeline, in the order of time, the newest of
    /// them within the bounds, and how many more there were.
    pub(in crate::query) fn take(
        &self,
        batches: &[(Commons, RecordBatch)],
        bounds: Bounds,
    ) -> (Vec<LogLine>, usize) {
        let mut found = Newest::new(bounds);
        for (commons, batch) in batches {
            let (row_of, lines) = rows_of(commons, batch);
            for row in 0..batch.num_rows() {
                let (ts_ns, stream) = row_of(row);
                if !stream.matches(&self.log.matchers) {
                    continue;
                }
                let metadata = lines.metadata(row, &stream);
                let mut entry = Entry::new(ts_ns, lines.body(row), &stream.labels);
                if self.pipeline.run(&mut entry, &metadata) {
                    self.pipeline.complete(&mut entry, &metadata);
                    found.push(LogLine::of(&entry));
                }
            }
        }
        found.finish()
    }
}

/// How much one look at new lines may hold, and one message tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most lines.
    pub lines_max: usize,
    /// The most memory of them; one line is told however long it is.
    pub bytes_max: usize,
}

/// Returns the newest lines within the bounds, in the order of time, and how many more there were.
pub fn newest(lines: Vec<LogLine>, bounds: Bounds) -> (Vec<LogLine>, usize) {
    let mut found = Newest::new(bounds);
    lines.into_iter().for_each(|line| found.push(line));
    found.finish()
}

/// Lines as they are found. Between two looks as much comes as senders send, and a template makes much
/// of little: so no more is held than twice what is told.
struct Newest {
    bounds: Bounds,
    lines: Vec<LogLine>,
    n_bytes: usize,
    n_dropped: usize,
}

impl Newest {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, lines: Vec::new(), n_bytes: 0, n_dropped: 0 }
    }

    fn push(&mut self, line: LogLine) {
        let Bounds { lines_max, bytes_max } = self.bounds;
        self.n_bytes += line.n_bytes();
        self.lines.push(line);
        if self.lines.len() > lines_max.saturating_mul(2)
            || self.n_bytes > bytes_max.saturating_mul(2)
        {
            self.cut();
        }
    }

    /// Drops the oldest until the rest is within the bounds.
    fn cut(&mut self) {
        let Bounds { lines_max, bytes_max } = self.bounds;
        self.lines.sort_by_key(|line| line.ts_ns);
        let mut n_gone = self.lines.len().saturating_sub(lines_max);
        self.n_bytes = self.lines[n_gone..].iter().map(LogLine::n_bytes).sum();
        while self.n_bytes > bytes_max && n_gone + 1 < self.lines.len() {
            self.n_bytes -= self.lines[n_gone].n_bytes();
            n_gone += 1;
        }
        self.lines.drain(..n_gone);
        self.n_dropped += n_gone;
    }

    fn finish(mut self) -> (Vec<LogLine>, usize) {
        self.cut();
        (self.lines, self.n_dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers lines by their times, with so many bytes of text each, and returns the times of those that
    /// are kept, and how many are not.
    #[track_caller]
    fn check(times: &[i64], text_bytes: usize, bounds: (usize, usize), want: (&[i64], usize)) {
        let line = |ts_ns: &i64| LogLine {
            ts_ns: *ts_ns,
            line: "x".repeat(text_bytes),
            stream: Vec::new(),
            metadata: Vec::new(),
            parsed: Vec::new(),
        };
        let (lines_max, bytes_max) = bounds;

        let lines = times.iter().map(line).collect();
        let (kept, n_dropped) = newest(lines, Bounds { lines_max, bytes_max });

        let kept: Vec<i64> = kept.iter().map(|line| line.ts_ns).collect();
        assert_eq!((kept.as_slice(), n_dropped), want);
    }

    #[test]
    fn the_newest_lines_are_kept_whenever_they_came() {
        check(&[3, 1, 2], 0, (9, 9_000), (&[1, 2, 3], 0));
        check(&[9, 1, 8, 2, 7, 3], 0, (2, 9_000), (&[8, 9], 4));
        check(&[1, 2, 3, 4, 5, 6, 7, 8], 0, (3, 9_000), (&[6, 7, 8], 5));
    }

    #[test]
    fn no_more_bytes_are_kept_than_may_be_and_one_line_always_is() {
        check(&[1, 2, 3, 4, 5, 6, 7, 8], 904, (9, 3_000), (&[6, 7, 8], 5));
        check(&[2, 1], 9_000, (9, 3_000), (&[2], 1));
        check(&[1], 9_000, (9, 3_000), (&[1], 0));
    }

    #[test]
    fn while_lines_are_found_twice_as_much_is_held_at_most() {
        let mut found = Newest::new(Bounds { lines_max: 5, bytes_max: 1_000 });
        for ts_ns in 0..1_000 {
            let line = "x".repeat(100);
            let (stream, metadata, parsed) = (Vec::new(), Vec::new(), Vec::new());
            found.push(LogLine { ts_ns, line, stream, metadata, parsed });
            assert!(found.lines.len() <= 10 && found.n_bytes <= 2_000, "{ts_ns}");
        }
        assert_eq!(found.finish().1, 995);
    }
}
