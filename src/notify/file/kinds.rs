//! Slack, PagerDuty and Opsgenie among the receivers.
//!
//! A text may be left to its default, be written out, or be a template.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::http;
use super::node::{Node, Value};
use super::receivers::{Global, parsed};
use crate::notify::policy::Integration;
use crate::notify::said::{Opsgenie, PagerDuty, Slack, Text};
use crate::notify::secret::SecretText;
use crate::notify::target::{Speech, Target};

const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
const OPSGENIE_URL: &str = "https://api.opsgenie.com/";

pub(super) fn slack(
    receiver: &Fields<'_, '_>,
    idx: usize,
    node: &Node,
    global: &Global,
) -> Option<Integration> {
    let fields = Fields::of(receiver.reading, format!("{}: slack", receiver.what), node);
    let http = http::options(&fields, &global.http);
    let url = fields.text_or_file("api_url", "api_url_file").or(global.slack_url.clone());
    let said = |key| said(&fields, global, key);
    let slack = Slack {
        channel: said("channel"),
        username: said("username"),
        color: said("color"),
        title: said("title"),
        title_link: said("title_link"),
        pretext: said("pretext"),
        text: said("text"),
        fallback: said("fallback"),
        callback_id: said("callback_id"),
        footer: said("footer"),
        icon_emoji: said("icon_emoji"),
        icon_url: said("icon_url"),
        image_url: said("image_url"),
        thumb_url: said("thumb_url"),
        link_names: fields.bool("link_names", false),
    };
    fields.bool("short_fields", false);
    for key in ["fields", "actions", "mrkdwn_in", "app_token", "app_token_file", "message_text"] {
        fields.refuse(key, "leave it out, or use a webhook");
    }
    let send_resolved = fields.bool("send_resolved", false);
    if url.is_none() {
        fields.wrong("api_url", "is missing, and `global` has no slack_api_url");
    }
    let url = url.and_then(|text| parsed(&fields, "api_url", &text));
    fields.finish();
    let target = Target { url: url?, http, speech: Speech::Slack(Box::new(slack)) };
    Some(Integration { target, idx, send_resolved, timeout: None })
}

pub(super) fn pagerduty(
    receiver: &Fields<'_, '_>,
    idx: usize,
    node: &Node,
    global: &Global,
) -> Option<Integration> {
    let fields = Fields::of(receiver.reading, format!("{}: pagerduty", receiver.what), node);
    let http = http::options(&fields, &global.http);
    let routing_key = fields.text_or_file("routing_key", "routing_key_file");
    for key in ["service_key", "service_key_file"] {
        fields.refuse(key, "that is version 1 of PagerDuty's events; use `routing_key`");
    }
    for key in ["images", "links"] {
        fields.refuse(key, "leave it out, or use a webhook");
    }
    if routing_key.is_none() {
        fields.wrong("routing_key", "is missing");
    }
    let url = fields.text("url").or(global.pagerduty_url.as_deref()).unwrap_or(PAGERDUTY_URL);
    let url = parsed(&fields, "url", url);
    let said = |key| said(&fields, global, key);
    let pagerduty = PagerDuty {
        routing_key: SecretText::new(routing_key.unwrap_or_default()),
        client: said("client"),
        client_url: said("client_url"),
        description: said("description"),
        severity: said("severity"),
        class: said("class"),
        component: said("component"),
        group: said("group"),
        details: details(&fields, global),
    };
    let send_resolved = fields.bool("send_resolved", true);
    fields.finish();
    let target = Target { url: url?, http, speech: Speech::PagerDuty(Box::new(pagerduty)) };
    Some(Integration { target, idx, send_resolved, timeout: None })
}

pub(super) fn opsgenie(
    receiver: &Fields<'_, '_>,
    idx: usize,
    node: &Node,
    global: &Global,
) -> Option<Integration> {
    let fields = Fields::of(receiver.reading, format!("{}: opsgenie", receiver.what), node);
    let mut http = http::options(&fields, &global.http);
    let key = fields.text_or_file("api_key", "api_key_file").or(global.opsgenie_key.clone());
    match key {
        Some(key) => http.authorization = Some(SecretText::new(format!("GenieKey {key}"))),
        None => fields.wrong("api_key", "is missing, and `global` has no opsgenie_api_key"),
    }
    let url = fields.text("api_url").or(global.opsgenie_url.as_deref()).unwrap_or(OPSGENIE_URL);
    let url = parsed(&fields, "api_url", url);
    for key in ["responders", "actions"] {
        fields.refuse(key, "leave it out, or use a webhook");
    }
    if fields.bool("update_alerts", false) {
        fields.wrong("update_alerts", "is not supported: an alert is made once and closed once");
    }
    let said = |key| said(&fields, global, key);
    let opsgenie = Opsgenie {
        message: said("message"),
        description: said("description"),
        source: said("source"),
        note: said("note"),
        priority: said("priority"),
        entity: said("entity"),
        tags: said("tags"),
        details: details(&fields, global),
    };
    let send_resolved = fields.bool("send_resolved", true);
    fields.finish();
    let target = Target { url: url?, http, speech: Speech::Opsgenie(Box::new(opsgenie)) };
    Some(Integration { target, idx, send_resolved, timeout: None })
}

/// Returns a text that somebody wrote, plain or a template.
pub(super) fn said(fields: &Fields<'_, '_>, global: &Global, key: &'static str) -> Option<Text> {
    parsed_text(fields, global, key, fields.text(key)?)
}

/// Reads a text that stands at a key.
pub(super) fn parsed_text(
    fields: &Fields<'_, '_>,
    global: &Global,
    key: &str,
    text: &str,
) -> Option<Text> {
    match Text::parse(text, &global.library) {
        Ok(text) => Some(text),
        Err(reason) => {
            fields.wrong(key, reason);
            None
        }
    }
}

fn details(fields: &Fields<'_, '_>, global: &Global) -> BTreeMap<String, Text> {
    pairs(fields, global, "details").into_iter().collect()
}

/// Reads a mapping of names to texts.
pub(super) fn pairs(
    fields: &Fields<'_, '_>,
    global: &Global,
    key: &'static str,
) -> Vec<(String, Text)> {
    let Some(node) = fields.get(key) else { return Vec::new() };
    let Value::Map(pairs) = &node.value else {
        fields.wrong(key, format!("must be a mapping, and is {}", node.kind()));
        return Vec::new();
    };
    let text = |(name, node): &(String, Node)| {
        let text = fields.reading.text(key, node).unwrap_or_default();
        Some((name.clone(), parsed_text(fields, global, key, text)?))
    };
    pairs.iter().filter_map(text).collect()
}
