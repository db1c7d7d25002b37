//! PagerDuty's Events API, version 2: an incident for each group, opened and closed by the same key.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::text::Text;
use super::words::Words;
use super::{Message, Said, cut, or, prose, said_pairs};
use crate::notify::secret::SecretText;

/// The most characters of a summary, PagerDuty's own limit.
const SUMMARY_CHARS_MAX: usize = 1_024;

/// What a configuration says of an event.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::notify) struct PagerDuty {
    pub(in crate::notify) routing_key: SecretText,
    pub(in crate::notify) client: Said,
    pub(in crate::notify) client_url: Said,
    pub(in crate::notify) description: Said,
    pub(in crate::notify) severity: Said,
    pub(in crate::notify) class: Said,
    pub(in crate::notify) component: Said,
    pub(in crate::notify) group: Said,
    /// What is said to be affected; none: the client.
    pub(in crate::notify) source: Said,
    /// Pictures and links: texts by PagerDuty's names, the first of which must not be empty.
    pub(in crate::notify) images: Vec<Vec<(&'static str, Said)>>,
    pub(in crate::notify) links: Vec<Vec<(&'static str, Said)>>,
    /// Further details.
    pub(in crate::notify) details: BTreeMap<String, Text>,
}

impl PagerDuty {
    pub(in crate::notify) fn message(&self, words: &Words<'_>) -> Message {
        let client = or(&self.client, words, || "Alertmanager".to_owned());
        let mut payload = Map::new();
        let summary = cut(prose(&self.description, words, || words.subject()), SUMMARY_CHARS_MAX);
        payload.insert("summary".to_owned(), json!(summary));
        payload.insert("source".to_owned(), json!(or(&self.source, words, || client.clone())));
        payload
            .insert("severity".to_owned(), json!(or(&self.severity, words, || "error".to_owned())));
        let optional =
            [("class", &self.class), ("component", &self.component), ("group", &self.group)];
        for (name, said) in optional {
            let said = said.is_some().then(|| or(said, words, String::new));
            payload.extend(said.map(|text| (name.to_owned(), Value::String(text))));
        }
        payload.insert("custom_details".to_owned(), json!(self.all_details(words)));
        let mut body = json!({
            "routing_key": self.routing_key.reveal(),
            "dedup_key": words.key(),
            "event_action": if words.is_firing() { "trigger" } else { "resolve" },
            "payload": payload,
            "client": client,
            "client_url": or(&self.client_url, words, || words.url()),
        });
        for (name, all) in [("images", &self.images), ("links", &self.links)] {
            let all: Vec<Value> = all.iter().filter_map(|one| shown(one, words)).collect();
            if !all.is_empty() {
                body[name] = Value::Array(all);
            }
        }
        Message::here(body.to_string())
    }

    fn all_details(&self, words: &Words<'_>) -> BTreeMap<String, String> {
        let mut details = BTreeMap::from([
            ("firing".to_owned(), words.list(false)),
            ("resolved".to_owned(), words.list(true)),
            ("num_firing".to_owned(), words.alerts(false).len().to_string()),
            ("num_resolved".to_owned(), words.alerts(true).len().to_string()),
        ]);
        details.extend(said_pairs(&self.details, words));
        details
    }
}

/// Returns a picture or a link, unless it leads nowhere.
fn shown(texts: &[(&'static str, Said)], words: &Words<'_>) -> Option<Value> {
    let said: Map<String, Value> = texts
        .iter()
        .map(|(name, said)| ((*name).to_owned(), json!(or(said, words, String::new))))
        .collect();
    let (first, _) = texts.first()?;
    (said[*first] != json!("")).then_some(Value::Object(said))
}
