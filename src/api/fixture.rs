//! Recorded requests and what their answers must look like, as text.
//!
//! The same files are replayed against the router in tests and by `commonwatch doctor grafana`
//! against a live server, so what is promised is what is checked.
//!
//! ```text
//! ### title
//! POST /api/v1/query
//! Content-Type: application/x-www-form-urlencoded
//!
//! query=1%2B1&time=4
//! => 200
//! /data/resultType = "scalar"
//! /data/result is array
//! /data/features is absent
//! ```
//!
//! `{now}`, `{hour_ago}` (seconds) and `{now_ms}` stand for the time of the replay.

use serde_json::Value;

/// What Grafana's Prometheus data source sends.
pub const PROMETHEUS: &str = include_str!("../../tests/cases/grafana/prometheus.http");

/// What Grafana's Loki data source and Logs Drilldown send.
pub const LOKI: &str = include_str!("../../tests/cases/grafana/loki.http");
/// What Grafana's Alertmanager data source sends.
pub const ALERTMANAGER: &str = include_str!("../../tests/cases/grafana/alertmanager.http");
/// What Grafana's Tempo data source sends.
pub const TEMPO: &str = include_str!("../../tests/cases/grafana/tempo.http");

/// One request with what is expected of its answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exchange {
    /// What a person does in Grafana to cause it.
    pub title: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The status expected.
    pub status: u16,
    expectations: Vec<(String, Shape)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Absent,
    Kind(&'static str),
    Equal(Value),
}

const KINDS: [&str; 5] = ["array", "object", "string", "number", "boolean"];

/// Reads a file of exchanges; an error names the line.
pub fn parse(text: &str, now_ms: i64) -> Result<Vec<Exchange>, String> {
    let now_s = now_ms.div_euclid(1_000);
    let text = text
        .replace("{now}", &now_s.to_string())
        .replace("{hour_ago}", &(now_s - 3_600).to_string())
        .replace("{now_ms}", &now_ms.to_string());
    let blocks = text.split("### ").skip(1);
    blocks.map(|block| parse_one(block).map_err(|line| format!("not understood: {line}"))).collect()
}

fn parse_one(block: &str) -> Result<Exchange, String> {
    let (request, expected) = block.split_once("\n=> ").ok_or("no line `=> status`")?;
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let title = lines.next().unwrap_or("").to_owned();
    let first = lines.next().unwrap_or("");
    let (method, target) = first.split_once(' ').ok_or(first)?;
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or(line)?;
        headers.push((name.to_owned(), value.to_owned()));
    }
    let mut expected = expected.lines();
    let status = expected.next().unwrap_or("");
    let mut expectations = Vec::new();
    for line in expected.filter(|line| !line.trim().is_empty()) {
        expectations.push(parse_expectation(line).ok_or(line)?);
    }
    Ok(Exchange {
        title,
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
        body: body.trim().to_owned(),
        status: status.trim().parse().map_err(|_| status.to_owned())?,
        expectations,
    })
}

fn parse_expectation(line: &str) -> Option<(String, Shape)> {
    if let Some((pointer, json)) = line.split_once(" = ") {
        return Some((pointer.to_owned(), Shape::Equal(serde_json::from_str(json).ok()?)));
    }
    let (pointer, kind) = line.split_once(" is ")?;
    let shape = match KINDS.iter().find(|known| **known == kind.trim()) {
        Some(kind) => Shape::Kind(kind),
        None if kind.trim() == "absent" => Shape::Absent,
        None => return None,
    };
    Some((pointer.to_owned(), shape))
}

impl Exchange {
    /// Returns everything that is wrong with an answer.
    pub fn judge(&self, status: u16, body: &str) -> Vec<String> {
        let mut faults = Vec::new();
        if status != self.status {
            let start: String = body.chars().take(200).collect();
            faults.push(format!("status {status} instead of {}: {start}", self.status));
            return faults;
        }
        if self.expectations.is_empty() {
            return faults;
        }
        let Ok(json) = serde_json::from_str::<Value>(body) else {
            return vec!["the body is not JSON".to_owned()];
        };
        for (pointer, shape) in &self.expectations {
            let found = json.pointer(pointer);
            let fits = match shape {
                Shape::Absent => found.is_none(),
                Shape::Kind(kind) => found.is_some_and(|value| kind_of(value) == *kind),
                Shape::Equal(wanted) => found == Some(wanted),
            };
            if !fits {
                let found = found.map_or("nothing".to_owned(), Value::to_string);
                faults.push(format!("{pointer}: wanted {shape}, found {found}"));
            }
        }
        faults
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shape::Absent => f.write_str("nothing"),
            Shape::Kind(kind) => f.write_str(kind),
            Shape::Equal(value) => value.fmt(f),
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# notes\n### a title\nGET /x?t={now}\nA: b\n\n=> 200\n/a = [1]\n/b is absent\n";

    #[test]
    fn an_exchange_is_read_and_judged() {
        let exchanges = parse(TEXT, 5_000).unwrap();

        let [exchange] = exchanges.as_slice() else { panic!("{exchanges:?}") };
        assert_eq!((exchange.title.as_str(), exchange.target.as_str()), ("a title", "/x?t=5"));
        assert_eq!(exchange.judge(200, r#"{"a":[1]}"#), Vec::<String>::new());
        assert_eq!(exchange.judge(404, "no"), ["status 404 instead of 200: no"]);
        assert_eq!(
            exchange.judge(200, r#"{"a":[2],"b":null}"#),
            ["/a: wanted [1], found [2]", "/b: wanted nothing, found null"]
        );
        assert_eq!(exchange.judge(200, "<html>"), ["the body is not JSON"]);
    }

    #[test]
    fn a_line_that_is_not_understood_is_named() {
        let error = parse(&TEXT.replace("is absent", "is strange"), 0).unwrap_err();

        assert_eq!(error, "not understood: /b is strange");
    }
}
