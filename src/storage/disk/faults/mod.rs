//! A disk that fails on command, for debug builds: every operation on the data directory is a named
//! point at which the process can be ended, held up, or told that the disk is broken.
//!
//! A point is `<operation>.<class of file>.<moment>`, for instance `sync.wal.before`; the moments are
//! `before`, `after`, and for writes `during`, when half of the bytes are there. [`PLACES`] is the
//! one list of them. Points are armed by the environment, which no release build reads:
//!
//! ```text
//! COMMONWATCH_FAULTS="sync.wal.before@3=kill; write.parquet_temp.before@2+=full?/tmp/is-full"
//! COMMONWATCH_FAULTS_LOG=/tmp/points      each point, once, when it is met for the first time
//! ```
//!
//! One rule is `point[@from[-to | +]]=action[:argument][?flag]`: from the `from`th meeting of the
//! point (the first when not said) to the `to`th (the same when not said, for ever with `+`), and
//! only while the file `flag` exists. `*` stands for any operation or class. The actions:
//!
//! | action | what happens |
//! |---|---|
//! | `kill` | the process ends at once, as by `kill -9`: nothing is flushed, nothing is dropped |
//! | `error:eio`, `error:full`, `error:interrupted` | the operation is not done and says so |
//! | `short` | a write takes half of its bytes and says so |
//! | `delay:<ms>` | the operation waits |
//! | `hold:<file>` | the operation waits until the file exists |

mod disk;
mod rule;
mod state;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::Disk;
use rule::{Action, Rule};

pub(in crate::storage) use state::FaultBackend;

/// The classes of files that are written, and then synced.
const WRITTEN: &[&str] = &[
    "wal",
    "parquet_temp",
    "manifest_temp",
    "manifest_copy_temp",
    "descriptions_temp",
    "quarantine_temp",
    "deletion",
    "snapshot",
    "state",
];

/// Every operation and the classes of files that it is done to. A test holds this list against what
/// the process really does: a place that is missing here, or is never met, fails it.
pub const PLACES: &[(&str, &[&str])] = &[
    // What changes the disk.
    (
        "create_dir",
        &["wal_dir", "parquet_dir", "day_dir", "quarantine_dir", "deletion", "snapshot"],
    ),
    (
        "create",
        &[
            "wal",
            "parquet_temp",
            "manifest_temp",
            "manifest_copy_temp",
            "descriptions_temp",
            "quarantine_temp",
            "deletion",
            "snapshot",
        ],
    ),
    ("write", WRITTEN),
    ("sync", WRITTEN),
    ("truncate", &["wal", "state"]),
    ("reserve", &["wal"]),
    (
        "rename",
        &[
            "parquet",
            "manifest",
            "manifest_copy",
            "descriptions",
            "quarantine",
            "deletion",
            "snapshot",
        ],
    ),
    ("link", &["snapshot"]),
    ("remove", &["wal", "parquet", "parquet_temp", "deletion"]),
    ("sync_file", &["wal"]),
    ("write_again", &["wal"]),
    (
        "sync_dir",
        &["root", "wal_dir", "parquet_dir", "day_dir", "quarantine_dir", "deletion", "snapshot"],
    ),
    // What only reads: start, replay and questions.
    // Of object storage only whether there ever was any: the rest is met where it is switched on.
    (
        "list",
        &["wal_dir", "parquet_dir", "day_dir", "quarantine_dir", "deletion", "snapshot", "objects"],
    ),
    (
        "open",
        &["wal", "parquet", "manifest", "manifest_copy", "descriptions", "deletion", "snapshot"],
    ),
    ("read", &["wal", "parquet", "manifest", "manifest_copy", "descriptions", "deletion", "state"]),
];

/// Returns the names of all points.
pub fn points() -> Vec<String> {
    let mut points = Vec::new();
    for (operation, classes) in PLACES {
        for class in *classes {
            let moments: &[_] = match *operation {
                "write" => &[Moment::Before, Moment::During, Moment::After],
                _ => &[Moment::Before, Moment::After],
            };
            points.extend(moments.iter().map(|moment| name(operation, class, *moment)));
        }
    }
    points
}

/// When, relative to the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    During,
    After,
}

fn name(operation: &str, class: &str, moment: Moment) -> String {
    let moment = match moment {
        Moment::Before => "before",
        Moment::During => "during",
        Moment::After => "after",
    };
    format!("{operation}.{class}.{moment}")
}

/// Returns what kind of file or folder a path names.
fn class_of(path: &str) -> &'static str {
    let is_temporary = path.ends_with(".tmp");
    let (folder, rest) = path.split_once('/').unwrap_or((path, ""));
    match (folder, rest) {
        ("", _) => "root",
        ("wal", "") => "wal_dir",
        ("wal", _) => "wal",
        ("quarantine", "") => "quarantine_dir",
        ("quarantine", _) if is_temporary => "quarantine_temp",
        ("quarantine", _) => "quarantine",
        // A deletion and a snapshot are whole or not there: their folders, files and temporary files
        // are of one class.
        ("deletions", _) => "deletion",
        ("snapshots", _) => "snapshot",
        ("objects", _) => "objects",
        ("parquet", "") => "parquet_dir",
        ("parquet", "manifest.json.tmp") => "manifest_temp",
        ("parquet", "manifest.json") => "manifest",
        ("parquet", "manifest.copy.json.tmp") => "manifest_copy_temp",
        ("parquet", "manifest.copy.json") => "manifest_copy",
        // Both are replaced whole before the log is cut.
        ("parquet", "descriptions.json.tmp" | "totals.bin.tmp") => "descriptions_temp",
        ("parquet", "descriptions.json" | "totals.bin") => "descriptions",
        ("parquet", _) if is_temporary => "parquet_temp",
        ("parquet", file) if file.ends_with(".parquet") => "parquet",
        ("parquet", _) => "day_dir",
        _ => "other",
    }
}

/// Returns the disk with the faults that the environment asks for.
pub(super) fn arm(disk: Arc<dyn Disk>) -> Arc<dyn Disk> {
    match plan() {
        Some(plan) => Arc::new(disk::FaultDisk::new(disk, plan)),
        None => disk,
    }
}

/// Returns what the environment asks for; a rule that is not understood ends the process, because a
/// test whose faults are not armed proves nothing.
fn plan() -> Option<Arc<Plan>> {
    static PLAN: OnceLock<Option<Arc<Plan>>> = OnceLock::new();
    PLAN.get_or_init(|| {
        let rules = std::env::var("COMMONWATCH_FAULTS").unwrap_or_default();
        let log = std::env::var_os("COMMONWATCH_FAULTS_LOG");
        if rules.is_empty() && log.is_none() {
            return None;
        }
        let rules = Rule::parse_all(&rules).unwrap_or_else(|error| panic!("{error}"));
        let log = log.map(|path| {
            let log = OpenOptions::new().create(true).append(true).open(Path::new(&path));
            log.expect("the log of points can be written")
        });
        Some(Arc::new(Plan { rules, met: Mutex::default(), log: log.map(Mutex::new) }))
    })
    .clone()
}

/// The rules of this process and how often each point was met.
#[derive(Debug)]
pub(in crate::storage) struct Plan {
    rules: Vec<Rule>,
    met: Mutex<HashMap<String, u64>>,
    log: Option<Mutex<File>>,
}

impl Plan {
    /// Does what is armed for this meeting of a point, if anything is. Returns true when a write is
    /// to be cut short.
    fn meet(&self, operation: &str, class: &str, moment: Moment) -> io::Result<bool> {
        let point = name(operation, class, moment);
        let n_met = self.count(&point);
        let due = self.rules.iter().find(|rule| rule.is_due(&point, n_met));
        match due.map(|rule| &rule.action) {
            None => Ok(false),
            Some(Action::Kill) => {
                // Nothing is unwound: what the process held in memory is gone.
                std::process::abort()
            }
            Some(Action::Error(error)) => Err(error.to_io()),
            Some(Action::Short) => Ok(true),
            Some(Action::Delay(length)) => {
                pause(*length);
                Ok(false)
            }
            Some(Action::Hold(until)) => {
                while !until.exists() {
                    pause(Duration::from_millis(2));
                }
                Ok(false)
            }
        }
    }

    fn count(&self, point: &str) -> u64 {
        let mut met = self.met.lock();
        let n_met = met.entry(point.to_owned()).or_default();
        *n_met += 1;
        if *n_met == 1
            && let Some(log) = &self.log
        {
            writeln!(log.lock(), "{point}").expect("the log of points can be written");
        }
        *n_met
    }

    /// Does an operation between its two points.
    fn around<T>(
        &self,
        operation: &str,
        class: &str,
        act: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.meet(operation, class, Moment::Before)?;
        let done = act()?;
        self.meet(operation, class, Moment::After)?;
        Ok(done)
    }
}

fn pause(length: Duration) {
    let (_sender, nothing) = std::sync::mpsc::channel::<()>();
    let _: Result<(), _> = nothing.recv_timeout(length);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::sim::SimDisk;
    use super::*;

    fn disk(rules: &str) -> (SimDisk, Arc<dyn Disk>) {
        let inner = SimDisk::new();
        let rules = Rule::parse_all(rules).unwrap();
        let plan = Arc::new(Plan { rules, met: Mutex::default(), log: None });
        (inner.clone(), Arc::new(disk::FaultDisk::new(Arc::new(inner), plan)))
    }

    #[track_caller]
    fn check_class(path: &str, want: &str) {
        assert_eq!(class_of(path), want, "{path}");
    }

    #[test]
    fn every_path_has_its_class() {
        check_class("", "root");
        check_class("wal", "wal_dir");
        check_class("wal/0000000000000001.wal", "wal");
        check_class("parquet", "parquet_dir");
        check_class("parquet/manifest.json.tmp", "manifest_temp");
        check_class("parquet/manifest.json", "manifest");
        check_class("parquet/logs/commons=heart/date=2026-11-21", "day_dir");
        check_class("parquet/logs/commons=heart/date=2026-11-21/1-0.parquet", "parquet");
        check_class("parquet/logs/commons=heart/date=2026-11-21/1-0.parquet.tmp", "parquet_temp");
        check_class("quarantine/wal%1.wal", "quarantine");
        check_class("deletions", "deletion");
        check_class("deletions/0000000000000001.rows.tmp", "deletion");
        check_class("snapshots/a/parquet/manifest.json.tmp", "snapshot");
    }

    #[test]
    fn there_are_more_than_sixty_points_and_each_has_one_name() {
        let all = points();
        let different: std::collections::BTreeSet<&String> = all.iter().collect();

        assert!(all.len() > 60 && different.len() == all.len(), "{}", all.len());
    }

    #[test]
    fn a_rule_counts_the_meetings_of_its_point() {
        let (_, disk) = disk("sync.wal.before@2=error:eio");
        let mut file = disk.create("wal/1.wal").unwrap();

        assert!(file.sync().is_ok());
        assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
        assert!(file.sync().is_ok());
    }

    #[test]
    fn short_and_interrupted_writes_are_finished_by_the_writer() {
        let (inner, disk) = disk("write.wal.before@1=short; write.*.before@2=error:interrupted");
        let mut file = disk.create("wal/1.wal").unwrap();

        file.write_all(&[7; 100]).unwrap();

        assert_eq!(inner.read("wal/1.wal").unwrap().len(), 100);
    }

    #[test]
    fn a_rule_with_a_flag_waits_for_it() {
        let flag = tempfile::NamedTempFile::new().unwrap();
        let (_, disk) = disk(&format!("create.wal.before@1+=error:full?{}", flag.path().display()));

        assert!(super::super::is_full(&disk.create("wal/1.wal").err().unwrap()));
        drop(flag);
        assert!(disk.create("wal/1.wal").is_ok());
    }
}
