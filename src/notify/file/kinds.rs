//! Slack, PagerDuty and Opsgenie among the receivers.
//!
//! A text may be left to its default, be written out, or be a template.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::http;
use super::node::{Node, Value};
use super::receivers::{Global, parsed};
use crate::notify::policy::Integration;
use crate::notify::said::{Opsgenie, PagerDuty, Responder, Slack, SlackAction, SlackField, Text};
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
        fields: slack_fields(&fields, global),
        actions: slack_actions(&fields, global),
        markup_in: fields.texts("mrkdwn_in").into_iter().map(str::to_owned).collect(),
    };
    for key in ["app_token", "app_token_file", "message_text"] {
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

fn slack_fields(slack: &Fields<'_, '_>, global: &Global) -> Vec<SlackField> {
    let usual = slack.bool("short_fields", false);
    let one = |node| {
        let fields = Fields::of(slack.reading, format!("{}: a field", slack.what), node);
        let field = SlackField {
            title: needed(&fields, global, "title"),
            value: needed(&fields, global, "value"),
            is_short: fields.bool("short", usual),
        };
        fields.finish();
        field
    };
    slack.list("fields").iter().map(one).collect()
}

fn slack_actions(slack: &Fields<'_, '_>, global: &Global) -> Vec<SlackAction> {
    let one = |node| {
        let fields = Fields::of(slack.reading, format!("{}: an action", slack.what), node);
        let said = |key| (key, said(&fields, global, key));
        let mut texts = vec![
            ("type", needed(&fields, global, "type")),
            ("text", needed(&fields, global, "text")),
            said("style"),
        ];
        let (url, rest) = (said("url"), [said("name"), said("value")]);
        let confirm = fields.get("confirm").map(|node| confirmation(slack, global, node));
        let leads = url.1.is_some();
        match leads {
            // A button that leads somewhere asks and sends nothing.
            true => texts.push(url),
            false if rest[0].1.is_some() => texts.extend(rest),
            false => fields.wrong("url", "is missing: an action has a url or a name"),
        }
        fields.finish();
        SlackAction { texts, confirm: confirm.filter(|_| !leads) }
    };
    slack.list("actions").iter().map(one).collect()
}

fn confirmation(
    slack: &Fields<'_, '_>,
    global: &Global,
    node: &Node,
) -> Vec<(&'static str, Option<Text>)> {
    let fields = Fields::of(slack.reading, format!("{}: `confirm`", slack.what), node);
    let optional =
        ["title", "ok_text", "dismiss_text"].map(|key| (key, said(&fields, global, key)));
    let mut texts = vec![("text", needed(&fields, global, "text"))];
    texts.extend(optional);
    fields.finish();
    texts
}

/// Returns a text that must be there.
fn needed(fields: &Fields<'_, '_>, global: &Global, key: &'static str) -> Option<Text> {
    if fields.text(key).is_none_or(str::is_empty) {
        fields.wrong(key, "is missing");
    }
    said(fields, global, key)
}

/// Reads a list of mappings that have no other keys than these.
fn texts_of(
    parent: &Fields<'_, '_>,
    global: &Global,
    list: &'static str,
    keys: &[&'static str],
) -> Vec<Vec<(&'static str, Option<Text>)>> {
    let one = |node| {
        let fields = Fields::of(parent.reading, format!("{}: `{list}`", parent.what), node);
        let texts = keys.iter().map(|key| (*key, said(&fields, global, key))).collect();
        fields.finish();
        texts
    };
    parent.list(list).iter().map(one).collect()
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
        source: said("source"),
        images: texts_of(&fields, global, "images", &["src", "alt", "href"]),
        links: texts_of(&fields, global, "links", &["href", "text"]),
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
        actions: said("actions"),
        responders: fields
            .list("responders")
            .iter()
            .map(|node| responder(&fields, global, node))
            .collect(),
        details: details(&fields, global),
    };
    let send_resolved = fields.bool("send_resolved", true);
    fields.finish();
    let target = Target { url: url?, http, speech: Speech::Opsgenie(Box::new(opsgenie)) };
    Some(Integration { target, idx, send_resolved, timeout: None })
}

/// The kinds of responders.
const RESPONDERS: [&str; 5] = ["team", "teams", "user", "escalation", "schedule"];

fn responder(opsgenie: &Fields<'_, '_>, global: &Global, node: &Node) -> Responder {
    let fields = Fields::of(opsgenie.reading, format!("{}: a responder", opsgenie.what), node);
    let said = |key| said(&fields, global, key);
    let responder = Responder {
        id: said("id"),
        name: said("name"),
        username: said("username"),
        kind: said("type"),
    };
    if responder.id.is_none() && responder.name.is_none() && responder.username.is_none() {
        fields.wrong("name", "is missing: a responder has an id, a name or a username");
    }
    match fields.text("type") {
        Some(kind) if kind.contains("{{") || RESPONDERS.contains(&kind) => {}
        other => {
            let other = other.unwrap_or_default();
            fields.wrong("type", format!("`{other}` is none of {}", RESPONDERS.join(", ")));
        }
    }
    fields.finish();
    responder
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
