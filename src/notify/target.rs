//! Where a notification goes and how it is said there: one variant a kind of receiver.

use super::dispatch::Notification;
use super::http::HttpOptions;
use super::payload;
use super::said::{Message, Opsgenie, PagerDuty, Slack};
use super::secret::SecretUrl;

/// Where and how somebody is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// Where it listens.
    pub(super) url: SecretUrl,
    /// How it is asked.
    pub(super) http: HttpOptions,
    /// What it understands.
    pub(super) speech: Speech,
}

/// What a receiver understands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Speech {
    /// Alertmanager's webhook, version 4; at most so many alerts in one body, 0: as many as may be.
    Webhook { alerts_max: usize },
    /// `{"text": …}`, as Slack and those like it take.
    Text,
    /// Slack's incoming webhooks.
    Slack(Box<Slack>),
    /// PagerDuty's events, version 2.
    PagerDuty(Box<PagerDuty>),
    /// Opsgenie's alerts.
    Opsgenie(Box<Opsgenie>),
}

impl Target {
    /// Returns a webhook without options.
    pub(super) fn webhook(url: SecretUrl) -> Self {
        Self { url, http: HttpOptions::default(), speech: Speech::Webhook { alerts_max: 0 } }
    }

    /// Returns the kind's name, as Alertmanager's metrics have it.
    pub(super) fn kind(&self) -> &'static str {
        match &self.speech {
            Speech::Webhook { .. } | Speech::Text => "webhook",
            Speech::Slack(_) => "slack",
            Speech::PagerDuty(_) => "pagerduty",
            Speech::Opsgenie(_) => "opsgenie",
        }
    }

    /// Writes what the receiver is told.
    pub(super) fn message(&self, news: &Notification, external_url: &str) -> Message {
        match &self.speech {
            Speech::Webhook { alerts_max } => {
                Message::here(payload::alertmanager(news, *alerts_max, external_url))
            }
            Speech::Text => Message::here(payload::slack(news)),
            Speech::Slack(slack) => slack.message(news, external_url),
            Speech::PagerDuty(pagerduty) => pagerduty.message(news, external_url),
            Speech::Opsgenie(opsgenie) => opsgenie.message(news, external_url),
        }
    }
}
