//! By which times the door finds something too old, or too far ahead.
//!
//! What is refused for its time is refused for good: a sender does not bring it again. Senders have clocks of
//! their own, and one that is set wrong here must not cost what they send meanwhile. So something is too
//! old by the clock of the retention, which does not follow a leap ahead for a day; and while a leap back is
//! young, what comes may be ahead by as much more.

use parking_lot::Mutex;

use crate::base::{AgeClock, Clock, LeapDoubt};

/// The machine's clock, as the door believes it.
#[derive(Debug, Default)]
pub(super) struct DoorClock(Mutex<(AgeClock, LeapDoubt)>);

impl DoorClock {
    /// Returns by which time something is too old, and by which too far ahead, ns since 1970 UTC.
    pub(super) fn look(&self, clock: &dyn Clock) -> (i64, i64) {
        let mut both = self.0.lock();
        let (ages, doubt) = &mut *both;
        doubt.look(clock);
        let now_ns = clock.now_ns();
        // What was stored last is storage's to know; whoever starts with a wrong clock is believed here.
        let aging_ns = ages.look(now_ns, clock.monotonic_ns(), || None);
        let back_ns = doubt.astray_ms().min(0).saturating_mul(1_000_000);
        (aging_ns, now_ns.saturating_sub(back_ns))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::base::Clock as _;
    use crate::base::clock::SettableClock;
    use crate::ingest::tests::fake_store::{NOW_MS, Rig};

    const HOUR_MS: i64 = 3_600_000;

    /// Returns whether what is sent now, by a clock that is right, is taken before a leap, a minute after it and
    /// twenty minutes after it.
    fn taken(ahead_ms: i64) -> Vec<bool> {
        let clock = SettableClock::at_ms(NOW_MS);
        let mut ingest = Rig::new().ingest;
        ingest.clock = Arc::<SettableClock>::clone(&clock);
        let mut taken = Vec::new();
        for minutes in [0, 1, 19] {
            clock.passing.advance(Duration::from_secs(60 * minutes));
            taken.push(ingest.time_bounds().check_ns(clock.passing.now_ns()).is_ok());
            if minutes == 0 {
                clock.set_ahead_ms(ahead_ms);
            }
        }
        taken
    }

    #[test]
    fn what_comes_while_the_clock_is_wrong_is_neither_too_old_nor_too_far_ahead() {
        assert_eq!(taken(365 * 24 * HOUR_MS), [true, true, true], "for a day");
        assert_eq!(taken(-HOUR_MS), [true, true, false], "while the leap is young");
        assert_eq!(taken(0), [true, true, true]);
    }
}
