//! Alerting and recording rules, evaluated on a clock, as Prometheus does it.
//!
//! The room knows neither how a question is answered nor where a result is kept nor who is told: it
//! is handed a [`World`] with `ask`, `record` and `fire`. Rules of a group run in order and `record`
//! is awaited before the next `ask`, so each rule sees what those before it found.
//!
//! `load` turns files into checked definitions (`def`) and reports every mistake of every file at
//! once; `dialect` is the language of a rule, `overrides` what single commons have different; `alert` and `record` are the pure halves, `group` evaluates one group at one time, `set` holds all
//! groups, runs them on a clock, reloads and remembers; `view` is what the HTTP API shows; `unit_test`
//! runs test files of promtool's format.
//!
//! When you add a field to a rule: `load` reads it, `view` shows it, `docs/alerting.md` tells of it.

mod alert;
mod def;
mod dialect;
mod group;
mod load;
mod member;
mod metrics;
mod objectives;
mod overrides;
mod overrides_load;
mod point;
mod record;
mod rule_load;
mod schedule;
mod set;
mod state;
pub mod text;
pub mod unit_test;
mod view;
mod yaml;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_fanned;
#[cfg(test)]
mod tests_of_clocks;
#[cfg(test)]
mod tests_of_files;
#[cfg(test)]
mod tests_of_histograms;
#[cfg(test)]
mod tests_of_reloads;
#[cfg(test)]
mod tests_of_views;
#[cfg(test)]
mod text_tests;

use async_trait::async_trait;

use crate::base::Kind;
use crate::base::units::HumanDuration;
pub use crate::model::AlertEvent;
use crate::model::Labels;

pub use alert::AlertState;
pub use def::{AlertDef, CheckExpr, Defaults, GroupDef, Mistake, RecordDef, RuleDef, RuleFile};
pub use dialect::{Asked, Dialect, Question};
pub use load::{parse, read_files};
pub use metrics::Metrics;
pub use overrides::{Override, Overrides, Threshold};
pub use point::{Answered, Point};
pub use set::{Context, Memo, RuleSet};
pub use view::{
    AlertView, AlertsView, GroupView, OverrideView, RuleKind, RuleView, RulesFilter, RulesView,
};

/// A sample to be stored: labels with the metric name, ms since 1970 UTC, and what it is.
pub type Row = (Labels, i64, Point);

/// What the rules are handed of the world around them.
#[async_trait]
pub trait World: Send + Sync {
    /// Answers a question at a time; a scalar is one sample without labels.
    async fn ask(&self, question: Question<'_>, time_ms: i64) -> Result<Answered, String>;

    /// Stores samples; they are visible to `ask` when this returns.
    async fn record(&self, rows: Vec<Row>) -> Result<(), String>;

    /// Keeps what is to be remembered of a group over a restart, or nothing any more; it is safe when
    /// this returns. Where nothing outlives the process there is nothing to do.
    async fn remember(&self, _group: String, _value: Option<Vec<u8>>) {}

    /// Takes alerts that fire or are over; returns when they are in safe hands.
    async fn fire(&self, events: Vec<AlertEvent>);
}

/// The value Prometheus writes where a series ends.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The section `rules` of the configuration.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Rule files, as patterns.
    pub files: Vec<String>,
    /// How often a group without `interval` is evaluated.
    pub evaluation_interval: HumanDuration,
    /// How far behind the clock a group without `query_offset` looks.
    pub query_offset: HumanDuration,
    /// How often an alert that still fires is told again.
    pub resend_delay: HumanDuration,
    /// The most alerts that are remembered of a rule without `limit`; further ones are left out, and the
    /// rule says so.
    pub alerts_per_rule_max: usize,
    /// The most groups.
    pub groups_max: usize,
    /// Labels added to every alert, and seen by templates as `$externalLabels`.
    pub external_labels: std::collections::BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            files: vec!["alerts/*.yml".to_owned()],
            evaluation_interval: HumanDuration::from_secs(60),
            query_offset: HumanDuration::from_secs(0),
            resend_delay: HumanDuration::from_secs(60),
            alerts_per_rule_max: 10_000,
            groups_max: 500,
            external_labels: std::collections::BTreeMap::new(),
        }
    }
}

/// What can go wrong with rules as a whole.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A file cannot be read.
    #[error("cannot read rule file {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A pattern that is not one.
    #[error("`{pattern}` is not a file pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// The files hold mistakes; the rules in force stay as they are.
    #[error("{} in the rule files:\n{}", count_mistakes(.0), list_mistakes(.0))]
    Mistakes(Vec<Mistake>),
    /// What was saved cannot be read back.
    #[error("cannot read the saved state of the alerts: {0}")]
    State(String),
}

impl RulesError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            RulesError::Read { .. } | RulesError::State(_) => Kind::Internal,
            RulesError::Pattern { .. } | RulesError::Mistakes(_) => Kind::BadInput,
        }
    }
}

fn count_mistakes(mistakes: &[Mistake]) -> String {
    match mistakes.len() {
        1 => "1 mistake".to_owned(),
        n => format!("{n} mistakes"),
    }
}

fn list_mistakes(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("  {mistake}")).collect();
    lines.join("\n")
}
