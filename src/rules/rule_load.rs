//! One rule of a file to its definition: first what it says, then whether it alerts or records.

use std::collections::BTreeMap;

use crate::model::names::is_metric_name;

use super::def::{AlertDef, RecordDef, RuleDef};
use super::dialect::{Asked, Dialect};
use super::load::{Place, RawRule, Reader};
use super::overrides::{Overrides, Threshold};
use super::text::Template;

/// The language of a group's or a rule's expression, and how far back it looks.
#[derive(Clone, Copy)]
pub(super) struct Speech {
    pub(super) dialect: Dialect,
    pub(super) range_ms: i64,
}

/// What a rule says beside its name; what could not be read is not there.
struct Said {
    asked: Option<Asked>,
    /// The expression, formatted.
    query: Option<String>,
    threshold: Option<Threshold>,
    hold_ms: Option<i64>,
    keep_firing_ms: Option<i64>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Reader<'_> {
    pub(super) fn rule(
        &mut self,
        place: &Place,
        mut raw: RawRule,
        shared: &BTreeMap<String, String>,
        speech: Speech,
    ) -> Option<RuleDef> {
        self.unknown(place, &raw.unknown, RawRule::KEYS);
        let names = (raw.alert.take(), raw.record.take());
        let said = self.said(place, raw, shared, speech);
        match names {
            (Some(name), None) if !name.is_empty() => {
                self.alert(place, name, said).map(RuleDef::Alert)
            }
            (None, Some(name)) if !name.is_empty() => {
                self.record(place, name, said).map(RuleDef::Record)
            }
            (Some(_), Some(_)) => {
                self.mistake(place, "a rule has `record` or `alert`, not both");
                None
            }
            _ => {
                self.mistake(place, "a rule needs `record` or `alert`");
                None
            }
        }
    }

    fn said(
        &mut self,
        place: &Place,
        raw: RawRule,
        shared: &BTreeMap<String, String>,
        speech: Speech,
    ) -> Said {
        let mut labels = shared.clone();
        self.label_names(place, "label", raw.labels.iter().flat_map(BTreeMap::keys));
        labels.extend(raw.labels.unwrap_or_default());
        let speech = self.speech(place, raw.dialect.as_deref(), raw.range.as_deref(), speech);
        let threshold = self.threshold(place, raw.threshold.as_deref());
        let query = self.expr(place, speech.dialect, raw.expr.as_deref());
        let Speech { dialect, range_ms } = speech;
        let asked = raw.expr.map(|text| Asked { dialect, text, range_ms });
        let hold_ms = self.duration(place, "for", raw.hold.as_deref());
        let keep_firing_ms = self.duration(place, "keep_firing_for", raw.keep_firing.as_deref());
        let annotations = raw.annotations.unwrap_or_default();
        self.label_names(place, "annotation", annotations.keys());
        Said { asked, query, threshold, hold_ms, keep_firing_ms, labels, annotations }
    }

    fn alert(&mut self, place: &Place, name: String, said: Said) -> Option<AlertDef> {
        let labels = self.templates(place, &name, "label", said.labels);
        let annotations = self.templates(place, &name, "annotation", said.annotations);
        Some(AlertDef {
            name,
            asked: said.asked?,
            query: with_threshold(said.query?, said.threshold),
            threshold: said.threshold,
            overrides: Overrides::default(),
            hold_ms: said.hold_ms.unwrap_or(0),
            keep_firing_ms: said.keep_firing_ms.unwrap_or(0),
            labels,
            annotations,
        })
    }

    fn record(&mut self, place: &Place, name: String, said: Said) -> Option<RecordDef> {
        let of_alerts = [
            ("for", said.hold_ms.is_some()),
            ("keep_firing_for", said.keep_firing_ms.is_some()),
            ("annotations", !said.annotations.is_empty()),
            ("threshold", said.threshold.is_some()),
        ];
        self.record_only(place, &name, of_alerts);
        let labels = said.labels.into_iter().collect();
        Some(RecordDef { name, asked: said.asked?, query: said.query?, labels })
    }

    fn record_only(&mut self, place: &Place, name: &str, alert_keys: [(&str, bool); 4]) {
        if !is_metric_name(name) {
            self.mistake(place, format!("`{name}` is not a metric name"));
        }
        for (key, _) in alert_keys.iter().filter(|(_, is_set)| *is_set) {
            self.mistake(place, format!("`{key}` has no meaning in a recording rule"));
        }
    }

    /// Reads `type` and `range`; what is not said is as it is around.
    pub(super) fn speech(
        &mut self,
        place: &Place,
        dialect: Option<&str>,
        range: Option<&str>,
        around: Speech,
    ) -> Speech {
        let named = dialect.map(|name| (name, Dialect::named(name)));
        if let Some((name, None)) = named {
            let known = Dialect::ALL.map(Dialect::as_str).join(", ");
            self.mistake(place, format!("`type`: `{name}` is none of {known}"));
        }
        let dialect = named.and_then(|(_, known)| known).unwrap_or(around.dialect);
        let range_ms = self.duration(place, "range", range);
        if range_ms.is_some() && !dialect.has_range() {
            let message = format!(
                "`range` has no meaning in {}, whose expressions say it themselves",
                dialect.as_str()
            );
            self.mistake(place, message);
        }
        if range_ms == Some(0) {
            self.mistake(place, "`range` must be more than 0");
        }
        Speech { dialect, range_ms: range_ms.unwrap_or(around.range_ms) }
    }

    fn threshold(&mut self, place: &Place, text: Option<&str>) -> Option<Threshold> {
        match Threshold::parse(text?) {
            Ok(threshold) => Some(threshold),
            Err(reason) => {
                self.mistake(place, format!("`threshold`: {reason}"));
                None
            }
        }
    }

    fn expr(&mut self, place: &Place, dialect: Dialect, expr: Option<&str>) -> Option<String> {
        let Some(expr) = expr.filter(|expr| !expr.trim().is_empty()) else {
            self.mistake(place, "a rule needs an `expr`");
            return None;
        };
        match (self.check_expr)(dialect, expr) {
            Ok(query) => Some(query),
            Err(reason) => {
                self.mistake(place, format!("cannot read the expression: {reason}"));
                None
            }
        }
    }

    fn templates(
        &mut self,
        place: &Place,
        alert: &str,
        what: &str,
        texts: BTreeMap<String, String>,
    ) -> Vec<(String, Template)> {
        let mut templates = Vec::new();
        for (name, text) in texts {
            match Template::parse(&format!("__alert_{alert}"), &text) {
                Ok(template) => templates.push((name, template)),
                Err(error) => self.mistake(place, format!("{what} {name:?}: {error}")),
            }
        }
        templates
    }
}

/// Shows a threshold where it belongs: behind the expression.
fn with_threshold(query: String, threshold: Option<Threshold>) -> String {
    match threshold {
        Some(threshold) => format!("({query}) {threshold}"),
        None => query,
    }
}
