//! What a line goes through: stages compiled once a query and run once a line.
//!
//! A stage that cannot do its work says so in `__error__` and lets the line pass, as in Loki, so
//! that a question can ask for the lines that were not understood. Only filters take lines out.
//! Most lines end in the first line filter, so a line's metadata is taken apart only behind those.

mod build;
mod ip;
mod json;
mod json_places;
mod label_filter;
mod line_filter;
mod logfmt;
mod metadata;
mod parsers;
mod pattern;
mod stages;
mod unwrap;

use std::borrow::Cow;
use std::sync::Arc;

use super::fields::{ERROR, Fields};

pub(super) use json_places::json_places;
pub(super) use metadata::{LEVEL, Metadata, pairs_of};
pub(super) use pattern::Pattern;
pub(super) use unwrap::Sample;

/// A line on its way.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// ns since 1970 UTC.
    pub(super) ts_ns: i64,
    /// The text.
    pub(super) line: Cow<'a, str>,
    /// The labels.
    pub(super) fields: Fields<'a>,
    has_metadata: bool,
}

impl<'a> Entry<'a> {
    /// Returns an entry at the beginning of its way.
    pub(super) fn new(ts_ns: i64, line: &'a str, stream: &'a [(String, String)]) -> Self {
        Self { ts_ns, line: Cow::Borrowed(line), fields: Fields::new(stream), has_metadata: false }
    }

    /// Adds what of the metadata is wanted, once.
    fn load(&mut self, metadata: &Metadata<'a>, wanted: &Wanted) {
        if !std::mem::replace(&mut self.has_metadata, true) {
            metadata.add_to(&mut self.fields, &self.line, wanted);
        }
    }
}

/// Which labels the rest of the query looks at; a parser leaves out what nobody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any may be.
    All,
    /// These and no others.
    Named(Vec<String>),
    /// None: parsing would change nothing.
    Nothing,
}

impl Wanted {
    /// Returns true when a label's value may be looked at.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Named(names) => names.iter().any(|wanted| wanted == name),
            Wanted::Nothing => false,
        }
    }

    /// Returns true when a find's value may be looked at, under its own name or under the one that it has
    /// beside a label of the stream.
    pub(super) fn has_extracted(&self, name: &str) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Named(names) => names.iter().any(|wanted| stages::is_name_of(wanted, name)),
            Wanted::Nothing => false,
        }
    }
}

/// The line filters that a pipeline begins with: they look at the line as it is stored, so they can
/// be asked before anything else of a record is read.
pub(super) type LineTest = Arc<[line_filter::LineFilter]>;

/// Returns true when all filters keep a line.
pub(super) fn keeps(test: &[line_filter::LineFilter], line: &str) -> bool {
    test.iter().all(|filter| filter.keeps(line))
}

/// A compiled pipeline.
#[derive(Debug)]
pub(super) struct Pipeline {
    first: LineTest,
    stages: Vec<stages::Compiled>,
    unwrap: Option<unwrap::Compiled>,
    wanted: Wanted,
    now_ns: i64,
}

impl Pipeline {
    /// Takes an entry through all stages; returns false when it was filtered out.
    pub(super) fn run<'a>(&self, entry: &mut Entry<'a>, metadata: &Metadata<'a>) -> bool {
        keeps(&self.first, &entry.line) && self.run_rest(entry, metadata)
    }

    /// Takes an entry that has passed the [`LineTest`] through the other stages.
    pub(super) fn run_rest<'a>(&self, entry: &mut Entry<'a>, metadata: &Metadata<'a>) -> bool {
        for stage in &self.stages {
            if !stage.is_line_filter() {
                entry.load(metadata, &self.wanted);
            }
            if !stage.run(entry, self) {
                return false;
            }
        }
        true
    }

    /// Returns the filters that it begins with.
    pub(super) fn line_test(&self) -> LineTest {
        Arc::clone(&self.first)
    }

    /// Returns the columns of metadata that anybody looks at.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        metadata::columns(&self.wanted)
    }

    /// Adds the metadata to an entry that is to be shown.
    pub(super) fn complete<'a>(&self, entry: &mut Entry<'a>, metadata: &Metadata<'a>) {
        entry.load(metadata, &self.wanted);
    }

    /// Returns true when no stage takes lines out.
    pub(super) fn keeps_all(&self) -> bool {
        self.unwrap.is_none()
            && self.first.is_empty()
            && self.stages.iter().all(stages::Compiled::keeps_all)
    }

    /// Returns true when some stage looks at the line. How severe it is need not be looked for there:
    /// whoever asks for that reads the lines of which it is not known.
    pub(super) fn reads_lines(&self) -> bool {
        !self.first.is_empty() || self.stages.iter().any(stages::Compiled::reads_line)
    }

    /// Returns true when rows without a line and without attributes that are of one stream and level
    /// come to the same: nobody asks for what else a row has.
    pub(super) fn tells_apart_by_level_alone(&self) -> bool {
        let others = ["trace_id", "span_id", "scope_name"];
        self.unwrap.is_none()
            && !others.into_iter().any(|name| self.wanted.has_extracted(name))
            && !self.wants_severity()
    }

    /// Returns true when somebody asks for the severity as the record says it.
    pub(super) fn wants_severity(&self) -> bool {
        metadata::wants_severity(&self.wanted)
    }

    /// Returns true when somebody asks for the level.
    pub(super) fn wants_level(&self) -> bool {
        self.wanted.has(LEVEL)
    }

    /// Returns true when a line that a parser could not read counts like any other: its `__error__` is
    /// asked for, by a condition or by what is grouped by.
    pub(super) fn counts_failed(&self, error: &str) -> bool {
        matches!(self.wanted, Wanted::Named(_))
            && self.wanted.has(ERROR)
            && stages::is_of_parser(error)
    }

    /// Returns true when no stage looks at the line or at what is not the stream's.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.stages.is_empty() && self.unwrap.is_none()
    }

    /// Returns the value that is unwrapped, `None` when the line has none or is filtered out.
    pub(super) fn unwrap<'a>(
        &self,
        entry: &mut Entry<'a>,
        metadata: &Metadata<'a>,
    ) -> Option<Sample> {
        let Some(unwrap) = &self.unwrap else { return Some(Sample::Line) };
        entry.load(metadata, &self.wanted);
        unwrap.run(entry, self)
    }
}

/// Reads any JSON text.
pub(super) fn json_value(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(text).ok()
}
