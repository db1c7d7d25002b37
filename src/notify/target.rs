//! Where a notification goes and how it is said there: one variant a kind of receiver.

use super::http::HttpOptions;
use super::mail::Email;
use super::payload;
use super::said::{Message, Opsgenie, PagerDuty, Slack, Text, Words, or};
use super::secret::SecretUrl;

/// Where and how somebody is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// Where it listens; of a mail relay only the host is of use.
    pub(super) url: SecretUrl,
    /// How it is asked.
    pub(super) http: HttpOptions,
    /// What it understands.
    pub(super) speech: Speech,
}

/// What a receiver understands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Speech {
    /// Alertmanager's webhook, version 4; at most so many alerts in one body, 0: as many as may be. A
    /// template may make the whole body instead.
    Webhook { alerts_max: usize, payload: Option<Text> },
    /// `{"text": …}`, as Slack and those like it take.
    Text,
    /// Slack's incoming webhooks.
    Slack(Box<Slack>),
    /// PagerDuty's events, version 2.
    PagerDuty(Box<PagerDuty>),
    /// Opsgenie's alerts.
    Opsgenie(Box<Opsgenie>),
    /// A relay that takes mail.
    Email(Box<Email>),
}

impl Target {
    /// Returns a webhook without options.
    pub(super) fn webhook(url: SecretUrl) -> Self {
        Self {
            url,
            http: HttpOptions::default(),
            speech: Speech::Webhook { alerts_max: 0, payload: None },
        }
    }

    /// Returns the kind's name, as Alertmanager's metrics have it.
    pub(super) fn kind(&self) -> &'static str {
        match &self.speech {
            Speech::Webhook { .. } | Speech::Text => "webhook",
            Speech::Slack(_) => "slack",
            Speech::PagerDuty(_) => "pagerduty",
            Speech::Opsgenie(_) => "opsgenie",
            Speech::Email(_) => "email",
        }
    }

    /// Writes what the receiver is told; `id` names the notification. What cannot be written says why.
    pub(super) fn message(&self, words: &Words<'_>, id: &str) -> Result<Message, String> {
        let (news, external_url) = (words.news, words.external_url());
        Ok(match &self.speech {
            Speech::Webhook { alerts_max, payload } => {
                let usual = || payload::alertmanager(news, *alerts_max, external_url);
                Message::here(or(payload, words, usual))
            }
            Speech::Text => Message::here(payload::slack(news)),
            Speech::Slack(slack) => slack.message(words),
            Speech::PagerDuty(pagerduty) => pagerduty.message(words),
            Speech::Opsgenie(opsgenie) => opsgenie.message(words),
            Speech::Email(email) => email.message(words, id)?,
        })
    }
}
