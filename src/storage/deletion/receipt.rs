//! What is kept of a deletion: who asked for it, what it took, and when the bytes were gone.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{Commons, Signal};

/// How far a deletion has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    /// No answer has the rows; their bytes are still on disk.
    Hidden,
    /// It was taken back: the rows are answered again.
    Cancelled,
    /// The bytes are gone.
    Erased,
}

impl Progress {
    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Progress::Hidden => "hidden",
            Progress::Cancelled => "cancelled",
            Progress::Erased => "erased",
        }
    }
}

/// The receipt of one deletion; the manifest keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Counts up from 1 over the life of the data directory.
    pub id: u64,
    /// The credential's name.
    pub by: String,
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
    /// Which signals.
    pub signals: Vec<Signal>,
    /// What was selected, as it was sent.
    pub selectors: Vec<String>,
    /// First ns of the rows, inclusive.
    pub start_ns: i64,
    /// Last ns of the rows, inclusive.
    pub end_ns: i64,
    /// Rows that no answer has because of it.
    pub n_rows: u64,
    /// The commons they are of.
    pub commons: BTreeSet<Commons>,
    /// The files they are in.
    pub files: Vec<String>,
    /// Files that could not be looked at because they are damaged: nothing of them is answered, and
    /// nothing of them was deleted.
    pub skipped: Vec<String>,
    /// Until when it can be taken back, ms since 1970 UTC.
    pub cancel_until_ms: i64,
    /// The rows were also in log segments up to this one.
    pub log_segment: u64,
    /// How far it has come.
    pub progress: Progress,
    /// When it was taken back, or the bytes were gone, ms since 1970 UTC.
    pub ended_at_ms: Option<i64>,
    /// Who took it back.
    pub ended_by: Option<String>,
}

impl Receipt {
    /// Returns true when the bytes may go.
    pub fn is_ripe(&self, now_ms: i64) -> bool {
        self.progress == Progress::Hidden && self.cancel_until_ms <= now_ms
    }
}
