//! An `Ask` that answers by the text of the question.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;

use super::*;
use crate::api::ask::Listed;
use crate::base::Kind;
use crate::model::exemplar::{Exemplar, SeriesExemplars};
use crate::model::{
    Description, Grant, Histogram, Labels, Matcher, MetricKind, SeriesData, Signal,
};
use crate::query::cardinality::{Cardinality, Counts};
use crate::query::promql::{self, Answer, Sample, SampleCounts, Timings, Value};
use crate::query::traceql::{
    self, Attribute, Counted, Counting, Found, Menu, Names, Part, Search, Trace, Values,
};
use crate::query::{
    self, CardinalityQuery, Doomed, Param, Quoted, SampleQuery, SqlAnswer, Truncated,
};
use crate::rules::{
    AlertsView, Dialect, GroupView, Question, RuleKind, RuleView, RulesFilter, RulesView,
};
use crate::storage::deletion::Progress;
use crate::storage::{Receipt, Taken};

#[derive(Debug)]
pub(super) struct Fake;

pub(super) fn up(job: &str) -> Labels {
    Labels::from_pairs([("__name__", "up"), ("job", job)])
}

fn answer(value: Value) -> Answer {
    let counts = SampleCounts { per_step: vec![(1_000, 2), (2_500, 3)], n_peak: 4 };
    let timings = Timings {
        queued_ns: 500_000_000,
        prepared_ns: 125_000_000,
        evaluated_ns: 375_000_000,
        sorted_ns: 250_000_000,
    };
    let (warnings, infos) = (Vec::new(), Vec::new());
    Answer { value, warnings, infos, n_samples: 3, counts: Some(counts), timings }
}

fn refusal(query: &str) -> Option<AskError> {
    let (kind, message) = match query {
        "sum(" => (Kind::BadInput, "unexpected end of input"),
        "many-to-many" => (Kind::Execution, "found duplicate series"),
        "slow" => (Kind::Timeout, "the query was still running after 30s"),
        "busy" => (Kind::Overloaded, "8 queries are running"),
        "broken" => (Kind::Internal, "a fault"),
        _ => return None,
    };
    Some(AskError::new(kind, message))
}

#[async_trait]
impl Deleting for Fake {
    async fn delete(
        &self,
        grant: &Grant,
        doomed: Doomed,
        (start_ns, end_ns): (i64, i64),
    ) -> Result<Receipt, AskError> {
        let (signals, selectors) = match doomed {
            Doomed::Series(selectors) => (vec![Signal::Metrics, Signal::Exemplars], selectors),
            Doomed::Lines(query) => (vec![Signal::Logs], vec![query]),
            Doomed::Spans(selectors) => (vec![Signal::Spans], selectors),
        };
        if selectors.is_empty() {
            return Err(AskError::new(Kind::BadInput, "no match[] parameter provided"));
        }
        Ok(Receipt {
            by: grant.name.to_string(),
            signals,
            selectors,
            start_ns,
            end_ns,
            ..receipt()
        })
    }

    fn quoted(&self, _grant: &Grant, doomed: &Doomed) -> Result<Quoted, AskError> {
        let quoted = Quoted::new(doomed, &query::Config::default());
        quoted.map_err(|error| AskError::new(error.kind(), error.to_string()))
    }

    fn receipts(&self, _grant: &Grant) -> Result<Vec<Receipt>, AskError> {
        let cancelled = Receipt { id: 8, progress: Progress::Cancelled, ..receipt() };
        let of_series = Receipt { id: 9, signals: vec![Signal::Metrics], ..receipt() };
        Ok(vec![receipt(), cancelled, of_series])
    }

    async fn cancel(&self, _grant: &Grant, id: u64) -> Result<Receipt, AskError> {
        match id {
            7 => Ok(Receipt { progress: Progress::Cancelled, ..receipt() }),
            _ => Err(AskError::new(Kind::Execution, "it cannot be taken back any more")),
        }
    }

    async fn erase(&self, _grant: &Grant) -> Result<(), AskError> {
        Ok(())
    }
}

#[async_trait]
impl BackUp for Fake {
    async fn snapshot(&self, _grant: &Grant) -> Result<Taken, AskError> {
        let name = "20261121T000000Z-00000001".to_owned();
        Ok(Taken { name, n_files: 2, n_bytes: 20, left_out: Vec::new() })
    }
}

/// A deletion of log lines.
fn receipt() -> Receipt {
    Receipt {
        id: 7,
        by: "admin".to_owned(),
        at_ms: NOW_MS,
        signals: vec![Signal::Logs],
        selectors: vec!["{app=\"fence\"}".to_owned()],
        start_ns: (NOW_MS - 3_600_000) * 1_000_000,
        end_ns: NOW_MS * 1_000_000,
        n_rows: 3,
        commons: Default::default(),
        files: vec!["parquet/logs/a.parquet".to_owned()],
        skipped: Vec::new(),
        cancel_until_ms: NOW_MS + 86_400_000,
        log_segment: 1,
        progress: Progress::Hidden,
        ended_at_ms: None,
        ended_by: None,
    }
}

#[async_trait]
impl Ask for Fake {
    fn limited(&self, _key: &'static str) {}

    async fn instant(
        &self,
        _grant: &Grant,
        query: &str,
        time_ms: i64,
        options: AskOptions,
    ) -> Result<Answer, AskError> {
        if let Some(error) = refusal(query) {
            return Err(error);
        }
        let sample =
            |job, value| Sample { labels: up(job), timestamp_ms: time_ms, value, histogram: None };
        Ok(match query {
            "1+1" => answer(Value::Scalar { timestamp_ms: time_ms, value: 2.0 }),
            "\"a\"" => answer(Value::String { timestamp_ms: time_ms, value: "a\"b".to_owned() }),
            "options" => {
                let value = format!("{options:?}");
                answer(Value::String { timestamp_ms: time_ms, value })
            }
            "warned" => Answer {
                warnings: vec!["a warning".to_owned()],
                infos: vec!["an info".to_owned()],
                ..answer(Value::Vector(Vec::new()))
            },
            "native" => {
                let histogram = Histogram {
                    zero_threshold: 0.5,
                    zero_count: 1.0,
                    count: 5.5,
                    sum: 3.0,
                    positive: [(1, 2.5), (2, 0.0)].into_iter().collect(),
                    negative: [(1, 2.0)].into_iter().collect(),
                    ..Histogram::default()
                };
                let native = Sample { histogram: Some(Arc::new(histogram)), ..sample("a", 0.0) };
                answer(Value::Vector(vec![native]))
            }
            _ => answer(Value::Vector(vec![
                sample("a", 1.0),
                sample("b\"", f64::NAN),
                sample("c", 1e-7),
            ])),
        })
    }

    async fn range(
        &self,
        _grant: &Grant,
        query: &str,
        (start_ms, end_ms, _step_ms): (i64, i64, i64),
        _options: AskOptions,
    ) -> Result<Answer, AskError> {
        let series = |job, values: [f64; 2]| SeriesData {
            labels: up(job),
            timestamps_ms: vec![start_ms, end_ms],
            values: values.to_vec(),
            ..SeriesData::default()
        };
        match refusal(query) {
            Some(error) => Err(error),
            None => Ok(answer(Value::Matrix(vec![
                series("a", [1.0, 0.5]),
                series("b", [f64::INFINITY, -1e21]),
            ]))),
        }
    }

    async fn series(&self, _grant: &Grant, wanted: &Selection) -> Result<Listed<Labels>, AskError> {
        match wanted.selectors.iter().find_map(|selector| refusal(selector)) {
            Some(error) => Err(error),
            None => Ok(vec![up("a"), up("b")].into()),
        }
    }

    async fn label_names(
        &self,
        _grant: &Grant,
        wanted: &Selection,
    ) -> Result<Listed<String>, AskError> {
        Ok(vec![format!("{}..{}", wanted.start_ms, wanted.end_ms), "job".to_owned()].into())
    }

    async fn label_values(
        &self,
        _grant: &Grant,
        name: &str,
        wanted: &Selection,
    ) -> Result<Listed<String>, AskError> {
        Ok(vec![name.to_owned(), wanted.selectors.join(" or ")].into())
    }

    async fn cardinality(
        &self,
        _grant: &Grant,
        wanted: CardinalityQuery,
    ) -> Result<(Cardinality, Vec<String>), AskError> {
        if let Some(error) = wanted.selectors.iter().find_map(|selector| refusal(selector)) {
            return Err(error);
        }
        let mut counts = Counts::of(wanted.labels.as_deref());
        for day in 0..wanted.ranges.len() {
            [up("a"), up("b")].iter().for_each(|labels| counts.add(day, labels));
        }
        Ok((counts.finish(wanted.top), Vec::new()))
    }

    async fn metadata(&self, _grant: &Grant) -> Result<Vec<(String, Description)>, AskError> {
        let meta =
            |kind, unit: &str| Description { kind, unit: Arc::from(unit), help: Arc::from("") };
        let kinds = [MetricKind::ALL[0], MetricKind::ALL[1]];
        Ok(vec![
            ("a".to_owned(), meta(kinds[0], "s")),
            ("a".to_owned(), meta(kinds[0], "s")),
            ("a".to_owned(), meta(kinds[1], "")),
            ("b".to_owned(), meta(kinds[0], "")),
        ])
    }

    async fn exemplars(
        &self,
        _grant: &Grant,
        query: &str,
        (start_ms, end_ms): (i64, i64),
    ) -> Result<Listed<SeriesExemplars>, AskError> {
        let trace_id = match query {
            "up" => "abc".to_owned(),
            "range" => format!("{start_ms}..{end_ms}"),
            _ => return Ok(Vec::new().into()),
        };
        let exemplar = Exemplar {
            timestamp_ns: start_ms * 1_000_000,
            value: 0.5,
            labels: Labels::from_pairs([("trace_id", trace_id)]),
        };
        Ok(vec![SeriesExemplars { labels: up("a"), exemplars: vec![exemplar] }].into())
    }

    async fn format(&self, _grant: &Grant, query: &str) -> Result<String, AskError> {
        let parsed = promql::parse(query, &promql::ParseLimits::default());
        let expr = parsed.map_err(|error| AskError::new(error.kind(), error.to_string()))?;
        Ok(promql::format_expr(&expr))
    }

    async fn parse(&self, _grant: &Grant, query: &str) -> Result<serde_json::Value, AskError> {
        let parsed = promql::parse(query, &promql::ParseLimits::default());
        let expr = parsed.map_err(|error| AskError::new(error.kind(), error.to_string()))?;
        Ok(promql::expr_to_json(&expr))
    }

    fn promql_features(&self, _grant: &Grant) -> serde_json::Value {
        promql::features(false)
    }

    async fn samples(
        &self,
        _grant: &Grant,
        queries: Vec<SampleQuery>,
        _sample_bytes: usize,
    ) -> Result<Listed<Vec<SeriesData>>, AskError> {
        let one = |query: &SampleQuery| SeriesData {
            labels: up("a"),
            timestamps_ms: vec![query.start_ms, query.end_ms],
            values: vec![0.0, 1.0],
            ..SeriesData::default()
        };
        Ok(queries.iter().map(|query| vec![one(query)]).collect::<Vec<_>>().into())
    }

    async fn matchers(
        &self,
        _grant: &Grant,
        selectors: Vec<String>,
    ) -> Result<Vec<Vec<Matcher>>, AskError> {
        let parsed = promql::parse_selectors(&selectors, &promql::ParseLimits::default());
        parsed.map_err(|error| AskError::new(error.kind(), error.to_string()))
    }

    async fn sql(
        &self,
        _grant: &Grant,
        query: &str,
        parameters: Vec<Param>,
        _options: AskOptions,
    ) -> Result<SqlAnswer, AskError> {
        if let Some(error) = refusal(query) {
            return Err(error);
        }
        let columns: [(&str, ArrayRef); 3] = [
            ("service", Arc::new(StringArray::from(vec![Some("fence, \"x\""), None]))),
            ("n", Arc::new(Int64Array::from(vec![1, i64::try_from(parameters.len()).unwrap()]))),
            ("v", Arc::new(Float64Array::from(vec![Some(0.5), None]))),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let batches = if query == "nothing" { Vec::new() } else { vec![batch.clone()] };
        Ok(SqlAnswer {
            schema: batch.schema(),
            batches,
            truncated: (query == "cut").then_some(Truncated::Rows),
            bytes_max: usize::MAX,
            warnings: if query == "partial" {
                vec!["a file is missing".to_owned()]
            } else {
                Vec::new()
            },
        })
    }

    async fn trace(
        &self,
        _grant: &Grant,
        _trace_id: &str,
        _range_ns: (i64, i64),
        _part: Option<Part>,
    ) -> Result<(Trace, Vec<String>), AskError> {
        Ok((Trace::default(), Vec::new()))
    }

    async fn search_traces(&self, _grant: &Grant, wanted: Search) -> Result<Found, AskError> {
        let parsed = traceql::parse(&wanted.query, &traceql::Limits::default());
        let found = parsed.map(|_| Found::default());
        found.map_err(|error| AskError::new(error.kind(), error.to_string()))
    }

    async fn count_spans(&self, _grant: &Grant, wanted: Counting) -> Result<Counted, AskError> {
        let series = traceql::CountedSeries {
            labels: vec![("__name__".to_owned(), traceql::Value::Text("rate".into()))],
            samples: vec![(wanted.end_ns / 1_000_000, 1.0)],
            exemplars: Vec::new(),
        };
        Ok(Counted { series: vec![series], ..Counted::default() })
    }

    async fn trace_tags(
        &self,
        _grant: &Grant,
        _menu: Menu,
        _scope: Option<&'static str>,
    ) -> Result<Names, AskError> {
        Ok(Names::default())
    }

    async fn trace_tag_values(
        &self,
        _grant: &Grant,
        _menu: Menu,
        _attribute: Attribute,
    ) -> Result<Values, AskError> {
        let values = [("keyword", "ok".to_owned())].into();
        Ok(Values { values, ..Values::default() })
    }
}

fn rule(name: &str, severity: &str) -> RuleView {
    RuleView {
        state: None,
        name: name.to_owned(),
        query: "up == 0".to_owned(),
        asked: Question::promql("up == 0").to_asked(),
        threshold: None,
        language: Dialect::Promql,
        range: None,
        overrides: Vec::new(),
        duration: Some(60.0),
        keep_firing_for: None,
        labels: Some([("severity".to_owned(), severity.to_owned())].into()),
        annotations: None,
        alerts: Some(Vec::new()),
        health: "ok",
        last_error: None,
        evaluation_time: 0.0,
        last_evaluation: "2026-11-21T00:00:00Z".to_owned(),
        kind: RuleKind::Alerting,
    }
}

/// The third group is named after the filter, to show what reached the rules.
#[async_trait]
impl RuleViews for Fake {
    async fn rules(&self, _grant: &Grant, filter: &RulesFilter) -> RulesView {
        let group = |name: &str, rules| GroupView {
            name: name.to_owned(),
            file: "a.yml".to_owned(),
            rules,
            interval: 60.0,
            query_offset_ms: 0,
            limit: 0,
            evaluation_time: 0.0,
            last_evaluation: "2026-11-21T00:00:00Z".to_owned(),
        };
        RulesView {
            groups: vec![
                group("g1", vec![rule("A", "page"), rule("B", "info")]),
                group("g2", vec![RuleView { language: Dialect::Logql, ..rule("C", "info") }]),
                group(&format!("{filter:?}"), vec![]),
            ],
        }
    }

    async fn alerts(&self, _grant: &Grant) -> AlertsView {
        AlertsView { alerts: Vec::new() }
    }
}

#[async_trait]
impl Kept for Fake {
    async fn get(&self, _one: &str, _at_ms: i64) -> Result<Option<serde_json::Value>, String> {
        Ok(None)
    }

    async fn change_all(&self, _change: Change) -> Result<usize, String> {
        Ok(0)
    }
}

#[async_trait]
impl Reload for Fake {
    async fn reload(&self) -> Result<(), String> {
        Err("commonwatch.toml:3: storage.retention: not a duration".to_owned())
    }

    fn last(&self) -> LastReload {
        LastReload { in_force_since_ms: NOW_MS - 60_000, refused_ms: Some(NOW_MS - 1_000) }
    }
}
