//! How large a query may be, how much it may use, and when it must stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use serde::{Deserialize, Serialize};

use crate::base::clock::SharedClock;
use crate::base::units::HumanDuration;
use crate::model::{Labels, REGEX_PROGRAM_BYTES_MAX};

use super::error::{KEY_MEMORY, KEY_RESULT, PromqlError};
use crate::query::helpers::{Helpers, SpareThreads};
use crate::storage::Stop;

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

/// What one PromQL question may be and use; the keys and defaults stand in `query::Config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// What is checked before parsing.
    pub parse: ParseLimits,
    /// The most samples that its selectors read together (`query.samples_max`).
    pub samples_max: usize,
    /// The most series that its selectors read together (`query.series_max`).
    pub series_max: usize,
    /// The most steps of a range query (`query.points_max`).
    pub points_max: usize,
    /// The longest time between the first and the last moment that one selector reads, ms
    /// (`query.range_max`).
    pub range_ms_max: i64,
    /// The most steps of one sub-query (`query.subquery_steps_max`).
    pub subquery_steps_max: usize,
    /// The most bytes of samples, step values and made labels held at once (`query.memory`).
    pub memory_bytes_max: usize,
    /// The most bytes of one answer (`query.result_bytes_max`).
    pub result_bytes_max: usize,
}

const DAY_MS: i64 = 86_400_000;

impl Default for Limits {
    fn default() -> Self {
        Self {
            parse: ParseLimits::default(),
            samples_max: 50_000_000,
            series_max: 100_000,
            points_max: 11_000,
            range_ms_max: 92 * DAY_MS,
            subquery_steps_max: 1_000_000,
            memory_bytes_max: 256 << 20,
            result_bytes_max: 64 << 20,
        }
    }
}

impl Limits {
    /// Returns the budget of one query that starts now and draws on memory of its own.
    pub fn budget(&self, clock: SharedClock, timeout: Duration) -> Budget {
        let own = SharedMemory::new(usize::MAX, Gauge::default());
        self.budget_of(clock, timeout, &Arc::new(own))
    }

    /// Fails when the series' names would make too long an answer.
    pub fn check_names(&self, found: &[Labels]) -> Result<(), PromqlError> {
        let n_bytes = found.iter().map(|labels| 16 + labels.packed().len()).sum();
        self.check_result(n_bytes)
    }

    /// Fails when texts would make too long an answer.
    pub fn check_texts(&self, texts: &[String]) -> Result<(), PromqlError> {
        self.check_result(texts.iter().map(|text| 16 + text.len()).sum())
    }

    /// Fails when an answer would be longer than one may be; to cut it off would be to lie about
    /// the data.
    pub(in crate::query) fn check_result(&self, n_bytes: usize) -> Result<(), PromqlError> {
        if n_bytes <= self.result_bytes_max {
            return Ok(());
        }
        Err(PromqlError::Limit {
            what: "bytes of answer",
            n: n_bytes as u64,
            max: self.result_bytes_max as u64,
            key: KEY_RESULT,
        })
    }

    /// Returns the budget of one query that starts now and shares memory with others.
    pub fn budget_of(
        &self,
        clock: SharedClock,
        timeout: Duration,
        shared: &Arc<SharedMemory>,
    ) -> Budget {
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        Budget {
            deadline_ns: clock.monotonic_ns().saturating_add(timeout_ns),
            cancelled: AtomicBool::new(false),
            limits: self.clone(),
            shared: Arc::clone(shared),
            spare: Arc::default(),
            clock,
        }
    }
}

/// What a query text may be, checked before the parser sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseLimits {
    /// The longest text (`query.promql_text_max`).
    pub text_bytes_max: usize,
    /// The most tokens (`query.promql_tokens_max`).
    pub tokens_max: usize,
    /// The deepest nesting of parentheses, calls and selectors (`query.promql_depth_max`); the
    /// syntax tree may be four times as deep, because every operator of a chain is a level there.
    pub depth_max: usize,
    /// The longest regular expression (`query.regex_text_max`).
    pub regex_bytes_max: usize,
    /// The largest compiled regular expression (`query.regex_program_max`).
    pub regex_program_bytes_max: usize,
    /// Whether it may use what Prometheus has behind feature flags (`query.promql_experimental`).
    pub has_experimental: bool,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self {
            text_bytes_max: 16 << 10,
            tokens_max: 2_000,
            depth_max: DEPTH_MAX,
            regex_bytes_max: 4 << 10,
            regex_program_bytes_max: REGEX_PROGRAM_BYTES_MAX,
            has_experimental: false,
        }
    }
}

impl ParseLimits {
    /// Returns the defaults with everything experimental allowed.
    pub fn experimental() -> Self {
        Self { has_experimental: true, ..Self::default() }
    }
}

/// The deepest nesting that a stack of 2 MiB is known to bear; it can only be lowered.
pub const DEPTH_MAX: usize = 64;

/// The memory that all PromQL questions share (`query.memory_all`).
#[derive(Debug)]
pub struct SharedMemory {
    /// The gauge on `/metrics` is the count itself.
    used_bytes: Gauge,
    max_bytes: usize,
}

impl SharedMemory {
    /// Returns a memory of which nothing is used, counted by the gauge.
    pub fn new(max_bytes: usize, used_bytes: Gauge) -> Self {
        Self { used_bytes, max_bytes }
    }

    /// Returns how much is in use.
    pub fn used_bytes(&self) -> usize {
        usize::try_from(self.used_bytes.get()).unwrap_or(0)
    }

    /// Returns how much is free.
    pub(super) fn left_bytes(&self) -> usize {
        self.max_bytes.saturating_sub(self.used_bytes())
    }

    /// Takes bytes, or fails with how many would be in use.
    pub(super) fn take(&self, bytes: usize) -> Result<(), PromqlError> {
        let (more, max) = (signed(bytes), signed(self.max_bytes));
        let grown = |used: i64| used.checked_add(more).filter(|used| *used <= max);
        match self.used_bytes.inner().fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.exhausted(self.used_bytes().saturating_add(bytes))),
        }
    }

    pub(super) fn exhausted(&self, wanted_bytes: usize) -> PromqlError {
        PromqlError::Exhausted {
            wanted_bytes: wanted_bytes as u64,
            max_bytes: self.max_bytes as u64,
        }
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used_bytes.dec_by(signed(bytes));
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What a query of another dialect holds in memory; given back when it is dropped.
#[derive(Debug)]
pub(in crate::query) struct Held<'b> {
    budget: &'b Budget,
    bytes: usize,
}

/// How much is taken or given back at a time, so that a query seldom touches what all share.
const HELD_PIECE_BYTES: usize = 1 << 20;

impl Held<'_> {
    /// Says how much is held from now on; fails when that is more than the query may hold
    /// (`query.memory`), or more than is left of what all share (`query.memory_all`).
    pub(in crate::query) fn set(&mut self, bytes: usize) -> Result<(), PromqlError> {
        let max = self.budget.limits.memory_bytes_max;
        if bytes > max {
            return Err(PromqlError::Limit {
                what: "bytes held in memory",
                n: bytes as u64,
                max: max as u64,
                key: KEY_MEMORY,
            });
        }
        let pieces = bytes.next_multiple_of(HELD_PIECE_BYTES);
        if pieces > self.bytes {
            self.budget.shared.take(pieces - self.bytes)?;
        } else if pieces < self.bytes {
            self.budget.shared.give_back(self.bytes - pieces);
        }
        self.bytes = pieces;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.budget.shared.give_back(self.bytes);
    }
}

/// What one query may use, and the switch that stops it.
#[derive(Debug)]
pub struct Budget {
    /// Monotonic ns of `clock` after which the query ends with [`PromqlError::Timeout`].
    pub deadline_ns: u64,
    /// Set by whoever asked and no longer wants the answer.
    pub cancelled: AtomicBool,
    /// What it may use.
    pub limits: Limits,
    /// What it shares with the others.
    pub(super) shared: Arc<SharedMemory>,
    spare: Arc<SpareThreads>,
    clock: SharedClock,
}

impl Budget {
    /// Returns the default budget with a deadline `timeout` from now.
    pub fn new(clock: SharedClock, timeout: Duration) -> Self {
        Limits::default().budget(clock, timeout)
    }

    /// Lets the query take threads of a pool.
    #[must_use]
    pub fn with_threads(self, spare: &Arc<SpareThreads>) -> Self {
        Self { spare: Arc::clone(spare), ..self }
    }

    /// Takes threads beside the query's own, as many as are free and at most `max`.
    pub(in crate::query) fn helpers(&self, max: usize) -> Helpers {
        self.spare.take(max)
    }

    /// Returns ns since a fixed point, for measuring what the query does.
    pub(in crate::query) fn now_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }

    /// Asks the query to end with [`PromqlError::Canceled`]; callable from any thread.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns a part of the memory of the query, and of that which all share, that holds nothing yet.
    pub(in crate::query) fn hold(&self) -> Held<'_> {
        Held { budget: self, bytes: 0 }
    }

    /// Fails once the query was canceled or its time is up. It never goes well again then.
    pub(in crate::query) fn check(&self) -> Result<(), PromqlError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(PromqlError::Canceled);
        }
        if self.clock.monotonic_ns() > self.deadline_ns {
            return Err(PromqlError::Timeout);
        }
        Ok(())
    }
}

impl Stop for Budget {
    fn is_due(&self) -> bool {
        self.check().is_err()
    }
}
