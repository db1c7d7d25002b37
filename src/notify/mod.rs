//! Firing alerts to people: routed, grouped, kept until delivered.
//!
//! The semantics are Alertmanager's, and its configuration file is read as it is (`file`). What is to
//! be sent goes into a durable outbox first, one for each receiver's way of being told, and leaves it
//! only when the receiver took it or refused it for good: at least once, with an `Idempotency-Key`
//! that stays the same for one transition.
//!
//! `policy` is the checked configuration, `dispatch` decides what is told when and `outbox` what is
//! tried when; all are pure. `payload` and `said` write the bodies, `connect`, `tls` and `send` speak HTTP, `mail` SMTP,
//! and mind where to, `ledger` remembers what was done and why, `notifier` ties them to a clock and a
//! [`Store`]. Where the store keeps its bytes is the caller's business.

mod address;
mod allowed;
mod config;
mod connect;
mod dispatch;
mod file;
mod handle;
mod http;
mod interval;
mod ledger;
mod mail;
mod matchers;
mod metrics;
mod notifier;
mod outbox;
mod payload;
mod policy;
mod replay;
mod said;
mod secret;
mod send;
mod sign;
mod target;
mod tls;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_clock;
#[cfg(test)]
mod tests_receivers;
#[cfg(test)]
mod tests_tls;

use async_trait::async_trait;

use crate::base::Kind;

pub use address::{AddressPolicy, Refusal};
pub use allowed::{AllowedTarget, AllowedTargetError};
pub use config::{Config, Format};
pub use dispatch::{
    AlertStatus, AlertView, AlertsFilter, GroupView, HeldBack, Silence, SilenceDef, SilenceMatcher,
    SilenceState, receiver_fits,
};
pub use file::{FILE_BYTES_MAX, Mistake};
pub use handle::{Handle, Inbox, PostedAlert, Sees};
pub use ledger::{Ledger, Lines, Record, What, fingerprint_of, fingerprint_text};
pub use matchers::{parse_all_matchers, parse_matchers};
pub use metrics::Metrics;
pub use notifier::{Notifier, Parts};
pub use policy::{Policy, RouteView};
pub use replay::{Replay, Replayed};
pub use secret::SecretUrl;
pub use send::{Delivery, Outcome, Sender, WebhookSender};
pub use sign::Signer;

/// Keeps bytes under names, durably.
#[async_trait]
pub trait Store: Send + Sync {
    /// Sets values, or removes them where there is none, and adds lines to the ledger: all of it or
    /// nothing, and on disk when this returns.
    async fn apply(
        &self,
        changes: Vec<(String, Option<Vec<u8>>)>,
        ledger: Vec<(String, Vec<u8>)>,
    ) -> Result<(), String>;

    /// Returns all values, in order of their keys; the ledger is not among them.
    async fn list(&self) -> Result<Vec<(String, Vec<u8>)>, String>;

    /// Returns the last lines of the ledger whose keys lie in a half-open range, oldest first: at most so
    /// many, and none before the one by which they have so many bytes.
    async fn ledger(
        &self,
        range: (String, String),
        bounds: (usize, usize),
    ) -> Result<Vec<(String, Vec<u8>)>, String>;

    /// Returns the greatest key of the ledger.
    async fn last_ledger_key(&self) -> Result<Option<String>, String>;

    /// Removes the lines of the ledger before a key, and the oldest past a number.
    async fn trim_ledger(&self, before: String, n_max: usize) -> Result<(), String>;
}

/// What can go wrong in this room.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The outbox cannot be read at the start, or the ledger now.
    #[error("cannot read the state of notifications: {0}")]
    Store(String),
    /// The notifier has stopped.
    #[error("the notifier has stopped; the alert will be told again after a restart")]
    Stopped,
    /// There is no such silence.
    #[error("there is no silence {0}")]
    NoSilence(String),
    /// A silence that cannot be.
    #[error("the silence is refused: {0}")]
    Silence(String),
    /// More than may be kept.
    #[error("{max} {what} are the most: raise {key}, or end some")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: usize,
        /// Where it is set.
        key: &'static str,
    },
    /// More alerts than may be remembered.
    #[error("{n_refused} alerts were refused: as many as alerting.alerts_max are known already")]
    TooManyAlerts {
        /// How many were not taken.
        n_refused: usize,
    },
}

impl NotifyError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            NotifyError::Store(_) => Kind::Internal,
            NotifyError::Stopped => Kind::Unavailable,
            NotifyError::NoSilence(_) => Kind::NotFound,
            NotifyError::Silence(_) => Kind::BadInput,
            NotifyError::TooMany { .. } | NotifyError::TooManyAlerts { .. } => Kind::Overloaded,
        }
    }
}
