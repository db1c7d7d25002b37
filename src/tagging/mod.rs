//! Tagging: which commons, service, environment and cluster something belongs to.
//!
//! Its one idea: the rules are ordered, the credential comes first, and what the rules know is data
//! (`config/gen3/*.toml`, built in and replaceable file by file). Deciding is pure: the answer
//! depends on the credential, what was sent, the data and the pairs learned so far. The same pass
//! cleans labels: what is personal, without bound or known to be wrong does not become a label.
//! Whether the answer may be stored is for `ingest` to check against the `Grant`; what the text of
//! a log line means is `derive`'s.
//!
//! When you add a fact, touch both readers in `facts.rs`; when you add a rule, its place in the
//! order (`commons.rs`), its counter (`Rule::ALL`) and `tests/cases/tagging/`.

mod commons;
mod config;
mod data;
mod error;
mod facts;
mod files;
mod hygiene;
mod learned;
mod lines;
mod metrics;
mod names;
mod paths;
mod place;
mod places;
mod routes;
mod scrub;
mod service;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

pub use config::{CommonsEntry, Config};
pub use error::TaggingError;
pub use files::{AccessKind, JobMarker, LoginStage, MarkerOutcome, Service, demo_commons};
pub use hygiene::{CounterRule, Observed};
pub use learned::LearnedPair;
pub use lines::{LineFamily, LineRule};
pub use metrics::Metrics;
pub use routes::{RequestPath, Route};

use crate::model::tags::UNASSIGNED;
use crate::model::{Commons, Grant, LabelsBuilder, Tags, WriteScope};
use commons::{Question, Rule};
use data::Data;
use facts::Facts;
use learned::Learned;

/// What becomes of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum SeriesDecision {
    /// Store it under the cleaned labels.
    Keep(Tags),
    /// A label that told it from others was removed: several senders' series now have these
    /// labels. Hand its samples to `derive::Derive::fold`, which adds them up; storing them side by
    /// side would mix unrelated numbers. A label that was a number comes along.
    Fold(Tags, Option<Observed>),
    /// Do not store it; the reason is counted.
    Drop(&'static str),
}

/// Decides tags and cleans labels. Shared by all requests.
#[derive(Debug)]
pub struct Tagger {
    data: Data,
    learned: Learned,
    metrics: Metrics,
    enabled: bool,
}

impl Tagger {
    /// Reads the data files (built in, or those of `tagging.dir`) and compiles the rules.
    pub fn load(config: &Config) -> Result<Self, TaggingError> {
        Ok(Self {
            data: Data::load(config)?,
            learned: Learned::new(config.learned_pairs_max),
            metrics: Metrics::default(),
            enabled: config.enabled,
        })
    }

    /// Counts into `metrics` from now on.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Decides on a series (remote write, OTLP metrics), cleans its labels and sets the four of
    /// ours. A label of one of these names that says something else is kept as `exported_<name>`,
    /// except a commons that was claimed and refused.
    pub fn tag_series(
        &self,
        grant: &Grant,
        tenant: Option<&str>,
        labels: &mut LabelsBuilder,
    ) -> SeriesDecision {
        if !self.enabled {
            return SeriesDecision::Keep(untagged(grant));
        }
        if let Some(reason) = self.data.hygiene.dropped(labels) {
            self.metrics.dropped(reason);
            return SeriesDecision::Drop(reason);
        }
        let observed = self.data.hygiene.observed(labels);
        let (tags, is_folded) = self.tag_labels(grant, tenant, labels);
        if is_folded {
            self.metrics.folded();
            return SeriesDecision::Fold(tags, observed);
        }
        SeriesDecision::Keep(tags)
    }

    /// Decides on a log stream by its labels (Loki) and cleans them, as for a series.
    pub fn tag_stream(
        &self,
        grant: &Grant,
        tenant: Option<&str>,
        labels: &mut LabelsBuilder,
    ) -> Tags {
        if !self.enabled {
            return untagged(grant);
        }
        self.tag_labels(grant, tenant, labels).0
    }

    /// Decides on an OTLP resource; `get` looks a resource attribute up as text.
    pub fn tag_resource(
        &self,
        grant: &Grant,
        tenant: Option<&str>,
        get: &dyn Fn(&str) -> Option<String>,
    ) -> Tags {
        if !self.enabled {
            return untagged(grant);
        }
        let facts = Facts::of_resource(get);
        let service = service::decide(&self.data, &facts);
        self.decide(grant, tenant, &facts, service.service).0
    }

    /// Decides once more by what a line says, when its stream's labels were not enough: the host in
    /// a Faro event of the portal, the namespace that the revproxy passed a request to. Lines of
    /// other services say nothing: anyone may write anything there. `None` leaves `stream` as it
    /// is.
    pub fn tag_line(&self, grant: &Grant, stream: &Tags, body: &str) -> Option<Tags> {
        let is_weak = [Rule::Cluster, Rule::Project, Rule::Infra, Rule::Unassigned]
            .iter()
            .any(|rule| rule.as_str() == stream.rule);
        if !self.enabled || !is_weak {
            return None;
        }
        let facts = Facts {
            cluster: stream.cluster.as_deref().map(Cow::Borrowed),
            env: stream.env.as_deref().map(Cow::Borrowed),
            ..Facts::of_line(stream.service.as_deref()?, body)?
        };
        let (tags, _) = self.decide(grant, None, &facts, stream.service.clone());
        (tags.commons != stream.commons && !tags.commons.is_unassigned()).then_some(tags)
    }

    /// Returns the text with secrets in query strings replaced, or `None` when there are none.
    pub fn scrub_text(&self, text: &str) -> Option<String> {
        self.counted(self.enabled.then(|| self.data.scrubber.text(text)).flatten())
    }

    /// Like [`Tagger::scrub_text`], for the attribute `name`: some are a query by themselves.
    pub fn scrub_attribute(&self, name: &str, value: &str) -> Option<String> {
        self.counted(self.enabled.then(|| self.data.scrubber.attribute(name, value)).flatten())
    }

    fn counted(&self, scrubbed: Option<String>) -> Option<String> {
        if scrubbed.is_some() {
            self.metrics.scrubbed();
        }
        scrubbed
    }

    /// Returns true for a label that tells who a person is.
    pub fn is_personal(&self, label: &str) -> bool {
        self.data.hygiene.is_personal(label)
    }

    /// Returns the catalogue of services.
    pub fn services(&self) -> &[Service] {
        &self.data.services
    }

    /// Returns the canonical name of a service of the catalogue, by any of its names.
    pub fn known_service(&self, name: &str) -> Option<Arc<str>> {
        self.data.names.known(name)
    }

    /// Looks up the route and the backend of a request's path.
    pub fn request_path<'p>(&self, path: &'p str) -> RequestPath<'_, 'p> {
        self.data.routes.find(path)
    }

    /// Returns true for backends that answer every path, such as the portal.
    pub fn is_catch_all(&self, backend: &str) -> bool {
        self.data.routes.is_catch_all(backend)
    }

    /// Returns what the lines of a job mean for its run.
    pub fn job_markers(&self) -> &[JobMarker] {
        &self.data.jobs.markers
    }

    /// Returns what the lines of a service mean.
    pub fn line_rules(&self, service: &str) -> &[LineRule] {
        self.data.lines.of_service(service)
    }

    /// Returns how a counter is given out once more, under few labels.
    pub fn counter_rule(&self, metric: &str) -> Option<&CounterRule> {
        self.data.hygiene.counter(metric)
    }

    /// Returns what was learned from host names, for people to confirm.
    pub fn learned(&self) -> Vec<LearnedPair> {
        self.learned.all()
    }

    /// Returns a number that grows whenever a pair is learned. Whoever remembers that something is
    /// `_unassigned` should ask again then.
    pub fn learned_version(&self) -> u64 {
        self.learned.version()
    }

    /// Takes in pairs that were learned before a restart.
    pub fn teach(&self, pairs: &[LearnedPair]) {
        for pair in pairs {
            self.learned.teach(&pair.cluster, &pair.namespace, pair.commons.as_ref());
        }
    }

    fn tag_labels(
        &self,
        grant: &Grant,
        tenant: Option<&str>,
        labels: &mut LabelsBuilder,
    ) -> (Tags, bool) {
        let facts = Facts::of_labels(labels);
        let service = service::decide(&self.data, &facts);
        let (tags, refused) = self.decide(grant, tenant, &facts, service.service);
        let is_workspace = service.is_workspace;
        drop(facts);
        let is_folded =
            self.data.hygiene.clean(labels, is_workspace, |cause| self.metrics.cleaned(cause));
        if let Some(owner) = &service.owner {
            labels.set("owner_service", owner);
        }
        set_tag(labels, "service", tags.service.as_deref(), !is_workspace);
        set_tag(labels, "env", tags.env.as_deref(), true);
        set_tag(labels, "cluster", tags.cluster.as_deref(), true);
        let commons = Some(tags.commons.as_str()).filter(|name| *name != UNASSIGNED);
        set_tag(labels, "commons", commons, refused.is_none());
        (tags, is_folded)
    }

    /// Returns the tags and the claim that was refused on the way.
    fn decide(
        &self,
        grant: &Grant,
        tenant: Option<&str>,
        facts: &Facts<'_>,
        service: Option<Arc<str>>,
    ) -> (Tags, Option<Rule>) {
        let sent_cluster = place::sent_cluster(&self.data, grant, facts);
        let question = Question {
            data: &self.data,
            learned: &self.learned,
            grant,
            tenant,
            facts,
            cluster: sent_cluster,
        };
        let decided = commons::decide(&question);
        self.count(&decided);
        if decided.rule == Rule::Hostname {
            self.learn(sent_cluster, facts, &decided.commons);
        }
        let cluster = place::cluster(&self.data, &decided.commons, sent_cluster);
        let env = place::env(&self.data, &decided.commons, cluster.as_deref(), tenant, facts);
        let rule = decided.rule.as_str();
        (Tags { commons: decided.commons, service, env, cluster, rule }, decided.refused)
    }

    fn count(&self, decided: &commons::Decided) {
        self.metrics.decided(decided.rule);
        if let Some(claim) = decided.refused {
            self.metrics.refused(claim);
        }
    }

    fn learn(&self, cluster: Option<&str>, facts: &Facts<'_>, commons: &Commons) {
        let (Some(cluster), Some(namespace)) = (cluster, facts.object_namespace()) else { return };
        let before = self.learned.version();
        self.learned.teach(cluster, namespace, Some(commons));
        if self.learned.version() != before {
            self.metrics.learned(self.learned.len());
        }
    }
}

/// The tags of everything when tagging is off.
fn untagged(grant: &Grant) -> Tags {
    match &grant.write {
        WriteScope::Commons(own) => {
            Tags { commons: own.clone(), rule: Rule::Credential.as_str(), ..Tags::unassigned() }
        }
        _ => Tags::unassigned(),
    }
}

/// Sets one of our four labels; what the sender had there is kept under another name if it differs.
fn set_tag(labels: &mut LabelsBuilder, name: &str, decided: Option<&str>, keep_sent: bool) {
    let sent = labels.get(name);
    if sent == decided {
        return;
    }
    if let Some(sent) = sent.filter(|_| keep_sent).map(str::to_owned) {
        let mut exported = format!("exported_{name}");
        while labels.get(&exported).is_some() {
            exported.insert_str(0, "exported_");
        }
        labels.set(&exported, &sent);
    }
    labels.set(name, decided.unwrap_or(""));
}
