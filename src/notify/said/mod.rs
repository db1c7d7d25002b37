//! What is said to receivers that are not webhooks of Alertmanager's: the payloads that Alertmanager
//! sends when nobody changes its templates, or what templates of one's own make of them.
//!
//! `words` are the texts of the default templates; each kind puts them where it wants them. `text` is a
//! text of the configuration, plain or a template, and `host` what a template may ask of a notification.

mod email;
mod host;
mod opsgenie;
mod pagerduty;
mod slack;
mod text;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use tracing::warn;

pub(super) use opsgenie::{Opsgenie, Responder};
pub(super) use pagerduty::PagerDuty;
pub(super) use slack::{Slack, SlackAction, SlackField};
pub(super) use text::{Library, Text};
pub(super) use words::Words;

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
pub(super) type Said = Option<Text>;

/// Returns what somebody wrote, or the default: also where a template of theirs fails.
pub(super) fn or(said: &Said, words: &Words<'_>, default: impl FnOnce() -> String) -> String {
    match said.as_ref().map(|text| text.say(words, false)) {
        None => default(),
        Some(Ok(text)) => text,
        Some(Err(reason)) => {
            warn!(reason, receiver = words.news.receiver, "a template failed: its default is told");
            default()
        }
    }
}

/// The same for what people read: there a template that fails says so.
fn prose(said: &Said, words: &Words<'_>, default: impl FnOnce() -> String) -> String {
    match said.as_ref().map(|text| text.say(words, false)) {
        Some(Err(reason)) => format!("{} [its template failed: {reason}]", default()),
        Some(Ok(text)) => text,
        None => default(),
    }
}

fn said_pairs(pairs: &BTreeMap<String, Text>, words: &Words<'_>) -> BTreeMap<String, String> {
    let said = |(name, text): (&String, &Text)| {
        let text = text.say(words, false);
        (name.clone(), text.unwrap_or_else(|reason| format!("[its template failed: {reason}]")))
    };
    pairs.iter().map(said).collect()
}

/// Cuts a text to so many characters, the last one an ellipsis, as Alertmanager does.
fn cut(text: String, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text;
    }
    let kept: String = text.chars().take(chars_max - 1).collect();
    format!("{kept}…")
}

/// What the fuzz targets call.
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing {
    use std::sync::Arc;

    use super::{Library, Text, Words, prose};
    use crate::model::{AlertEvent, Labels};
    use crate::notify::dispatch::Notification;

    /// Says a text of a notification, as text and as HTML.
    pub(in crate::notify) fn say(file: &str, text: &str) {
        let mut library = Library::default();
        if library.add(file.to_owned()).is_err() || !library.missing().is_empty() {
            return;
        }
        let Ok(text) = Text::parse(text, &Arc::new(library)) else { return };
        let alert = |resolved| AlertEvent {
            labels: Labels::from_pairs([("alertname", "A"), ("n", "<1>")]),
            annotations: [("summary".to_owned(), "wrong".to_owned())].into(),
            starts_at_ms: 1_763_730_000_000,
            ends_at_ms: i64::MAX,
            resolved,
            generator_url: "http://g/".to_owned(),
        };
        let news = Notification {
            receiver: "r".to_owned(),
            desk: "r/email[0]".to_owned(),
            group_key: "{}:{}".to_owned(),
            covers: Vec::new(),
            group_labels: Labels::from_pairs([("alertname", "A")]),
            since_ms: 0,
            alerts: vec![alert(false), alert(true)],
            n: 0,
        };
        let words = Words::new(&news, "http://watch", 1_763_730_120_000);
        drop(text.say(&words, true));
        let said = prose(&Some(text), &words, || "usual".to_owned());
        assert!(said.len() < 300 << 10, "{} bytes", said.len());
    }
}
