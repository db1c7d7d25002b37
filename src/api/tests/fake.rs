//! An `Ask` that answers by the text of the question.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use async_trait::async_trait;
use serde_json::{Value as Json, json};

use super::*;
use crate::base::Kind;
use crate::model::{Grant, Labels, MetricKind, SeriesData, SeriesMeta, Temporality};
use crate::query::promql::{Answer, Sample, Value};

#[derive(Debug)]
pub(super) struct Fake;

pub(super) fn up(job: &str) -> Labels {
    Labels::from_pairs([("__name__", "up"), ("job", job)])
}

fn answer(value: Value) -> Answer {
    Answer { value, warnings: Vec::new(), infos: Vec::new(), n_samples: 3 }
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
impl Ask for Fake {
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
        let sample = |job, value| Sample { labels: up(job), timestamp_ms: time_ms, value };
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
        };
        match refusal(query) {
            Some(error) => Err(error),
            None => Ok(answer(Value::Matrix(vec![
                series("a", [1.0, 0.5]),
                series("b", [f64::INFINITY, -1e21]),
            ]))),
        }
    }

    async fn series(&self, _grant: &Grant, wanted: &Selection) -> Result<Vec<Labels>, AskError> {
        match wanted.selectors.iter().find_map(|selector| refusal(selector)) {
            Some(error) => Err(error),
            None => Ok(vec![up("a"), up("b")]),
        }
    }

    async fn label_names(
        &self,
        _grant: &Grant,
        wanted: &Selection,
    ) -> Result<Vec<String>, AskError> {
        Ok(vec![format!("{}..{}", wanted.start_ms, wanted.end_ms), "job".to_owned()])
    }

    async fn label_values(
        &self,
        _grant: &Grant,
        name: &str,
        wanted: &Selection,
    ) -> Result<Vec<String>, AskError> {
        Ok(vec![name.to_owned(), wanted.selectors.join(" or ")])
    }

    async fn metadata(&self, _grant: &Grant) -> Result<Vec<(String, SeriesMeta)>, AskError> {
        let meta = |kind, unit: &str| SeriesMeta {
            kind,
            temporality: Temporality::Unspecified,
            unit: Arc::from(unit),
        };
        let kinds = [MetricKind::ALL[0], MetricKind::ALL[1]];
        Ok(vec![
            ("a".to_owned(), meta(kinds[0], "s")),
            ("a".to_owned(), meta(kinds[0], "s")),
            ("a".to_owned(), meta(kinds[1], "")),
            ("b".to_owned(), meta(kinds[0], "")),
        ])
    }

    fn format(&self, query: &str) -> Result<String, AskError> {
        refusal(query).map_or_else(|| Ok(format!("{query}\n")), Err)
    }

    fn selector_matches(&self, selector: &str, labels: &Labels) -> Result<bool, AskError> {
        Ok(selector == format!("{{severity=\"{}\"}}", labels.get("severity").unwrap_or("")))
    }

    async fn sql(
        &self,
        _grant: &Grant,
        query: &str,
        parameters: Vec<Json>,
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
        Ok(SqlAnswer { schema: batch.schema(), batches, is_truncated: query == "cut" })
    }
}

#[async_trait]
impl RuleViews for Fake {
    async fn groups(&self, _grant: &Grant) -> Vec<Json> {
        let alerting = |name, severity| {
            json!({
                "type": "alerting", "name": name, "labels": { "severity": severity },
                "alerts": [{ "value": "1e+00" }],
            })
        };
        let recording = json!({ "type": "recording", "name": "r", "labels": {} });
        vec![
            json!({ "name": "g1", "file": "a.yml", "rules": [alerting("A", "page"), recording] }),
            json!({ "name": "g2", "file": "a.yml", "rules": [alerting("B", "info")] }),
            json!({ "name": "g3", "file": "b.yml", "rules": [] }),
        ]
    }

    async fn alerts(&self, _grant: &Grant) -> Vec<Json> {
        vec![json!({ "labels": { "alertname": "A" }, "state": "firing", "value": "1e+00" })]
    }
}

#[async_trait]
impl Reload for Fake {
    async fn reload(&self) -> Result<(), String> {
        Err("commonwatch.toml:3: storage.retention: not a duration".to_owned())
    }
}
