//! Waiting with a limit: the only way a story may let time pass.

use std::time::Duration;

use commonwatch::base::clock::{Clock, SystemClock};

/// How long a story waits for something that should come at once; generous, because a loaded
/// machine is not a defect.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Returns ms since 1970 UTC.
pub(crate) fn now_ms() -> i64 {
    SystemClock::new().now_ms()
}

/// Returns ns since 1970 UTC.
pub(crate) fn now_ns() -> i64 {
    SystemClock::new().now_ns()
}

/// Lets `length` pass.
pub(crate) fn pause(length: Duration) {
    let (_sender, nothing) = std::sync::mpsc::channel::<()>();
    let _ = nothing.recv_timeout(length);
}

/// Asks again and again until `attempt` has an answer; panics with the last refusal when `limit`
/// is over.
#[track_caller]
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> T {
    let clock = SystemClock::new();
    loop {
        match attempt() {
            Ok(answer) => return answer,
            Err(refusal) if Duration::from_nanos(clock.monotonic_ns()) > limit => {
                panic!("{what}: not within {limit:?}: {refusal}")
            }
            Err(_) => pause(Duration::from_millis(25)),
        }
    }
}

/// A stretch of time that ends by itself.
#[derive(Debug)]
pub(crate) struct Limit {
    clock: SystemClock,
    length: Duration,
}

impl Limit {
    /// Begins now.
    pub(crate) fn new(length: Duration) -> Self {
        Self { clock: SystemClock::new(), length }
    }

    pub(crate) fn is_over(&self) -> bool {
        Duration::from_nanos(self.clock.monotonic_ns()) > self.length
    }
}
