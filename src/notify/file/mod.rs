//! An Alertmanager configuration file, as it is, to a checked [`Policy`].
//!
//! Every mistake is told at once with its line. What Alertmanager knows and we do not follow is
//! refused by its name, never passed over: a route that silently did less would be found out by the
//! page that did not come. Files that the file names are read relative to it, and only now: a reload
//! reads them again.

mod email;
mod fields;
mod http;
mod intervals;
mod kinds;
mod node;
mod receivers;
mod routes;
mod tls;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fields::{Fields, Reading};
use node::Node;

use super::interval::TimeInterval;
use super::policy::{Policy, RESOLVE_TIMEOUT_MS, built_in_inhibitions};
use super::said::Library;

/// The most bytes of a configuration file.
pub const FILE_BYTES_MAX: usize = 4 << 20;

/// What is wrong with the file, and on which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Counted from 1.
    pub line: u64,
    /// What is wrong and what would be right.
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl Policy {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, Vec<Mistake>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![Mistake { line: 1, message: format!("cannot read the file: {error}") }]
        })?;
        Self::parse(path, &text)
    }

    /// Reads a text as if it stood at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Mistake>> {
        let wrong = |line, message| Err(vec![Mistake { line, message }]);
        if text.len() > FILE_BYTES_MAX {
            let n_bytes = text.len();
            return wrong(
                1,
                format!("the file has {n_bytes} bytes, {FILE_BYTES_MAX} are the most"),
            );
        }
        let node = match Node::parse(text) {
            Ok(node) => node,
            Err((line, message)) => return wrong(line, message),
        };
        let reading = Reading::new(path);
        let policy = read(&reading, &node);
        let mistakes = reading.into_mistakes();
        if mistakes.is_empty() { Ok(policy) } else { Err(mistakes) }
    }
}

fn read(reading: &Reading, node: &Node) -> Policy {
    let fields = Fields::of(reading, "the configuration", node);
    let (mut global, resolve_timeout_ms) = global(&fields);
    global.library = Arc::new(library(&fields));
    fields.refuse("tracing", "our own traces go nowhere");
    let intervals = intervals(&fields);
    let receivers = receivers::all(reading, fields.list("receivers"), &global);
    let routes = match fields.get("route") {
        Some(node) => routes::tree(reading, node, &receivers, &intervals),
        None => {
            fields.wrong("route", "is missing: who is told?");
            Vec::new()
        }
    };
    let mut inhibit = routes::inhibit(reading, fields.list("inhibit_rules"));
    inhibit.extend(built_in_inhibitions());
    fields.finish();
    let shown = node::masked_yaml(node);
    Policy { routes, receivers, inhibit, intervals, resolve_timeout_ms, shown }
}

/// Settings of kinds of receivers that are not sent; each is refused where such a receiver is.
const UNSENT_GLOBAL: &[&str] = &[
    "jira_api_url",
    "mattermost_webhook_url",
    "mattermost_webhook_url_file",
    "rocketchat_api_url",
    "rocketchat_token",
    "rocketchat_token_file",
    "rocketchat_token_id",
    "rocketchat_token_id_file",
    "slack_app_token",
    "slack_app_token_file",
    "slack_app_url",
    "smtp_auth_secret",
    "smtp_auth_secret_file",
    "telegram_api_url",
    "telegram_bot_token",
    "telegram_bot_token_file",
    "victorops_api_key",
    "victorops_api_key_file",
    "victorops_api_url",
    "webex_api_url",
    "wechat_api_corp_id",
    "wechat_api_secret",
    "wechat_api_secret_file",
    "wechat_api_url",
];

fn global(parent: &Fields<'_, '_>) -> (receivers::Global, i64) {
    let mut global = receivers::Global::default();
    let Some(node) = parent.get("global") else { return (global, RESOLVE_TIMEOUT_MS) };
    let fields = Fields::of(parent.reading, "`global`", node);
    global.http = http::options(&fields, &global.http);
    let timeout_ms = fields.duration_ms("resolve_timeout").unwrap_or(RESOLVE_TIMEOUT_MS);
    global.slack_url = fields.text_or_file("slack_api_url", "slack_api_url_file");
    global.pagerduty_url = fields.text("pagerduty_url").map(str::to_owned);
    global.opsgenie_url = fields.text("opsgenie_api_url").map(str::to_owned);
    global.opsgenie_key = fields.text_or_file("opsgenie_api_key", "opsgenie_api_key_file");
    global.smtp = email::smtp(&fields);
    UNSENT_GLOBAL.iter().for_each(|key| {
        fields.get(key);
    });
    fields.finish();
    (global, timeout_ms)
}

/// The most files of templates.
const TEMPLATE_FILES_MAX: usize = 1_000;

/// Reads the files that `templates` names, patterns relative to the configuration.
fn library(fields: &Fields<'_, '_>) -> Library {
    let mut library = Library::default();
    let mut n_files = 0;
    for node in fields.list("templates") {
        let Some(pattern) = fields.reading.text("templates", node) else { continue };
        let wrong = |message: String| {
            fields.reading.mistake(node.line, format!("`templates`: {message}"));
        };
        let whole = fields.reading.folder.join(pattern).display().to_string();
        let paths = match glob::glob(&whole) {
            Ok(paths) => paths.filter_map(Result::ok).filter(|path| path.is_file()),
            Err(error) => {
                wrong(format!("`{pattern}` is not a file pattern: {error}"));
                continue;
            }
        };
        for path in paths {
            n_files += 1;
            if n_files > TEMPLATE_FILES_MAX {
                wrong(format!("more than {TEMPLATE_FILES_MAX} files"));
                return library;
            }
            let Some(text) = fields.reading.file("templates", node.line, &path) else { continue };
            if let Err((line, reason)) = library.add(text) {
                wrong(format!("{}:{line}: {reason}", path.display()));
            }
        }
    }
    for name in library.missing() {
        let message = format!("`templates`: template {name:?} is called and defined nowhere");
        fields.reading.mistake(fields.line_of("templates"), message);
    }
    library
}

fn intervals(fields: &Fields<'_, '_>) -> BTreeMap<String, Vec<TimeInterval>> {
    let mut named = BTreeMap::new();
    for key in ["time_intervals", "mute_time_intervals"] {
        for node in fields.list(key) {
            let one = Fields::of(fields.reading, "a named time interval", node);
            let name = one.text("name").unwrap_or_default().to_owned();
            let intervals = one.list("time_intervals").iter();
            let intervals = intervals.map(|node| intervals::interval(one.reading, node)).collect();
            if name.is_empty() {
                one.wrong("name", "is missing");
            } else if named.insert(name.clone(), intervals).is_some() {
                one.wrong("name", format!("time interval `{name}` stands twice in the file"));
            }
            one.finish();
        }
    }
    named
}
