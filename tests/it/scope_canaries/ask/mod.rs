//! Questions of every dialect, made from random numbers, and how to read whose each row is.

mod loki;
mod promql;
mod rest;
mod sql;
mod tempo;

use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use serde_json::Value;

use super::world::World;
use crate::support::Request;
use crate::support::ask::array;

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
    /// `data.result[].stream.commons`, or `.metric.commons`
    Streams,
    /// `data.alerts[].labels.commons`
    Alerts,
    /// `[].labels.commons`
    Notified,
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
            Rows::Streams => (&answer["data"]["result"], |row| match &row["stream"] {
                Value::Null => &row["metric"]["commons"],
                stream => &stream["commons"],
            }),
            Rows::Notified => (&answer, |row| &row["labels"]["commons"]),
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
        Rows::Alerts | Rows::Notified => {
            row["labels"].to_string() + &row["annotations"].to_string()
        }
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
        match rng.random_range(0..15) {
            0..3 => promql::rows(world, rng),
            3..5 => promql::menu(world, rng),
            5 => promql::loose(world, rng),
            6..9 => sql::rows(world, rng),
            9 => sql::loose(world, rng),
            10..12 => loki::rows(world, rng),
            12 => loki::loose(world, rng),
            13 => tempo::any(world, rng),
            _ => rest::any(world, rng),
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

fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}
