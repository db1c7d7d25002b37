//! Choosing the log records that a deletion takes: those that a log query answers; and which lines it
//! may mean that are quoted elsewhere.

use std::collections::HashMap;
use std::rc::Rc;

use arrow::array::{AsArray as _, RecordBatch};

use super::columns::{BODY, KEY_COLUMNS, Keys, LEVEL_COLUMN, Lines, column};
use super::error::{LogqlError, ParseError};
use super::pipeline::{Entry, LineTest, Pipeline, Wanted, keeps};
use super::stream::Stream;
use super::syntax::LogExpr;
use super::syntax::ast::Stage;
use crate::model::{Commons, Matcher, Signal};
use crate::storage::Judge;

/// The columns that tell streams apart, and those that a pipeline looks at.
const ALL_COLUMNS: [&str; 13] = [
    "timestamp",
    "service",
    "env",
    "cluster",
    "resource",
    "severity_number",
    "severity_text",
    "body",
    "attributes",
    "scope_name",
    "trace_id",
    "span_id",
    LEVEL_COLUMN,
];

/// Chooses the records that a log query answers. A line on which a stage failed is not chosen: what
/// is not understood is not deleted.
#[derive(Debug)]
pub(in crate::query) struct LogsJudge {
    log: LogExpr,
    pipeline: Pipeline,
}

impl LogsJudge {
    /// Compiles a query; stages that only change how a line looks are refused.
    pub(in crate::query) fn new(log: LogExpr, now_ns: i64) -> Result<Self, LogqlError> {
        let is_filter = |stage: &Stage| {
            !matches!(
                stage,
                Stage::LineFormat(_)
                    | Stage::LabelFormat(_)
                    | Stage::Drop(_)
                    | Stage::Keep(_)
                    | Stage::Decolorize
                    | Stage::Unwrap(_)
            )
        };
        if !log.stages.iter().all(is_filter) {
            let why = "a deletion takes a selector, parsers and filters, and no other stage";
            return Err(ParseError::whole(why).into());
        }
        let pipeline = Pipeline::new(&log, Wanted::All, now_ns)?;
        Ok(Self { log, pipeline })
    }

    fn is_meant(&self, stream: &Stream, lines: &Lines<'_>, ts_ns: i64, row: usize) -> bool {
        let metadata = lines.metadata(row, stream);
        let mut entry = Entry::new(ts_ns, lines.body(row), &stream.labels);
        self.pipeline.run(&mut entry, &metadata) && entry.fields.error().is_none()
    }
}

impl Judge for LogsJudge {
    fn signals(&self) -> &[Signal] {
        &[Signal::Logs]
    }

    fn may_mean(&self, commons: &Commons) -> bool {
        // What no rule could place may still say where it thinks it belongs.
        let of_commons = self.log.matchers.iter().filter(|matcher| matcher.name == "commons");
        commons.is_unassigned() || of_commons.into_iter().all(|m| m.matches(commons.as_str()))
    }

    fn columns(&self, _: Signal) -> &[&'static str] {
        if self.log.stages.is_empty() { &KEY_COLUMNS } else { &ALL_COLUMNS }
    }

    fn mark(&mut self, commons: &Commons, _: Signal, batch: &RecordBatch, marks: &mut [bool]) {
        let keys = Keys::of(batch);
        let lines = (!self.log.stages.is_empty()).then(|| {
            let bodies = column(batch, BODY).as_string().clone();
            Lines::of(bodies, Some(batch))
        });
        let mut streams: HashMap<[i32; 4], Option<Rc<Stream>>> = HashMap::new();
        for (row, mark) in marks.iter_mut().enumerate() {
            let stream = streams.entry(keys.key(row)).or_insert_with(|| {
                let stream = Stream::new(&keys.parts(row, commons));
                stream.matches(&self.log.matchers).then(|| Rc::new(stream))
            });
            let Some(stream) = stream.clone() else { continue };
            *mark = match &lines {
                None => true,
                Some(lines) => self.is_meant(&stream, lines, keys.ts_ns(row, 0), row),
            };
        }
    }
}

/// Tells which lines that are quoted elsewhere a deletion may mean: a quotation has the text, and neither
/// the metadata nor all labels of its record.
#[derive(Debug)]
pub(in crate::query) struct QuotedLines {
    matchers: Vec<Matcher>,
    test: LineTest,
}

impl QuotedLines {
    /// Compiles what of a query can be asked of a text alone.
    pub(in crate::query) fn new(log: LogExpr) -> Result<Self, LogqlError> {
        let LogExpr { matchers, mut stages } = log;
        // Behind `unpack` a filter looks at another text than the one that is stored and quoted.
        let is_unpack = |stage: &Stage| matches!(stage, Stage::Unpack);
        let n_raw = stages.iter().position(is_unpack).unwrap_or(stages.len());
        stages.truncate(n_raw);
        stages.retain(|stage| matches!(stage, Stage::Line(_)));
        let log = LogExpr { matchers, stages };
        let test = Pipeline::new(&log, Wanted::Nothing, 0)?.line_test();
        Ok(Self { matchers: log.matchers, test })
    }

    /// Returns what must match a stream's labels.
    pub(in crate::query) fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// Returns whether a record of this text may be meant; what was cut off may say anything.
    pub(in crate::query) fn may_mean(&self, line: &str, is_cut: bool) -> bool {
        is_cut || keeps(&self.test, line)
    }
}
