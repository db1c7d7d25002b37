//! `receivers`: who is told, and how.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fields::{Fields, Reading};
use super::node::Node;
use super::{email, http, kinds};
use crate::notify::http::HttpOptions;
use crate::notify::policy::{Integration, Receiver};
use crate::notify::said::Library;
use crate::notify::secret::SecretUrl;
use crate::notify::target::{Speech, Target};

/// The kinds of Alertmanager that are not sent.
const UNSENT: &[&str] = &[
    "discord_configs",
    "incidentio_configs",
    "jira_configs",
    "mattermost_configs",
    "msteams_configs",
    "msteamsv2_configs",
    "pushover_configs",
    "rocketchat_configs",
    "sns_configs",
    "telegram_configs",
    "victorops_configs",
    "webex_configs",
    "wechat_configs",
];

/// What `global` says about receivers.
#[derive(Debug, Default)]
pub(super) struct Global {
    pub(super) http: HttpOptions,
    pub(super) slack_url: Option<String>,
    pub(super) pagerduty_url: Option<String>,
    pub(super) opsgenie_url: Option<String>,
    pub(super) opsgenie_key: Option<String>,
    pub(super) smtp: email::Smtp,
    /// The templates that files define.
    pub(super) library: Arc<Library>,
}

/// Reads the list of receivers.
pub(super) fn all(
    reading: &Reading,
    nodes: &[Node],
    global: &Global,
) -> BTreeMap<String, Receiver> {
    let mut receivers = BTreeMap::new();
    for node in nodes {
        let fields = Fields::of(reading, "a receiver", node);
        let Some(name) = fields.text("name").filter(|name| !name.is_empty()) else {
            fields.wrong("name", "is missing");
            continue;
        };
        let fields = Fields::of(reading, format!("receiver `{name}`"), node);
        fields.get("name");
        let mut integrations = Vec::new();
        for (idx, node) in fields.list("webhook_configs").iter().enumerate() {
            integrations.extend(webhook(&fields, idx, node, global));
        }
        for (idx, node) in fields.list("slack_configs").iter().enumerate() {
            integrations.extend(kinds::slack(&fields, idx, node, global));
        }
        for (idx, node) in fields.list("pagerduty_configs").iter().enumerate() {
            integrations.extend(kinds::pagerduty(&fields, idx, node, global));
        }
        for (idx, node) in fields.list("opsgenie_configs").iter().enumerate() {
            integrations.extend(kinds::opsgenie(&fields, idx, node, global));
        }
        for (idx, node) in fields.list("email_configs").iter().enumerate() {
            integrations.extend(email::email(&fields, idx, node, global));
        }
        for kind in UNSENT {
            fields.refuse(kind, "use `webhook_configs`");
        }
        fields.finish();
        if receivers.insert(name.to_owned(), Receiver { integrations }).is_some() {
            reading.mistake(node.line, format!("receiver `{name}` stands twice in the file"));
        }
    }
    receivers
}

fn webhook(
    receiver: &Fields<'_, '_>,
    idx: usize,
    node: &Node,
    global: &Global,
) -> Option<Integration> {
    let fields = Fields::of(receiver.reading, format!("{}: webhook", receiver.what), node);
    let http = http::options(&fields, &global.http);
    let url = url(&fields, "url", "url_file");
    let alerts_max = fields.number("max_alerts").unwrap_or(0);
    let (send_resolved, timeout) = (fields.bool("send_resolved", true), timeout(&fields));
    let payload = kinds::said(&fields, global, "payload");
    fields.finish();
    let alerts_max = usize::try_from(alerts_max).unwrap_or(usize::MAX);
    let target = Target { url: url?, http, speech: Speech::Webhook { alerts_max, payload } };
    Some(Integration { target, idx, send_resolved, timeout })
}

fn timeout(fields: &Fields<'_, '_>) -> Option<Duration> {
    let ms = fields.duration_ms("timeout").filter(|ms| *ms > 0)?;
    Some(Duration::from_millis(ms.unsigned_abs()))
}

fn url(fields: &Fields<'_, '_>, key: &'static str, file_key: &'static str) -> Option<SecretUrl> {
    let Some(text) = fields.text_or_file(key, file_key) else {
        if fields.text(file_key).is_none() {
            fields.wrong(key, "is missing");
        }
        return None;
    };
    parsed(fields, key, &text)
}

/// Reads a URL that a key says.
pub(super) fn parsed(fields: &Fields<'_, '_>, key: &str, text: &str) -> Option<SecretUrl> {
    match SecretUrl::parse(text) {
        Ok(url) => Some(url),
        Err(error) => {
            fields.wrong(key, error);
            None
        }
    }
}
