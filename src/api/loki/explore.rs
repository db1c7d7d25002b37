//! What there is to ask for: labels, series, sizes, patterns.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use serde_json::json;

use super::super::Api;
use super::super::bounded;
use super::super::error::ApiError;
use super::super::json::answer_value;
use super::super::params::Params;
use super::super::prometheus::escape::unescape;
use super::super::received::InPath;
use super::ask::LogStreams;
use super::lists::{LabelSet, Patterns, Sizes, Spans};
use super::{Answered, params};
use crate::model::Grant;
use crate::query::logql::{self, LogRange, Pairs, ParseLimits, StreamUse, StreamsFound};

/// Grafana asks with `{}` when nothing is chosen yet: that means every stream.
fn selectors_of(asked: &Params) -> Vec<String> {
    let all = asked.all("match").into_iter().chain(asked.get("query"));
    let all = all.filter(|text| !text.trim().is_empty());
    all.map(|text| selector_of(text).to_owned()).collect()
}

/// Returns a query's selector: sizes and labels are those of its streams, whatever its pipeline does.
fn selector_of(text: &str) -> &str {
    let mut quote = None;
    let mut letters = text.char_indices();
    while let Some((at, c)) = letters.next() {
        match (quote, c) {
            (None, '"' | '`') => quote = Some(c),
            (None, '}') => return &text[..=at],
            (Some('"'), '\\') => drop(letters.next()),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    text
}

pub(super) async fn streams(
    api: &Api,
    grant: &Grant,
    asked: &Params,
    step_ns: Option<i64>,
) -> Result<(StreamsFound, (i64, i64)), ApiError> {
    let times = params::times_ns(asked, api.clock.now_ms())?;
    let (start_ns, end_ns) = times;
    let selectors = selectors_of(asked);
    let wanted = LogStreams { selectors, start_ns, end_ns, step_ns };
    Ok((api.logs.log_streams(grant, wanted).await?, times))
}

pub(super) async fn label_names(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Answered {
    let (found, _) = streams(&api, &grant, &asked, None).await?;
    Ok(bounded::success(&api, found.names()).await?)
}

pub(super) async fn label_values(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(name): InPath<String>,
    asked: Params,
) -> Answered {
    let (found, _) = streams(&api, &grant, &asked, None).await?;
    Ok(bounded::success(&api, found.values(&unescape(&name))).await?)
}

pub(super) async fn series(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Answered {
    let (found, _) = streams(&api, &grant, &asked, None).await?;
    let shown: Vec<LabelSet> =
        found.streams.into_iter().map(|stream| LabelSet(stream.labels)).collect();
    Ok(bounded::success(&api, shown).await?)
}

pub(super) fn pairs(stream: &StreamUse) -> impl Iterator<Item = (&str, &str)> {
    stream.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

pub(super) async fn stats(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Answered {
    asked.required("query")?;
    let (found, _) = streams(&api, &grant, &asked, None).await?;
    let n_bytes: f64 = found.streams.iter().map(|stream| stream.n_bytes).sum();
    let n_lines: u64 = found.streams.iter().map(|stream| stream.n_lines).sum();
    Ok(answer_value(&json!({
        "streams": found.streams.len(),
        "chunks": found.n_pieces,
        "bytes": whole(n_bytes),
        "entries": n_lines,
    })))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes are not negative"
)]
fn whole(n_bytes: f64) -> u64 {
    n_bytes.round() as u64
}

/// Sizes by what they are asked for.
struct Volumes {
    by_labels: BTreeMap<Pairs, Spans>,
}

impl Volumes {
    fn of(found: &StreamsFound, asked: &Params) -> Self {
        let targets: Vec<&str> = asked
            .get("targetLabels")
            .map(|list| list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect())
            .unwrap_or_default();
        let by_name = asked.get("aggregateBy") == Some("labels");
        let named: Vec<String> =
            selectors_of(asked).iter().flat_map(|selector| names_of(selector)).collect();
        let is_wanted = |name: &str| match targets.as_slice() {
            // Without a wish the labels of the selector are meant, and all of `{}`.
            [] => named.is_empty() || named.iter().any(|known| known == name),
            targets => targets.contains(&name),
        };
        let mut by_labels: BTreeMap<Pairs, Spans> = BTreeMap::new();
        for stream in found.streams.iter().filter(|stream| has_all(stream, &targets)) {
            let mut add = |labels| {
                let spans = by_labels.entry(labels).or_default();
                for (span, n_bytes) in &stream.by_span {
                    *spans.entry(*span).or_default() += n_bytes;
                }
            };
            if by_name {
                let all_names = targets.is_empty();
                for (name, _) in &stream.labels {
                    if all_names || is_wanted(name) {
                        add(vec![(name.clone(), String::new())]);
                    }
                }
            } else {
                let labels = stream.labels.iter().filter(|(name, _)| is_wanted(name));
                add(labels.cloned().collect());
            }
        }
        Self { by_labels }
    }

    /// Returns the largest ones first.
    fn largest(self, limit: usize) -> Vec<(Pairs, Spans)> {
        let total = |spans: &BTreeMap<i64, f64>| spans.values().sum::<f64>();
        let mut all: Vec<_> = self.by_labels.into_iter().collect();
        all.sort_by(|a, b| total(&b.1).total_cmp(&total(&a.1)));
        all.truncate(limit);
        all
    }
}

/// Returns true when a stream has all of some labels: one without is not counted, as in Loki.
fn has_all(stream: &StreamUse, names: &[&str]) -> bool {
    names.iter().all(|wanted| stream.labels.iter().any(|(name, _)| name == wanted))
}

/// Returns the names in a selector, which has been answered and therefore can be read.
fn names_of(selector: &str) -> Vec<String> {
    let matchers = logql::parse_selector(selector, &ParseLimits::default()).unwrap_or_default();
    matchers.into_iter().map(|matcher| matcher.name).collect()
}

pub(super) async fn volume(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Answered {
    let limit = params::limit_of(&asked, 100)?;
    asked.required("query")?;
    let (found, (_, end_ns)) = streams(&api, &grant, &asked, None).await?;
    let largest = Volumes::of(&found, &asked).largest(limit);
    Ok(bounded::success(&api, Sizes::at(end_ns, largest)).await?)
}

pub(super) async fn volume_range(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Answered {
    let limit = params::limit_of(&asked, 100)?;
    asked.required("query")?;
    let times = params::times_ns(&asked, api.clock.now_ms())?;
    let step_ns = params::step_ms(&asked, times)?.saturating_mul(1_000_000);
    let (found, (start_ns, _)) = streams(&api, &grant, &asked, Some(step_ns)).await?;
    let largest = Volumes::of(&found, &asked).largest(limit);
    Ok(bounded::success(&api, Sizes::over((start_ns, step_ns), largest)).await?)
}

pub(super) fn newest(asked: &Params, now_ms: i64, limit: usize) -> Result<LogRange, ApiError> {
    let (start_ns, end_ns) = params::times_ns(asked, now_ms)?;
    Ok(LogRange { start_ns, end_ns, limit, is_backward: true, interval_ns: 0 })
}

pub(super) async fn patterns(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Answered {
    let range = newest(&asked, api.clock.now_ms(), 0)?;
    let step_ms = params::step_ms(&asked, (range.start_ns, range.end_ns))?;
    let step_ns = step_ms.max(1_000).saturating_mul(1_000_000);
    let query = asked.required("query")?;
    let found = api.logs.log_patterns(&grant, query, range, step_ns).await?;
    Ok(bounded::success(&api, Patterns(found)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, selector: &str, names: &[&str]) {
        assert_eq!(selector_of(query), selector, "{query}");
        assert_eq!(names_of(selector), names, "{query}");
    }

    #[test]
    fn a_selector_ends_at_its_brace_and_names_what_is_outside_of_quotes() {
        check(r#"{app="a"}"#, r#"{app="a"}"#, &["app"]);
        check(r#"{ a = "b", c!~"d.*" } |= "x}""#, r#"{ a = "b", c!~"d.*" }"#, &["a", "c"]);
        check(r#"{app=~"a,b=c"} | json"#, r#"{app=~"a,b=c"}"#, &["app"]);
        check(r#"{app="a}\"b="} | json"#, r#"{app="a}\"b="}"#, &["app"]);
        check(r#"{app="x\\\\"} | y="}""#, r#"{app="x\\\\"}"#, &["app"]);
        check("{app=`a}\"\\`, b=`,c=`} | json", "{app=`a}\"\\`, b=`,c=`}", &["app", "b"]);
    }
}
