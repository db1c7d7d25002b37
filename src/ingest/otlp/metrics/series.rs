//! Which series a sample belongs to: its key, cheap and for every sample, and its labels, only for
//! a key that the store does not know yet.

use std::sync::Arc;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::names::{bound_text, label_name, metric_name};
use super::point::Common;
use super::scope::Scope;
use crate::ingest::otlp::config::{Config, Strategy};
use crate::ingest::otlp::json_text::{JsonText, cut};
use crate::ingest::otlp::resource::{Resource, label_pair};
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::records::{Context, RowError, Rules};
use crate::ingest::remote_write::metadata::description;
use crate::ingest::wire::{Reader, WireError};
use crate::ingest::{NewSeries, Seed};
use crate::model::labels::METRIC_NAME;
use crate::model::{LabelsBuilder, MetricKind, SeriesMeta, Temporality};

/// The resource attributes that become `job` and `instance`, and so are not in `target_info`.
const IDENTIFYING: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

/// A metric of the request: what its points share.
#[derive(Debug)]
pub(super) struct Metric<'a> {
    pub(super) resource: Arc<Resource>,
    pub(super) name: &'a [u8],
    pub(super) unit: &'a [u8],
    pub(super) help: &'a [u8],
    pub(super) scope: Scope<'a>,
    pub(super) kind: MetricKind,
    pub(super) temporality: Temporality,
    /// The number of the points' `attributes` field.
    pub(super) attributes_number: u32,
    /// Its whole message.
    pub(super) message: &'a [u8],
    /// Which of the request's scopes it is of, where points are kept.
    pub(super) scope_idx: usize,
    pub(super) key: u128,
}

/// Which series of a point: a histogram's point adds to many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part {
    /// The number itself, or an exponential histogram.
    Value,
    /// `_sum`
    Sum,
    /// `_count`
    Count,
    /// `_bucket` with this upper bound.
    Bucket(f64),
    /// The series with this quantile.
    Quantile(f64),
    /// `target_info` of the resource.
    TargetInfo,
}

impl Part {
    fn code(self) -> (u8, u64) {
        match self {
            Part::Value => (0, 0),
            Part::Sum => (1, 0),
            Part::Count => (2, 0),
            Part::Bucket(bound) => (3, bound.to_bits()),
            Part::Quantile(quantile) => (4, quantile.to_bits()),
            Part::TargetInfo => (5, 0),
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Part::Sum => "_sum",
            Part::Count => "_count",
            Part::Bucket(_) => "_bucket",
            Part::Value | Part::Quantile(_) | Part::TargetInfo => "",
        }
    }
}

impl<'a> Metric<'a> {
    /// Returns a metric with its key.
    pub(super) fn new(
        resource: &Arc<Resource>,
        (name, unit, help): (&'a [u8], &'a [u8], &'a [u8]),
        scope: Scope<'a>,
        (kind, temporality): (MetricKind, Temporality),
        attributes_number: u32,
    ) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(&resource.key.to_le_bytes());
        hasher.update(name);
        // Neither a name's end nor a unit's can be mistaken for the other's beginning.
        hasher.update(&[0xff, kind as u8, temporality as u8]);
        hasher.update(unit);
        scope.hash(&mut hasher);
        let key = hasher.digest128();
        let resource = Arc::clone(resource);
        Self {
            resource,
            name,
            unit,
            help,
            scope,
            kind,
            temporality,
            attributes_number,
            message: &[],
            scope_idx: usize::MAX,
            key,
        }
    }

    /// Returns true when its points are differences.
    pub(super) fn is_delta(&self) -> bool {
        self.temporality == Temporality::Delta
    }

    /// Returns the hash of a point's attributes.
    pub(super) fn attributes_key(&self, common: &Common<'_>) -> Result<u128, WireError> {
        if let Some(bytes) = common.attribute_bytes() {
            return Ok(xxh3_128(bytes));
        }
        let mut bytes = Vec::new();
        let mut reader = Reader::new(common.bytes);
        while let Some(field) = reader.next_field()? {
            if field.number == self.attributes_number {
                let attribute = field.bytes()?;
                bytes.extend_from_slice(&attribute.len().to_le_bytes());
                bytes.extend_from_slice(attribute);
            }
        }
        Ok(xxh3_128(&bytes))
    }

    /// Returns the key of one series of a point.
    #[inline]
    pub(super) fn series_key(&self, seed: Seed, attributes_key: u128, part: Part) -> u128 {
        let (code, bits) = part.code();
        let mut bytes = [0; 41];
        bytes[..16].copy_from_slice(&self.key.to_le_bytes());
        bytes[16..32].copy_from_slice(&attributes_key.to_le_bytes());
        bytes[32..40].copy_from_slice(&bits.to_le_bytes());
        bytes[40] = code;
        seed.key(&bytes)
    }

    /// Builds the series of `part` of the point in `point`.
    pub(super) fn describe(
        &self,
        ctx: &Context<'_>,
        point: &[u8],
        part: Part,
    ) -> Result<NewSeries, Refusal> {
        if part == Part::TargetInfo {
            return self.describe_target_info(&ctx.ingest.otlp, &ctx.rules());
        }
        let (name, unit) = (String::from_utf8_lossy(self.name), String::from_utf8_lossy(self.unit));
        let (config, rules) = (&*ctx.ingest.otlp, ctx.rules());
        let strategy = config.translation_strategy;
        let name = metric_name(&name, &unit, self.kind, strategy)? + part.suffix();
        let mut labels = labels_of(self.point_attributes(point, &rules)?, strategy, &rules)?;
        self.promote(config, &mut labels, &rules)?;
        match part {
            Part::Bucket(bound) => drop(labels.set("le", &bound_text(bound))),
            Part::Quantile(quantile) => drop(labels.set("quantile", &bound_text(quantile))),
            Part::Value | Part::Sum | Part::Count | Part::TargetInfo => {}
        }
        self.identify(&mut labels, &name);
        // A unit may be as long as the body, and is kept with the series: as for descriptions, cut.
        let unit = description(self.kind, &unit, "").unit;
        // What is stored of differences is their total.
        let temporality = match self.temporality {
            Temporality::Delta => Temporality::Cumulative,
            told => told,
        };
        let kind = self.kind;
        let meta = SeriesMeta { kind, temporality, unit, ..SeriesMeta::default() };
        Ok(NewSeries { labels, meta, tags: Some(self.resource.origin.tags.clone()) })
    }

    /// Adds the resource's attributes that become labels, and the scope. As in Prometheus, a label that
    /// the point has stays and one of the scope takes its place, whatever they were called before.
    fn promote(
        &self,
        config: &Config,
        labels: &mut LabelsBuilder,
        rules: &Rules<'_>,
    ) -> Result<(), Refusal> {
        let strategy = config.translation_strategy;
        let of_resource = self.resource.attributes.iter();
        let mut promoted: Vec<_> = of_resource.filter(|(key, _)| config.promotes(key)).collect();
        promoted.sort_unstable();
        for (key, value) in promoted {
            let name = name_of(key, strategy)?;
            if labels.get(&name).is_none() {
                set(labels, &name, value, rules)?;
            }
        }
        if config.promote_scope_metadata {
            // What the scope leaves empty the point does not have either.
            for (key, value) in self.scope.read(rules)? {
                set(labels, &name_of(&key, strategy)?, &value, rules)?;
            }
        }
        check_number(labels.iter().count(), rules)
    }

    /// Returns the name that the metric's series share, for its description.
    pub(super) fn family(&self, strategy: Strategy) -> Option<String> {
        let (name, unit) = (String::from_utf8_lossy(self.name), String::from_utf8_lossy(self.unit));
        metric_name(&name, &unit, self.kind, strategy).ok()
    }

    fn point_attributes(
        &self,
        point: &[u8],
        rules: &Rules<'_>,
    ) -> Result<Vec<(String, String)>, Refusal> {
        let mut scratch = JsonText::default();
        let mut pairs = Vec::new();
        let mut reader = Reader::new(point);
        let mut read = || -> Result<(), RowError> {
            while let Some(field) = reader.next_field()? {
                if field.number == self.attributes_number {
                    check_count(pairs.len(), rules)?;
                    pairs.push(label_pair(&field, &mut scratch, rules)?);
                }
            }
            Ok(())
        };
        match read() {
            Ok(()) => Ok(pairs),
            Err(RowError::Refused(refusal)) => Err(refusal),
            Err(RowError::Wire(error)) => {
                Err(Refusal::new(Reason::InvalidLabels, format!("an attribute is {error}")))
            }
        }
    }

    /// Every resource has one series more that carries what its others do not: its attributes.
    fn describe_target_info(
        &self,
        config: &Config,
        rules: &Rules<'_>,
    ) -> Result<NewSeries, Refusal> {
        let attributes = self.resource.attributes.iter();
        let is_kept =
            |key: &str| config.keep_identifying_resource_attributes || !IDENTIFYING.contains(&key);
        let others = attributes.filter(|(key, _)| is_kept(key)).cloned();
        let mut labels = labels_of(others.collect(), config.translation_strategy, rules)?;
        self.identify(&mut labels, "target_info");
        let meta = SeriesMeta { kind: MetricKind::Gauge, ..SeriesMeta::default() };
        Ok(NewSeries { labels, meta, tags: Some(self.resource.origin.tags.clone()) })
    }

    /// Sets what an attribute cannot change: the name, and which process it is.
    fn identify(&self, labels: &mut LabelsBuilder, name: &str) {
        labels.set(METRIC_NAME, name);
        for (label, value) in
            [("job", self.resource.job.as_str()), ("instance", self.resource.instance())]
        {
            if !value.is_empty() {
                labels.set(label, value);
            }
        }
    }
}

/// Tells whether a resource has a `target_info` series: there must be something to join it by, and
/// something to find in it.
pub(super) fn has_target_info(resource: &Resource) -> bool {
    let is_named = !resource.job.is_empty() || !resource.instance().is_empty();
    is_named && resource.attributes.iter().any(|(key, _)| !IDENTIFYING.contains(&key.as_str()))
}

/// Turns attributes into labels. Keys that become one name have their values joined with `;` in
/// the order of the keys, as the OpenTelemetry specification says; of one key twice, the first
/// stands.
fn labels_of(
    mut attributes: Vec<(String, String)>,
    strategy: Strategy,
    rules: &Rules<'_>,
) -> Result<LabelsBuilder, Refusal> {
    attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    attributes.dedup_by(|(later, _), (earlier, _)| later == earlier);
    check_number(attributes.len(), rules)?;
    let mut labels = LabelsBuilder::new();
    for (key, value) in &attributes {
        let name = name_of(key, strategy)?;
        let joined = labels.get(&name).map(|earlier| format!("{earlier};{value}"));
        set(&mut labels, &name, joined.as_deref().unwrap_or(value), rules)?;
    }
    Ok(labels)
}

/// Returns the name of the label that an attribute becomes.
fn name_of(key: &str, strategy: Strategy) -> Result<String, Refusal> {
    label_name(key, strategy).ok_or_else(|| {
        let message = format!("attribute `{}` leaves no label name", cut(key));
        Refusal::new(Reason::InvalidLabels, message)
    })
}

/// Sets a label that is not too long.
fn set(
    labels: &mut LabelsBuilder,
    name: &str,
    value: &str,
    rules: &Rules<'_>,
) -> Result<(), Refusal> {
    let limits = rules.limits;
    if name.len() > limits.label_name.bytes() || value.len() > limits.label_value.bytes() {
        return Err(label_limit(format!(
            "label `{}` has a name of {} and a value of {} bytes, at most {} and {} are taken \
             (limits.label_name, limits.label_value)",
            cut(name),
            name.len(),
            value.len(),
            limits.label_name,
            limits.label_value
        )));
    }
    labels.set(name, value);
    Ok(())
}

fn check_number(n_labels: usize, rules: &Rules<'_>) -> Result<(), Refusal> {
    let max = rules.limits.labels_per_series;
    if n_labels > max {
        let message =
            format!("a series has {n_labels} labels of at most {max} (limits.labels_per_series)");
        return Err(label_limit(message));
    }
    Ok(())
}

/// Refuses one attribute more than there may be. Each series of a point reads them all.
fn check_count(n_attributes: usize, rules: &Rules<'_>) -> Result<(), RowError> {
    let max = rules.limits.attributes_per_record;
    if n_attributes == max {
        return Err(RowError::Refused(label_limit(format!(
            "a data point has more than {max} attributes (limits.attributes_per_record)"
        ))));
    }
    Ok(())
}

fn label_limit(message: String) -> Refusal {
    Refusal::new(Reason::LabelLimit, message)
}
