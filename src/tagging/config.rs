//! What an operator may say about tagging.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The section `[tagging]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// False: labels are stored just as they came, and the commons is the credential's or
    /// `_unassigned`.
    pub enabled: bool,
    /// A directory whose `services.toml`, `aliases.toml`, … replace the built-in ones, file by
    /// file.
    pub dir: Option<PathBuf>,
    /// Where each commons lives, in addition to `commons.toml`.
    pub commons: Vec<CommonsEntry>,
    /// How many (cluster, namespace) pairs may be learned from hostnames; 0 learns nothing.
    pub learned_pairs_max: usize,
    /// Makes the pseudonyms of people's workspaces the same after every start; without it they
    /// hold until the next start. Treat it as a secret.
    #[serde(skip_serializing)]
    pub pseudonym_key: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            dir: None,
            commons: Vec::new(),
            learned_pairs_max: 10_000,
            pseudonym_key: String::new(),
        }
    }
}

/// Where one commons lives. A commons may have several entries, one per environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CommonsEntry {
    /// Its name, usually its host.
    pub name: String,
    /// Its Kubernetes clusters.
    #[serde(default)]
    pub clusters: Vec<String>,
    /// Its namespaces; each pair of a cluster and a namespace belongs to it. Without clusters, the
    /// namespace is its own in every cluster.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Further hosts that mean this commons.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// `prod`, `staging`, `dev` or another word.
    #[serde(default)]
    pub env: Option<String>,
    /// Its funding or billing group.
    #[serde(default)]
    pub project: Option<String>,
}
