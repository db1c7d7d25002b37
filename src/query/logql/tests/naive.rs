//! Properties: whatever is stored and asked, the answer is that of an evaluator that reads every
//! record, keeps them all, and knows nothing of pieces, pruning or stopping early.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::World;
use super::world::{BASE_MS, Record};
use crate::query::logql::{LogRange, Steps};
use crate::query::promql::Value;

const WORDS: [&str; 5] = ["GET", "POST", "error", "status=200", "status=500"];
/// What every line has, and what some have.
const WANTED: [&str; 4] = ["line", "line", "status", "error"];
const SERVICES: [&str; 3] = ["fence", "indexd", ""];

fn records() -> impl Strategy<Value = Vec<(u32, usize, usize, bool)>> {
    prop::collection::vec((0_u32..600, 0..SERVICES.len(), 0..WORDS.len(), any::<bool>()), 1..120)
}

fn record(&(after_s, service, word, is_b): &(u32, usize, usize, bool), n: usize) -> Record {
    let mut labels = vec![("app".to_owned(), if is_b { "b" } else { "a" }.to_owned())];
    labels.push(("commons".to_owned(), if is_b { "heart" } else { "lung" }.to_owned()));
    labels.push(("service".to_owned(), SERVICES[service].to_owned()));
    labels.retain(|(_, value)| !value.is_empty());
    Record {
        at_ns: (BASE_MS + i64::from(after_s) * 1_000) * 1_000_000,
        labels,
        line: format!("line {n} {}", WORDS[word]),
        ..Record::default()
    }
}

fn get<'r>(record: &'r Record, name: &str) -> &'r str {
    record.labels.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
}

#[test]
fn the_newest_and_the_oldest_lines_are_those_of_a_full_scan() {
    // Few are wanted of many that are near to each other, so that stopping too soon would show.
    let strategy =
        (records(), 0..WANTED.len(), 1..10_usize, any::<bool>(), 0_u32..60, 200_u32..600);
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let run = runner.run(&strategy, |(drawn, word, limit, is_backward, a, b)| {
        let world = World::new();
        let records: Vec<Record> =
            drawn.iter().enumerate().map(|(n, drawn)| record(drawn, n)).collect();
        // Two thirds in a file, the rest in the head.
        let (old, new) = records.split_at(records.len() * 2 / 3);
        world.store(old);
        world.flush();
        world.store(new);
        let at_ns = |after_s: u32| (BASE_MS + i64::from(after_s) * 1_000) * 1_000_000;
        let (start_ns, end_ns) = (at_ns(a), at_ns(b));

        let range = LogRange { start_ns, end_ns, limit, is_backward, interval_ns: 0 };
        let query = format!("{{app=~\".+\", service=~\"fence|indexd\"}} |= `{}`", WANTED[word]);
        let found = world.lines(&query, range).unwrap();

        let mut times: Vec<i64> = records
            .iter()
            .filter(|r| (start_ns..end_ns).contains(&r.at_ns) && !get(r, "service").is_empty())
            .filter(|r| r.line.contains(WANTED[word]))
            .map(|r| r.at_ns)
            .collect();
        times.sort_unstable();
        if is_backward {
            times.reverse();
        }
        times.truncate(limit);
        let found_times: Vec<i64> = found.lines.iter().map(|line| line.ts_ns).collect();
        prop_assert_eq!(found_times, times);
        Ok(())
    });
    run.unwrap();
}

#[test]
fn counts_are_those_of_a_full_scan() {
    let strategy = (records(), 1_i64..200, 1_i64..200, 0_i64..100);
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let run = runner.run(&strategy, |(drawn, range_s, step_s, offset_s)| {
        let world = World::new();
        let records: Vec<Record> =
            drawn.iter().enumerate().map(|(n, drawn)| record(drawn, n)).collect();
        let (old, new) = records.split_at(records.len() / 2);
        world.store(old);
        world.flush();
        world.store(new);

        let steps = Steps {
            start_ms: BASE_MS,
            end_ms: BASE_MS + 700_000,
            step_ms: Some(step_s * 1_000),
        };
        let query = format!(
            "sum by (app) (count_over_time({{commons=~\".+\"}} != `error` [{range_s}s] offset {offset_s}s))"
        );
        let Value::Matrix(found) = world.numbers(&query, steps).unwrap() else { panic!() };

        for app in ["a", "b"] {
            let series = found.iter().find(|series| series.labels.get("app") == Some(app));
            let mut at_ms = steps.start_ms;
            while at_ms <= steps.end_ms {
                let end_ns = (at_ms - offset_s * 1_000) * 1_000_000;
                let start_ns = end_ns - range_s * 1_000_000_000;
                let n = records
                    .iter()
                    .filter(|r| get(r, "app") == app && !r.line.contains("error"))
                    .filter(|r| start_ns < r.at_ns && r.at_ns <= end_ns)
                    .count();
                let value = series.and_then(|series| {
                    let place = series.timestamps_ms.iter().position(|ms| *ms == at_ms)?;
                    Some(series.values[place])
                });
                prop_assert_eq!(value.unwrap_or(0.0), n as f64, "{} at {}", app, at_ms);
                at_ms += step_s * 1_000;
            }
        }
        Ok(())
    });
    run.unwrap();
}
