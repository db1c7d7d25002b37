//! What an answer lacks because it is damaged, or cannot be fetched now, as sentences that go with it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::FileEntry;

/// The most damaged files that an answer names one by one.
const NAMED_MAX: usize = 10;

/// Files that answers from one snapshot lack.
#[derive(Debug, Default)]
pub(super) struct Missing {
    n_rows: Mutex<BTreeMap<String, u64>>,
    /// Files that are left out of these answers and of no others, and why.
    aside: Mutex<BTreeMap<String, String>>,
    /// Why nothing that is in object storage alone is in these answers.
    away: OnceLock<String>,
}

impl Missing {
    /// Adds files.
    pub(super) fn note(&self, files: Vec<&Arc<FileEntry>>) {
        let files = files.into_iter().map(|file| (file.path.clone(), file.n_rows));
        self.n_rows.lock().extend(files);
    }

    /// Leaves a file out from now on.
    pub(super) fn leave_out(&self, path: &str, why: String) {
        self.aside.lock().insert(path.to_owned(), why);
    }

    /// Leaves all that is in object storage alone out from now on: each file would be waited for.
    pub(super) fn leave_out_away(&self, why: &str) {
        self.away.get_or_init(|| why.to_owned());
    }

    /// Returns true when a file is left out of these answers.
    pub(super) fn is_left_out(&self, path: &str, is_away: impl FnOnce() -> bool) -> bool {
        if self.aside.lock().contains_key(path) {
            return true;
        }
        let Some(why) = self.away.get() else { return false };
        let is_away = is_away();
        if is_away {
            self.leave_out(path, why.clone());
        }
        is_away
    }

    /// Returns a sentence for each, and for each damaged log segment that was set aside.
    pub(super) fn warnings<'a>(&self, lost: impl Iterator<Item = &'a String>) -> Vec<String> {
        let (files, aside) = (self.n_rows.lock(), self.aside.lock());
        let mut warnings: Vec<String> = lost
            .map(|segment| {
                format!("partial answer: rows in the damaged part of the log segment {segment} are missing")
            })
            .collect();
        warnings.extend(files.iter().take(NAMED_MAX).map(|(path, n_rows)| match aside.get(path) {
            Some(why) => format!("partial answer: the {n_rows} rows of {path} are missing: {why}"),
            None => {
                format!("partial answer: the {n_rows} rows of the damaged file {path} are missing")
            }
        }));
        if files.len() > NAMED_MAX {
            let n_more = files.len() - NAMED_MAX;
            warnings.push(format!("partial answer: {n_more} more files are missing"));
        }
        warnings
    }
}
