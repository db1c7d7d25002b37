//! Opsgenie's Alert API, and those like it: an alert for each group, made and closed by its alias.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::words::{Words, values};
use super::{Message, Said, cut, or};
use crate::notify::dispatch::Notification;

/// The most characters of a message, Opsgenie's own limit.
const MESSAGE_CHARS_MAX: usize = 130;

/// What a configuration says of an alert.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::notify) struct Opsgenie {
    pub(in crate::notify) message: Said,
    pub(in crate::notify) description: Said,
    pub(in crate::notify) source: Said,
    pub(in crate::notify) note: Said,
    pub(in crate::notify) priority: Said,
    pub(in crate::notify) entity: Said,
    /// Commas part them.
    pub(in crate::notify) tags: Said,
    pub(in crate::notify) details: BTreeMap<String, String>,
}

impl Opsgenie {
    pub(in crate::notify) fn message(&self, news: &Notification, external_url: &str) -> Message {
        let words = Words::new(news, external_url);
        let alias = words.key();
        let source = or(&self.source, || words.url());
        if !words.is_firing() {
            let path = format!("v2/alerts/{alias}/close?identifierType=alias");
            return Message { body: json!({ "source": source }).to_string(), path };
        }
        let labels = words.common_labels();
        let mut details: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        details.extend(self.details.clone());
        let mut body = json!({
            "alias": alias,
            "message": cut(or(&self.message, || words.subject()), MESSAGE_CHARS_MAX),
            "description": or(&self.description, || description(&words)),
            "details": details,
            "source": source,
        });
        for (name, said) in
            [("note", &self.note), ("priority", &self.priority), ("entity", &self.entity)]
        {
            if let Some(text) = said {
                body[name] = Value::String(text.clone());
            }
        }
        if let Some(tags) = &self.tags {
            let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            body["tags"] = tags.collect();
        }
        Message { body: body.to_string(), path: "v2/alerts".to_owned() }
    }
}

/// `opsgenie.default.description`
fn description(words: &Words<'_>) -> String {
    let part = |title: &str, resolved: bool| match words.alerts(resolved).is_empty() {
        true => String::new(),
        false => format!("{title}:\n{}", words.list(resolved)),
    };
    let annotations = values(&words.common_annotations());
    format!("{annotations}\n{}\n{}", part("Alerts Firing", false), part("Alerts Resolved", true))
}
