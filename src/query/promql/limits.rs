//! How large a query may be, how much it may use, and when it must stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::SharedClock;
use crate::base::units::{HumanDuration, HumanSize};

use super::error::PromqlError;

/// How PromQL evaluates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How far an instant selector looks back for a series' newest sample.
    pub lookback: HumanDuration,
    /// The step of a sub-query that names none (`x[1h:]`).
    pub subquery_step: HumanDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lookback: HumanDuration::from_secs(300),
            subquery_step: HumanDuration::from_secs(60),
        }
    }
}

/// The `limits.query_*` keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The longest query text.
    pub query_text: HumanSize,
    /// The most tokens in a query.
    pub query_tokens: usize,
    /// The deepest nesting of parentheses, calls and selectors; the syntax tree may be four times
    /// as deep, because every operator of a chain is a level there.
    pub query_depth: usize,
    /// The most samples a query reads or a sub-query makes.
    pub query_samples: usize,
    /// The most series a query reads.
    pub query_series: usize,
    /// The most memory for results under way, without the samples read.
    pub query_memory: HumanSize,
    /// How long a query may run.
    pub query_timeout: HumanDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            query_text: HumanSize(16 << 10),
            query_tokens: 2_000,
            query_depth: 64,
            query_samples: 50_000_000,
            query_series: 100_000,
            query_memory: HumanSize::from_mib(1024),
            query_timeout: HumanDuration::from_secs(120),
        }
    }
}

impl Limits {
    /// Returns the part that is checked before parsing.
    pub fn parse_limits(&self) -> ParseLimits {
        ParseLimits {
            text_bytes_max: self.query_text.bytes(),
            tokens_max: self.query_tokens,
            depth_max: self.query_depth,
        }
    }

    /// Returns the budget of one query that starts now.
    pub fn budget(&self, clock: SharedClock) -> Budget {
        let timeout_ns = u64::try_from(self.query_timeout.0.as_nanos()).unwrap_or(u64::MAX);
        let deadline_ns = clock.monotonic_ns().saturating_add(timeout_ns);
        Budget {
            deadline_ns,
            cancelled: AtomicBool::new(false),
            samples_max: self.query_samples,
            series_max: self.query_series,
            memory_bytes_max: self.query_memory.bytes(),
            clock,
        }
    }
}

/// What a query text may be, checked before the parser sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseLimits {
    /// The longest text (`limits.query_text`).
    pub text_bytes_max: usize,
    /// The most tokens (`limits.query_tokens`).
    pub tokens_max: usize,
    /// The deepest nesting (`limits.query_depth`).
    pub depth_max: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Limits::default().parse_limits()
    }
}

/// What one query may use, and the switch that stops it.
#[derive(Debug)]
pub struct Budget {
    /// Monotonic ns of `clock` after which the query ends with [`PromqlError::Timeout`].
    pub deadline_ns: u64,
    /// Set by whoever asked and no longer wants the answer.
    pub cancelled: AtomicBool,
    /// The most samples read (`limits.query_samples`).
    pub samples_max: usize,
    /// The most series read (`limits.query_series`).
    pub series_max: usize,
    /// The most bytes of step values held at once (`limits.query_memory`).
    pub memory_bytes_max: usize,
    clock: SharedClock,
}

impl Budget {
    /// Returns the default budget with a deadline `timeout` from now.
    pub fn new(clock: SharedClock, timeout: Duration) -> Self {
        let limits = Limits { query_timeout: HumanDuration(timeout), ..Limits::default() };
        limits.budget(clock)
    }

    /// Asks the query to end with [`PromqlError::Canceled`]; callable from any thread.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Fails once the query was canceled or its time is up.
    pub(super) fn check(&self) -> Result<(), PromqlError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(PromqlError::Canceled);
        }
        if self.clock.monotonic_ns() > self.deadline_ns {
            return Err(PromqlError::Timeout);
        }
        Ok(())
    }
}
