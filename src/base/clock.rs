//! The only place that reads time.
//!
//! Whatever needs "now" takes a `Arc<dyn Clock>`, so that a test can hand in a clock it moves by
//! itself and the demo one that runs faster than the world.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Reads the current time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Returns ns since 1970 UTC. It may step backwards when an operator sets the machine's clock.
    fn now_ns(&self) -> i64;

    /// Returns ns since an arbitrary fixed point. It never goes backwards; for measuring only.
    fn monotonic_ns(&self) -> u64;

    /// Returns ms since 1970 UTC.
    fn now_ms(&self) -> i64 {
        self.now_ns().div_euclid(1_000_000)
    }
}

/// A clock shared by many readers.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Returns the machine's clock; its monotonic zero is the moment of this call.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    fn now_ns(&self) -> i64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(since.unwrap_or(Duration::ZERO).as_nanos()).unwrap_or(i64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A clock that begins in the past and runs several times as fast as the machine's until it has caught
/// up with it; from then on the two are one.
#[derive(Debug, Clone)]
pub struct HurryingClock {
    inner: SharedClock,
    start_ns: i64,
    inner_start_ns: i64,
    inner_zero_ns: u64,
    speed: u32,
}

impl HurryingClock {
    /// Returns a clock that begins `past` before what `inner` shows now.
    pub fn new(inner: SharedClock, past: Duration, speed: u32) -> Self {
        let (inner_start_ns, inner_zero_ns) = (inner.now_ns(), inner.monotonic_ns());
        let past_ns = i64::try_from(past.as_nanos()).unwrap_or(i64::MAX);
        let start_ns = inner_start_ns.saturating_sub(past_ns);
        Self { inner, start_ns, inner_start_ns, inner_zero_ns, speed: speed.max(1) }
    }

    /// Returns ns since 1970 UTC, by the monotonic clock alone: hurrying never steps back.
    fn hurried_ns(&self) -> i64 {
        let passed_ns = self.inner.monotonic_ns().saturating_sub(self.inner_zero_ns);
        let passed_ns = i64::try_from(passed_ns).unwrap_or(i64::MAX);
        let hurried_ns = passed_ns.saturating_mul(i64::from(self.speed));
        let real_ns = self.inner_start_ns.saturating_add(passed_ns);
        self.start_ns.saturating_add(hurried_ns).min(real_ns)
    }
}

impl Clock for HurryingClock {
    fn now_ns(&self) -> i64 {
        self.hurried_ns()
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.hurried_ns().saturating_sub(self.start_ns)).unwrap_or(0)
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ns: AtomicI64,
}

impl ManualClock {
    /// Returns a clock that shows `now_ms`, ms since 1970 UTC.
    pub fn at_ms(now_ms: i64) -> Arc<Self> {
        Arc::new(Self { now_ns: AtomicI64::new(now_ms * 1_000_000) })
    }

    /// Moves the clock to `now_ms`, ms since 1970 UTC; backwards is allowed.
    pub fn set_ms(&self, now_ms: i64) {
        self.now_ns.store(now_ms * 1_000_000, Ordering::SeqCst);
    }

    /// Moves the clock forwards.
    pub fn advance(&self, by: Duration) {
        let by_ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
        self.now_ns.fetch_add(by_ns, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> i64 {
        self.now_ns.load(Ordering::SeqCst)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.now_ns()).unwrap_or(0)
    }
}

/// A clock that somebody may set; time passes by itself all the same.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct SettableClock {
    pub(crate) passing: Arc<ManualClock>,
    ahead_ms: AtomicI64,
}

#[cfg(test)]
impl SettableClock {
    pub(crate) fn at_ms(now_ms: i64) -> Arc<Self> {
        Arc::new(Self { passing: ManualClock::at_ms(now_ms), ahead_ms: AtomicI64::new(0) })
    }

    pub(crate) fn set_ahead_ms(&self, ahead_ms: i64) {
        self.ahead_ms.store(ahead_ms, Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Clock for SettableClock {
    fn now_ns(&self) -> i64 {
        self.passing.now_ns() + self.ahead_ms.load(Ordering::SeqCst) * 1_000_000
    }

    fn monotonic_ns(&self) -> u64 {
        self.passing.monotonic_ns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at_ms(5);

        clock.advance(Duration::from_millis(2));

        assert_eq!((clock.now_ms(), clock.now_ns()), (7, 7_000_000));
    }

    #[test]
    fn a_hurrying_clock_catches_up_and_then_goes_with_the_other() {
        let inner = ManualClock::at_ms(1_000_000);
        let shared: SharedClock = Arc::clone(&inner) as _;
        let clock = HurryingClock::new(shared, Duration::from_secs(590), 60);
        let mut shown = vec![(clock.now_ms(), clock.monotonic_ns() / 1_000_000)];

        for _ in 0..3 {
            inner.advance(Duration::from_secs(5));
            shown.push((clock.now_ms(), clock.monotonic_ns() / 1_000_000));
        }

        let want = [(410_000, 0), (710_000, 300_000), (1_010_000, 600_000), (1_015_000, 605_000)];
        assert_eq!(shown, want);
    }

    #[test]
    fn times_before_1970_round_down() {
        let clock = ManualClock { now_ns: AtomicI64::new(-1) };

        assert_eq!(clock.now_ms(), -1);
    }
}
