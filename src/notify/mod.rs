//! Firing alerts to people: grouped, kept until delivered, sent as webhooks.
//!
//! Alerts of one name and commons are told together, on Alertmanager's timing. What is to be sent goes
//! into a durable outbox first, one for each receiver, and leaves it only when the receiver took it or
//! refused it for good: at least once, with an `Idempotency-Key` that stays the same for one transition.
//!
//! `group` decides what is told when and `outbox` what is tried when; both are pure. `payload` writes
//! the bodies, `connect` and `send` speak HTTP and mind where to, `notifier` ties them to a clock and a
//! [`Store`]. Where the store keeps its bytes is the caller's business.

mod address;
mod connect;
mod group;
mod metrics;
mod notifier;
mod outbox;
mod payload;
mod secret;
mod send;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use async_trait::async_trait;

use crate::base::Kind;
use crate::base::units::HumanDuration;

pub use address::{AddressPolicy, Refusal};
pub use metrics::Metrics;
pub use notifier::{Handle, Inbox, Notifier, Parts};
pub use secret::SecretUrl;
pub use send::{Delivery, Outcome, Sender, WebhookSender};

/// How the body of a webhook is written.
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
    /// Where alerts are sent; none: they are only shown.
    pub webhook_url: Option<SecretUrl>,
    /// How the body is written.
    pub webhook_format: Format,
    /// How this server is reached from where people read alerts; links begin with it.
    pub external_url: String,
    /// Whether a webhook may go to loopback, private and link-local addresses. Unset: only while
    /// every listener is on loopback itself.
    pub allow_private_targets: Option<bool>,
    /// Labels whose values make a group.
    pub group_by: Vec<String>,
    /// How long a new group waits for more alerts.
    pub group_wait: HumanDuration,
    /// How long a group waits after a notification before it tells of changes.
    pub group_interval: HumanDuration,
    /// How long until what still fires is told again.
    pub repeat_interval: HumanDuration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            webhook_url: None,
            webhook_format: Format::default(),
            external_url: "http://localhost:7070".to_owned(),
            allow_private_targets: None,
            group_by: vec!["alertname".to_owned(), "commons".to_owned()],
            group_wait: HumanDuration::from_secs(30),
            group_interval: HumanDuration::from_secs(300),
            repeat_interval: HumanDuration::from_secs(4 * 3600),
        }
    }
}

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Receiver {
    /// Its name, as payloads and the outbox know it.
    pub name: String,
    /// Where it listens.
    pub url: SecretUrl,
    /// What it understands.
    pub format: Format,
}

impl Config {
    /// Returns those who are told: the one webhook, or nobody.
    pub fn receivers(&self) -> Vec<Receiver> {
        let receiver = |url: &SecretUrl| Receiver {
            name: "webhook".to_owned(),
            url: url.clone(),
            format: self.webhook_format,
        };
        self.webhook_url.iter().map(receiver).collect()
    }

    /// Returns where webhooks may go; `is_local` says whether every listener is on loopback.
    pub fn address_policy(&self, is_local: bool) -> AddressPolicy {
        AddressPolicy { allow_private: self.allow_private_targets.unwrap_or(is_local) }
    }
}

/// Keeps bytes under names, durably.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a value; it is on disk when this returns.
    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), String>;

    /// Removes a value; an unknown key is fine.
    async fn delete(&self, key: &str) -> Result<(), String>;

    /// Returns the values whose key begins with `prefix`, in order of their keys.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, String>;
}

/// What can go wrong in this room.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The outbox cannot be read at the start.
    #[error("cannot read the outbox of notifications: {0}")]
    Store(String),
    /// The notifier has stopped.
    #[error("the notifier has stopped; the alert will be told again after a restart")]
    Stopped,
}

impl NotifyError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            NotifyError::Store(_) => Kind::Internal,
            NotifyError::Stopped => Kind::Unavailable,
        }
    }
}
