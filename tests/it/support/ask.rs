//! Questions to a running server, as its users ask them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::http::{self, Request, Response};
use super::server::Addresses;

/// One sample of an instant query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: String,
}

/// One line of `/metrics`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OwnMetric {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Someone who speaks to the server, with or without a token.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) http: String,
    pub(crate) otlp_grpc: String,
    pub(crate) otlp_http: String,
    token: Option<String>,
}

impl Caller {
    pub(crate) fn new(addresses: &Addresses) -> Self {
        Self {
            http: addresses.http.clone(),
            otlp_grpc: addresses.otlp_grpc.clone(),
            otlp_http: addresses.otlp_http.clone(),
            token: None,
        }
    }

    /// Returns a caller that knows the HTTP port alone.
    pub(crate) fn at(http: &str) -> Self {
        let (otlp_grpc, otlp_http) = (String::new(), String::new());
        Self { http: http.to_owned(), otlp_grpc, otlp_http, token: None }
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Returns the request with this caller's credential.
    pub(crate) fn sign(&self, request: Request) -> Request {
        match &self.token {
            Some(token) => request.header("Authorization", &format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends a request to the HTTP port; a connection that breaks fails the story.
    #[track_caller]
    pub(crate) fn send(&self, request: Request) -> Response {
        let shown = format!("{} {}", request.method, request.path);
        http::send(&self.http, &self.sign(request))
            .unwrap_or_else(|error| panic!("{shown}: no answer: {error}"))
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Response {
        self.send(Request::get(path))
    }

    /// Asks the Prometheus API and returns `data`.
    #[track_caller]
    pub(crate) fn prometheus(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let answer = self.get(&format!("{path}?{}", form(parameters)));
        assert_eq!(answer.status, 200, "{path} {parameters:?}: {}", answer.text());
        let mut body = answer.json();
        assert_eq!(body["status"], "success", "{body}");
        body["data"].take()
    }

    /// Evaluates PromQL at one moment, ms since 1970 UTC.
    #[track_caller]
    pub(crate) fn promql(&self, query: &str, at_ms: i64) -> Vec<Sample> {
        let at_s = format!("{}.{:03}", at_ms.div_euclid(1000), at_ms.rem_euclid(1000));
        let data = self.prometheus("/api/v1/query", &[("query", query), ("time", &at_s)]);
        assert_eq!(data["resultType"], "vector", "{query}: {data}");
        array(&data["result"]).iter().map(sample).collect()
    }

    /// Asks SQL and returns one map a row.
    #[track_caller]
    pub(crate) fn sql(&self, query: &str) -> Vec<Map<String, Value>> {
        let request = Request::post("/api/v1/sql", query)
            .header("Content-Type", "text/plain")
            .header("Accept", "application/x-ndjson");
        let answer = self.send(request);
        assert_eq!(answer.status, 200, "{query}: {}", answer.text());
        assert_eq!(answer.header("x-commonwatch-truncated"), None, "{query}: rows are missing");
        let rows = answer.text();
        let rows = rows.lines().filter(|line| !line.trim().is_empty());
        rows.map(|row| serde_json::from_str(row).unwrap_or_else(|e| panic!("{e}: {row}"))).collect()
    }

    /// Returns one number that the server says of itself; 0 when there is none of that name.
    #[track_caller]
    pub(crate) fn own_metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |metric: &OwnMetric| {
            metric.name == name
                && labels
                    .iter()
                    .all(|(key, value)| metric.labels.get(*key).is_some_and(|v| v == value))
        };
        self.own_metrics().into_iter().find(fits).map_or(0.0, |metric| metric.value)
    }

    /// Returns what the server says of itself.
    #[track_caller]
    pub(crate) fn own_metrics(&self) -> Vec<OwnMetric> {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let text = answer.text();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines.map(own_metric).collect()
    }
}

/// Writes parameters as a form.
pub(crate) fn form(parameters: &[(&str, &str)]) -> String {
    let pairs =
        parameters.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Percent-encodes what may not stand in a query string.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Returns the elements of a JSON array; none when it is something else.
pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Reads a JSON object of strings.
pub(crate) fn labels(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned())).collect()
}

fn sample(value: &Value) -> Sample {
    let shown = value["value"][1].as_str().unwrap_or("").to_owned();
    Sample { labels: labels(&value["metric"]), value: shown }
}

fn own_metric(line: &str) -> OwnMetric {
    let (series, rest) = match line.find('{') {
        Some(open) => {
            let close = line.rfind('}').expect("labels are closed");
            ((&line[..open], &line[open + 1..close]), &line[close + 1..])
        }
        None => {
            let (name, rest) = line.split_once(' ').expect("a value follows");
            ((name, ""), rest)
        }
    };
    let value = rest.split_whitespace().next().and_then(|word| word.parse().ok());
    OwnMetric {
        name: series.0.to_owned(),
        labels: own_labels(series.1),
        value: value.unwrap_or(f64::NAN),
    }
}

/// Our own label values hold no quotes, so cutting at them is enough.
fn own_labels(text: &str) -> BTreeMap<String, String> {
    let mut words = text.split('"');
    let mut labels = BTreeMap::new();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        labels.insert(name.trim_matches([',', '=', ' ']).to_owned(), value.to_owned());
    }
    labels
}
