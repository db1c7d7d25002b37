//! The time by which something is too old: the machine's, unless it has made a leap.
//!
//! A clock that is set wrong by a year makes everything too old at once, and what has been removed
//! does not come back when the clock is set right. So a leap is not followed for a day; until then the
//! time that passes is the monotonic clock's. At a start nobody knows what time it was, but what was
//! stored last (of a store's files our own metrics, which are written four times a minute) says when the
//! last process was there: one that begins more than a day later waits as well. What is really too old
//! leaves a day later.
//!
//! What waits for a time (an alert for its end, a notification for its next attempt) is not to wait a year
//! or no longer at all; it is moved by as much as the clock was ([`LeapWatch`]). What is asked at the time that
//! the clock shows follows at once, since nobody knows when the clock was wrong; but a leap is mostly taken
//! back soon, and while it is young nothing is said to be over because of it ([`LeapDoubt`]).

use super::clock::Clock;

const HOUR_NS: i64 = 3_600_000_000_000;
/// How far the clock may run ahead of the time that has passed.
const LEAP_NS: i64 = HOUR_NS;
/// How long after what was stored last a process may begin.
const PAUSE_NS: i64 = 24 * HOUR_NS;
/// How long a leap is not followed.
const DOUBT_NS: i64 = 24 * HOUR_NS;

/// What is less far is no leap for what waits: NTP moves a clock so, and nothing here waits for seconds.
const LEAP_MS_MIN: u64 = 60_000;

/// Finds leaps of the machine's clock, in both directions, by the monotonic one.
#[derive(Debug, Default)]
pub struct LeapWatch {
    /// How far the machine's clock was ahead of the monotonic one at the last look.
    ahead_ns: Option<i64>,
}

impl LeapWatch {
    /// Returns by how many ms the clock has leapt since the last look; 0 when it has not.
    pub fn look(&mut self, clock: &dyn Clock) -> i64 {
        let monotonic_ns = i64::try_from(clock.monotonic_ns()).unwrap_or(i64::MAX);
        let ahead_ns = clock.now_ns().saturating_sub(monotonic_ns);
        let was_ns = self.ahead_ns.replace(ahead_ns).unwrap_or(ahead_ns);
        let leap_ms = ahead_ns.saturating_sub(was_ns) / 1_000_000;
        if leap_ms.unsigned_abs() < LEAP_MS_MIN { 0 } else { leap_ms }
    }
}

/// How long a leap is young: a clock that was set wrong is set right within minutes, or by hand.
pub const YOUNG_MS: i64 = 15 * 60_000;

/// Leaps, and whether the last of them is so young that it may be taken back.
#[derive(Debug, Default)]
pub struct LeapDoubt {
    leaps: LeapWatch,
    /// By how much the clock has leapt in all while it was doubted.
    astray_ms: i64,
    /// When it leapt last, ns of the monotonic clock.
    since_ns: u64,
}

impl LeapDoubt {
    /// Returns by how many ms the clock has leapt since the last look; 0 when it has not.
    pub fn look(&mut self, clock: &dyn Clock) -> i64 {
        let leap_ms = self.leaps.look(clock);
        let now_ns = clock.monotonic_ns();
        if now_ns.saturating_sub(self.since_ns) / 1_000_000 >= YOUNG_MS.unsigned_abs() {
            self.astray_ms = 0;
        }
        if leap_ms != 0 {
            self.astray_ms = self.astray_ms.saturating_add(leap_ms);
            self.since_ns = now_ns;
        }
        leap_ms
    }

    /// Returns by how many ms the clock is ahead of where it would be without its young leaps.
    pub fn astray_ms(&self) -> i64 {
        self.astray_ms
    }

    /// Returns true until a leap is some minutes old, or taken back.
    pub fn is_young(&self) -> bool {
        self.astray_ms.unsigned_abs() >= LEAP_MS_MIN
    }
}

/// The machine's clock, held against the monotonic one.
#[derive(Debug, Default)]
pub struct AgeClock {
    /// How far the machine's clock was ahead of the monotonic one when it was last believed.
    ahead_ns: Option<i64>,
    /// Since when a leap is not followed, ns of the monotonic clock.
    doubted_since_ns: Option<i64>,
}

impl AgeClock {
    /// Looks at both clocks; returns the time by which rows are too old, ns since 1970 UTC.
    /// `last_stored_ns` is asked at the first look.
    pub fn look(
        &mut self,
        now_ns: i64,
        monotonic_ns: u64,
        last_stored_ns: impl FnOnce() -> Option<i64>,
    ) -> i64 {
        let monotonic_ns = i64::try_from(monotonic_ns).unwrap_or(i64::MAX);
        let ahead_ns = now_ns.saturating_sub(monotonic_ns);
        let believed_ns = *self.ahead_ns.get_or_insert_with(|| match last_stored_ns() {
            Some(last_ns) if now_ns.saturating_sub(last_ns) > PAUSE_NS => {
                last_ns.saturating_sub(monotonic_ns)
            }
            _ => ahead_ns,
        });
        let is_leap = ahead_ns.saturating_sub(believed_ns) > LEAP_NS;
        let since_ns = is_leap.then(|| self.doubted_since_ns.unwrap_or(monotonic_ns));
        self.doubted_since_ns =
            since_ns.filter(|since_ns| monotonic_ns.saturating_sub(*since_ns) < DOUBT_NS);
        if self.is_doubted() {
            return believed_ns.saturating_add(monotonic_ns);
        }
        // Also when it was set back: then less is too old than was, and nothing is lost by it.
        self.ahead_ns = Some(ahead_ns);
        now_ns
    }

    /// Returns true while a leap is not followed.
    pub fn is_doubted(&self) -> bool {
        self.doubted_since_ns.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::SettableClock;

    const START_NS: i64 = 1_790_000_000 * 1_000_000_000;
    const YEAR_NS: i64 = 365 * 24 * HOUR_NS;

    /// Looks at a clock that is `leap_ns` ahead when so many hours have passed; returns how far what
    /// it says is ahead of the time that has passed.
    #[track_caller]
    fn check(clock: &mut AgeClock, hours: i64, leap_ns: i64, want_ns: i64) {
        let passed_ns = hours * HOUR_NS;
        let (now_ns, monotonic_ns) = (START_NS + passed_ns + leap_ns, passed_ns.unsigned_abs());

        let told_ns = clock.look(now_ns, monotonic_ns, || None);

        assert_eq!(told_ns - START_NS - passed_ns, want_ns, "after {hours} h, {leap_ns} ns ahead");
        assert_eq!(clock.is_doubted(), want_ns != leap_ns);
    }

    #[test]
    fn a_leap_is_found_in_both_directions_and_only_once() {
        let (clock, mut watch) = (SettableClock::at_ms(0), LeapWatch::default());
        let hour_ms = HOUR_NS / 1_000_000;
        assert_eq!(watch.look(&*clock), 0);

        for (ahead_ms, leap_ms) in
            [(0, 0), (30_000, 0), (hour_ms, hour_ms - 30_000), (hour_ms, 0), (0, -hour_ms)]
        {
            clock.passing.advance(Duration::from_secs(600));
            clock.set_ahead_ms(ahead_ms);
            assert_eq!(watch.look(&*clock), leap_ms, "{ahead_ms}");
        }
    }

    #[test]
    fn a_leap_is_young_for_some_minutes_or_until_it_is_taken_back() {
        let (clock, mut doubt) = (SettableClock::at_ms(0), LeapDoubt::default());
        let hour_ms = HOUR_NS / 1_000_000;
        assert_eq!(doubt.look(&*clock), 0);

        for (minutes, ahead_ms, is_young) in [
            (0, 0, false),
            (1, hour_ms, true),
            (14, hour_ms, true),
            (1, hour_ms, false),
            (60, 0, true),
            (1, hour_ms, false),
            (1, -hour_ms, true),
            (15, -hour_ms, false),
        ] {
            clock.passing.advance(Duration::from_secs(60 * minutes));
            clock.set_ahead_ms(ahead_ms);
            doubt.look(&*clock);
            assert_eq!(doubt.is_young(), is_young, "{minutes} min, {ahead_ms} ms ahead");
        }
    }

    #[test]
    fn a_clock_that_goes_on_is_believed() {
        let mut clock = AgeClock::default();

        (0..100).for_each(|hours| check(&mut clock, hours, 0, 0));
        check(&mut clock, 100, HOUR_NS / 2, HOUR_NS / 2);
        check(&mut clock, 101, -YEAR_NS, -YEAR_NS);
    }

    #[test]
    fn a_leap_is_followed_after_a_day() {
        let mut clock = AgeClock::default();
        check(&mut clock, 0, 0, 0);

        check(&mut clock, 1, YEAR_NS, 0);
        check(&mut clock, 24, YEAR_NS, 0);
        check(&mut clock, 25, YEAR_NS, YEAR_NS);
        check(&mut clock, 26, YEAR_NS, YEAR_NS);
    }

    #[test]
    fn a_clock_that_is_set_right_is_believed_at_once() {
        let mut clock = AgeClock::default();
        check(&mut clock, 0, 0, 0);
        check(&mut clock, 1, YEAR_NS, 0);

        check(&mut clock, 2, 0, 0);
        // Another leap is another day.
        check(&mut clock, 3, YEAR_NS, 0);
        check(&mut clock, 26, YEAR_NS, 0);
        check(&mut clock, 27, YEAR_NS, YEAR_NS);
    }

    #[test]
    fn a_start_long_after_what_was_stored_last_is_a_leap() {
        let mut late = AgeClock::default();
        let mut soon = AgeClock::default();
        let last = |ago_ns: i64| move || Some(START_NS - ago_ns);

        assert_eq!(late.look(START_NS, 0, last(YEAR_NS)), START_NS - YEAR_NS);
        assert_eq!(soon.look(START_NS, 0, last(PAUSE_NS)), START_NS);

        assert!(late.is_doubted() && !soon.is_doubted());
    }
}
