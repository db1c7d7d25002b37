//! File, environment and flags become one checked `Config`, or every mistake at once.
//!
//! The one idea: each key is tried alone. A [`ConfigFile`] of one key is deserialised for every
//! key that is set anywhere, so that one mistake cannot hide another, and each is told with its
//! file and line (or its variable, or its flag). What passes is merged, flag over environment over
//! file over default, and checked as a whole.
//!
//! Each room defines its own section; here they are only nested. When you add a key, also touch
//! `config/commonwatch.toml`: a test fails until it stands there.

mod alerting;
mod check;
mod keys;
mod memory;
mod mistake;
mod sections;
mod sources;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::auth::{self, TokenTable};
use crate::{derive, ingest, inventory, notify, query, rules, server, storage, tagging};

pub use mistake::{ConfigError, Mistake, Origin};
pub use sections::{Log, LogFormat};
pub use sources::{DEFAULT_PATH, Flag, Sources};

/// Every section as it is written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    /// Sockets, and where data is kept.
    pub server: server::Config,
    /// Who may write or read what.
    pub auth: auth::Config,
    /// What is kept, for how long.
    pub storage: storage::Config,
    /// What is taken at the door.
    pub limits: ingest::Limits,
    /// How rows are placed.
    pub tagging: tagging::Config,
    /// What is computed on the way in.
    pub derive: derive::Config,
    /// How OpenTelemetry's names are shown in PromQL.
    pub otlp: ingest::otlp::Config,
    /// What a question may cost.
    pub query: query::limits::Config,
    /// How PromQL evaluates.
    pub promql: query::promql::Config,
    /// Rule files and their evaluation.
    pub rules: rules::Config,
    /// Where alerts go.
    pub alerting: notify::Config,
    /// What is expected to report.
    pub inventory: inventory::Config,
    /// Our own logs.
    pub log: Log,
}

/// A configuration without a mistake.
#[derive(Debug, Clone)]
pub struct Config {
    /// The sections with all defaults filled in.
    pub sections: ConfigFile,
    /// The tokens by their digests.
    pub tokens: TokenTable,
    /// What the listeners show where they speak TLS.
    pub tls: Option<server::Tls>,
    /// Whether webhooks may go to loopback, private and link-local addresses.
    pub allow_private_targets: bool,
    /// Who is told of alerts: `alerting.file`, or the section itself.
    pub policy: Arc<notify::Policy>,
    /// Signs webhooks.
    pub signer: Option<notify::Signer>,
    sources: Sources,
}

impl Config {
    /// Returns the configuration of the given sources, or every mistake in them.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let merged = sources.merge()?;
        check::check(merged, sources)
    }

    /// Reads the same sources again.
    pub fn reload(&self) -> Result<Self, ConfigError> {
        Self::load(self.sources.clone())
    }

    /// Returns the effective configuration as TOML, secrets masked.
    pub fn shown(&self) -> String {
        toml::to_string_pretty(&self.sections).expect("the sections are tables of plain values")
    }
}
