//! `overrides` in a rule file to what single commons have different, put where the rules are.
//!
//! An override may stand in another file than its rule, so that a commons keeps its own. One that names
//! a rule which is not there is a mistake like any other: it would silently do nothing.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::def::{GroupDef, Mistake, RuleDef};
use super::load::{Place, Reader};
use super::overrides::Override;
use super::yaml::mapping;

/// The most overrides of one file.
const OVERRIDES_MAX: usize = 100_000;

mapping!(RawOverride {
    rule: String = "rule",
    commons: OneOrMore = "commons",
    threshold: f64 = "threshold",
    hold: String = "for",
    owner: String = "owner",
    severity: String = "severity",
    hours: String = "hours",
    labels: BTreeMap<String, String> = "labels",
    enabled: bool = "enabled",
    until: String = "until",
    why: String = "why",
});

/// `commons: heart.example` or `commons: [heart.example, canine.example]`
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_all(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(all) => all,
        }
    }
}

/// An override and the rule that it names.
#[derive(Debug)]
pub(super) struct Named {
    rule: String,
    one: Override,
}

/// Reads the overrides of a file, one for each commons.
pub(super) fn read(reader: &mut Reader<'_>, raw: Vec<Spanned<RawOverride>>) -> Vec<Named> {
    let mut all = Vec::new();
    for (idx, Spanned { value, referenced, .. }) in raw.into_iter().enumerate() {
        let named = value.rule.as_ref().map(|rule| format!(" of {rule:?}")).unwrap_or_default();
        let place =
            Place { line: referenced.line(), words: format!("override {}{named}", idx + 1) };
        if idx == OVERRIDES_MAX {
            reader.mistake(&place, format!("more than {OVERRIDES_MAX} overrides in one file"));
            break;
        }
        all.extend(one(reader, &place, value));
    }
    all
}

fn one(reader: &mut Reader<'_>, place: &Place, raw: RawOverride) -> Vec<Named> {
    reader.unknown(place, &raw.unknown, RawOverride::KEYS);
    let commons = raw.commons.map(OneOrMore::into_all).unwrap_or_default();
    let rule = raw.rule.filter(|rule| !rule.is_empty());
    if rule.is_none() || commons.is_empty() || commons.iter().any(String::is_empty) {
        reader.mistake(place, "an override needs a `rule` and the `commons` it is for");
    }
    let hold_ms = reader.duration(place, "for", raw.hold.as_deref());
    let until_ms = until(reader, place, raw.until.as_deref());
    reader.label_names(place, "label", raw.labels.iter().flat_map(BTreeMap::keys));
    let mut labels = raw.labels.unwrap_or_default();
    let own = [("owner", raw.owner), ("severity", raw.severity), ("hours", raw.hours)];
    labels.extend(own.into_iter().filter_map(|(name, said)| Some((name.to_owned(), said?))));
    if labels.contains_key("alertname") || labels.contains_key("commons") {
        reader.mistake(place, "neither `alertname` nor `commons` can be another");
    }
    let is_off = raw.enabled == Some(false);
    if raw.threshold.is_none() && hold_ms.is_none() && labels.is_empty() && !is_off {
        reader.mistake(place, "it overrides nothing");
    }
    let threshold = raw.threshold.filter(|value| !value.is_nan());
    let file = reader.file.path.clone();
    let why = raw.why.unwrap_or_default();
    let line = place.line;
    let Some(rule) = rule else { return Vec::new() };
    let one = |commons: String| Named {
        rule: rule.clone(),
        one: Override {
            file: file.clone(),
            line,
            commons,
            threshold,
            hold_ms,
            labels: labels.clone(),
            is_off,
            until_ms,
            why: why.clone(),
        },
    };
    commons.into_iter().map(one).collect()
}

/// Reads a moment, or the end of a day in UTC.
fn until(reader: &mut Reader<'_>, place: &Place, text: Option<&str>) -> Option<i64> {
    let text = text?;
    if let Ok(time) = chrono::DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    let day = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    let next = day.and_then(|day| day.succ_opt()?.and_hms_opt(0, 0, 0));
    if next.is_none() {
        let message = format!("`until`: `{text}` is neither a day, 2026-12-31, nor RFC 3339");
        reader.mistake(place, message);
    }
    next.map(|time| time.and_utc().timestamp_millis())
}

/// Puts overrides to their rules; one that finds none, or comes twice, is a mistake.
pub(super) fn apply(all: Vec<Named>, groups: &mut [GroupDef], mistakes: &mut Vec<Mistake>) {
    for Named { rule, one } in all {
        let place = format!("override of {rule:?} for {}", one.commons);
        let mut wrong = |message: String| {
            mistakes.push(Mistake {
                file: one.file.clone(),
                line: one.line,
                place: place.clone(),
                message,
            });
        };
        let mut n_found = 0;
        for def in groups.iter_mut().flat_map(|group| &mut group.rules) {
            let RuleDef::Alert(def) = def else { continue };
            if def.name != rule {
                continue;
            }
            n_found += 1;
            if one.threshold.is_some() && def.threshold.is_none() {
                wrong("the rule compares in its `expr`: give it a `threshold`".to_owned());
            }
            if let Some(other) = def.overrides.0.insert(one.commons.clone(), one.clone()) {
                wrong(format!("{}:{} overrides it already", other.file, other.line));
            }
        }
        if n_found == 0 {
            wrong("there is no alerting rule of this name".to_owned());
        }
    }
}
