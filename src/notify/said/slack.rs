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
}

impl Slack {
    pub(in crate::notify) fn message(&self, words: &Words<'_>) -> Message {
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
        attachment.insert("mrkdwn_in".to_owned(), json!(["fallback", "pretext", "text"]));
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
}
