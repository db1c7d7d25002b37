//! Questions of every dialect, made from random numbers, and how to read whose each row is.

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use serde_json::Value;

use super::world::World;
use crate::support::Request;
use crate::support::ask::{array, form};

/// A request, its text for people, and how its answer's rows say whose they are; `None` where they
/// do not.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) request: Request,
    pub(super) text: String,
    pub(super) rows: Option<Rows>,
}

/// Where an answer's rows are, each with a commons.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows {
    /// `data.result[].metric.commons`
    Promql,
    /// `data[].commons`
    Series,
    /// `data[]`, each a commons.
    Names,
    /// `data.alerts[].labels.commons`
    Alerts,
    /// One object a line with a column `commons`.
    Sql,
}

impl Rows {
    /// Returns each row's commons and the row.
    pub(super) fn of(self, answer: &str) -> Vec<(String, String)> {
        if let Rows::Sql = self {
            let lines = answer.lines().filter(|line| !line.is_empty());
            return lines
                .map(|line| (commons_of(&json(line)["commons"]), line.to_owned()))
                .collect();
        }
        let answer = json(answer);
        let (rows, commons): (&Value, fn(&Value) -> &Value) = match self {
            Rows::Promql => (&answer["data"]["result"], |row| &row["metric"]["commons"]),
            Rows::Series => (&answer["data"], |row| &row["commons"]),
            Rows::Names => (&answer["data"], |row| row),
            Rows::Alerts | Rows::Sql => {
                (&answer["data"]["alerts"], |row| &row["labels"]["commons"])
            }
        };
        array(rows).iter().map(|row| (commons_of(commons(row)), shown(self, row))).collect()
    }
}

/// The value of an alert is evaluated every second; everything else of a row must be equal.
fn shown(rows: Rows, row: &Value) -> String {
    match rows {
        Rows::Alerts => row["labels"].to_string() + &row["annotations"].to_string(),
        _ => row.to_string(),
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn commons_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Picks one of a few texts.
fn pick(rng: &mut SmallRng, texts: &[&str]) -> String {
    (*texts.choose(rng).expect("a list is not empty")).to_owned()
}

impl Question {
    pub(super) fn any(world: &World, rng: &mut SmallRng) -> Self {
        match rng.random_range(0..10) {
            0..3 => promql(world, rng),
            3..5 => menu(world, rng),
            5 => promql_loose(world, rng),
            6..9 => sql(world, rng),
            _ => sql_loose(world, rng),
        }
    }
}

/// Returns a word that a hostile asker might try: a name or a secret of any commons.
fn any_word(world: &World, rng: &mut SmallRng) -> String {
    let one = world.commons.choose(rng).expect("there are commons");
    if rng.random_bool(0.5) { one.name.clone() } else { one.secret.clone() }
}

fn any_commons(world: &World, rng: &mut SmallRng) -> String {
    world.commons.choose(rng).expect("there are commons").name.clone()
}

fn selector(world: &World, rng: &mut SmallRng) -> String {
    let name = match rng.random_range(0..6) {
        0..3 => "scoped_total".to_owned(),
        3 => "other_total".to_owned(),
        4 => format!("{}_total", world.commons.choose(rng).expect("there are commons").secret),
        _ => String::new(),
    };
    let mut matchers: Vec<String> = (0..rng.random_range(0..3))
        .map(|_| match rng.random_range(0..8) {
            0 => "commons=~\".+\"".to_owned(),
            1 => format!("commons=\"{}\"", any_commons(world, rng)),
            2 => format!("commons!=\"{}\"", any_commons(world, rng)),
            3 => format!("commons=~\"{}|{}\"", any_commons(world, rng), any_commons(world, rng)),
            4 => "secret=~\"canary.*\"".to_owned(),
            5 => "job!~\"b\"".to_owned(),
            6 => format!("secret!~\"{}\"", any_word(world, rng)),
            _ => "absent=\"\"".to_owned(),
        })
        .collect();
    if name.is_empty() {
        matchers.push("__name__=~\"canary.*|scoped.*|other.*\"".to_owned());
    }
    format!("{name}{{{}}}", matchers.join(","))
}

/// Each row of it belongs to one commons.
fn row_by_row(world: &World, rng: &mut SmallRng) -> String {
    let s = selector(world, rng);
    let t = selector(world, rng);
    let window = pick(rng, &["1m", "5m", "20m"]);
    let over = pick(
        rng,
        &[
            "rate",
            "increase",
            "max_over_time",
            "sum_over_time",
            "last_over_time",
            "changes",
            "deriv",
        ],
    );
    let fold = pick(rng, &["sum", "min", "max", "count", "avg", "group", "stddev"]);
    match rng.random_range(0..12) {
        0 => s,
        1 => format!("{over}({s}[{window}])"),
        2 => format!("{fold} by (commons, job) ({s})"),
        3 => format!("{fold} without (job, __name__) ({over}({s}[{window}]))"),
        4 => format!("{s} or {t}"),
        5 => format!("{s} and on (commons, job) {t}"),
        6 => format!("{s} unless on (commons) {t}"),
        7 => format!("topk by (commons) (1, {s})"),
        8 => format!("count_values by (commons) (\"value\", {s})"),
        9 => format!("label_replace({s}, \"copy\", \"$1\", \"secret\", \"(.*)\")"),
        10 => format!("max by (commons, secret) (max_over_time({s}[{window}:15s]))"),
        _ => format!("{fold} by (commons) ({s} offset 30s) * 2 > bool 3"),
    }
}

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}

fn promql(world: &World, rng: &mut SmallRng) -> Question {
    let query = row_by_row(world, rng);
    Question { rows: Some(Rows::Promql), ..asked(world, rng, &query) }
}

/// Puts a query as an instant or a range query.
fn asked(world: &World, rng: &mut SmallRng, query: &str) -> Question {
    let at = world.any_time_ms(rng);
    let time = seconds(at);
    let (start, end) = (seconds(at - 120_000), seconds(at + 120_000));
    let request = if rng.random_bool(0.5) {
        Request::get(format!("/api/v1/query?{}", form(&[("query", query), ("time", &time)])))
    } else {
        let range = [("query", query), ("start", &start), ("end", &end), ("step", "20")];
        Request::post("/api/v1/query_range", form(&range))
            .header("Content-Type", "application/x-www-form-urlencoded")
    };
    Question { request, text: query.to_owned(), rows: None }
}

/// What adds commons up, fails, or is explained: only the bytes can be looked at.
fn promql_loose(world: &World, rng: &mut SmallRng) -> Question {
    let s = selector(world, rng);
    let query = match rng.random_range(0..12) {
        0 => format!("sum({s})"),
        1 => format!("count by (secret) ({s})"),
        2 => format!("topk(3, {s})"),
        3 => format!("sort_by_label({s}, \"secret\")"),
        4 => format!("absent({s})"),
        5 => format!("{s} * on (job) {s}"),
        6 => format!("{s} + on (job) group_left (secret) scoped_total"),
        7 => format!("label_replace({s}, \"job\", \"same\", \"secret\", \".*\")"),
        8 => format!("label_join({s}, \"all\", \"-\", \"commons\", \"secret\", \"job\")"),
        9 => format!("quantile by (secret) (0.5, {s})"),
        10 => format!("count_values(\"v\", {s}"),
        _ => format!("scalar({s}) + vector(1)"),
    };
    asked(world, rng, &query)
}

fn menu(world: &World, rng: &mut SmallRng) -> Question {
    let s = selector(world, rng);
    let t = selector(world, rng);
    let label = pick(rng, &["secret", "job", "__name__", "shared", "copy", "service"]);
    let (path, parameters, rows) = match rng.random_range(0..9) {
        0 | 1 => ("series".to_owned(), vec![("match[]", s), ("match[]", t)], Some(Rows::Series)),
        2 => ("label/commons/values".to_owned(), Vec::new(), Some(Rows::Names)),
        3 => ("label/commons/values".to_owned(), vec![("match[]", s)], Some(Rows::Names)),
        4 => (format!("label/{label}/values"), vec![("match[]", s)], None),
        5 => ("labels".to_owned(), vec![("match[]", s)], None),
        6 => (pick(rng, &["metadata", "status/tsdb", "labels"]), Vec::new(), None),
        7 => ("alerts".to_owned(), Vec::new(), Some(Rows::Alerts)),
        _ => ("rules".to_owned(), Vec::new(), None),
    };
    let borrowed: Vec<(&str, &str)> = parameters.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let text = format!("{path} {parameters:?}");
    Question { request: Request::get(format!("/api/v1/{path}?{}", form(&borrowed))), text, rows }
}

fn condition(world: &World, rng: &mut SmallRng) -> String {
    match rng.random_range(0..9) {
        0 => "1 = 1".to_owned(),
        1 => format!("commons = '{}'", any_commons(world, rng)),
        2 => format!("commons <> '{}' OR 1 = 1", any_commons(world, rng)),
        3 => format!("commons IN ('{}', '{}')", any_commons(world, rng), any_commons(world, rng)),
        4 => format!("commons LIKE '%{}%'", any_word(world, rng)),
        5 => "commons IS NOT NULL".to_owned(),
        6 => format!("NOT (commons = '{}')", any_commons(world, rng)),
        7 => "service IS NOT NULL OR service IS NULL".to_owned(),
        _ => format!("commons > '{}'", any_commons(world, rng)),
    }
}

/// A table of the samples, records and spans that the commons sent, and columns that it has.
fn table(rng: &mut SmallRng) -> (&'static str, &'static str) {
    let tables = [
        (
            "(SELECT * FROM metrics WHERE metric IN ('scoped_total', 'other_total')) AS t",
            "timestamp, value, labels",
        ),
        (
            "(SELECT * FROM metrics WHERE metric LIKE 'canary%total') AS t",
            "metric, value, labels['shared'] AS shared",
        ),
        (
            "promql('last_over_time({__name__=~\"scoped_total|other_total|canary.*total\"}[1h])', now(), now(), 1) AS t",
            "timestamp, metric, value, labels",
        ),
        ("logs AS t", "timestamp, body, attributes"),
        ("logs AS t", "severity_number, resource['secret.resource'] AS secret"),
        ("spans AS t", "start_time, name, attributes['secret'] AS secret"),
        ("spans AS t", "trace_id, span_id, resource"),
    ];
    *tables.choose(rng).expect("a list is not empty")
}

fn sql_request(text: &str) -> Request {
    Request::post("/api/v1/sql", text)
        .header("Content-Type", "text/plain")
        .header("Accept", "application/x-ndjson")
}

/// Each row of it belongs to one commons.
fn sql(world: &World, rng: &mut SmallRng) -> Question {
    let (table, columns) = table(rng);
    let where_ = condition(world, rng);
    let text = match rng.random_range(0..9) {
        0..3 => format!("SELECT commons, {columns} FROM {table} WHERE {where_}"),
        3 => format!("SELECT commons, count(*) AS n FROM {table} WHERE {where_} GROUP BY commons"),
        4 => format!("SELECT DISTINCT commons, service FROM {table} WHERE {where_}"),
        5 => format!(
            "SELECT a.commons, count(*) AS n FROM {table} JOIN logs a ON a.commons = t.commons \
             GROUP BY a.commons"
        ),
        6 => format!(
            "WITH w AS (SELECT commons FROM {table} WHERE {where_} UNION ALL SELECT commons FROM spans) \
             SELECT commons, count(*) AS n FROM w GROUP BY commons"
        ),
        7 => format!(
            "SELECT commons, row_number() OVER (PARTITION BY commons ORDER BY commons) AS n \
             FROM {table} WHERE {where_}"
        ),
        _ => format!(
            "SELECT commons FROM logs AS l WHERE EXISTS (SELECT 1 FROM {table} WHERE t.commons = \
             l.commons AND t.commons <> '{}')",
            any_commons(world, rng)
        ),
    };
    Question { request: sql_request(&text), text, rows: Some(Rows::Sql) }
}

/// What adds commons up, fails on what it meets, or shows how it would be read.
fn sql_loose(world: &World, rng: &mut SmallRng) -> Question {
    let (table, columns) = table(rng);
    let where_ = condition(world, rng);
    let word = any_word(world, rng);
    let text = match rng.random_range(0..14) {
        0 => format!("SELECT count(*), min(commons), max(commons) FROM {table}"),
        1 => "SELECT array_agg(DISTINCT commons) FROM logs".to_owned(),
        2 => format!("EXPLAIN SELECT {columns} FROM {table} WHERE {where_}"),
        3 => format!("EXPLAIN ANALYZE SELECT {columns} FROM {table} WHERE {where_}"),
        4 => format!("EXPLAIN VERBOSE SELECT commons FROM {table} ORDER BY commons"),
        5 => format!("SELECT CAST(body AS INT) FROM logs WHERE {where_}"),
        6 => "SELECT 1 / (severity_number - severity_number) FROM logs".to_owned(),
        7 => "SELECT to_timestamp(name) FROM spans".to_owned(),
        8 => "SELECT CAST(attributes AS DOUBLE) FROM spans".to_owned(),
        9 => format!("SELECT * FROM 'parquet/logs/commons={word}/*.parquet'"),
        10 => format!("SELECT {columns}, nothing FROM {table}"),
        11 => "SELECT max(body), min(body) FROM logs".to_owned(),
        12 => "SELECT labels FROM metrics ORDER BY labels DESC LIMIT 5".to_owned(),
        _ => format!("SELECT count(*) FROM logs WHERE body LIKE '%{word}%'"),
    };
    Question { request: sql_request(&text), text, rows: None }
}
