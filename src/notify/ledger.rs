//! The ledger: what happened to each alert on its way to people, and every attempt to tell them.
//!
//! Records are written in the transaction that makes them true, under their time, and removed when
//! they are too old or too many. A body is kept as its hash: what was said can be proved, and what
//! stood in it is not kept twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dispatch::{Happened, HeldBack, Note, Notification};
use super::payload::fingerprint;
use super::sign::sha256_hex;
use super::{NotifyError, Store};
use crate::model::Labels;
use crate::model::alert::labels_as_map;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
    /// The key of the group that it is about.
    pub group: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// An alert came to a group.
    Joined {
        /// Names the alert.
        fingerprint: String,
        /// Its labels.
        #[serde(with = "labels_as_map")]
        labels: Labels,
        /// Its annotations.
        annotations: BTreeMap<String, String>,
        /// When it began, ms since 1970 UTC.
        starts_at_ms: i64,
        /// Whom the group is told to.
        receiver: String,
        /// Where it comes from.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        generator_url: String,
    },
    /// An alert is held back from now on.
    HeldBack {
        /// Names the alert.
        fingerprint: String,
        /// Why.
        why: HeldBack,
    },
    /// An alert is no longer held back.
    Released {
        /// Names the alert.
        fingerprint: String,
    },
    /// An alert is over.
    Ended {
        /// Names the alert.
        fingerprint: String,
        /// Its labels.
        #[serde(default, with = "labels_as_map")]
        labels: Labels,
        /// When it began, ms since 1970 UTC.
        #[serde(default)]
        starts_at_ms: i64,
        /// When it ended, ms since 1970 UTC; its group saw that at its next look.
        #[serde(default)]
        ends_at_ms: i64,
    },
    /// A notification was decided and is in the queue.
    Queued {
        /// Names the notification; the receiver sees it as `Idempotency-Key`.
        notification: String,
        /// The receiver's way of being told.
        desk: String,
        /// The alerts that it says fire.
        firing: Vec<String>,
        /// The alerts that it says are over.
        resolved: Vec<String>,
        /// SHA-256 of the body.
        body_sha256: String,
    },
    /// An attempt to deliver a notification ended.
    Attempt {
        /// Names the notification.
        notification: String,
        /// The receiver's way of being told.
        desk: String,
        /// The how manieth it was.
        n: u32,
        /// `delivered`, `refused` or `retried`.
        outcome: String,
        /// The answer's status, if one came.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// When it is tried again, after how many ms.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_in_ms: Option<i64>,
        /// SHA-256 of the body.
        body_sha256: String,
    },
    /// A notification was given up.
    GivenUp {
        /// Names the notification.
        notification: String,
        /// The receiver's way of being told.
        desk: String,
        /// `expired`, `dropped`, `receiver_gone`, or why it cannot be written.
        why: String,
    },
}

impl What {
    /// Returns the alert that the record names by itself, if it does.
    pub fn fingerprint(&self) -> Option<&str> {
        match self {
            What::Joined { fingerprint, .. }
            | What::HeldBack { fingerprint, .. }
            | What::Released { fingerprint }
            | What::Ended { fingerprint, .. } => Some(fingerprint),
            What::Queued { .. } | What::Attempt { .. } | What::GivenUp { .. } => None,
        }
    }
}

/// Returns the name of an alert's labels, as records and bodies have it.
pub fn fingerprint_of(labels: &Labels) -> String {
    fingerprint_text(fingerprint(labels))
}

/// Writes a fingerprint as people see it.
pub fn fingerprint_text(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// Returns what a note of the dispatcher says, as a record.
pub(super) fn of_note(note: Note, now_ms: i64) -> Record {
    let fingerprint = fingerprint_text(note.fingerprint);
    let what = match note.what {
        Happened::Joined { receiver, alert } => What::Joined {
            fingerprint,
            labels: alert.labels,
            annotations: alert.annotations,
            starts_at_ms: alert.starts_at_ms,
            receiver,
            generator_url: alert.generator_url,
        },
        Happened::HeldBack(Some(why)) => What::HeldBack { fingerprint, why },
        Happened::HeldBack(None) => What::Released { fingerprint },
        Happened::Ended { alert } => {
            let times = alert.as_ref().map(|alert| (alert.starts_at_ms, alert.ends_at_ms));
            let (starts_at_ms, ends_at_ms) = times.unwrap_or((0, now_ms));
            let labels = alert.map(|alert| alert.labels).unwrap_or_default();
            What::Ended { fingerprint, labels, starts_at_ms, ends_at_ms }
        }
    };
    Record { at_ms: now_ms, group: note.group_key, what }
}

/// Returns the record of a decision.
pub(super) fn of_notification(news: &Notification, id: &str, body: &str, now_ms: i64) -> Record {
    let names = |resolved: bool| {
        let alerts = news.alerts.iter().filter(|alert| alert.resolved == resolved);
        alerts.map(|alert| fingerprint_text(fingerprint(&alert.labels))).collect()
    };
    let what = What::Queued {
        notification: id.to_owned(),
        desk: news.desk.clone(),
        firing: names(false),
        resolved: names(true),
        body_sha256: sha256_hex(body),
    };
    Record { at_ms: now_ms, group: news.group_key.clone(), what }
}

/// How far the clock may be set back without being believed: so long the order of writing is kept.
const BACK_MS_MAX: i64 = 3_600_000;

/// Numbers records within a process so that their keys are in order and one of a kind.
#[derive(Debug, Default)]
pub(super) struct Writer {
    last: (i64, u32),
    /// The number of the first record of a time.
    first: u32,
}

impl Writer {
    /// Returns a record with the key that it is stored under.
    pub(super) fn entry(&mut self, record: &Record) -> (String, Vec<u8>) {
        let (last_ms, n) = self.last;
        let back_ms = last_ms.saturating_sub(record.at_ms);
        if back_ms > BACK_MS_MAX {
            // The clock was wrong and is right again. Under times to come its records would be in no
            // answer; of those that are again there are records, whose keys are not to be taken twice.
            self.first = (rand::random::<u32>() >> 2) | (1 << 31);
        }
        self.last = match back_ms {
            // Also when the clock was set back a little: the ledger is in the order of writing.
            0..=BACK_MS_MAX => (last_ms, n.wrapping_add(1)),
            _ => (record.at_ms, self.first),
        };
        let bytes = serde_json::to_vec(record).expect("texts, integers and lists are always JSON");
        (format!("{}-{:08x}", key_of(self.last.0), self.last.1), bytes)
    }

    /// Goes on after the last key of an earlier process.
    pub(super) fn after(last_key: Option<&str>) -> Self {
        let parsed = last_key.and_then(|key| {
            let (ms, n) = key.split_once('-')?;
            Some((i64::from_str_radix(ms, 16).ok()?, u32::from_str_radix(n, 16).ok()?))
        });
        Self { last: parsed.unwrap_or_default(), first: 0 }
    }

    /// Returns when the last record was written, ms since 1970 UTC, if there is one.
    pub(super) fn last_ms(&self) -> Option<i64> {
        (self.last.0 > 0).then_some(self.last.0)
    }
}

/// Returns the beginning of all keys of one time; in their order times are.
pub(super) fn key_of(time_ms: i64) -> String {
    format!("{:016x}", time_ms.max(0))
}

/// The most bytes of lines that are read at once: in a storm one line names fifty thousand alerts.
const READ_BYTES_MAX: usize = 32 << 20;

/// The newest lines of a time, oldest first.
#[derive(Debug)]
pub struct Lines {
    /// What they say.
    pub records: Vec<Record>,
    /// Whether older ones were left out, because there are too many or they are too long.
    pub is_cut: bool,
}

/// Reads the ledger.
#[derive(Clone)]
pub struct Ledger {
    pub(super) store: Arc<dyn Store>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Ledger {
    /// Returns the newest records of a time, `start_ms` included and `end_ms` not, oldest first.
    pub async fn records(
        &self,
        start_ms: i64,
        end_ms: i64,
        n_max: usize,
    ) -> Result<Vec<Record>, NotifyError> {
        Ok(self.newest(start_ms, end_ms, n_max).await?.records)
    }

    /// As [`Ledger::records`], and whether that is not all there is of the time.
    pub async fn newest(
        &self,
        start_ms: i64,
        end_ms: i64,
        n_max: usize,
    ) -> Result<Lines, NotifyError> {
        let range = (key_of(start_ms), key_of(end_ms));
        let read = self.store.ledger(range, (n_max, READ_BYTES_MAX)).await;
        let read = read.map_err(NotifyError::Store)?;
        let n_bytes: usize = read.iter().map(|(_, bytes)| bytes.len()).sum();
        let is_cut = read.len() >= n_max || n_bytes >= READ_BYTES_MAX;
        // A record of another version is passed over rather than hiding the rest.
        let records = read.into_iter().filter_map(|(_, bytes)| serde_json::from_slice(&bytes).ok());
        Ok(Lines { records: records.collect(), is_cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_writing() {
        let mut writer = Writer::default();
        let record = |at_ms| Record {
            at_ms,
            group: String::new(),
            what: What::Ended {
                fingerprint: "f".to_owned(),
                labels: Labels::empty(),
                starts_at_ms: 0,
                ends_at_ms: 0,
            },
        };
        let keys: Vec<String> =
            [5, 5, 4, 6].iter().map(|at_ms| writer.entry(&record(*at_ms)).0).collect();

        assert!(keys.is_sorted(), "{keys:?}");
        assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
        let mut next = Writer::after(Some(&keys[3]));
        assert!(next.entry(&record(6)).0 > keys[3]);
    }

    #[test]
    fn what_is_written_after_a_wrong_clock_was_set_right_has_its_own_time_and_key() {
        const HOUR: i64 = 3_600_000;
        let mut writer = Writer::default();
        let mut key = |at_ms| {
            let what = What::Released { fingerprint: "f".to_owned() };
            writer.entry(&Record { at_ms, group: String::new(), what }).0
        };

        let keys = [9 * HOUR, 9_000 * HOUR, 9 * HOUR, 9 * HOUR, 9 * HOUR + 1].map(&mut key);

        assert!(keys[2] > keys[0] && keys[3] > keys[2] && keys[4] > keys[3], "{keys:?}");
        assert!(keys[4] < keys[1] && keys[4] < key_of(9 * HOUR + 2), "{keys:?}");
    }
}
