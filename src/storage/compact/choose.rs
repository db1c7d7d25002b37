//! Which files to merge next.
//!
//! A row should be copied few times on its way into a large file. Files of today are merged once four
//! neighbours are of like size, so a file at least doubles each time; files of a day that is over
//! are merged down to few, because no more will come.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::storage::FileEntry;

/// Files merged at a time: each holds a batch in memory.
const FILES_MAX: usize = 12;
/// Fewer files of today are not worth a merge.
const FILES_MIN_TODAY: usize = 4;
/// The largest file of a day that is over may be this many times as large as the others together.
const RATIO_MAX: u64 = 8;

/// Returns neighbouring files that should become one, or `None`. `files` are those of one signal and
/// commons in the order of the manifest; `left_alone` tells which can't be merged.
pub(super) fn next_merge(
    files: &[Arc<FileEntry>],
    today: i32,
    max_bytes: u64,
    left_alone: impl Fn(&FileEntry) -> bool,
) -> Option<Vec<Arc<FileEntry>>> {
    let mut days: BTreeMap<(i32, bool), Vec<&Arc<FileEntry>>> = BTreeMap::new();
    for file in files {
        days.entry((file.day, file.has_exp)).or_default().push(file);
    }
    let runs = days.into_iter().filter_map(|((day, _), files)| {
        let (files_min, ratio_max) =
            if day < today { (2, RATIO_MAX) } else { (FILES_MIN_TODAY, 1) };
        let is_worth_it = |run: &[&Arc<FileEntry>]| {
            let total: u64 = run.iter().map(|file| file.size_bytes).sum();
            let largest = run.iter().map(|file| file.size_bytes).max().unwrap_or(0);
            total <= max_bytes
                && largest <= (total - largest).saturating_mul(ratio_max)
                && !run.iter().any(|file| left_alone(file))
        };
        (files_min..=files.len().min(FILES_MAX))
            .rev()
            .find_map(|n| files.windows(n).find(|run| is_worth_it(run)).map(<[_]>::to_vec))
    });
    runs.max_by_key(Vec::len).map(|run| run.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Commons, Signal};
    use crate::storage::Live;

    const TODAY: i32 = 100;

    fn file(day: i32, n: usize, mib: u64) -> Arc<FileEntry> {
        Arc::new(FileEntry {
            path: format!("{day}-{n}"),
            signal: Signal::Logs,
            commons: Commons::own(),
            day,
            n_rows: 1,
            size_bytes: mib << 20,
            min_ns: 0,
            max_ns: 0,
            has_exp: false,
            seal: None,
            deletions: Vec::new(),
            live: Live::default(),
        })
    }

    /// Checks which of the files of a day, given by their MiB, are merged, at most 100 MiB large.
    fn check(day: i32, sizes_mib: &[u64], expected: &[usize]) {
        let files: Vec<_> =
            sizes_mib.iter().enumerate().map(|(n, &mib)| file(day, n, mib)).collect();
        let found = next_merge(&files, TODAY, 100 << 20, |_| false).unwrap_or_default();
        let expected: Vec<String> = expected.iter().map(|n| format!("{day}-{n}")).collect();
        assert_eq!(
            found.iter().map(|file| file.path.clone()).collect::<Vec<_>>(),
            expected,
            "{sizes_mib:?}"
        );
    }

    #[test]
    fn four_files_of_like_size_of_today_are_merged() {
        check(TODAY, &[1, 1, 1], &[]);
        check(TODAY, &[1, 1, 1, 1], &[0, 1, 2, 3]);
        check(TODAY, &[50, 1, 2, 1, 1, 3], &[1, 2, 3, 4, 5]);
        check(TODAY, &[9, 1, 1, 1], &[]);
    }

    #[test]
    fn a_day_that_is_over_has_few_files() {
        check(TODAY - 1, &[1], &[]);
        check(TODAY - 1, &[40, 20, 10], &[0, 1, 2]);
        check(TODAY - 1, &[90, 1], &[]);
    }

    #[test]
    fn no_file_grows_past_the_limit() {
        check(TODAY - 1, &[60, 60], &[]);
        check(TODAY - 1, &[60, 30, 30], &[0, 1]);
    }

    #[test]
    fn many_files_are_merged_in_several_steps() {
        check(TODAY, &[1; 20], &(0..FILES_MAX).collect::<Vec<_>>());
    }

    #[test]
    fn days_are_not_mixed() {
        let files: Vec<_> = (0..8).map(|n| file(TODAY + n % 3, n as usize, 1)).collect();

        assert_eq!(next_merge(&files, TODAY, u64::MAX, |_| false), None);
    }

    #[test]
    fn files_that_cannot_be_merged_are_left_alone() {
        let files: Vec<_> = (0..5).map(|n| file(TODAY, n, 1)).collect();
        let is_bad = |path: &'static str| move |file: &FileEntry| file.path == path;

        assert_eq!(next_merge(&files, TODAY, u64::MAX, is_bad("100-0")).unwrap().len(), 4);
        assert_eq!(next_merge(&files, TODAY, u64::MAX, is_bad("100-2")), None);
    }
}
