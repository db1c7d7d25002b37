//! The sections of rooms whose own `Config` is not nested yet, with the keys they promise.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::auth::Secret;
use crate::base::units::{HumanDuration, HumanSize};

/// The section `storage`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Rows older than this are refused at the door and removed from disk; `0` keeps everything.
    pub retention: HumanDuration,
    /// The open generation is sealed and written as Parquet at this age.
    pub flush_age: HumanDuration,
    /// A log segment is closed at this size.
    pub segment_size: HumanSize,
    /// Past this much memory in the head, the open generation is sealed.
    pub head_soft: HumanSize,
    /// Past this, writers wait until a flush has freed memory.
    pub head_firm: HumanSize,
    /// Past this, writers are told to come back.
    pub head_hard: HumanSize,
    /// How long a writer waits past the firm mark before it is told to come back.
    pub firm_wait: HumanDuration,
    /// The most series a commons may have in the head.
    pub series_per_commons: usize,
    /// Rows in a Parquet row group.
    pub row_group_rows: usize,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            retention: HumanDuration::from_secs(90 * 86_400),
            flush_age: HumanDuration::from_secs(3_600),
            segment_size: HumanSize::from_mib(128),
            head_soft: HumanSize::from_mib(384),
            head_firm: HumanSize::from_mib(768),
            head_hard: HumanSize::from_mib(1_024),
            firm_wait: HumanDuration::from_secs(2),
            series_per_commons: 1_000_000,
            row_group_rows: 1 << 20,
        }
    }
}

impl Storage {
    /// Returns every mistake in the section, each beginning with its key.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.head_firm < self.head_soft {
            found.push("storage.head_firm must not be below storage.head_soft".to_owned());
        }
        if self.head_hard < self.head_firm {
            found.push("storage.head_hard must not be below storage.head_firm".to_owned());
        }
        found
    }
}

/// The section `limits`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest request body as it comes over the wire.
    pub body_encoded: HumanSize,
    /// Largest request body after decompression.
    pub body_decoded: HumanSize,
    /// How many times larger than on the wire a body may become, past `body_ratio_above`.
    pub body_ratio: u32,
    /// Decoded size from which `body_ratio` counts.
    pub body_ratio_above: HumanSize,
    /// Samples, log records or spans in one request.
    pub records_per_request: usize,
    /// Labels of one series, those that tagging adds not counted.
    pub labels_per_series: usize,
    /// Bytes of one label's name.
    pub label_name: HumanSize,
    /// Bytes of one label's value.
    pub label_value: HumanSize,
    /// Attributes of one log record, span or data point.
    pub attributes_per_record: usize,
    /// Bytes of one attribute's value.
    pub attribute_value: HumanSize,
    /// Bytes of one log line.
    pub log_line: HumanSize,
    /// Lists and maps inside each other in one attribute.
    pub attribute_depth: usize,
    /// How far ahead of our clock a timestamp may be.
    pub future: HumanDuration,
    /// Active series of one commons.
    pub series_per_commons: usize,
    /// Bytes of all requests under way.
    pub bytes_in_flight: HumanSize,
    /// The same for the requests of one credential.
    pub bytes_in_flight_per_credential: HumanSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_encoded: HumanSize::from_mib(16),
            body_decoded: HumanSize::from_mib(32),
            body_ratio: 64,
            body_ratio_above: HumanSize::from_mib(1),
            records_per_request: 100_000,
            labels_per_series: 40,
            label_name: HumanSize(1_024),
            label_value: HumanSize(2_048),
            attributes_per_record: 128,
            attribute_value: HumanSize(16 << 10),
            log_line: HumanSize(256 << 10),
            attribute_depth: 32,
            future: HumanDuration::from_secs(600),
            series_per_commons: 500_000,
            bytes_in_flight: HumanSize::from_mib(256),
            bytes_in_flight_per_credential: HumanSize::from_mib(64),
        }
    }
}

/// The section `tagging`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tagging {
    /// False: labels are stored just as they came.
    pub enabled: bool,
    /// A directory whose catalogue files replace the built-in ones, file by file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// How many (cluster, namespace) pairs may be learned from host names.
    pub learned_pairs_max: usize,
}

impl Default for Tagging {
    fn default() -> Self {
        Self { enabled: true, dir: None, learned_pairs_max: 10_000 }
    }
}

/// The section `derive`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Derive {
    /// Whether metrics are made from logs and spans.
    pub enabled: bool,
}

impl Default for Derive {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// The section `query`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// How long a question may take when it does not say.
    pub timeout: HumanDuration,
    /// The longest time a question may ask for.
    pub timeout_max: HumanDuration,
    /// How many questions are answered at a time; 0 is two a core, at least 8.
    pub concurrency_max: usize,
    /// How many of them may come from one credential.
    pub concurrency_per_principal_max: usize,
    /// The most samples one PromQL question may read.
    pub samples_max: usize,
    /// The most series one PromQL question may read.
    pub series_max: usize,
    /// How many processes answer SQL, one question each at a time.
    pub workers: usize,
    /// The most memory one such process may map.
    pub worker_memory: HumanSize,
    /// The most memory that the sorts, joins and groups of one SQL question may hold.
    pub memory: HumanSize,
    /// The most rows of one SQL answer.
    pub rows_max: usize,
    /// The most bytes of one SQL answer.
    pub result_bytes_max: HumanSize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            timeout: HumanDuration::from_secs(30),
            timeout_max: HumanDuration::from_secs(120),
            concurrency_max: 0,
            concurrency_per_principal_max: 4,
            samples_max: 50_000_000,
            series_max: 100_000,
            workers: 2,
            worker_memory: HumanSize::from_mib(2_048),
            memory: HumanSize::from_mib(256),
            rows_max: 100_000,
            result_bytes_max: HumanSize::from_mib(64),
        }
    }
}

impl Query {
    /// Returns every mistake in the section, each beginning with its key.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.timeout > self.timeout_max {
            found.push("query.timeout must not be longer than query.timeout_max".to_owned());
        }
        found
    }
}

/// The section `promql`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Promql {
    /// How far an instant selector looks back for a series' newest sample.
    pub lookback: HumanDuration,
    /// The step of a sub-query that names none.
    pub subquery_step: HumanDuration,
}

impl Default for Promql {
    fn default() -> Self {
        Self {
            lookback: HumanDuration::from_secs(300),
            subquery_step: HumanDuration::from_secs(60),
        }
    }
}

/// The section `rules`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Rule files, as patterns.
    pub files: Vec<String>,
    /// How often a group without `interval` is evaluated.
    pub evaluation_interval: HumanDuration,
    /// How far behind the clock a group without `query_offset` looks.
    pub query_offset: HumanDuration,
    /// How often an alert that still fires is told again.
    pub resend_delay: HumanDuration,
    /// The most alerts one rule without `limit` may have.
    pub alerts_per_rule_max: usize,
    /// The most groups.
    pub groups_max: usize,
    /// Labels added to every alert.
    pub external_labels: std::collections::BTreeMap<String, String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            files: vec!["alerts/*.yml".to_owned()],
            evaluation_interval: HumanDuration::from_secs(60),
            query_offset: HumanDuration::from_secs(0),
            resend_delay: HumanDuration::from_secs(60),
            alerts_per_rule_max: 10_000,
            groups_max: 500,
            external_labels: std::collections::BTreeMap::new(),
        }
    }
}

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
