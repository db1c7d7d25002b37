//! SQL over all tables.

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Question, Rows, any_commons, any_word};
use crate::scope_canaries::world::World;
use crate::support::Request;

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
            "promql('last_over_time({__name__=~\"scoped_total|other_total|canary.*total\"}[1h])', \
             now(), now(), 1) AS t",
            // Not its time, which is another one each time it is asked.
            "metric, value, labels",
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
pub(super) fn rows(world: &World, rng: &mut SmallRng) -> Question {
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
pub(super) fn loose(world: &World, rng: &mut SmallRng) -> Question {
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
