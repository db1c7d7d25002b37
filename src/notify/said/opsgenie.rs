//! Opsgenie's Alert API, and those like it: an alert for each group, made and closed by its alias.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::text::Text;
use super::words::Words;
use super::{Message, Said, cut, or, prose, said_pairs};

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
    pub(in crate::notify) details: BTreeMap<String, Text>,
}

impl Opsgenie {
    pub(in crate::notify) fn message(&self, words: &Words<'_>) -> Message {
        let alias = words.key();
        let source = or(&self.source, words, || words.url());
        if !words.is_firing() {
            let path = format!("v2/alerts/{alias}/close?identifierType=alias");
            return Message { body: json!({ "source": source }).to_string(), path };
        }
        let labels = words.common_labels();
        let mut details: BTreeMap<String, String> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        details.extend(said_pairs(&self.details, words));
        let mut body = json!({
            "alias": alias,
            "message": cut(prose(&self.message, words, || words.subject()), MESSAGE_CHARS_MAX),
            "description": prose(&self.description, words, || words.description()),
            "details": details,
            "source": source,
        });
        for (name, said) in
            [("note", &self.note), ("priority", &self.priority), ("entity", &self.entity)]
        {
            let text = or(said, words, String::new);
            if !text.is_empty() {
                body[name] = Value::String(text);
            }
        }
        if self.tags.is_some() {
            let tags = or(&self.tags, words, String::new);
            let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty());
            body["tags"] = tags.collect();
        }
        Message { body: body.to_string(), path: "v2/alerts".to_owned() }
    }
}
