//! What is said to receivers that are not webhooks of Alertmanager's: the payloads that Alertmanager
//! sends when nobody changes its templates.
//!
//! `words` are the texts that those templates make; each kind puts them where it wants them. A plain
//! text in the configuration takes the place of a template; templates of one's own are not followed,
//! and refused where the configuration is read.

mod opsgenie;
mod pagerduty;
mod slack;
mod words;

pub(super) use opsgenie::Opsgenie;
pub(super) use pagerduty::PagerDuty;
pub(super) use slack::Slack;

/// What is sent: a body, and what comes behind the receiver's URL.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Message {
    pub(super) body: String,
    pub(super) path: String,
}

impl Message {
    /// Returns a body for the URL itself.
    pub(super) fn here(body: String) -> Self {
        Self { body, path: String::new() }
    }
}

/// A text of the configuration: its default, or what somebody wrote.
type Said = Option<String>;

fn or(said: &Said, default: impl FnOnce() -> String) -> String {
    said.clone().unwrap_or_else(default)
}

/// Cuts a text to so many characters, the last one an ellipsis, as Alertmanager does.
fn cut(text: String, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text;
    }
    let kept: String = text.chars().take(chars_max - 1).collect();
    format!("{kept}…")
}
