//! PromQL, and what else Prometheus' API tells of series.

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Question, Rows, any_commons, any_word, pick, seconds};
use crate::scope_canaries::world::World;
use crate::support::Request;
use crate::support::ask::form;

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

pub(super) fn rows(world: &World, rng: &mut SmallRng) -> Question {
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
pub(super) fn loose(world: &World, rng: &mut SmallRng) -> Question {
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

pub(super) fn menu(world: &World, rng: &mut SmallRng) -> Question {
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
