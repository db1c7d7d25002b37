//! What was kept of an alert, cut to who reads it.
//!
//! It was asked by one who may see everything, since nobody knows who will read it, and so that it shows
//! what the rule saw. Whoever reads it gets what belongs to commons that they may see: a result of the
//! rule without a commons may be the sum of many, and why an evaluation failed may name any series.

use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::{Api, Need};
use super::evidence;
use crate::base::Kind;
use crate::model::{Grant, Labels};
use crate::query::may_see;

/// How a sentence begins that says why an evaluation failed.
pub(super) const FAILED: &str = "its last evaluation failed: ";
/// What stands there for those who may not see every commons.
const FAILED_UNSEEN: &str = "why may name series of other commons";

/// Returns what was kept of an alert, as far as a caller may see it.
pub(super) async fn kept(
    api: &Api,
    grant: &Grant,
    fingerprint: &str,
    started_ms: i64,
) -> Result<Option<Value>, ApiError> {
    let kept = api.kept.get(fingerprint, started_ms).await;
    let kept = kept.map_err(|reason| ApiError::new(Kind::Internal, reason))?;
    Ok(kept.and_then(|kept| seen(kept, grant)))
}

/// Returns what a caller may see of it.
fn seen(mut kept: Value, grant: &Grant) -> Option<Value> {
    if !may_see(grant, &labels_of(&kept)) {
        return None;
    }
    if Need::Sql.check(Some(grant)).is_err()
        && let Some(fields) = kept.as_object_mut()
    {
        // Lines and traces are for those who may ask for them.
        fields.retain(|name, _| !evidence::NEEDS_DEVELOPER.contains(&name.as_str()));
    }
    if may_see(grant, &Labels::empty()) {
        return Some(kept);
    }
    retain(&mut kept["similar"], grant);
    for rule in ["rule", "ruleAtEnd"] {
        if kept[rule].is_object() {
            narrow(&mut kept[rule], grant);
        }
    }
    Some(kept)
}

fn narrow(rule: &mut Value, grant: &Grant) {
    for list in ["evaluations", "comparedValues", "alerts"] {
        retain(&mut rule[list], grant);
    }
    hide_reasons(rule, FAILED_UNSEEN);
}

/// Puts other words in the place of why evaluations of a rule failed; returns how often.
pub(super) fn hide_reasons(rule: &mut Value, instead: &str) -> usize {
    let sentence = format!("{FAILED}{instead}");
    let mut n_hidden = 0;
    let mut hide = |shown: &mut Value, begins: &str, instead: &str| {
        let is_told = |text: &str| text.starts_with(begins) && text != instead;
        if shown.as_str().is_some_and(is_told) {
            *shown = json!(instead);
            n_hidden += 1;
        }
    };
    if let Some(error) = rule.get_mut("lastError") {
        hide(error, "", instead);
    }
    for one in rule.get_mut("why").and_then(Value::as_array_mut).into_iter().flatten() {
        hide(one, FAILED, &sentence);
    }
    n_hidden
}

/// Keeps what a caller may see of a list of things with labels; what stands in the place of a list is an
/// error, and may name anything.
fn retain(list: &mut Value, grant: &Grant) {
    match list {
        Value::Array(all) => all.retain(|one| may_see(grant, &labels_of(one))),
        other => *other = Value::Null,
    }
}

/// Returns the labels of what is shown.
pub(super) fn labels_of(shown: &Value) -> Labels {
    labels_in(&shown["labels"])
}

/// Returns labels that are shown.
pub(super) fn labels_in(shown: &Value) -> Labels {
    let pairs = shown.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name, value.as_str().unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Commons, ReadScope, Role, WriteScope};
    use crate::query::within;

    fn reader(role: Role, commons: &str) -> Grant {
        Grant {
            name: Arc::from("reader"),
            write: WriteScope::Nothing,
            read: ReadScope::Only([Commons::new(commons).unwrap()].into()),
            role,
        }
    }

    fn whole() -> Value {
        let of =
            |commons: &str| json!({ "labels": { "commons": commons }, "values": [["t", "1"]] });
        let sum = json!({ "labels": {}, "values": [["t", "secret"]] });
        let rule = json!({
            "evaluations": [of("heart"), of("canine"), sum],
            "comparedValues": { "error": "duplicate series {commons=\"canine\"}" },
            "alerts": [of("canine")],
            "lastError": "duplicate series {commons=\"canine\"}",
            "why": [format!("{FAILED}duplicate series {{commons=\"canine\"}}"), "it fires"],
        });
        json!({
            "labels": { "alertname": "Down", "commons": "heart" },
            "rule": rule,
            "ruleAtEnd": rule,
            "similar": [of("heart"), of("canine")],
            "lines": { "lines": [["t", "a line"]] },
            "traces": [["t", "a trace"]],
        })
    }

    #[test]
    fn what_belongs_to_another_commons_is_not_read() {
        let seen = seen(whole(), &reader(Role::Developer, "heart")).unwrap();

        let text = seen.to_string();
        assert!(!text.contains("canine") && !text.contains("secret"), "{text}");
        for part in ["rule", "ruleAtEnd"] {
            assert_eq!(seen[part]["evaluations"].as_array().unwrap().len(), 1, "{text}");
            assert_eq!(seen[part]["why"][1], "it fires");
        }
        assert_eq!(seen["similar"].as_array().unwrap().len(), 1, "{text}");
        assert!(text.contains("a line") && text.contains("a trace"), "{text}");
    }

    #[test]
    fn what_lay_near_is_asked_within_the_commons_of_the_alert() {
        let of = |commons: &str| Labels::from_pairs([("commons", commons)]);
        let narrow = within(&Grant::open(), &of("heart"));

        assert!(may_see(&narrow, &of("heart")));
        assert!(!may_see(&narrow, &of("canine")) && !may_see(&narrow, &Labels::empty()));
        let stranger = within(&reader(Role::Admin, "canine"), &of("heart"));
        assert!(!may_see(&stranger, &of("heart")) && !may_see(&stranger, &of("canine")));
        assert!(!may_see(&within(&Grant::open(), &of("../x")), &of("../x")));
        assert_eq!(within(&Grant::open(), &Labels::empty()), Grant::open());
    }

    #[test]
    fn lines_are_for_developers_and_an_alert_is_for_those_of_its_commons() {
        let viewer = seen(whole(), &reader(Role::Viewer, "heart")).unwrap().to_string();

        assert!(!viewer.contains("a line") && !viewer.contains("a trace"), "{viewer}");
        assert_eq!(seen(whole(), &reader(Role::Admin, "canine")), None);
        assert_eq!(seen(whole(), &Grant::open()), Some(whole()));
    }
}
