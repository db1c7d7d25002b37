//! What is kept of alerts: when one begins, and once more when it ends, what explains it is asked for and
//! put away, so that it opens when the store and the ledger have forgotten.
//!
//! The ledger says which alerts began and ended; where this task stopped reading it is kept too, so a
//! restart misses none. In a storm only so many a minute are kept: of the others there is the ledger.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::answers::rules_grant;
use super::kept_alerts::KeptAlerts;
use super::timers::every;
use crate::api::{self, Api, KeptAlert};
use crate::base::AgeClock;
use crate::base::clock::SharedClock;
use crate::model::Grant;
use crate::notify::{Record, What};
use crate::storage::StateStore;

/// How often the ledger is read on.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a line may take from its decision into the ledger.
const LAG_MS: i64 = 2_000;
/// How many lines of it at once.
const LINES_MAX: usize = 10_000;
/// Where it is kept how far the ledger was read.
const CURSOR: (&str, &str) = ("kept-alerts-read", "ms");
/// How often what is too old or too much is removed.
const TRIM_EVERY_MS: u64 = 600_000;
/// How far the clock may be set back before the ledger is read from there again.
const BACK_MS_MAX: i64 = 3_600_000;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) per_minute_max: usize,
    pub(super) alerts_max: usize,
    pub(super) kept_ms: i64,
}

/// What the task is made of.
pub(super) struct Keeper {
    pub(super) api: Api,
    pub(super) state: Arc<StateStore>,
    pub(super) kept: Arc<KeptAlerts>,
    pub(super) limits: Limits,
}

/// What the task remembers from one look to the next.
#[derive(Debug, Default)]
struct Memory {
    read_until_ms: i64,
    minute: i64,
    n_this_minute: usize,
    n_skipped: usize,
    trimmed_ms: i64,
    /// By which an explanation is too old.
    ages: AgeClock,
}

/// Keeps until told to stop.
pub(super) async fn keep(keeper: Keeper, clock: SharedClock, shutdown: CancellationToken) {
    let read_until_ms = match keeper.state.get(CURSOR.0, CURSOR.1) {
        Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).parse().ok(),
        Ok(None) => None,
        Err(error) => {
            error!(%error, "where the ledger was read to is unknown: it is read on from now");
            None
        }
    };
    let read_until_ms = read_until_ms.unwrap_or_else(|| clock.now_ms());
    let memory = Memory { read_until_ms, ..Memory::default() };
    let memory = Arc::new(tokio::sync::Mutex::new(memory));
    let (keeper, stop) = (Arc::new(keeper), shutdown.clone());
    let grant = Arc::new(rules_grant());
    every(clock, LOOK_EVERY, shutdown, |now_ms| {
        let (keeper, memory, grant) =
            (Arc::clone(&keeper), Arc::clone(&memory), Arc::clone(&grant));
        let stop = stop.clone();
        async move {
            // What is under way at a stop is asked for again by the next process.
            let look = async { keeper.look(&mut *memory.lock().await, &grant, now_ms).await };
            tokio::select! {
                () = stop.cancelled() => {}
                () = look => {}
            }
        }
    })
    .await;
}

impl Keeper {
    async fn look(&self, memory: &mut Memory, grant: &Grant, now_ms: i64) {
        // What was decided a moment ago may still be on its way into the ledger.
        let until_ms = now_ms.saturating_sub(LAG_MS);
        let aging_ms = memory.aging_ms(&self.api.clock);
        if memory.read_until_ms.saturating_sub(until_ms) > BACK_MS_MAX {
            // The clock was ahead, and is set right again.
            memory.read_until_ms = until_ms;
        }
        let records = self.api.ledger.records(memory.read_until_ms, until_ms, LINES_MAX).await;
        let records = match records {
            Ok(records) => records,
            Err(error) => return warn!(%error, "the ledger was not read"),
        };
        for alert in alerts_of(&records) {
            if !memory.may_keep(now_ms, self.limits.per_minute_max) {
                continue;
            }
            // What is deleted meanwhile is taken out of what was asked for before it was.
            let _keeping = self.kept.keeping().await;
            match api::to_keep(&self.api, grant, &alert).await {
                Ok(explained) => self.kept.put(&alert, &explained).await,
                Err(error) => warn!(?error, alert.fingerprint, "an alert was not explained"),
            }
        }
        if memory.n_skipped > 0 {
            let n_skipped = std::mem::take(&mut memory.n_skipped);
            warn!(n_skipped, "alerts were not kept: there were too many at once");
        }
        if !records.is_empty() {
            self.put_cursor(until_ms).await;
        }
        memory.read_until_ms = until_ms.max(memory.read_until_ms);
        if now_ms.abs_diff(memory.trimmed_ms) >= TRIM_EVERY_MS {
            memory.trimmed_ms = now_ms;
            let before_ms = aging_ms.saturating_sub(self.limits.kept_ms);
            self.kept.trim(before_ms, self.limits.alerts_max).await;
        }
    }

    async fn put_cursor(&self, until_ms: i64) {
        let state = Arc::clone(&self.state);
        let value = until_ms.to_string().into_bytes();
        let put = tokio::task::spawn_blocking(move || state.put(CURSOR.0, CURSOR.1, &value)).await;
        if let Ok(Err(error)) = put {
            warn!(%error, "how far the ledger was read was not kept");
        }
    }
}

impl Memory {
    /// Returns the time by which an explanation is too old, which no leap of the clock moves for a day.
    fn aging_ms(&mut self, clock: &SharedClock) -> i64 {
        let last_ns = self.read_until_ms.saturating_mul(1_000_000);
        let aging_ns = self.ages.look(clock.now_ns(), clock.monotonic_ns(), || Some(last_ns));
        aging_ns.div_euclid(1_000_000)
    }

    fn may_keep(&mut self, now_ms: i64, per_minute_max: usize) -> bool {
        let minute = now_ms.div_euclid(60_000);
        if minute != self.minute {
            (self.minute, self.n_this_minute) = (minute, 0);
        }
        self.n_this_minute += 1;
        let may = self.n_this_minute <= per_minute_max;
        self.n_skipped += usize::from(!may);
        may
    }
}

/// Returns the alerts that began or ended, each once; of one that did both its end.
fn alerts_of(records: &[Record]) -> Vec<KeptAlert> {
    let mut found: Vec<KeptAlert> = Vec::new();
    let mut places: HashMap<(String, i64), usize> = HashMap::new();
    for record in records {
        let alert = match &record.what {
            What::Joined { fingerprint, labels, starts_at_ms, .. } => KeptAlert {
                fingerprint: fingerprint.clone(),
                labels: labels.clone(),
                starts_at_ms: *starts_at_ms,
                ends_at_ms: None,
            },
            What::Ended { fingerprint, labels, starts_at_ms, ends_at_ms } => KeptAlert {
                fingerprint: fingerprint.clone(),
                labels: labels.clone(),
                starts_at_ms: *starts_at_ms,
                ends_at_ms: Some(*ends_at_ms),
            },
            _ => continue,
        };
        let key = (alert.fingerprint.clone(), alert.starts_at_ms);
        match places.get(&key).and_then(|place| found.get_mut(*place)) {
            Some(one) => one.ends_at_ms = alert.ends_at_ms.or(one.ends_at_ms),
            // A record of an older version says neither when it began nor what it was.
            None if alert.starts_at_ms > 0 && !alert.labels.is_empty() => {
                places.insert(key, found.len());
                found.push(alert);
            }
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::SettableClock;
    use crate::model::Labels;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn an_alert_that_begins_and_ends_is_kept_once() {
        let labels = Labels::from_pairs([("alertname", "Down")]);
        let joined = What::Joined {
            fingerprint: "a".to_owned(),
            labels: labels.clone(),
            annotations: Default::default(),
            starts_at_ms: 5,
            receiver: String::new(),
            generator_url: String::new(),
        };
        let ended =
            What::Ended { fingerprint: "a".to_owned(), labels, starts_at_ms: 5, ends_at_ms: 9 };
        let record = |what| Record { at_ms: 9, group: String::new(), what };

        let found = alerts_of(&[record(joined.clone()), record(joined), record(ended)]);

        assert_eq!(found.len(), 1);
        assert_eq!((found[0].starts_at_ms, found[0].ends_at_ms), (5, Some(9)));
    }

    #[test]
    fn a_clock_that_leaps_makes_no_explanation_too_old() {
        let clock = SettableClock::at_ms(10 * DAY_MS);
        let shared: SharedClock = Arc::clone(&clock) as _;
        let mut memory = Memory { read_until_ms: 10 * DAY_MS, ..Memory::default() };
        assert_eq!(memory.aging_ms(&shared), 10 * DAY_MS);

        clock.set_ahead_ms(365 * DAY_MS);

        assert_eq!(memory.aging_ms(&shared), 10 * DAY_MS);
        let mut restarted = Memory { read_until_ms: 10 * DAY_MS, ..Memory::default() };
        assert_eq!(restarted.aging_ms(&shared), 10 * DAY_MS);
    }

    #[test]
    fn a_storm_is_kept_in_part() {
        let mut memory = Memory::default();
        let kept = (0..10).filter(|_| memory.may_keep(60_000, 3)).count();

        assert_eq!((kept, memory.n_skipped), (3, 7));
        assert!(memory.may_keep(120_000, 3), "the next minute has room again");
    }
}
