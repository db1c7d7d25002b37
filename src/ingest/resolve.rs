//! From raw label bytes to series of the store: known ones cost one hash and one probe.
//!
//! A walker hashes the bytes that identify a series just as they lie on the wire, with a [`Seed`]
//! that differs between senders that may be tagged differently. All keys of a request are looked
//! up at once. Only a key that the store does not know is parsed, checked, tagged and registered,
//! and then it is known. What tagging drops, what it cannot place yet, and what a full commons has
//! refused is `remembered`.

use std::sync::Arc;

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::Ingest;
use super::outcome::{Overflow, Reason, Refusal};
use super::remembered::{Folded, Recalled, Verdict};
use crate::base::tasks::work_apart;
use crate::derive::{FoldedSample, Folding};
use crate::model::labels::{METRIC_NAME, OVERFLOW};
use crate::model::{
    Commons, ExpHistogram, Grant, Labels, LabelsBuilder, MetricKind, ResetHint, SeriesMeta, Tags,
    WriteScope,
};
use crate::storage::{Epoch, Part, SeriesRef};
use crate::tagging::{Observed, SeriesDecision};

/// Who sends: what tagging decides from, and so what seeds the keys.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// What the credential allows.
    pub grant: &'a Grant,
    /// The tenant header (`X-Scope-OrgID`), if sent.
    pub tenant: Option<&'a str>,
}

/// Makes keys of raw bytes. Two seeds give different keys to the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u128);

impl Seed {
    /// Returns the seed of a sender; `protocol` parts bytes that mean different things.
    pub fn new(sender: Sender<'_>, protocol: &str) -> Self {
        let with_grant = xxh3_64_with_seed(protocol.as_bytes(), sender.grant.write_seed());
        let tenant = sender.tenant.unwrap_or("").as_bytes();
        let low = xxh3_64_with_seed(tenant, with_grant);
        let high = xxh3_64_with_seed(tenant, !with_grant);
        Self(u128::from(high) << 64 | u128::from(low))
    }

    /// Returns the key of these bytes.
    ///
    /// The seed is mixed in after hashing: a seeded xxh3 derives a fresh secret for every call on
    /// more than 240 bytes, which is most label sets.
    #[inline]
    pub fn key(self, bytes: &[u8]) -> u128 {
        xxh3_128(bytes) ^ self.0
    }
}

/// A series that the store does not know yet.
#[derive(Debug, Clone, Default)]
pub struct NewSeries {
    /// Its labels as the protocol has them, valid by its rules, `__name__` among them.
    pub labels: LabelsBuilder,
    /// What is known beside.
    pub meta: SeriesMeta,
    /// What was decided already for the resource that the series is of (OTLP); its labels alone
    /// would not tell.
    pub tags: Option<Tags>,
}

/// So many unknown series of a request take a millisecond, some ten microseconds each.
const MANY_UNKNOWN: usize = 100;

impl Ingest {
    /// Finds the series of all keys, in order; `None` where there is none to store samples under,
    /// and then `not_stored(idx, why)` was called. `describe(idx)` is asked only for keys that are
    /// not known. The epoch is that of the earliest lookup.
    pub fn resolve(
        &self,
        sender: Sender<'_>,
        keys: &[u128],
        mut describe: impl FnMut(usize) -> Result<NewSeries, Refusal>,
        mut not_stored: impl FnMut(usize, NotStored),
    ) -> (Epoch, Vec<Option<SeriesRef>>) {
        let mut series = Vec::with_capacity(keys.len());
        let epoch = self.store.lookup(keys, &mut series);
        let version =
            self.remembered.version(self.tagger.learned_version(), self.clock.monotonic_ns());
        let mut recalled = self.remembered.recall(keys, &series, version, epoch);
        self.find_unassigned(keys, &mut series, &mut recalled);
        let n_unknown = recalled.len();
        let look = || {
            let mut found = |idx: usize, recalled| match recalled {
                Recalled::NotStored(why) => Err(why),
                Recalled::Nothing | Recalled::Unassigned => describe(idx)
                    .map_err(NotStored::Refused)
                    .and_then(|new| self.register(sender, keys[idx], (version, epoch), new)),
            };
            let mut n_new = 0;
            for (idx, recalled) in recalled {
                match found(idx, recalled) {
                    Ok(new) => (series[idx], n_new) = (Some(new), n_new + 1),
                    Err(why) => not_stored(idx, why),
                }
            }
            n_new
        };
        let n_new = if n_unknown < MANY_UNKNOWN { look() } else { work_apart(look) };
        if n_new > 0 {
            self.metrics.new_series(n_new);
        }
        (epoch, series)
    }

    /// Finds the series of the keys that need not be asked about, and leaves the others.
    fn find_unassigned(
        &self,
        keys: &[u128],
        series: &mut [Option<SeriesRef>],
        recalled: &mut Vec<(usize, Recalled)>,
    ) {
        let is_unassigned = |recalled: &Recalled| matches!(recalled, Recalled::Unassigned);
        let unassigned = recalled.iter().filter(|(_, recalled)| is_unassigned(recalled));
        let stored: Vec<u128> = unassigned.map(|(idx, _)| keys[*idx] ^ UNASSIGNED_KEYS).collect();
        if stored.is_empty() {
            return;
        }
        let mut found = Vec::with_capacity(stored.len());
        self.store.lookup(&stored, &mut found);
        let mut found = found.into_iter();
        recalled.retain(|(idx, recalled)| {
            if is_unassigned(recalled) {
                series[*idx] = found.next().flatten();
            }
            series[*idx].is_none()
        });
    }

    /// Tags and registers a series that is not known, and remembers what came of it.
    fn register(
        &self,
        sender: Sender<'_>,
        key: u128,
        (version, epoch): (u64, Epoch),
        new: NewSeries,
    ) -> Result<SeriesRef, NotStored> {
        let NewSeries { mut labels, mut meta, tags: decided } = new;
        let (decision, fold) = self.decide(sender, &mut labels, decided);
        let tags = match decision {
            Ok(tags) => tags,
            Err(rule) => {
                self.remembered.insert(key, Verdict::Dropped(rule));
                return Err(NotStored::Refused(Refusal::policy(rule)));
            }
        };
        self.may_store(sender.grant, &tags.commons).map_err(NotStored::Refused)?;
        meta.tag_rule = Arc::from(tags.rule);
        let labels = labels.build();
        if let Some(Fold { observed }) = fold {
            let folded = Folded { key, commons: tags.commons, labels, meta, observed };
            let folded = Arc::new(folded);
            self.remembered.insert(key, Verdict::Folded(Arc::clone(&folded)));
            return Err(NotStored::Folded(folded));
        }
        let is_unassigned = tags.commons.is_unassigned();
        let stored_key = if is_unassigned { key ^ UNASSIGNED_KEYS } else { key };
        let series = self.store.register(stored_key, &tags.commons, &labels, &meta);
        let series = series.map_err(|error| {
            let mut refusal = Refusal::new(Reason::from(&error), error.to_string());
            refusal.overflow = overflow_of(&tags.commons, &labels, &meta);
            NotStored::Refused(self.remembered.insert_refused(key, refusal, epoch))
        })?;
        if is_unassigned {
            self.remembered.insert(key, Verdict::Unassigned { version });
        }
        Ok(series)
    }

    /// Decides where a series belongs, or which rule drops it; also tells whether it is folded.
    fn decide(
        &self,
        sender: Sender<'_>,
        labels: &mut LabelsBuilder,
        decided: Option<Tags>,
    ) -> (Result<Tags, &'static str>, Option<Fold>) {
        if let Some(decided) = &decided {
            put_tags(labels, decided);
        }
        let (mut tags, fold) = match self.tagger.tag_series(sender.grant, sender.tenant, labels) {
            SeriesDecision::Keep(tags) => (tags, None),
            SeriesDecision::Fold(tags, observed) => (tags, Some(Fold { observed })),
            SeriesDecision::Drop(rule) => return (Err(rule), None),
        };
        if let Some(decided) = decided {
            let label = (!decided.commons.is_unassigned()).then(|| decided.commons.as_str());
            labels.set("commons", label.unwrap_or(""));
            tags = decided;
        }
        (Ok(tags), fold)
    }

    /// Refuses a commons that the sender may not write to, or that would be one too many.
    pub fn may_store(&self, grant: &Grant, commons: &Commons) -> Result<(), Refusal> {
        may_write(grant, commons)?;
        let max = self.limits.commons;
        if self.store.admits(commons, max) {
            return Ok(());
        }
        let message = format!(
            "commons {commons} is new, and there are {max} already (limits.commons): raise the \
             limit, or give each sender a token of its own commons"
        );
        Err(Refusal::new(Reason::CommonsLimit, message))
    }

    /// Adds a sample of a series that a limit refused to the one of its metric that stands for all such: it
    /// is refused, and the sum is not lost.
    pub fn overflow(&self, refusal: &Refusal, sample: FoldedSample) {
        let Some(overflow) = &refusal.overflow else { return };
        if overflow.meta.kind == MetricKind::ExpHistogram {
            return; // The end of a series, or the count that `overflow_histogram` gets.
        }
        let Overflow { commons, labels, meta } = &**overflow;
        self.derive.fold(commons, &Folding { labels, meta, observed: None }, sample);
    }

    /// The same of a native histogram, of which `count` is the count: it and the sum go on, as those of a
    /// classic one, in `<metric>_count` and `<metric>_sum`.
    pub fn overflow_histogram(
        &self,
        refusal: &Refusal,
        histogram: &ExpHistogram,
        count: FoldedSample,
    ) {
        let Some(overflow) = &refusal.overflow else { return };
        let Overflow { commons, labels, meta } = &**overflow;
        let hint = histogram.native.as_deref().map(|native| native.reset_hint);
        let is_gauge = meta.kind == MetricKind::GaugeHistogram || hint == Some(ResetHint::Gauge);
        let kind = if is_gauge { MetricKind::Gauge } else { MetricKind::Histogram };
        let meta = SeriesMeta { kind, ..meta.clone() };
        let parts = [("_count", Some(count.value)), ("_sum", histogram.sum)];
        for (salt, (suffix, value)) in (1..).zip(parts) {
            let Some(value) = value else { continue };
            let mut part = labels.to_builder();
            part.set(METRIC_NAME, &format!("{}{suffix}", labels.metric()));
            let series = Folding { labels: &part.build(), meta: &meta, observed: None };
            let sample = FoldedSample { wire_id: count.wire_id ^ salt, value, ..count };
            self.derive.fold(commons, &series, sample);
        }
    }

    /// Adds a sample of a folded series to what `derive` gives out under its remaining labels. It
    /// counts as refused by policy: what is stored of it is a derived sample, on a timer.
    pub fn fold(&self, folded: &Folded, sample: FoldedSample) {
        let Folded { labels, meta, observed, .. } = folded;
        let series = Folding { labels, meta, observed: observed.as_ref() };
        self.derive.fold(&folded.commons, &series, sample);
    }
}

/// Returns the series that stands for all of a metric that a limit refused.
fn overflow_of(commons: &Commons, labels: &Labels, meta: &SeriesMeta) -> Option<Arc<Overflow>> {
    if labels.get(OVERFLOW).is_some() {
        return None;
    }
    let kept = [(METRIC_NAME, labels.metric()), (OVERFLOW, "true")];
    let mut builder = Labels::from_pairs(kept).to_builder();
    builder.set("commons", labels.get("commons").unwrap_or(""));
    let mut meta = meta.clone();
    if meta.kind == MetricKind::Summary && labels.get("quantile").is_some() {
        meta.kind = MetricKind::Gauge; // Nothing that is kept tells it from a sum or a count.
    }
    let labels = builder.build();
    Some(Arc::new(Overflow { commons: commons.clone(), labels, meta }))
}

/// A series is added up with others.
struct Fold {
    /// What becomes of a label that was a number.
    observed: Option<Observed>,
}

/// Why there is no series to store samples under.
#[derive(Debug, Clone)]
pub enum NotStored {
    /// They are refused, or dropped by a rule.
    Refused(Refusal),
    /// They are added up with those of other series: hand them to [`Ingest::fold`].
    Folded(Arc<Folded>),
}

/// Changes the key of an `_unassigned` series: it is looked up only while nothing was learned since.
const UNASSIGNED_KEYS: u128 = 0x5bd1_e995_7b93_02a1_c6a4_a793_5bd1_e995;

/// Sets the labels of tags that are known; what a point says under such a name moves aside, as
/// Prometheus does with a target's labels.
fn put_tags(labels: &mut LabelsBuilder, tags: &Tags) {
    let commons = (!tags.commons.is_unassigned()).then(|| tags.commons.as_str());
    for (name, value) in [
        ("commons", commons),
        ("service", tags.service.as_deref()),
        ("env", tags.env.as_deref()),
        ("cluster", tags.cluster.as_deref()),
    ] {
        let Some(value) = value else { continue };
        if let Some(sent) = labels.get(name).filter(|sent| *sent != value).map(str::to_owned) {
            labels.set(&format!("exported_{name}"), &sent);
        }
        labels.set(name, value);
    }
}

/// Refuses a commons that the sender may not write to, whatever tagging decided.
pub fn may_write(grant: &Grant, commons: &Commons) -> Result<(), Refusal> {
    let is_allowed = match &grant.write {
        WriteScope::Nothing => false,
        WriteScope::Any => *commons != Commons::own(),
        WriteScope::Commons(only) => commons == only,
        WriteScope::Cluster { commons: set, .. } => {
            let is_shared = commons.is_unassigned() || *commons == Commons::cluster();
            *commons != Commons::own() && (is_shared || set.is_empty() || set.contains(commons))
        }
    };
    if is_allowed {
        return Ok(());
    }
    let message = format!("the credential `{}` may not write to commons {commons}", grant.name);
    Err(Refusal::new(Reason::Forbidden, message))
}

/// Samples grouped by commons, as storage takes them.
#[derive(Debug, Default)]
pub struct SampleParts {
    /// The index in `groups` of each commons, plus one; 0 for none yet.
    slots: Vec<u32>,
    groups: Vec<SampleGroup>,
    n_expected: usize,
    /// The earliest lookup.
    epoch: Option<Epoch>,
}

#[derive(Debug)]
struct SampleGroup {
    commons_idx: u32,
    series_idx: Vec<u32>,
    timestamps_ms: Vec<i64>,
    values: Vec<f64>,
    /// Shorter than `values` where none has followed yet.
    starts_ns: Vec<i64>,
}

impl SampleParts {
    /// Returns an empty collection with room for `n_expected` samples of one commons.
    pub fn with_capacity(n_expected: usize) -> Self {
        Self { n_expected, ..Self::default() }
    }

    /// Says that series to be added were looked up in this epoch.
    pub fn looked_up(&mut self, epoch: Epoch) {
        self.epoch = Some(self.epoch.map_or(epoch, |before| before.min(epoch)));
    }

    /// Returns the epoch of the earliest lookup.
    pub fn epoch(&self) -> Epoch {
        self.epoch.unwrap_or_default()
    }

    /// Adds samples of one series.
    #[inline]
    pub fn push(&mut self, series: SeriesRef, timestamps_ms: &[i64], values: &[f64]) {
        let group = self.group(series.commons_idx);
        if let ([timestamp_ms], [value]) = (timestamps_ms, values) {
            // What a scrape sends: one sample a series.
            group.series_idx.push(series.series_idx);
            group.timestamps_ms.push(*timestamp_ms);
            group.values.push(*value);
            return;
        }
        group.series_idx.extend(timestamps_ms.iter().map(|_| series.series_idx));
        group.timestamps_ms.extend_from_slice(timestamps_ms);
        group.values.extend_from_slice(values);
    }

    /// Adds samples of one series with since when they count, ns since 1970 UTC, 0 for none.
    pub fn push_started(
        &mut self,
        series: SeriesRef,
        timestamps_ms: &[i64],
        values: &[f64],
        starts_ns: impl Iterator<Item = i64>,
    ) {
        let group = self.group(series.commons_idx);
        group.starts_ns.resize(group.values.len(), 0);
        group.starts_ns.extend(starts_ns);
        self.push(series, timestamps_ms, values);
    }

    #[inline]
    fn group(&mut self, commons_idx: u32) -> &mut SampleGroup {
        let slot = usize::try_from(commons_idx).expect("an index of storage's table fits");
        let group = self.slots.get(slot).copied().unwrap_or(0);
        let group_idx = match group.checked_sub(1) {
            Some(group_idx) => usize::try_from(group_idx).expect("an index of `groups` fits"),
            None => self.open_group(slot, commons_idx),
        };
        &mut self.groups[group_idx]
    }

    #[cold]
    fn open_group(&mut self, slot: usize, commons_idx: u32) -> usize {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, 0);
        }
        // Most requests are of one commons; the others' columns grow as they need.
        let capacity = if self.groups.is_empty() { self.n_expected } else { 0 };
        self.groups.push(SampleGroup {
            commons_idx,
            series_idx: Vec::with_capacity(capacity),
            timestamps_ms: Vec::with_capacity(capacity),
            values: Vec::with_capacity(capacity),
            starts_ns: Vec::new(),
        });
        self.slots[slot] = u32::try_from(self.groups.len()).expect("fewer groups than commons");
        self.groups.len() - 1
    }

    /// Returns one part a commons.
    pub fn into_parts(self) -> Vec<Part> {
        let epoch = self.epoch();
        let part = |mut group: SampleGroup| {
            if !group.starts_ns.is_empty() {
                group.starts_ns.resize(group.values.len(), 0);
            }
            Part::Samples {
                commons_idx: group.commons_idx,
                epoch,
                series_idx: group.series_idx,
                timestamps_ms: group.timestamps_ms,
                values: group.values,
                starts_ns: group.starts_ns,
            }
        };
        self.groups.into_iter().map(part).collect()
    }
}
