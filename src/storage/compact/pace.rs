//! Merging gives way while senders are told to come back: rows that are merged later are merged all
//! the same, and rows that are refused have to be sent again.
//!
//! A priority of the thread would do on a bare machine, but not where a container's processor time
//! is counted for all its threads together. So the merge itself rests, between batches of rows, three
//! times as long as it has worked; it goes on all the while, because load may never end.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::MergeError;
use crate::storage::shared::Shared;

/// How much longer than it has worked a merge rests.
const REST_TIMES: u32 = 3;
/// Somebody may wait for the keeper, and the process may want to stop.
const REST_MAX: Duration = Duration::from_millis(500);

/// The pace of one merge.
pub(super) struct Pace<'a> {
    shared: &'a Shared,
    /// When it began to work, ns of the monotonic clock.
    since_ns: Cell<u64>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, since_ns: Cell::new(shared.clock.monotonic_ns()) }
    }

    /// Rests if need be; an error when the process is stopping.
    pub(super) fn go_on(&self) -> Result<(), MergeError> {
        if let Some(rest) = self.due() {
            std::thread::park_timeout(rest);
        }
        self.since_ns.set(self.shared.clock.monotonic_ns());
        match self.shared.is_stopping.load(Ordering::SeqCst) {
            true => Err(MergeError::Stopping),
            false => Ok(()),
        }
    }

    /// Returns how long to rest now; `None` while nobody is told to come back.
    pub(super) fn due(&self) -> Option<Duration> {
        let now_ns = self.shared.clock.monotonic_ns();
        let worked = Duration::from_nanos(now_ns.saturating_sub(self.since_ns.get()));
        let gives_way = now_ns < self.shared.give_way_until_ns.load(Ordering::Relaxed);
        gives_way.then(|| rest(worked))
    }
}

fn rest(worked: Duration) -> Duration {
    worked.saturating_mul(REST_TIMES).min(REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_three_times_the_work_and_ends() {
        let ms = Duration::from_millis;

        assert_eq!([ms(0), ms(20), ms(166)].map(rest), [ms(0), ms(60), ms(498)]);
        assert_eq!([ms(200), Duration::MAX].map(rest), [REST_MAX, REST_MAX]);
    }
}
