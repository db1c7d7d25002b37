//! The section `alerting` of the configuration.

use std::path::PathBuf;

use super::dispatch::{Limits, StormLimits};
use super::{AddressPolicy, AllowedTarget, SecretUrl};
use crate::base::units::HumanDuration;

/// How the body of the built-in webhook is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Alertmanager's webhook payload, version 4.
    #[default]
    Alertmanager,
    /// `{"text": …}`, as Slack and those like it take.
    Slack,
}

/// The section `alerting` of the configuration.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// An Alertmanager configuration file; without it there is the one webhook below.
    pub file: Option<PathBuf>,
    /// Where alerts are sent; none: they are only shown.
    pub webhook_url: Option<SecretUrl>,
    /// How the body is written.
    pub webhook_format: Format,
    /// A file whose text signs every webhook.
    pub signing_secret_file: Option<PathBuf>,
    /// How this server is reached from where people read alerts; links begin with it.
    pub external_url: String,
    /// Whether a webhook may go to loopback, private and link-local addresses. Unset: only while
    /// every listener is on loopback itself.
    pub allow_private_targets: Option<bool>,
    /// Hosts and networks that notifications may go to; empty: every one.
    pub targets: Vec<AllowedTarget>,
    /// Labels whose values make a group.
    pub group_by: Vec<String>,
    /// How long a new group waits for more alerts.
    pub group_wait: HumanDuration,
    /// How long a group waits after a notification before it tells of changes.
    pub group_interval: HumanDuration,
    /// How long until what still fires is told again.
    pub repeat_interval: HumanDuration,
    /// The most groups that one receiver hears one by one within `storm_window`; 0: any number.
    pub storm_groups_max: usize,
    /// See `storm_groups_max`.
    pub storm_window: HumanDuration,
    /// The most alerts that are remembered.
    pub alerts_max: usize,
    /// The most groups; past them a route's further alerts share one.
    pub groups_max: usize,
    /// The most silences, ended ones included.
    pub silences_max: usize,
    /// How long a silence is kept after its end.
    pub silence_retention: HumanDuration,
    /// How long the ledger keeps what happened to alerts and notifications.
    pub history: HumanDuration,
    /// The most lines of the ledger.
    pub history_max: usize,
    /// Of how many alerts a minute what explains them is kept; 0: of none.
    pub explain_per_minute_max: usize,
    /// Of how many alerts in all; what is kept is as old as `history` at most.
    pub explain_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            webhook_url: None,
            webhook_format: Format::default(),
            signing_secret_file: None,
            external_url: "http://localhost:7070".to_owned(),
            allow_private_targets: None,
            targets: Vec::new(),
            group_by: vec!["alertname".to_owned(), "commons".to_owned()],
            group_wait: HumanDuration::from_secs(30),
            group_interval: HumanDuration::from_secs(300),
            repeat_interval: HumanDuration::from_secs(4 * 3600),
            storm_groups_max: 10,
            storm_window: HumanDuration::from_secs(300),
            alerts_max: 100_000,
            groups_max: 20_000,
            silences_max: 10_000,
            silence_retention: HumanDuration::from_secs(5 * 86_400),
            history: HumanDuration::from_secs(90 * 86_400),
            history_max: 500_000,
            explain_per_minute_max: 30,
            explain_max: 5_000,
        }
    }
}

impl Config {
    /// Returns where webhooks may go; `is_local` says whether every listener is on loopback.
    pub fn address_policy(&self, is_local: bool) -> AddressPolicy {
        AddressPolicy {
            allow_private: self.allow_private_targets.unwrap_or(is_local),
            targets: self.targets.clone().into(),
        }
    }

    /// Returns the section without what a reload puts in force.
    pub fn without_routes(&self) -> Self {
        let Self { group_by, group_wait, group_interval, repeat_interval, .. } = Self::default();
        Self {
            file: None,
            webhook_url: None,
            webhook_format: Format::default(),
            group_by,
            group_wait,
            group_interval,
            repeat_interval,
            ..self.clone()
        }
    }

    /// Returns how many lines of the ledger wait in memory while they cannot be written.
    pub(super) fn ledger_unsaved_max(&self) -> usize {
        self.history_max.min(10_000)
    }
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Self {
        Self {
            alerts_max: config.alerts_max,
            groups_max: config.groups_max,
            silences_max: config.silences_max,
            silence_kept_ms: config.silence_retention.as_ms(),
            storm: StormLimits {
                groups_max: config.storm_groups_max,
                window_ms: config.storm_window.as_ms(),
            },
        }
    }
}
