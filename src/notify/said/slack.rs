//! Slack's incoming webhooks: one attachment.

use serde_json::{Map, Value, json};

use super::words::Words;
use super::{Message, Said, cut, or, prose};

/// The most characters of a title, Slack's own limit.
const TITLE_CHARS_MAX: usize = 1_024;

/// What a configuration says of a message.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::notify) struct Slack {
    pub(in crate::notify) channel: Said,
    pub(in crate::notify) username: Said,
    pub(in crate::notify) color: Said,
    pub(in crate::notify) title: Said,
    pub(in crate::notify) title_link: Said,
    pub(in crate::notify) pretext: Said,
    pub(in crate::notify) text: Said,
    pub(in crate::notify) fallback: Said,
    pub(in crate::notify) callback_id: Said,
    pub(in crate::notify) footer: Said,
    pub(in crate::notify) icon_emoji: Said,
    pub(in crate::notify) icon_url: Said,
    pub(in crate::notify) image_url: Said,
    pub(in crate::notify) thumb_url: Said,
    pub(in crate::notify) link_names: bool,
    pub(in crate::notify) fields: Vec<SlackField>,
    pub(in crate::notify) actions: Vec<SlackAction>,
    /// In which texts Slack reads its markup; empty: the usual ones.
    pub(in crate::notify) markup_in: Vec<String>,
}

/// A name and a value beside others.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::notify) struct SlackField {
    pub(in crate::notify) title: Said,
    pub(in crate::notify) value: Said,
    /// Whether it shares its line with others.
    pub(in crate::notify) is_short: bool,
}

/// A button: its texts by Slack's names, and what it asks before it acts.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::notify) struct SlackAction {
    pub(in crate::notify) texts: Vec<(&'static str, Said)>,
    pub(in crate::notify) confirm: Option<Vec<(&'static str, Said)>>,
}

impl SlackField {
    fn said(&self, words: &Words<'_>) -> Value {
        let text = |said| prose(said, words, String::new);
        json!({ "title": text(&self.title), "value": text(&self.value), "short": self.is_short })
    }
}

impl SlackAction {
    fn said(&self, words: &Words<'_>) -> Value {
        let mut action = texts(&self.texts, words);
        if let Some(confirm) = &self.confirm {
            let mut confirm = texts(confirm, words);
            // The one text that is there even when it is empty.
            confirm.entry("text").or_insert_with(|| json!(""));
            action.insert("confirm".to_owned(), Value::Object(confirm));
        }
        Value::Object(action)
    }
}

fn texts(all: &[(&'static str, Said)], words: &Words<'_>) -> Map<String, Value> {
    let said = |(name, said): &(&'static str, Said)| {
        let text = or(said, words, String::new);
        (!text.is_empty()).then(|| ((*name).to_owned(), Value::String(text)))
    };
    all.iter().filter_map(said).collect()
}

impl Slack {
    pub(in crate::notify) fn message(&self, words: &Words<'_>) -> Message {
        let attachment = self.attachment(words);
        let mut body = Map::new();
        let mut optional = |name: &str, value: String| {
            if !value.is_empty() {
                body.insert(name.to_owned(), Value::String(value));
            }
        };
        optional("channel", or(&self.channel, words, String::new));
        optional("username", or(&self.username, words, || "Alertmanager".to_owned()));
        optional("icon_emoji", or(&self.icon_emoji, words, String::new));
        optional("icon_url", or(&self.icon_url, words, String::new));
        if self.link_names {
            body.insert("link_names".to_owned(), Value::Bool(true));
        }
        body.insert("attachments".to_owned(), json!([attachment]));
        Message::here(Value::Object(body).to_string())
    }

    fn attachment(&self, words: &Words<'_>) -> Map<String, Value> {
        let color = || words.color().to_owned();
        let (subject, url) = (words.subject(), words.url());
        let title = cut(prose(&self.title, words, || subject.clone()), TITLE_CHARS_MAX);
        let mut attachment = Map::new();
        let mut optional = |name: &str, value: String| {
            if !value.is_empty() {
                attachment.insert(name.to_owned(), Value::String(value));
            }
        };
        optional("title", title);
        optional("title_link", or(&self.title_link, words, || url.clone()));
        optional("pretext", prose(&self.pretext, words, String::new));
        optional("image_url", or(&self.image_url, words, String::new));
        optional("thumb_url", or(&self.thumb_url, words, String::new));
        optional("color", or(&self.color, words, color));
        attachment.insert("text".to_owned(), json!(prose(&self.text, words, String::new)));
        let fallback = prose(&self.fallback, words, || format!("{subject} | {url}"));
        attachment.insert("fallback".to_owned(), json!(fallback));
        attachment
            .insert("callback_id".to_owned(), json!(or(&self.callback_id, words, String::new)));
        attachment.insert("footer".to_owned(), json!(prose(&self.footer, words, String::new)));
        let list = |all: Vec<Value>| (!all.is_empty()).then_some(Value::Array(all));
        let fields = list(self.fields.iter().map(|one| one.said(words)).collect());
        let actions = list(self.actions.iter().map(|one| one.said(words)).collect());
        attachment.extend(fields.map(|all| ("fields".to_owned(), all)));
        attachment.extend(actions.map(|all| ("actions".to_owned(), all)));
        let markup_in = match self.markup_in.is_empty() {
            true => json!(["fallback", "pretext", "text"]),
            false => json!(self.markup_in),
        };
        attachment.insert("mrkdwn_in".to_owned(), markup_in);
        attachment
    }
}
