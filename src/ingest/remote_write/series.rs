//! The labels of a series that is not known yet: read, checked and put in words.
//!
//! The rules are those of remote write 1.0: a metric name, labels sorted by name, no name twice, no
//! empty name or value, everything UTF-8. Prometheus' receiver lets some of that pass; a sender that
//! breaks it is broken, and hears so here while its other series are stored.

use std::fmt::Write as _;

use crate::ingest::limits::Limits;
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::resolve::NewSeries;
use crate::ingest::wire::{Reader, WireError};
use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, LabelsBuilder};

/// A label as it lies on the wire.
pub(super) type RawLabel<'a> = (&'a [u8], &'a [u8]);

/// Reads the labels of a `TimeSeries` message.
pub(super) fn describe(message: Reader<'_>, limits: &Limits) -> Result<NewSeries, Refusal> {
    let raw = raw_labels(message, limits.labels_per_series.saturating_add(1))
        .map_err(|error| Refusal::new(Reason::InvalidLabels, error.to_string()))?;
    let labels = labels_of(&raw, limits, || text(message))?;
    Ok(NewSeries { labels, ..NewSeries::default() })
}

/// Reads the labels of an exemplar of 1.0.
pub(super) fn exemplar_labels(message: Reader<'_>, limits: &Limits) -> Result<Labels, Refusal> {
    let raw = raw_labels(message, EXEMPLAR_LABELS_MAX + 1)
        .map_err(|error| Refusal::new(Reason::InvalidLabels, error.to_string()))?;
    exemplar_labels_of(&raw, limits)
}

/// The most labels of one exemplar; OpenMetrics allows 128 characters in all.
pub(super) const EXEMPLAR_LABELS_MAX: usize = 64;

/// Checks the labels of an exemplar, which may be none.
pub(super) fn exemplar_labels_of(raw: &[RawLabel<'_>], limits: &Limits) -> Result<Labels, Refusal> {
    let refuse = |reason, what: String| Err(Refusal::new(reason, format!("an exemplar: {what}")));
    let n_bytes: usize = raw.iter().map(|(name, value)| name.len() + value.len()).sum();
    if n_bytes > limits.exemplar_labels.bytes() || raw.len() > EXEMPLAR_LABELS_MAX {
        let max = limits.exemplar_labels;
        let what =
            format!("its labels have {n_bytes} bytes, at most {max} (limits.exemplar_labels)");
        return refuse(Reason::LabelLimit, what);
    }
    if let Some(name) = first_duplicate(raw) {
        return refuse(Reason::DuplicateLabel, format!("label `{name}` comes twice"));
    }
    let mut labels = LabelsBuilder::new();
    for (name, value) in raw {
        match (std::str::from_utf8(name), std::str::from_utf8(value)) {
            (Ok(name), Ok(value)) if !name.is_empty() => {
                labels.set(name, value);
            }
            (Ok(""), _) => {
                return refuse(Reason::InvalidLabels, "a label without a name".to_owned());
            }
            _ => return refuse(Reason::InvalidLabels, "a label is not UTF-8".to_owned()),
        }
    }
    Ok(labels.build())
}

/// Checks the labels of a series; `text` puts it in words.
pub(super) fn labels_of(
    raw: &[RawLabel<'_>],
    limits: &Limits,
    text: impl Fn() -> String,
) -> Result<LabelsBuilder, Refusal> {
    let refuse = |reason, what: String| Err(Refusal::new(reason, format!("{}: {what}", text())));
    if raw.len() > limits.labels_per_series {
        let max = limits.labels_per_series;
        let what = format!("more than {max} labels (limits.labels_per_series)");
        return refuse(Reason::LabelLimit, what);
    }
    if let Some(name) = first_duplicate(raw) {
        return refuse(Reason::DuplicateLabel, format!("label `{name}` comes twice"));
    }
    let mut labels = LabelsBuilder::new();
    for (name, value) in raw {
        match check(name, value, limits) {
            Ok((name, value)) => {
                labels.set(name, value);
            }
            Err((reason, what)) => return refuse(reason, what),
        }
    }
    if let Some((before, name)) = first_unsorted(raw) {
        let what = format!("label `{name}` must not stand behind `{before}`: labels are sorted");
        return refuse(Reason::InvalidLabels, what);
    }
    if labels.get(METRIC_NAME).is_none() {
        return refuse(Reason::NoMetricName, format!("no metric name (label {METRIC_NAME})"));
    }
    Ok(labels)
}

/// Collects at most `n_max` labels.
pub(super) fn raw_labels(
    mut message: Reader<'_>,
    n_max: usize,
) -> Result<Vec<RawLabel<'_>>, WireError> {
    let mut labels = Vec::new();
    while let Some(field) = message.next_field()? {
        if field.number == 1 {
            labels.push(raw_label(field.message()?)?);
            if labels.len() == n_max {
                break;
            }
        }
    }
    Ok(labels)
}

fn raw_label(mut label: Reader<'_>) -> Result<RawLabel<'_>, WireError> {
    let mut pair: RawLabel<'_> = (b"", b"");
    while let Some(field) = label.next_field()? {
        match field.number {
            1 => pair.0 = field.bytes()?,
            2 => pair.1 = field.bytes()?,
            _ => {}
        }
    }
    Ok(pair)
}

fn check<'a>(
    name: &'a [u8],
    value: &'a [u8],
    limits: &Limits,
) -> Result<(&'a str, &'a str), (Reason, String)> {
    let n_name = limits.label_name;
    if name.len() > n_name.bytes() {
        let what =
            format!("a label name has {} bytes, at most {n_name} (limits.label_name)", name.len());
        return Err((Reason::LabelLimit, what));
    }
    let Ok(name) = std::str::from_utf8(name) else {
        return Err((Reason::InvalidLabels, "a label name is not UTF-8".to_owned()));
    };
    if name.is_empty() {
        return Err((Reason::InvalidLabels, "a label without a name".to_owned()));
    }
    let n_value = limits.label_value;
    if value.len() > n_value.bytes() {
        let n_bytes = value.len();
        let what = format!(
            "the value of label `{name}` has {n_bytes} bytes, at most {n_value} (limits.label_value)"
        );
        return Err((Reason::LabelLimit, what));
    }
    match std::str::from_utf8(value) {
        Ok("") if name == METRIC_NAME => Ok((name, "")), // Told as a missing name below.
        Ok("") => Err((Reason::InvalidLabels, format!("label `{name}` has an empty value"))),
        Ok(value) => Ok((name, value)),
        Err(_) => Err((Reason::InvalidLabels, format!("the value of label `{name}` is not UTF-8"))),
    }
}

fn first_unsorted(raw: &[RawLabel<'_>]) -> Option<(String, String)> {
    let pair = raw.windows(2).find(|pair| pair[1].0 < pair[0].0)?;
    Some((shorten(pair[0].0), shorten(pair[1].0)))
}

fn first_duplicate(raw: &[RawLabel<'_>]) -> Option<String> {
    let mut names: Vec<&[u8]> = raw.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1])?;
    Some(String::from_utf8_lossy(twice[0]).into_owned())
}

/// How much of a label set goes into a text for a person.
pub(super) const TEXT_LABELS_MAX: usize = 8;
const TEXT_PART_MAX: usize = 64;

/// Puts a series in words, as PromQL would write it, shortened; it need not be valid.
pub(super) fn text(message: Reader<'_>) -> String {
    text_of(&raw_labels(message, TEXT_LABELS_MAX).unwrap_or_default())
}

/// Puts labels in words, at most [`TEXT_LABELS_MAX`] of them.
pub(super) fn text_of(labels: &[RawLabel<'_>]) -> String {
    let labels = &labels[..labels.len().min(TEXT_LABELS_MAX)];
    let is_metric = |label: &&RawLabel<'_>| label.0 == METRIC_NAME.as_bytes();
    let mut out = labels.iter().find(is_metric).map_or(String::new(), |(_, name)| shorten(name));
    let mut separator = "{";
    for (name, value) in labels.iter().filter(|label| !is_metric(label)) {
        let _ = write!(out, "{separator}{}={:?}", shorten(name), shorten(value));
        separator = ", ";
    }
    if labels.len() == TEXT_LABELS_MAX {
        out.push_str(", …");
    }
    out.push_str(if separator == "{" { "{}" } else { "}" });
    out
}

fn shorten(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_PART_MAX)]);
    let ellipsis = if bytes.len() > TEXT_PART_MAX { "…" } else { "" };
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    clean + ellipsis
}
