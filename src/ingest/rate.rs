//! How many records a second each commons may bring, so that one that brings too many does not
//! slow the others down.
//!
//! A request is taken whole or told whole to come back, whatever commons its records are of: a part
//! of it could not be sent again without the rest. A commons that was refused is refused until the
//! time it was told; a sender whose token is bound to it hears so before its body is read.
//! There is no limit unless one is set: whoever runs this for themselves has nobody to protect.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::IngestError;
use super::limits::Limits;
use crate::base::clock::SharedClock;
use crate::model::{Commons, Grant, WriteScope};

const SECOND_NS: u64 = 1_000_000_000;
/// Without a burst of its own, a limit has this many seconds' worth.
const BURST_S: u64 = 4;
/// Nobody is told to stay away longer.
const RETRY_AFTER_S_MAX: u64 = 60;

/// The rates of all commons; cloning costs one counter.
#[derive(Debug, Clone)]
pub struct Rates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    records_per_s: u64,
    burst_records: u64,
    clock: SharedClock,
    /// There are at most `limits.commons`.
    by_commons: Mutex<HashMap<Commons, Rate>>,
}

/// What a commons has used, as the generic cell rate algorithm has it (ITU-T I.371).
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    /// When all that was taken would have come at the rate itself, ns of the monotonic clock.
    due_ns: u64,
    /// Until when it was told to stay away.
    refused_until_ns: u64,
}

impl Rates {
    /// Returns rates of which nothing is used.
    pub fn new(limits: &Limits, clock: SharedClock) -> Self {
        let records_per_s = limits.records_per_second_per_commons;
        let burst_records = match limits.records_burst_per_commons {
            0 => records_per_s.saturating_mul(BURST_S),
            burst => burst,
        };
        let by_commons = Mutex::default();
        Self(Arc::new(Inner { records_per_s, burst_records, clock, by_commons }))
    }

    /// Returns true when there is a limit at all.
    pub fn is_limited(&self) -> bool {
        self.0.records_per_s > 0
    }

    /// Refuses a sender that can only write to a commons which was told to stay away.
    pub fn check(&self, grant: &Grant) -> Result<(), IngestError> {
        let WriteScope::Commons(commons) = &grant.write else { return Ok(()) };
        if !self.is_limited() {
            return Ok(());
        }
        let now_ns = self.0.clock.monotonic_ns();
        let rate = self.0.by_commons.lock().get(commons).copied().unwrap_or_default();
        let wait_ns = rate.refused_until_ns.saturating_sub(now_ns);
        if wait_ns == 0 { Ok(()) } else { Err(self.refusal(commons, wait_ns)) }
    }

    /// Takes the records of one request, by commons; refused, nothing is taken.
    pub fn take(&self, records: &[(Commons, u64)]) -> Result<(), IngestError> {
        let now_ns = self.0.clock.monotonic_ns();
        let mut by_commons = self.0.by_commons.lock();
        for (commons, n_records) in records {
            let rate = by_commons.entry(commons.clone()).or_default();
            let wait_ns = self.wait_ns(rate, *n_records, now_ns);
            if wait_ns > 0 {
                rate.refused_until_ns = now_ns.saturating_add(wait_ns);
                return Err(self.refusal(commons, wait_ns));
            }
        }
        for (commons, n_records) in records {
            let rate = by_commons.entry(commons.clone()).or_default();
            rate.due_ns = rate.due_ns.max(now_ns).saturating_add(self.ns_of(*n_records));
        }
        Ok(())
    }

    /// Returns how long until so many records may come; one request of more than the burst may
    /// come when nothing is used.
    fn wait_ns(&self, rate: &Rate, n_records: u64, now_ns: u64) -> u64 {
        let used_ns = rate.due_ns.saturating_sub(now_ns);
        let room_ns = self.ns_of(self.0.burst_records.max(n_records));
        used_ns.saturating_add(self.ns_of(n_records)).saturating_sub(room_ns)
    }

    fn ns_of(&self, n_records: u64) -> u64 {
        let ns = u128::from(n_records) * u128::from(SECOND_NS) / u128::from(self.0.records_per_s);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    fn refusal(&self, commons: &Commons, wait_ns: u64) -> IngestError {
        let retry_after_s = wait_ns.div_ceil(SECOND_NS).clamp(1, RETRY_AFTER_S_MAX);
        IngestError::TooFast {
            commons: commons.clone(),
            max_per_s: self.0.records_per_s,
            retry_after_s: u32::try_from(retry_after_s).expect("it is a minute at most"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ManualClock;
    use std::time::Duration;

    fn rates(per_s: u64, burst: u64) -> (Rates, Arc<ManualClock>) {
        let clock = ManualClock::at_ms(1_000);
        let limits = Limits {
            records_per_second_per_commons: per_s,
            records_burst_per_commons: burst,
            ..Limits::default()
        };
        let shared: SharedClock = Arc::clone(&clock) as _;
        (Rates::new(&limits, shared), clock)
    }

    fn heart() -> Commons {
        Commons::new("heart").unwrap()
    }

    #[test]
    fn a_commons_may_burst_and_then_comes_at_its_rate() {
        let (rates, clock) = rates(100, 0);

        assert!(rates.take(&[(heart(), 400)]).is_ok(), "four seconds' worth");
        let error = rates.take(&[(heart(), 150)]).unwrap_err();
        assert_eq!(error.retry_after_s(), Some(2));
        assert_eq!(
            error.to_string(),
            "commons heart sends more than 100 records a second \
             (limits.records_per_second_per_commons): come back in 2 s, or raise the limit"
        );
        clock.advance(Duration::from_millis(1_500));
        assert!(rates.take(&[(heart(), 150)]).is_ok());
        assert!(rates.take(&[(heart(), 1)]).is_err());
    }

    #[test]
    fn one_commons_does_not_use_anothers_rate() {
        let (rates, _) = rates(100, 100);
        let lung = Commons::new("lung").unwrap();
        rates.take(&[(heart(), 100)]).unwrap();

        assert!(rates.take(&[(lung.clone(), 50), (heart(), 1)]).is_err());

        assert!(rates.take(&[(lung, 100)]).is_ok(), "a refused request has used nothing");
    }

    #[test]
    fn a_request_of_more_than_the_burst_comes_through_when_nothing_is_used() {
        let (rates, clock) = rates(100, 100);

        assert!(rates.take(&[(heart(), 1_000)]).is_ok());
        assert!(rates.take(&[(heart(), 1)]).is_err());
        clock.advance(Duration::from_secs(10));
        assert!(rates.take(&[(heart(), 100)]).is_ok());
    }

    #[test]
    fn a_bound_sender_hears_it_before_its_body_is_read() {
        let (rates, clock) = rates(100, 100);
        let bound = Grant { write: WriteScope::Commons(heart()), ..Grant::open() };
        rates.take(&[(heart(), 100)]).unwrap();
        assert!(rates.check(&bound).is_ok(), "it may send less than it has sent");
        assert!(rates.take(&[(heart(), 200)]).is_err());

        assert!(rates.check(&bound).is_err());
        assert!(rates.check(&Grant::open()).is_ok(), "nobody knows yet what it sends");
        clock.advance(Duration::from_secs(1));
        assert!(rates.check(&bound).is_ok());
    }

    #[test]
    fn without_a_limit_there_is_none() {
        let (rates, _) = rates(0, 0);

        assert!(!rates.is_limited());
        assert!(rates.check(&Grant::open()).is_ok());
    }
}
