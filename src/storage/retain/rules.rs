//! Which files go, for their age or because there are too many: a pure choice.
//!
//! Age: of the rules that name the signal and commons of a file, the one that says most decides; else
//! `storage.retention`. Size: `storage.size_max` and each rule with a `size_max` are a budget of all
//! files that they are about. When those are more, the oldest partitions go (one signal and commons
//! of one day), until the rest fits; of the newest day single files go, the oldest first, and the
//! newest file of all stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::units::{HumanDuration, HumanSize};
use crate::model::{Commons, Signal};
use crate::storage::{Config, FileEntry};

/// How long, and how much, is kept of some signals and commons.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepRule {
    /// Only this signal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Only this commons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commons: Option<Commons>,
    /// How old rows may become; `0` keeps them for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<HumanDuration>,
    /// How large all of it may become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_max: Option<HumanSize>,
    /// Removes nothing, and only shows on `/metrics` what it would remove.
    pub dry_run: bool,
}

impl KeepRule {
    fn is_about(&self, file: &FileEntry) -> bool {
        self.signal.is_none_or(|signal| signal == file.signal)
            && self.commons.as_ref().is_none_or(|commons| *commons == file.commons)
    }

    /// Naming a commons says more than naming a signal, and both more than either.
    fn says(&self) -> u8 {
        2 * u8::from(self.commons.is_some()) + u8::from(self.signal.is_some())
    }
}

/// Why a file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its newest row is too old.
    Age,
    /// There are too many bytes.
    Size,
}

impl Reason {
    /// Returns the label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Age => "age",
            Reason::Size => "size",
        }
    }
}

/// A budget of bytes, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// The key in the configuration.
    pub rule: String,
    /// What may be there.
    pub max_bytes: u64,
    /// What is there, before anything goes.
    pub used_bytes: u64,
}

/// What goes, and why.
#[derive(Debug, Default)]
pub struct Plan {
    /// Files to take off the catalog.
    pub gone: Vec<(Arc<FileEntry>, Reason)>,
    /// Bytes that rules which remove nothing would remove, by rule.
    pub dry: Vec<(String, u64)>,
    /// All budgets.
    pub budgets: Vec<Budget>,
}

/// Decides what goes at a time, ns since 1970 UTC.
pub fn plan(files: &[Arc<FileEntry>], config: &Config, now_ns: i64) -> Plan {
    let mut plan = Plan::default();
    let mut gone: BTreeSet<&str> = BTreeSet::new();
    for file in files.iter().filter(|file| is_too_old(file, config, now_ns)) {
        gone.insert(&file.path);
        plan.gone.push((Arc::clone(file), Reason::Age));
    }
    for budget in budgets(config) {
        let about = files.iter().filter(|file| {
            !gone.contains(file.path.as_str()) && budget.rule.is_none_or(|rule| rule.is_about(file))
        });
        let about: Vec<_> = about.collect();
        let used_bytes = bytes_of(&about);
        if let Some(rule) = budget.rule.filter(|rule| rule.dry_run) {
            let n_bytes = dry_bytes(rule, about, budget.max_bytes, now_ns);
            plan.dry.push((budget.name.clone(), n_bytes));
        } else {
            let over = over(about, used_bytes, budget.max_bytes);
            gone.extend(over.iter().map(|file| file.path.as_str()));
            plan.gone.extend(over.into_iter().map(|file| (Arc::clone(file), Reason::Size)));
        }
        let Budgeted { name: rule, max_bytes, .. } = budget;
        plan.budgets.push(Budget { rule, max_bytes, used_bytes });
    }
    for (idx, rule) in dry_ages(config) {
        let age = rule.retention.as_ref();
        let due = files.iter().filter(|file| rule.is_about(file) && is_older(file, age, now_ns));
        plan.dry.push((name_of(idx), due.map(|file| file.size_bytes).sum()));
    }
    plan
}

fn bytes_of(files: &[&Arc<FileEntry>]) -> u64 {
    files.iter().map(|file| file.size_bytes).sum()
}

/// Returns how many bytes a rule with a budget would remove, those that are too old for it first.
fn dry_bytes(rule: &KeepRule, files: Vec<&Arc<FileEntry>>, max_bytes: u64, now_ns: i64) -> u64 {
    let age = rule.retention.as_ref();
    let (old, rest): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| is_older(file, age, now_ns));
    let left_bytes = bytes_of(&rest);
    bytes_of(&old) + bytes_of(&over(rest, left_bytes, max_bytes))
}

fn name_of(rule_idx: usize) -> String {
    format!("storage.keep[{rule_idx}]")
}

fn dry_ages(config: &Config) -> impl Iterator<Item = (usize, &KeepRule)> {
    let rules = config.keep.iter().enumerate();
    rules.filter(|(_, rule)| rule.dry_run && rule.retention.is_some() && rule.size_max.is_none())
}

/// Returns true when the rule that decides about a file says that it is too old.
fn is_too_old(file: &FileEntry, config: &Config, now_ns: i64) -> bool {
    let rules = config.keep.iter().filter(|rule| !rule.dry_run && rule.is_about(file));
    let with_age = rules.filter_map(|rule| Some((rule.says(), rule.retention.as_ref()?)));
    // Of rules that say as much the first decides.
    let decides = with_age.fold(None, |best: Option<(u8, &HumanDuration)>, rule| match best {
        Some(best) if best.0 >= rule.0 => Some(best),
        _ => Some(rule),
    });
    is_older(file, Some(decides.map_or(&config.retention, |(_, age)| age)), now_ns)
}

fn is_older(file: &FileEntry, age: Option<&HumanDuration>, now_ns: i64) -> bool {
    let age_ns = age.map_or(0, |age| i64::try_from(age.0.as_nanos()).unwrap_or(i64::MAX));
    age_ns != 0 && file.max_ns < now_ns.saturating_sub(age_ns)
}

struct Budgeted<'a> {
    name: String,
    max_bytes: u64,
    /// `None`: it is about all files.
    rule: Option<&'a KeepRule>,
}

/// Returns the budgets, those that are about least first: what they remove need not go again.
fn budgets(config: &Config) -> Vec<Budgeted<'_>> {
    let of_rules = config.keep.iter().enumerate().filter_map(|(idx, rule)| {
        let max_bytes = rule.size_max.as_ref()?.0;
        Some(Budgeted { name: name_of(idx), max_bytes, rule: Some(rule) })
    });
    let mut budgets: Vec<_> = of_rules.collect();
    budgets.sort_by_key(|budget| std::cmp::Reverse(budget.rule.map_or(0, |rule| rule.says())));
    let max_bytes = config.size_max.0;
    budgets.push(Budgeted { name: "storage.size_max".to_owned(), max_bytes, rule: None });
    budgets.retain(|budget| budget.max_bytes > 0);
    budgets
}

/// Returns the files that must go so that the rest fits.
fn over(files: Vec<&Arc<FileEntry>>, used_bytes: u64, max_bytes: u64) -> Vec<&Arc<FileEntry>> {
    let mut left = used_bytes;
    let mut gone = Vec::new();
    let Some(newest_day) = files.iter().map(|file| file.day).max() else { return gone };
    let mut partitions: BTreeMap<_, Vec<&Arc<FileEntry>>> = BTreeMap::new();
    let mut newest = Vec::new();
    for file in files {
        if file.day == newest_day {
            newest.push(file);
        } else {
            let partition = (file.day, file.commons.clone(), file.signal);
            partitions.entry(partition).or_default().push(file);
        }
    }
    for files in partitions.into_values() {
        if left <= max_bytes {
            return gone;
        }
        left -= files.iter().map(|file| file.size_bytes).sum::<u64>();
        gone.extend(files);
    }
    newest.sort_by_key(|file| file.max_ns);
    newest.pop();
    for file in newest {
        if left <= max_bytes {
            break;
        }
        left -= file.size_bytes;
        gone.push(file);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Live;

    const DAY_NS: i64 = 86_400_000_000_000;
    const TODAY: i32 = 100;
    const NOW_NS: i64 = TODAY as i64 * DAY_NS + DAY_NS / 2;

    /// A file of a commons, signal and day; its rows end `day_ns` into the day.
    fn file(name: &str, signal: Signal, day: i32, n: i64, size_bytes: u64) -> Arc<FileEntry> {
        let max_ns = i64::from(day) * DAY_NS + n;
        Arc::new(FileEntry {
            path: format!("{name}-{signal}-{day}-{n}"),
            signal,
            commons: Commons::new(name).unwrap(),
            day,
            n_rows: 1,
            size_bytes,
            min_ns: max_ns,
            max_ns,
            has_exp: false,
            seal: None,
            deletions: Vec::new(),
            live: Live::default(),
        })
    }

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[track_caller]
    fn check(text: &str, files: &[Arc<FileEntry>], gone: &[&str]) {
        let plan = plan(files, &config(text), NOW_NS);
        let found: Vec<&str> = plan.gone.iter().map(|(file, _)| file.path.as_str()).collect();
        assert_eq!(found, gone, "{text}");
    }

    fn days() -> Vec<Arc<FileEntry>> {
        let mut files = Vec::new();
        for day in [98, 99, TODAY] {
            files.push(file("heart", Signal::Logs, day, 1, 10));
            files.push(file("heart", Signal::Metrics, day, 2, 10));
            files.push(file("lung", Signal::Logs, day, 3, 10));
        }
        files
    }

    #[test]
    fn the_rule_that_says_most_decides_how_old_rows_become() {
        check("retention = \"0\"", &days(), &[]);
        check(
            "retention = \"36h\"",
            &days(),
            &["heart-logs-98-1", "heart-metrics-98-2", "lung-logs-98-3"],
        );
        check(
            "retention = \"36h\"\n[[keep]]\nsignal = \"logs\"\nretention = \"12h\"\n[[keep]]\n\
             commons = \"lung\"\nretention = \"0\"\n[[keep]]\nretention = \"7d\"",
            &days(),
            &["heart-logs-98-1", "heart-logs-99-1"],
        );
        check(
            "retention = \"36h\"\n[[keep]]\nsignal = \"logs\"\ncommons = \"lung\"\nretention = \"1ms\"\n\
             [[keep]]\ncommons = \"lung\"\nretention = \"0\"\n[[keep]]\ncommons = \"heart\"\nretention = \"0\"",
            &days(),
            &["lung-logs-98-3", "lung-logs-99-3", "lung-logs-100-3"],
        );
    }

    #[test]
    fn the_oldest_partitions_go_until_the_rest_fits() {
        let old = "retention = \"0\"\n";
        check(&format!("{old}size_max = \"90B\""), &days(), &[]);
        check(&format!("{old}size_max = \"89B\""), &days(), &["heart-metrics-98-2"]);
        check(
            &format!("{old}size_max = \"60B\""),
            &days(),
            &["heart-metrics-98-2", "heart-logs-98-1", "lung-logs-98-3"],
        );
        check(
            &format!("{old}[[keep]]\nsignal = \"logs\"\nsize_max = \"35B\""),
            &days(),
            &["heart-logs-98-1", "lung-logs-98-3", "heart-logs-99-1"],
        );
        check(
            &format!("{old}[[keep]]\ncommons = \"lung\"\nsize_max = \"10B\""),
            &days(),
            &["lung-logs-98-3", "lung-logs-99-3"],
        );
    }

    #[test]
    fn a_partition_goes_whole_and_of_the_newest_day_single_files_but_the_last() {
        let mut files: Vec<_> = (0..4).map(|n| file("heart", Signal::Logs, 99, n, 10)).collect();
        files.extend((0..4).rev().map(|n| file("heart", Signal::Logs, TODAY, n, 10)));
        let whole_day =
            ["heart-logs-99-0", "heart-logs-99-1", "heart-logs-99-2", "heart-logs-99-3"];

        check("size_max = \"79B\"", &files, &whole_day);
        let mut all = whole_day.to_vec();
        all.extend(["heart-logs-100-0", "heart-logs-100-1"]);
        check("size_max = \"20B\"", &files, &all);
        all.push("heart-logs-100-2");
        check("size_max = \"1B\"", &files, &all);
    }

    #[test]
    fn what_is_gone_for_one_reason_counts_for_no_other() {
        let text = "retention = \"36h\"\nsize_max = \"60B\"";
        let plan = plan(&days(), &config(text), NOW_NS);

        assert!(plan.gone.len() == 3 && plan.gone.iter().all(|(_, reason)| *reason == Reason::Age));
        assert_eq!(plan.budgets[0].used_bytes, 60);
    }

    #[test]
    fn a_dry_rule_removes_nothing_and_says_what_it_would() {
        let text = "retention = \"0\"\n[[keep]]\nsize_max = \"20B\"\ndry_run = true\n\
                    [[keep]]\nsignal = \"logs\"\nretention = \"36h\"\ndry_run = true";
        let plan = plan(&days(), &config(text), NOW_NS);

        assert!(plan.gone.is_empty());
        let dry = [("storage.keep[0]".to_owned(), 70), ("storage.keep[1]".to_owned(), 20)];
        assert_eq!(plan.dry, dry);
    }

    #[test]
    fn a_dry_rule_of_age_and_size_says_what_either_would_remove() {
        for (size_max, want_bytes) in [("90B", 30), ("60B", 30), ("50B", 40), ("20B", 70)] {
            let text = format!(
                "retention = \"0\"\n[[keep]]\nretention = \"36h\"\nsize_max = \"{size_max}\"\n\
                 dry_run = true"
            );
            let plan = plan(&days(), &config(&text), NOW_NS);

            assert_eq!((plan.gone.len(), plan.budgets[0].used_bytes), (0, 90));
            assert_eq!(plan.dry, [("storage.keep[0]".to_owned(), want_bytes)], "{size_max}");
        }
    }
}
