//! Service level objectives, compiled into the recording rules and burn-rate alerts that watch them.
//!
//! An objective says which share of what happens may go wrong within a period, for every commons, and
//! which share single commons have instead. What it becomes are ordinary rules: the rates of errors and
//! of everything, recorded once per evaluation; their ratio over each window, summed from those records,
//! so that no window reads raw data and a quiet night weighs what it should; how fast the budget burns;
//! and two windows an alert, a long one that is sure and a short one that ends it soon (The Site
//! Reliability Workbook, chapter 5).

use std::collections::BTreeMap;

use serde_saphyr::Spanned;

use super::def::GroupDef;
use super::load::{Place, RawGroup, RawRule, Reader};
use super::yaml::mapping;
use crate::base::units::format_duration_ms;

mapping!(RawObjective {
    name: String = "name",
    objective: f64 = "objective",
    period: String = "period",
    interval: String = "interval",
    errors: String = "errors",
    total: String = "total",
    labels: BTreeMap<String, String> = "labels",
    annotations: BTreeMap<String, String> = "annotations",
    commons: BTreeMap<String, f64> = "commons",
});

/// Stands for the window in `errors` and `total`.
const RANGE: &str = "$range";
/// The time that a rate is taken over, and the shortest window.
const RATE: &str = "5m";
const DAY_MS: i64 = 86_400_000;
/// What a page and a ticket wait for: the share of the budget that is spent within the long window.
const BURNS: [Burn; 4] = [
    Burn { severity: "page", long: "1h", long_ms: DAY_MS / 24, short: "5m", share: 0.02 },
    Burn { severity: "page", long: "6h", long_ms: DAY_MS / 4, short: "30m", share: 0.05 },
    Burn { severity: "ticket", long: "1d", long_ms: DAY_MS, short: "2h", share: 0.1 },
    Burn { severity: "ticket", long: "3d", long_ms: 3 * DAY_MS, short: "6h", share: 0.1 },
];
/// The windows that the alerts need.
const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

struct Burn {
    severity: &'static str,
    long: &'static str,
    long_ms: i64,
    short: &'static str,
    share: f64,
}

impl Burn {
    /// Returns how many times faster than evenly that share is spent.
    #[expect(clippy::cast_precision_loss, reason = "periods in ms fit a double")]
    fn factor(&self, period_ms: i64) -> f64 {
        let factor = self.share * period_ms as f64 / self.long_ms as f64;
        (factor * 1e3).round() / 1e3
    }
}

/// An objective that was read.
struct Objective {
    name: String,
    errors: String,
    total: String,
    /// The share that must go well.
    share: f64,
    of_commons: BTreeMap<String, f64>,
    period_ms: i64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// Compiles the objectives of a file, a group each.
pub(super) fn groups(reader: &mut Reader<'_>, raw: Vec<Spanned<RawObjective>>) -> Vec<GroupDef> {
    let mut groups = Vec::new();
    for (idx, Spanned { value, referenced, .. }) in raw.into_iter().enumerate() {
        let named = value.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
        let place =
            Place { line: referenced.line(), words: format!("objective {}{named}", idx + 1) };
        let interval = value.interval.clone();
        let Some(objective) = read(reader, &place, value) else { continue };
        let group = RawGroup { interval, ..RawGroup::default() };
        let rules = objective.rules();
        groups.push(reader.compiled(&place, objective.group_name(), group, rules));
    }
    groups
}

fn read(reader: &mut Reader<'_>, place: &Place, raw: RawObjective) -> Option<Objective> {
    reader.unknown(place, &raw.unknown, RawObjective::KEYS);
    let period_ms = reader.duration(place, "period", raw.period.as_deref()).unwrap_or(30 * DAY_MS);
    if period_ms < DAY_MS {
        reader.mistake(place, "`period` must be a day at least");
    }
    let all = raw.objective.iter().chain(raw.commons.iter().flat_map(BTreeMap::values));
    for percent in all.filter(|percent| !(**percent > 0.0 && **percent < 100.0)) {
        let message = format!("`objective` {percent} is no percentage between 0 and 100");
        reader.mistake(place, message);
    }
    for (key, text) in [("errors", &raw.errors), ("total", &raw.total)] {
        if text.as_ref().is_some_and(|text| !text.contains(RANGE)) {
            let message = format!("`{key}` names no window: write rate(…[{RANGE}])");
            reader.mistake(place, message);
        }
    }
    let name = raw.name.filter(|name| !name.is_empty());
    if name.is_none() || raw.objective.is_none() || raw.errors.is_none() || raw.total.is_none() {
        reader.mistake(place, "an objective needs `name`, `objective`, `errors` and `total`");
    }
    Some(Objective {
        name: name?,
        errors: raw.errors?,
        total: raw.total?,
        share: raw.objective? / 100.0,
        of_commons: raw
            .commons
            .unwrap_or_default()
            .into_iter()
            .map(|(c, p)| (c, p / 100.0))
            .collect(),
        period_ms,
        labels: raw.labels.unwrap_or_default(),
        annotations: raw.annotations.unwrap_or_default(),
    })
}

impl Objective {
    fn group_name(&self) -> String {
        format!("objective {}", self.name)
    }

    /// Writes a selector of what was recorded for this objective.
    fn recorded(&self, metric: &str, more: &str) -> String {
        format!("{metric}{{objective={:?}{more}}}", self.name)
    }

    fn record(&self, name: impl Into<String>, expr: String) -> RawRule {
        let labels = BTreeMap::from([("objective".to_owned(), self.name.clone())]);
        let (record, expr) = (Some(name.into()), Some(expr));
        RawRule { record, expr, labels: Some(labels), ..RawRule::default() }
    }

    fn rules(&self) -> Vec<RawRule> {
        let errors = self.errors.replace(RANGE, RATE);
        let total = self.total.replace(RANGE, RATE);
        let mut rules = vec![
            self.record("slo:total:rate5m", total.clone()),
            // Without an error there is no series of errors, which is as good as it gets.
            self.record("slo:errors:rate5m", format!("({errors}) or ({total}) * 0")),
        ];
        rules.extend(self.objectives());
        for window in WINDOWS {
            rules.push(self.ratio(window, window));
        }
        let period = format_duration_ms(self.period_ms);
        rules.push(self.ratio("period", &period));
        for window in WINDOWS {
            let ratio = self.recorded(&format!("slo:errors:ratio_{window}"), "");
            let burn = format!("{ratio} / {}", self.budget());
            rules.push(self.record(format!("slo:burn_rate:{window}"), burn));
        }
        let spent = self.recorded("slo:errors:ratio_period", "");
        let left = format!("1 - {spent} / {}", self.budget());
        rules.push(self.record("slo:error_budget:remaining", left));
        rules.extend(BURNS.iter().map(|burn| self.alert(burn)));
        rules
    }

    fn budget(&self) -> String {
        format!("(1 - {})", self.recorded("slo:objective:ratio", ""))
    }

    /// Records what is aimed at, for each commons that anything is heard of.
    fn objectives(&self) -> Vec<RawRule> {
        let own: Vec<String> = self.of_commons.keys().map(|name| regex::escape(name)).collect();
        let others = match own.is_empty() {
            true => String::new(),
            false => format!(", commons!~{:?}", own.join("|")),
        };
        let aim = |more: &str, share: f64| {
            let heard_of = self.recorded("slo:total:rate5m", more);
            self.record("slo:objective:ratio", format!("{heard_of} * 0 + {share}"))
        };
        let usual = aim(&others, self.share);
        let own =
            self.of_commons.iter().map(|(name, share)| aim(&format!(", commons={name:?}"), *share));
        std::iter::once(usual).chain(own).collect()
    }

    fn ratio(&self, name: &str, window: &str) -> RawRule {
        let sum = |metric: &str| {
            let recorded = self.recorded(metric, "");
            match window == RATE {
                true => recorded,
                false => format!("sum_over_time({recorded}[{window}])"),
            }
        };
        // Where nothing happened nothing went wrong: 0/0 is no number, and passes no comparison.
        let expr = format!("{} / {}", sum("slo:errors:rate5m"), sum("slo:total:rate5m"));
        self.record(format!("slo:errors:ratio_{name}"), expr)
    }

    fn alert(&self, burn: &Burn) -> RawRule {
        let factor = burn.factor(self.period_ms);
        let over = |window: &str| {
            format!("{} > {factor}", self.recorded(&format!("slo:burn_rate:{window}"), ""))
        };
        let mut labels = BTreeMap::from([
            ("severity".to_owned(), burn.severity.to_owned()),
            ("window".to_owned(), burn.long.to_owned()),
            // The series have it too; said here, no two objectives have the same rule.
            ("objective".to_owned(), self.name.clone()),
        ]);
        labels.extend(self.labels.clone());
        let mut annotations = BTreeMap::from([(
            "summary".to_owned(),
            format!(
                "{{{{ with $labels.commons }}}}{{{{ . }}}}: {{{{ end }}}}{} burns its error budget \
                 {{{{ $value | humanize }}}} times as fast as it may, for {}",
                self.name, burn.long
            ),
        )]);
        annotations.extend(self.annotations.clone());
        RawRule {
            alert: Some("ErrorBudgetBurn".to_owned()),
            expr: Some(format!("{} and {}", over(burn.long), over(burn.short))),
            labels: Some(labels),
            annotations: Some(annotations),
            ..RawRule::default()
        }
    }
}
