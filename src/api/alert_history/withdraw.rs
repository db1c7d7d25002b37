//! What explanations quote of rows that were deleted, taken out of those that were kept.
//!
//! They were kept so that they open when the store has forgotten, and would go on showing what somebody
//! wanted to be forgotten. A quotation is looked at by what stands in it (`query::Quoted`); how many went is
//! said in their place, and taking the deletion back does not bring them back. Alerts themselves stay, with
//! their labels, as in the ledger and in what was sent.

use serde_json::{Value, json};

use super::super::{Api, time};
use super::evidence;
use super::kept::{hide_reasons, labels_in, labels_of};
use crate::model::{Grant, Labels};
use crate::query::{Quoted, may_see};

/// What stands in the place of why an evaluation failed.
const REASON_WITHDRAWN: &str = "why is withdrawn: it may have named what was deleted";
/// The parts that say what a rule found.
const RULES: [&str; 2] = ["rule", "ruleAtEnd"];
const NUMBERS: [&str; 2] = ["evaluations", "comparedValues"];
/// How long before an alert's beginning its rule may have been looked at.
const LEAD_MS: i64 = 3_600_000;

/// A deletion, as far as explanations are concerned.
#[derive(Debug)]
pub(in crate::api) struct Withdrawal {
    /// Who deletes: what they do not see stays.
    pub(in crate::api) grant: Grant,
    /// What is meant.
    pub(in crate::api) quoted: Quoted,
    /// First and last ns since 1970 UTC, both included.
    pub(in crate::api) range_ns: (i64, i64),
}

impl Withdrawal {
    /// Takes what is meant out of all explanations; returns of how many.
    pub(in crate::api) async fn carry_out(self, api: &Api) -> Result<usize, String> {
        api.kept.change_all(Box::new(move |kept: &mut Value| self.take_from(kept))).await
    }

    /// Takes what is meant out of one explanation; returns whether there was anything.
    fn take_from(&self, kept: &mut Value) -> bool {
        let of = labels_of(kept);
        let mut n_taken = self.take_numbers(kept, &of);
        if may_see(&self.grant, &of) {
            n_taken += self.take_evidence(kept, &of);
            n_taken += self.take_reasons(kept, &of);
        }
        if let (Some(fields), 1..) = (kept.as_object_mut(), n_taken) {
            let n_before = fields.get("withdrawn").and_then(Value::as_u64).unwrap_or(0);
            fields.insert("withdrawn".to_owned(), json!(n_before + n_taken as u64));
        }
        n_taken > 0
    }

    /// Takes lines, traces and examples.
    fn take_evidence(&self, kept: &mut Value, of: &Labels) -> usize {
        let of_rows =
            [("commons", of.get("commons").unwrap_or("")), ("service", evidence::service_of(of))];
        let known = Labels::from_pairs(of_rows);
        let around = time_of(&kept["startsAt"]).map(evidence::span);
        let lines = take(kept.pointer_mut("/lines/lines"), |one| {
            let text = one[1].as_str().unwrap_or_default();
            self.covers(&one[0]) && self.quoted.means_line(&known, text, evidence::is_cut(text))
        });
        let traces = take(kept.get_mut("traces"), |one| {
            let text = |column: usize| one[column].as_str().unwrap_or_default();
            let own = [("trace_id", text(0)), ("name", text(1)), ("status_code", "error")];
            let spans: Labels = of_rows.into_iter().chain(own).collect();
            around.is_none_or(|span| self.covers_some(span)) && self.quoted.means_spans(&spans)
        });
        let examples = take(kept.get_mut("exemplars"), |one| {
            self.covers(&one["time"]) && self.quoted.means_series(&labels_in(&one["series"]))
        });
        lines + traces + examples
    }

    /// Takes what the rule found, and what its comparison was fed.
    fn take_numbers(&self, kept: &mut Value, of: &Labels) -> usize {
        let is_meant = |one: &Value| {
            let labels = labels_of(one);
            let whose = if labels.get("commons").is_some() { &labels } else { of };
            let mut values = one["values"].as_array().into_iter().flatten();
            may_see(&self.grant, whose)
                && self.quoted.means_series(&labels)
                && values.any(|value| self.covers(&value[0]))
        };
        let mut n_taken = 0;
        for part in RULES {
            for list in NUMBERS {
                n_taken += take(kept.pointer_mut(&format!("/{part}/{list}")), is_meant);
            }
        }
        n_taken
    }

    /// Takes why evaluations failed, which may name any series and say what stood in a line.
    fn take_reasons(&self, kept: &mut Value, of: &Labels) -> usize {
        let begin_ms = time_of(&kept["startsAt"]).map_or(i64::MIN, |ms| ms.saturating_sub(LEAD_MS));
        let end_ms = time_of(&kept["keptAt"]).unwrap_or(i64::MAX);
        if !self.quoted.may_concern(of) || !self.covers_some((begin_ms, end_ms)) {
            return 0;
        }
        let mut n_taken = 0;
        for part in RULES {
            let Some(rule) = kept.get_mut(part) else { continue };
            n_taken += hide_reasons(rule, REASON_WITHDRAWN);
            for list in NUMBERS {
                // In the place of a list stands why there is none.
                if let Some(error) = rule.get_mut(list).and_then(|list| list.get_mut("error")) {
                    n_taken += usize::from(*error != REASON_WITHDRAWN);
                    *error = json!(REASON_WITHDRAWN);
                }
            }
        }
        n_taken
    }

    /// Returns whether a time that is shown is meant; one that cannot be read may be.
    fn covers(&self, shown: &Value) -> bool {
        time_of(shown).is_none_or(|ms| self.covers_some((ms, ms)))
    }

    /// Returns whether any of a time is meant, both ends included, ms since 1970 UTC.
    fn covers_some(&self, (start_ms, end_ms): (i64, i64)) -> bool {
        let end_ns = end_ms.saturating_mul(1_000_000).saturating_add(999_999);
        start_ms.saturating_mul(1_000_000) <= self.range_ns.1 && self.range_ns.0 <= end_ns
    }
}

fn time_of(shown: &Value) -> Option<i64> {
    shown.as_str().and_then(time::parse_ms)
}

/// Takes what is meant out of a list; returns how many those were.
fn take(list: Option<&mut Value>, is_meant: impl Fn(&Value) -> bool) -> usize {
    let Some(Value::Array(all)) = list else { return 0 };
    let n_before = all.len();
    all.retain(|one| !is_meant(one));
    n_before - all.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Config, Doomed};

    const AT: &str = "2026-11-21T00:00:00.000Z";
    const AT_NS: i64 = 1_795_219_200_000_000_000;

    fn kept() -> Value {
        let of_ada = json!({ "commons": "heart", "user": "ada" });
        let example = json!({ "__name__": "x", "user": "ada" });
        let rule = json!({
            "evaluations": [{ "labels": of_ada, "values": [[AT, "1"]] }],
            "comparedValues": { "error": "found duplicate series {user=\"ada\"}" },
            "lastError": "found duplicate series {user=\"ada\"}",
            "why": ["it fires"],
        });
        json!({
            "labels": { "alertname": "Down", "commons": "heart", "service": "fence" },
            "startsAt": AT,
            "keptAt": AT,
            "rule": rule,
            "ruleAtEnd": null,
            "lines": { "query": "{}", "lines": [[AT, "ada failed"], [AT, "bob failed"]] },
            "traces": [["0af7", "GET /user/ada", 5, AT], ["0bf8", "GET /", 5, AT]],
            "exemplars": [{ "trace": "0af7", "value": "1", "time": AT, "series": example }],
        })
    }

    /// Takes what a deletion means out of an explanation, and returns what is left.
    fn left(doomed: Doomed, range_ns: (i64, i64), grant: Grant) -> Value {
        let quoted = Quoted::new(&doomed, &Config::default()).unwrap();
        let withdrawal = Withdrawal { grant, quoted, range_ns };
        let mut left = kept();
        let is_changed = withdrawal.take_from(&mut left);
        assert_eq!(is_changed, left != kept());
        assert!(!withdrawal.take_from(&mut left), "nothing is taken twice: {left}");
        left
    }

    fn lines(query: &str) -> Doomed {
        Doomed::Lines(query.to_owned())
    }

    const EVER: (i64, i64) = (i64::MIN, i64::MAX);

    #[test]
    fn a_deleted_line_is_quoted_no_more_and_another_is() {
        let left = left(lines("{commons=\"heart\"} |= \"ada\""), EVER, Grant::open());

        assert_eq!(left["lines"]["lines"], json!([[AT, "bob failed"]]));
        assert_eq!(left["rule"]["lastError"], REASON_WITHDRAWN);
        assert_eq!(left["rule"]["comparedValues"], json!({ "error": REASON_WITHDRAWN }));
        assert_eq!((left["traces"].as_array().unwrap().len(), &left["withdrawn"]), (2, &json!(3)));
    }

    #[test]
    fn a_deleted_series_is_neither_a_number_nor_an_example() {
        let left = left(Doomed::Series(vec!["{user=\"ada\"}".to_owned()]), EVER, Grant::open());

        assert_eq!((&left["rule"]["evaluations"], &left["exemplars"]), (&json!([]), &json!([])));
        assert!(!left["rule"].to_string().contains("ada"), "{left}");
        assert_eq!(left["lines"], kept()["lines"]);
    }

    #[test]
    fn a_deleted_span_is_no_trace() {
        let left = left(Doomed::Spans(vec!["{trace_id=\"0af7\"}".to_owned()]), EVER, Grant::open());

        assert_eq!(left["traces"], json!([["0bf8", "GET /", 5, AT]]));
        assert_eq!(left["lines"], kept()["lines"]);
    }

    #[test]
    fn what_is_of_another_commons_or_time_stays() {
        let all = || lines("{commons=~\".+\"}");
        let elsewhere = lines("{commons=\"canine\"}");
        let before = (i64::MIN, AT_NS - 3 * 3_600_000_000_000);
        let stranger = Grant { read: crate::model::ReadScope::Nothing, ..Grant::open() };

        assert_eq!(left(elsewhere, EVER, Grant::open()), kept());
        assert_eq!(left(all(), before, Grant::open()), kept());
        assert_eq!(left(all(), (AT_NS + 1_000_000, i64::MAX), Grant::open()), kept());
        assert_eq!(left(all(), EVER, stranger), kept());
        assert_eq!(left(all(), (AT_NS, AT_NS), Grant::open())["lines"]["lines"], json!([]));
    }

    #[test]
    fn what_is_no_explanation_is_left_alone() {
        let quoted = Quoted::new(&lines("{a=\"b\"}"), &Config::default()).unwrap();
        let withdrawal = Withdrawal { grant: Grant::open(), quoted, range_ns: EVER };

        for mut other in [json!(null), json!([1]), json!("text"), json!({ "lines": 7 })] {
            assert!(!withdrawal.take_from(&mut other));
        }
    }
}
