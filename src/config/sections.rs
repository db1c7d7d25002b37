//! The sections that belong to no room, or to one that does not define its own yet.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::auth::Secret;

/// The section `alerting`.
#[derive(Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alerting {
    /// An Alertmanager configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Where alerts go when there is no file. Such an address often holds a key, so it is masked.
    #[serde(serialize_with = "Secret::mask", skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<Secret>,
    /// Whether webhooks may go to loopback, private and link-local addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_private_targets: Option<bool>,
    /// The address of this server in links that people click.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_url: Option<String>,
}

// By hand, because of the secret.
impl std::fmt::Debug for Alerting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alerting").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Alerting {
    /// Returns every mistake in the section, each beginning with its key.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.file.is_some() && self.webhook_url.is_some() {
            found.push(
                "alerting.webhook_url must not stand beside alerting.file, whose receivers say where \
                 alerts go: remove one of them"
                    .to_owned(),
            );
        }
        let is_web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if self.webhook_url.as_ref().is_some_and(|url| !is_web(url.expose())) {
            found.push("alerting.webhook_url must begin with https:// or http://".to_owned());
        }
        if self.external_url.as_deref().is_some_and(|url| !is_web(url)) {
            found.push("alerting.external_url must begin with https:// or http://".to_owned());
        }
        found
    }
}

/// How our own log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The section `log`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged, as `RUST_LOG` writes it; `RUST_LOG` itself wins.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}
