//! What senders say of metrics: type, unit and help.
//!
//! In 1.0 it comes now and then, of families of metrics and not of series, so it is kept for the commons
//! of the credential, or for those that have such a series and that the credential may write. In 2.0 it
//! comes with each series. What is known already is not written again.

use std::collections::HashSet;
use std::sync::Arc;

use crate::ingest::wire::{Reader, WireError};
use crate::ingest::{Ingest, Sender};
use crate::model::{Commons, Description, MetricKind, WriteScope};
use crate::storage::{Described, Part};

/// Bytes of help and of a unit that are kept.
const HELP_MAX: usize = 1_024;
const UNIT_MAX: usize = 64;
/// The most families in one request of 1.0; Prometheus sends 500 at a time.
const FAMILIES_MAX: usize = 20_000;

/// Returns a description, its texts cut to what is kept.
pub(in crate::ingest) fn description(kind: MetricKind, unit: &str, help: &str) -> Description {
    Description { kind, unit: Arc::from(cut(unit, UNIT_MAX)), help: Arc::from(cut(help, HELP_MAX)) }
}

fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Reads a `MetricMetadata` of 1.0; `None` when it says nothing of nothing, or not in UTF-8.
pub(super) fn read_v1(mut message: Reader<'_>) -> Result<Option<(&str, Description)>, WireError> {
    let (mut kind, mut family, mut help, mut unit): (_, &[u8], &[u8], &[u8]) = (0, b"", b"", b"");
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => kind = field.varint()?,
            2 => family = field.bytes()?,
            4 => help = field.bytes()?,
            5 => unit = field.bytes()?,
            _ => {}
        }
    }
    let texts = [family, help, unit].map(|text| std::str::from_utf8(text).ok());
    let [Some(family), Some(help), Some(unit)] = texts else { return Ok(None) };
    let described = description(MetricKind::from_prometheus(kind), unit, help);
    Ok((!family.is_empty() && described != Description::default()).then_some((family, described)))
}

/// Returns the parts that the families of a request of 1.0 come to.
pub(super) fn parts_of_families(
    ingest: &Ingest,
    sender: Sender<'_>,
    families: Vec<(&str, Description)>,
) -> Vec<Part> {
    let mut news = News::default();
    for (family, description) in families.into_iter().take(FAMILIES_MAX) {
        if family.len() > ingest.limits.label_value.bytes() {
            continue;
        }
        let all = match &sender.grant.write {
            WriteScope::Commons(commons) => vec![commons.clone()],
            _ => ingest.store.commons_with(&names_of(family)),
        };
        for commons in all {
            if ingest.may_store(sender.grant, &commons).is_ok() {
                news.add(ingest, &commons, family, &description);
            }
        }
    }
    news.into_parts()
}

/// Returns the names that the series of a family may have.
fn names_of(family: &str) -> [String; 4] {
    ["", "_total", "_count", "_bucket"].map(|suffix| format!("{family}{suffix}"))
}

/// What is not known yet, by commons.
#[derive(Debug, Default)]
pub(in crate::ingest) struct News {
    by_commons: Vec<(Commons, Vec<Described>)>,
    seen: HashSet<(Commons, Box<str>)>,
}

impl News {
    /// Adds what is said of a metric, unless it is known, or was said in this request already.
    pub(in crate::ingest) fn add(
        &mut self,
        ingest: &Ingest,
        commons: &Commons,
        metric: &str,
        description: &Description,
    ) {
        // A name that is nothing but a suffix has no family.
        if metric.is_empty()
            || !ingest.store.is_news(commons, metric, description)
            || !self.seen.insert((commons.clone(), Box::from(metric)))
        {
            return;
        }
        let described = (Arc::from(metric), description.clone());
        match self.by_commons.iter_mut().find(|(known, _)| known == commons) {
            Some((_, list)) => list.push(described),
            None => self.by_commons.push((commons.clone(), vec![described])),
        }
    }

    /// Returns one part a commons.
    pub(in crate::ingest) fn into_parts(self) -> Vec<Part> {
        let parts = self.by_commons.into_iter();
        parts.map(|(commons, described)| Part::Descriptions { commons, described }).collect()
    }
}
