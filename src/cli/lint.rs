//! What is right as a rule and wrong all the same: what `rules check` says beside mistakes.
//!
//! Some of it the files alone say: an annotation that names a label which the expression drops, growth
//! of what is not a counter, an alert that does not say which commons it is about. The rest a running
//! server says: a selector, or one matcher of it, that no series meets, a gauge under `rate`, how many
//! alerts there would be now; of LogQL, what `lint_logs` finds. With an Alertmanager configuration file, also who would be told.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use super::ask::form;
use super::client::Client;
use super::{CliError, block_on, lint_logs};
use crate::model::{Labels, Matcher};
use crate::notify::Policy;
use crate::query::logql;
use crate::query::promql::{self, ParseLimits};
use crate::rules::{AlertDef, Asked, Dialect, GroupDef, RuleDef};

/// Alerts of one rule past which its fan-out is worth a word.
const FAN_OUT_USUAL: f64 = 20.0;

/// Returns what the files alone say about a group's rules, a line each.
pub(super) fn findings(group: &GroupDef) -> Vec<String> {
    let of = |rule: &RuleDef| {
        let mut said = of_growth(rule.asked());
        said.extend(of_window(rule.asked()));
        if let RuleDef::Alert(alert) = rule {
            said.extend(of_alert(alert));
        }
        let place = format!("{}: group {:?}, {}", group.file, group.name, rule.name());
        said.into_iter().map(move |finding| format!("{place}: {finding}"))
    };
    group.rules.iter().flat_map(of).collect()
}

/// Returns the labels that a rule's results have at most, as far as its text tells.
fn yielded(asked: &Asked) -> Option<BTreeSet<String>> {
    match asked.dialect {
        Dialect::Promql => {
            let expr = promql::parse(&asked.text, &ParseLimits::experimental()).ok()?;
            promql::labels_yielded(&expr)
        }
        Dialect::Logql => match logql::parse(&asked.text, &logql::ParseLimits::default()).ok()? {
            logql::Expr::Metric(expr) => logql::labels_yielded(&expr),
            logql::Expr::Log(_) => None,
        },
        Dialect::Traceql | Dialect::Sql => None,
    }
}

/// A statement that does not say from when on looks at all there is, at every evaluation.
fn of_window(asked: &Asked) -> Option<String> {
    let is_endless = asked.dialect == Dialect::Sql && !asked.text.contains("$1");
    is_endless.then(|| {
        "the statement looks at all there is: compare a time with $1, where `range` begins, and $2"
            .to_owned()
    })
}

fn of_alert(alert: &AlertDef) -> Vec<String> {
    let mut found = Vec::new();
    if alert.name.contains("{{") {
        found.push("the name of an alert is no template: people read it as it stands".to_owned());
    }
    let Some(yielded) = yielded(&alert.asked) else { return found };
    let texts = alert.labels.iter().chain(&alert.annotations);
    for (name, template) in texts {
        for label in labels_used(template.text()) {
            if !yielded.contains(&label) {
                let there = yielded.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                found.push(format!(
                    "`{name}` uses $labels.{label}, which the expression does not yield; it yields: {there}"
                ));
            }
        }
    }
    let own = alert.labels.iter().any(|(name, _)| name == "commons");
    if !own && !yielded.contains("commons") {
        found.push("the expression drops `commons`: nobody learns which one it is".to_owned());
    }
    found
}

fn of_growth(asked: &Asked) -> Vec<String> {
    if asked.dialect != Dialect::Promql {
        return Vec::new();
    }
    let Ok(expr) = promql::parse(&asked.text, &ParseLimits::experimental()) else {
        return Vec::new();
    };
    let is_counter = |name: &String| {
        ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))
            || name.contains(':') // A recorded result has a name of its own.
    };
    let rated = promql::metrics_rated(&expr);
    let odd = rated.iter().filter(|name| !is_counter(name));
    odd.map(|name| format!("takes the growth of `{name}`, which is not named like a counter"))
        .collect()
}

/// Returns the labels that a template speaks of, in any of the ways that Go has: `$labels.x`, `.Labels.x`,
/// `index $labels "x"`. What speaks of a sample that `query` found is not meant.
fn labels_used(text: &str) -> BTreeSet<String> {
    let pattern = r#"(?:\$labels|\$\.Labels|(?:^|[{(\s])\.Labels)\.([A-Za-z_][A-Za-z0-9_]*)|index\s+(?:\$labels|\$?\.Labels)\s+["`]([^"`]+)["`]"#;
    let pattern = Regex::new(pattern).expect("it is a pattern");
    let is_of_samples = text.contains("query");
    let name = |found: regex::Captures<'_>| {
        let whole = found.get(0).map_or("", |whole| whole.as_str());
        let is_dot = !whole.contains('$');
        let name = found.get(1).or(found.get(2)).map(|name| name.as_str().to_owned());
        name.filter(|_| !(is_of_samples && is_dot))
    };
    pattern.captures_iter(text).filter_map(name).collect()
}

/// Returns the `hours` that a rule and its overrides name and that no time interval has.
pub(super) fn hours_unknown(alert: &AlertDef, policy: &Policy) -> BTreeSet<String> {
    let own = alert.labels.iter().map(|(name, template)| (name.as_str(), template.text()));
    let others = alert.overrides.iter().flat_map(|one| &one.labels);
    let all = own.chain(others.map(|(name, text)| (name.as_str(), text.as_str())));
    let named = all.filter(|(name, text)| *name == "hours" && !text.contains("{{"));
    named.map(|(_, text)| text.to_owned()).filter(|name| !policy.has_interval(name)).collect()
}

/// Says who would be told of an alert, by the labels that its rule gives it for certain.
pub(super) fn route_of(alert: &AlertDef, policy: &Policy, now_ms: i64) -> String {
    let plain = alert.labels.iter().filter(|(_, template)| !template.text().contains("{{"));
    let labels = plain.map(|(name, template)| (name.as_str(), template.text()));
    let labels = Labels::from_pairs(labels.chain([("alertname", alert.name.as_str())]));
    let routes = policy.explained(&labels, now_ms);
    let receivers: Vec<String> = routes
        .iter()
        .map(|route| match route.ways.is_empty() {
            true => format!("{} (which has no way of being told)", route.receiver),
            false => route.receiver.clone(),
        })
        .collect();
    format!("{} tells {}", alert.name, receivers.join(", "))
}

/// Returns what a running server says about a group's rules, a line each.
pub(super) fn findings_of_server(
    group: &GroupDef,
    client: &Client,
) -> Result<Vec<String>, CliError> {
    let mut found = Vec::new();
    for rule in &group.rules {
        let (asked, query) = (rule.asked(), rule.query());
        let place = format!("{}: group {:?}, {}", group.file, group.name, rule.name());
        if asked.dialect == Dialect::Logql {
            let said = lint_logs::findings(&asked.text, client)?;
            found.extend(said.into_iter().map(|said| format!("{place}: {said}")));
            if matches!(rule, RuleDef::Alert(_)) {
                let n_alerts = lint_logs::count_series(query, client)?;
                found.extend(fan_out(&place, n_alerts));
            }
            continue;
        }
        if asked.dialect != Dialect::Promql {
            continue;
        }
        let Ok(expr) = promql::parse(&asked.text, &ParseLimits::experimental()) else { continue };
        for selector in promql::selectors(&expr) {
            found.extend(of_selector(&selector, client)?.map(|said| format!("{place}: {said}")));
        }
        for metric in promql::metrics_rated(&expr) {
            if kind_of(&metric, client)?.as_deref() == Some("gauge") {
                found.push(format!("{place}: takes the growth of `{metric}`, which is a gauge"));
            }
        }
        if matches!(rule, RuleDef::Alert(_)) {
            found.extend(fan_out(&place, count(query, client)?));
        }
    }
    Ok(found)
}

fn fan_out(place: &str, n_alerts: f64) -> Option<String> {
    (n_alerts > FAN_OUT_USUAL).then(|| format!("{place}: there would be {n_alerts} alerts now"))
}

fn of_selector(selector: &[Matcher], client: &Client) -> Result<Option<String>, CliError> {
    if has_series(selector, client)? {
        return Ok(None);
    }
    let (name, rest): (Vec<&Matcher>, Vec<&Matcher>) =
        selector.iter().partition(|matcher| matcher.name == "__name__");
    let name: Vec<Matcher> = name.into_iter().cloned().collect();
    if name.is_empty() || !has_series(&name, client)? {
        return Ok(Some(format!("no series of the last day is {}", shown(selector))));
    }
    for matcher in rest {
        let both = [name.clone(), vec![matcher.clone()]].concat();
        if !has_series(&both, client)? {
            return Ok(Some(format!(
                "the matcher {matcher} of {} matches nothing",
                shown(selector)
            )));
        }
    }
    Ok(Some(format!(
        "no series of the last day is {}: its matchers exclude each other",
        shown(selector)
    )))
}

pub(super) fn shown(selector: &[Matcher]) -> String {
    // The name, wherever it was written, is what a reader looks for first.
    let mut matchers: Vec<&Matcher> = selector.iter().collect();
    matchers.sort_by_key(|matcher| matcher.name != "__name__");
    let texts: Vec<String> = matchers.into_iter().map(Matcher::to_string).collect();
    format!("{{{}}}", texts.join(", "))
}

pub(super) fn get(
    client: &Client,
    path: &str,
    parameters: &[(&str, String)],
) -> Result<Value, CliError> {
    let target = format!("{path}?{}", form(parameters));
    let body = block_on(client.send("GET", &target, &[], String::new()))?.into_body()?;
    serde_json::from_slice(&body)
        .map_err(|error| CliError::failed(format!("the answer is not JSON: {error}")))
}

fn has_series(selector: &[Matcher], client: &Client) -> Result<bool, CliError> {
    use crate::base::Clock as _;
    // The second that has begun counts: what came in it is there.
    let now_s = crate::base::SystemClock::new().now_ms().div_euclid(1_000) + 1;
    let parameters = [
        ("match[]", shown(selector)),
        ("limit", "1".to_owned()),
        ("start", (now_s - 86_400).to_string()),
        ("end", now_s.to_string()),
    ];
    let answer = get(client, "/api/v1/series", &parameters)?;
    Ok(answer["data"].as_array().is_some_and(|series| !series.is_empty()))
}

fn kind_of(metric: &str, client: &Client) -> Result<Option<String>, CliError> {
    let answer = get(client, "/api/v1/metadata", &[("metric", metric.to_owned())])?;
    Ok(answer["data"][metric][0]["type"].as_str().map(str::to_owned))
}

fn count(query: &str, client: &Client) -> Result<f64, CliError> {
    let answer = get(client, "/api/v1/query", &[("query", format!("count({query})"))])?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    Ok(value.and_then(|text| text.parse().ok()).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Config, Defaults, RuleFile};

    fn rule(text: &str) -> GroupDef {
        let text = format!("groups:\n- name: g\n  rules:\n  - {text}\n");
        let file = RuleFile { path: "r.yml".to_owned(), text };
        let check = |_: crate::rules::Dialect, expr: &str| Ok(expr.to_owned());
        rules_of(&file, &check)
    }

    fn rules_of(file: &RuleFile, check: crate::rules::CheckExpr<'_>) -> GroupDef {
        let files = std::slice::from_ref(file);
        crate::rules::parse(files, Defaults::from(&Config::default()), check).unwrap().remove(0)
    }

    #[track_caller]
    fn check(text: &str, says: &[&str]) {
        let found = findings(&rule(text));
        assert_eq!(found.len(), says.len(), "{found:?}");
        for (found, says) in found.iter().zip(says) {
            assert!(found.contains(says), "{found}");
        }
    }

    /// The fault of the rules that Gen3 ships: the series has `cluster`, the text says `clusters`.
    #[test]
    fn a_label_that_the_expression_drops_is_found_in_the_text() {
        check(
            "{alert: A, expr: 'sum by (cluster, commons) (x) > 0', \
             annotations: {summary: 'in {{ $labels.clusters }}'}}",
            &["$labels.clusters, which the expression does not yield; it yields: cluster, commons"],
        );
        check(
            "{alert: A, expr: 'sum by (commons) (x) > 0', annotations: {summary: '{{ $labels.commons }}'}}",
            &[],
        );
        check("{alert: A, expr: 'x > 0', annotations: {summary: '{{ $labels.any }}'}}", &[]);
    }

    #[test]
    fn a_label_is_found_however_the_text_speaks_of_it() {
        let of = |text: &str| labels_used(text).into_iter().collect::<Vec<_>>().join(" ");
        for (text, want) in [
            ("{{ $labels.a }}{{$labels.b|title}}", "a b"),
            ("{{ .Labels.a }} {{ $.Labels.b }} {{ (.Labels.c) }}", "a b c"),
            ("{{ index $labels \"a.b\" }} {{ index .Labels `c` }}", "a.b c"),
            ("{{ with $labels }}{{ .a }}{{ end }} $labelsx.y", ""),
            ("{{ range query `up` }}{{ .Labels.job }} {{ $labels.a }}{{ end }}", "a"),
            ("{{ $alert.Labels.a }} and $labels in words", ""),
        ] {
            assert_eq!(of(text), want, "{text}");
        }
    }

    #[test]
    fn an_alert_about_nobody_and_growth_of_a_gauge_are_odd() {
        check("{alert: A, expr: 'sum(rate(x_total[5m])) > 0'}", &["drops `commons`"]);
        check("{alert: A, expr: 'sum(x) > 0', labels: {commons: all}}", &[]);
        check("{record: 'a:b', expr: 'rate(temperature[5m])'}", &["`temperature`"]);
    }

    #[test]
    fn the_receiver_of_a_rule_is_known_beforehand() {
        let text = "route: {receiver: a, routes: [{match: {severity: page}, receiver: b}]}\n\
                    receivers: [{name: a}, {name: b, webhook_configs: [{url: 'http://h/'}]}]\n";
        let policy = Policy::parse(std::path::Path::new("am.yml"), text).unwrap();
        let group = rule("{alert: A, expr: x, labels: {severity: page}}");
        let RuleDef::Alert(alert) = &group.rules[0] else { panic!("{group:?}") };

        assert_eq!(route_of(alert, &policy, 0), "A tells b");
        let group = rule("{alert: A, expr: x}");
        let RuleDef::Alert(alert) = &group.rules[0] else { panic!("{group:?}") };
        assert_eq!(route_of(alert, &policy, 0), "A tells a (which has no way of being told)");
    }
}
