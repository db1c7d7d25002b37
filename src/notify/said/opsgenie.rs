//! Opsgenie's Alert API, and those like it: an alert for each group, made and closed by its alias.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

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
    /// Commas part them.
    pub(in crate::notify) actions: Said,
    pub(in crate::notify) responders: Vec<Responder>,
    pub(in crate::notify) details: BTreeMap<String, Text>,
}

/// Who is to look after an alert.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::notify) struct Responder {
    pub(in crate::notify) id: Said,
    pub(in crate::notify) name: Said,
    pub(in crate::notify) username: Said,
    /// `team`, `user`, `escalation`, `schedule`, or `teams` whose names commas part.
    pub(in crate::notify) kind: Said,
}

impl Responder {
    /// Returns it as Opsgenie reads it: one whose texts are all empty is none, and `teams` are several.
    fn said(&self, words: &Words<'_>) -> Vec<Value> {
        let text = |said: &Said| or(said, words, String::new);
        let (kind, name) = (text(&self.kind), text(&self.name));
        if kind == "teams" {
            return parts(&name).map(|name| json!({ "name": name, "type": "team" })).collect();
        }
        let mut said = Map::new();
        for (key, text) in
            [("id", text(&self.id)), ("name", name), ("username", text(&self.username))]
        {
            if !text.is_empty() {
                said.insert(key.to_owned(), Value::String(text));
            }
        }
        if said.is_empty() && kind.is_empty() {
            return Vec::new();
        }
        said.insert("type".to_owned(), Value::String(kind));
        vec![Value::Object(said)]
    }
}

/// Returns what commas part.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
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
        for (name, said) in [("tags", &self.tags), ("actions", &self.actions)] {
            let text = or(said, words, String::new);
            let all: Vec<&str> = parts(&text).collect();
            if !all.is_empty() {
                body[name] = json!(all);
            }
        }
        let responders: Vec<Value> =
            self.responders.iter().flat_map(|one| one.said(words)).collect();
        if !responders.is_empty() {
            body["responders"] = Value::Array(responders);
        }
        Message { body: body.to_string(), path: "v2/alerts".to_owned() }
    }
}
