//! Failed logins by address: a bucket of tries that refills with time.
//!
//! A known token is let in whatever its address did before: many agents of a cluster stand behind
//! one address, and one of them with a stale token must not silence the others.

use std::collections::HashMap;
use std::net::IpAddr;

/// How many failures an address may have at once.
const BURST: f64 = 20.0;
/// How many it may have for each second afterwards.
const PER_SECOND: f64 = 0.2;
/// How many addresses are remembered; the table is emptied when it is full, which forgives.
const ADDRESSES_MAX: usize = 8_192;

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tries: f64,
    at_ns: u64,
}

/// The failures of each address.
#[derive(Debug, Default)]
pub(super) struct Failures {
    buckets: HashMap<IpAddr, Bucket>,
}

impl Failures {
    /// Counts a failure; `Err` says in how many seconds the next one is looked at.
    pub(super) fn count(&mut self, address: IpAddr, now_ns: u64) -> Result<(), u32> {
        if self.buckets.len() >= ADDRESSES_MAX && !self.buckets.contains_key(&address) {
            self.buckets.clear();
        }
        let fresh = Bucket { tries: BURST, at_ns: now_ns };
        let bucket = self.buckets.entry(address).or_insert(fresh);
        let waited_ns = now_ns.saturating_sub(bucket.at_ns);
        let waited_s = std::time::Duration::from_nanos(waited_ns).as_secs_f64();
        bucket.tries = (bucket.tries + waited_s * PER_SECOND).min(BURST);
        bucket.at_ns = now_ns;
        if bucket.tries < 1.0 {
            return Err(RETRY_AFTER_S);
        }
        bucket.tries -= 1.0;
        Ok(())
    }
}

/// One try's worth of waiting.
const RETRY_AFTER_S: u32 = 5;
