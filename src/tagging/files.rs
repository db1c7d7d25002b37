//! The data files under `config/gen3/`, as they are written.
//!
//! Each is built into the binary and may be replaced by a file of the same name in `tagging.dir`.
//! An unknown key, and an unknown file, is an error: a typing error that is silently ignored would
//! send telemetry to the wrong place.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::config::CommonsEntry;
use super::error::TaggingError;
use super::lines::LinesFile;

/// One service of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its canonical name: the Helm chart's, and the pod label `app`.
    pub app: String,
    /// Its Kubernetes Service.
    #[serde(default)]
    pub k8s_service: Option<String>,
    /// Its Kubernetes Deployment.
    #[serde(default)]
    pub deployment: Option<String>,
    /// What it is written in.
    pub stack: String,
    /// Whether a commons is down without it.
    pub critical: bool,
    /// Whether a stock commons runs it.
    pub default_on: bool,
    /// Its paths at the revproxy; `*` is one segment.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// What a prober asks.
    #[serde(default)]
    pub status_path: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServicesFile {
    pub(super) service: Vec<Service>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AliasesFile {
    pub(super) aliases: BTreeMap<String, String>,
    pub(super) no_service: NoService,
}

/// Texts in a service's place that say nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoService {
    pub(super) names: Vec<String>,
    pub(super) prefixes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JobsFile {
    pub(super) apps: Vec<String>,
    pub(super) letter_suffix_apps: Vec<String>,
    pub(super) one_job_apps: Vec<String>,
    pub(super) owners: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) marker: Vec<JobMarker>,
}

/// A line that tells how a job's run goes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobMarker {
    /// The job, without `job:`.
    pub job: String,
    /// What the line contains.
    pub contains: String,
    /// What it means.
    pub outcome: MarkerOutcome,
}

/// What a job's line means for its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkerOutcome {
    /// The run did not do its work, whatever its exit code says.
    Failed,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoutesFile {
    pub(super) catch_all_backends: Vec<String>,
    pub(super) plain: Vec<String>,
    #[serde(default)]
    pub(super) route: Vec<RouteEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteEntry {
    pub(super) template: String,
    #[serde(default)]
    pub(super) login: Option<LoginStage>,
    #[serde(default)]
    pub(super) access: Option<AccessKind>,
}

/// Where in a login a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoginStage {
    /// The person is sent to the identity provider.
    Start,
    /// The identity provider sends the person back.
    Callback,
}

impl LoginStage {
    /// Returns the value of the label `stage`.
    pub fn as_str(self) -> &'static str {
        match self {
            LoginStage::Start => "start",
            LoginStage::Callback => "callback",
        }
    }
}

/// How data is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessKind {
    /// A signed URL of fence's own API.
    Download,
    /// A signed URL to upload to.
    Upload,
    /// A signed URL of the DRS API.
    Drs,
    /// Many at once.
    Bulk,
}

impl AccessKind {
    /// Returns the value of the label `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            AccessKind::Download => "download",
            AccessKind::Upload => "upload",
            AccessKind::Drs => "drs",
            AccessKind::Bulk => "bulk",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamespacesFile {
    pub(super) infra: Vec<String>,
    pub(super) infra_metrics: Vec<String>,
    pub(super) infra_jobs: Vec<String>,
    pub(super) workspace_prefix: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommonsFile {
    pub(super) commons: Vec<CommonsEntry>,
    pub(super) no_value: Vec<String>,
    pub(super) no_commons: Vec<String>,
    pub(super) machine_suffixes: Vec<String>,
    #[serde(default)]
    pub(super) env: Vec<EnvPattern>,
    #[serde(default)]
    pub(super) env_aliases: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvPattern {
    pub(super) contains: String,
    pub(super) env: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DemoFile {
    commons: Vec<CommonsEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HygieneFile {
    pub(super) decorative: Vec<String>,
    pub(super) personal: Vec<String>,
    pub(super) unbounded: Vec<String>,
    pub(super) workspace_labels: Vec<String>,
    pub(super) workspace_value_prefixes: Vec<String>,
    pub(super) python_metric_prefix: String,
    pub(super) python_none: String,
    pub(super) query_secrets: Vec<String>,
    pub(super) query_attributes: Vec<String>,
    pub(super) fence: FenceFile,
    #[serde(default)]
    pub(super) counter: Vec<CounterEntry>,
    #[serde(default)]
    pub(super) float_label: Vec<FloatEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CounterEntry {
    pub(super) from: String,
    pub(super) metric: String,
    pub(super) labels: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FloatEntry {
    pub(super) name: String,
    pub(super) suffix: String,
    pub(super) times: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FenceFile {
    pub(super) metric_prefix: String,
    pub(super) dropped_idp: String,
    pub(super) dropped_container_suffix: String,
    pub(super) renamed: BTreeMap<String, String>,
    pub(super) path_list_labels: Vec<String>,
    pub(super) path_segments_max: usize,
}

/// All files, parsed.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) services: ServicesFile,
    pub(super) aliases: AliasesFile,
    pub(super) jobs: JobsFile,
    pub(super) routes: RoutesFile,
    pub(super) namespaces: NamespacesFile,
    pub(super) commons: CommonsFile,
    pub(super) hygiene: HygieneFile,
    pub(super) lines: LinesFile,
}

const SERVICES: &str = include_str!("../../config/gen3/services.toml");
const ALIASES: &str = include_str!("../../config/gen3/aliases.toml");
const JOBS: &str = include_str!("../../config/gen3/jobs.toml");
const ROUTES: &str = include_str!("../../config/gen3/routes.toml");
const NAMESPACES: &str = include_str!("../../config/gen3/namespaces.toml");
const COMMONS: &str = include_str!("../../config/gen3/commons.toml");
const HYGIENE: &str = include_str!("../../config/gen3/hygiene.toml");
const LINES: &str = include_str!("../../config/gen3/lines.toml");
const DEMO: &str = include_str!("../../config/gen3/demo.toml");

/// The names that may stand in `tagging.dir`; the last is read by nobody but may lie there.
const KNOWN: [&str; 9] = [
    "services.toml",
    "aliases.toml",
    "jobs.toml",
    "routes.toml",
    "namespaces.toml",
    "commons.toml",
    "hygiene.toml",
    "lines.toml",
    "demo.toml",
];

impl Files {
    /// Reads every file: the one in `dir` if it is there, else the built-in one.
    pub(super) fn load(dir: Option<&Path>) -> Result<Self, TaggingError> {
        if let Some(dir) = dir {
            refuse_unknown_files(dir)?;
        }
        Ok(Self {
            services: read(dir, "services.toml", SERVICES)?,
            aliases: read(dir, "aliases.toml", ALIASES)?,
            jobs: read(dir, "jobs.toml", JOBS)?,
            routes: read(dir, "routes.toml", ROUTES)?,
            namespaces: read(dir, "namespaces.toml", NAMESPACES)?,
            commons: read(dir, "commons.toml", COMMONS)?,
            hygiene: read(dir, "hygiene.toml", HYGIENE)?,
            lines: read(dir, "lines.toml", LINES)?,
        })
    }
}

/// Returns the fictional commons of `commonwatch demo`.
pub fn demo_commons() -> Vec<CommonsEntry> {
    let file: DemoFile = parse("demo.toml", DEMO).expect("a test parses the built-in file");
    file.commons
}

fn refuse_unknown_files(dir: &Path) -> Result<(), TaggingError> {
    let cannot_read = |source| TaggingError::Read { path: dir.to_owned(), source };
    for entry in std::fs::read_dir(dir).map_err(cannot_read)? {
        let path = entry.map_err(cannot_read)?.path();
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        let is_known = path.file_name().is_some_and(|name| KNOWN.iter().any(|k| name == *k));
        if is_toml && !is_known {
            return Err(TaggingError::UnknownFile { path, known: KNOWN[..8].join(", ") });
        }
    }
    Ok(())
}

fn read<T: DeserializeOwned>(
    dir: Option<&Path>,
    name: &str,
    built_in: &str,
) -> Result<T, TaggingError> {
    let Some(path) = dir.map(|dir| dir.join(name)) else {
        return parse(name, built_in);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path.display().to_string(), &text),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => parse(name, built_in),
        Err(source) => Err(TaggingError::Read { path, source }),
    }
}

pub(super) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, TaggingError> {
    toml::from_str(text).map_err(|error| {
        let from = error.span().map_or(0, |span| span.start.min(text.len()));
        TaggingError::Syntax {
            file: file.to_owned(),
            line: 1 + text.as_bytes()[..from].iter().filter(|&&b| b == b'\n').count(),
            message: error.message().to_owned(),
        }
    })
}
