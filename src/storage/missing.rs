//! What an answer lacks because it is damaged, as sentences that go with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::FileEntry;

/// The most damaged files that an answer names one by one.
const NAMED_MAX: usize = 10;

/// Damaged files that answers from one snapshot lack.
#[derive(Debug, Default)]
pub(super) struct Missing(Mutex<BTreeMap<String, u64>>);

impl Missing {
    /// Adds files.
    pub(super) fn note(&self, files: Vec<&Arc<FileEntry>>) {
        let files = files.into_iter().map(|file| (file.path.clone(), file.n_rows));
        self.0.lock().extend(files);
    }

    /// Returns a sentence for each, and for each damaged log segment that was set aside.
    pub(super) fn warnings<'a>(&self, lost: impl Iterator<Item = &'a String>) -> Vec<String> {
        let files = self.0.lock();
        let mut warnings: Vec<String> = lost
            .map(|segment| {
                format!("partial answer: rows in the damaged part of the log segment {segment} are missing")
            })
            .collect();
        warnings.extend(files.iter().take(NAMED_MAX).map(|(path, n_rows)| {
            format!("partial answer: the {n_rows} rows of the damaged file {path} are missing")
        }));
        if files.len() > NAMED_MAX {
            let n_more = files.len() - NAMED_MAX;
            warnings.push(format!("partial answer: {n_more} more damaged files are missing"));
        }
        warnings
    }
}
