//! Text cases: data, a query, what is expected.
//!
//! ```text
//! stream {app="fence", commons="heart"}
//!   1m | a line
//!   1m30s [trace_id=7] | another
//!
//! lines [forward] [limit 2] [all] {app="fence"} |= "line"
//!   1m30s {app="fence", commons="heart", trace_id="7"} another
//!
//! instant at 5m sum(count_over_time({app="fence"}[5m]))
//!   {} 2
//!
//! range 0 to 2m step 1m rate({app="fence"}[1m])
//!   {app="fence"} _ 0.01 0.01
//!
//! prints {app=`fence`}|="a"
//!   {app="fence"} |= "a"
//!
//! lays {app="fence"}|="a"
//!   {app="fence"} |= "a"
//!
//! fails {app="fence"} | regexp "("
//!   error parsing regexp
//! ```
//! `service_name` and `detected_level` are left out of what lines show, unless `all` is said. Series
//! stand in any order, lines in that of the answer. Every case is asked twice: of the head, and of
//! files with small row groups. What is laid out is broken into lines when it is long.

use super::World;
use super::world::{BASE_MS, Record};
use crate::model::{Labels, Matcher};
use crate::query::logql::{LogLine, LogRange, ParseLimits, Steps, parse, parse_selector};
use crate::query::promql::{Value, format_value};

/// Runs the cases of a file; returns how many there were.
pub(super) fn run_file(name: &str, text: &str, faults: &mut Vec<String>) -> usize {
    let blocks = blocks_of(text);
    let world = World::new();
    let records: Vec<Record> = blocks
        .iter()
        .filter(|block| block.head.starts_with("stream "))
        .flat_map(records_of)
        .collect();
    world.store(&records);
    let cases: Vec<&Block> =
        blocks.iter().filter(|block| !block.head.starts_with("stream ")).collect();
    for place in ["the head", "files"] {
        if place == "files" {
            world.flush();
        }
        for case in &cases {
            let found = answer(&world, &case.head);
            let is_right = match case.head.starts_with("fails ") {
                true => case.body.iter().all(|want| found.iter().any(|got| got.contains(want))),
                false => found == case.body,
            };
            if !is_right {
                faults.push(format!(
                    "{name}: of {place}: {}\n  found:\n    {}\n  wanted:\n    {}",
                    case.head,
                    found.join("\n    "),
                    case.body.join("\n    ")
                ));
            }
        }
    }
    cases.len()
}

struct Block {
    head: String,
    body: Vec<String>,
}

fn blocks_of(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        match line.strip_prefix("  ") {
            Some(inner) => {
                let block = blocks.last_mut().expect("a block begins at the margin");
                block.body.push(inner.to_owned());
            }
            None => blocks.push(Block { head: line.to_owned(), body: Vec::new() }),
        }
    }
    blocks
}

fn after_ms(text: &str) -> i64 {
    match text {
        "0" => 0,
        text => crate::base::units::parse_duration_ms(text).unwrap(),
    }
}

fn records_of(block: &Block) -> Vec<Record> {
    let selector = block.head.strip_prefix("stream ").unwrap();
    let labels = parse_selector(selector, &ParseLimits::default()).unwrap();
    let labels: Vec<(String, String)> =
        labels.into_iter().map(|Matcher { name, value, .. }| (name, value)).collect();
    let record = |line: &String| {
        let (head, text) = line.split_once("| ").unwrap_or((line.trim_end_matches('|'), ""));
        let (time, metadata) = match head.split_once('[') {
            Some((time, metadata)) => (time, metadata.trim_end().trim_end_matches(']')),
            None => (head, ""),
        };
        let mut metadata: Vec<(String, String)> = metadata
            .split_whitespace()
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let severity = metadata.iter().position(|(name, _)| name == "SEVERITY");
        let severity = severity.map_or_else(String::new, |idx| metadata.remove(idx).1);
        Record {
            at_ns: (BASE_MS + after_ms(time.trim())) * 1_000_000,
            labels: labels.clone(),
            metadata,
            severity,
            line: text.replace("\\n", "\n"),
            ..Record::default()
        }
    };
    block.body.iter().map(record).collect()
}

fn answer(world: &World, head: &str) -> Vec<String> {
    let (kind, rest) = head.split_once(' ').unwrap();
    match kind {
        "lines" => of_lines(world, rest),
        "instant" => {
            let (time, query) = rest.strip_prefix("at ").unwrap().split_once(' ').unwrap();
            let start_ms = BASE_MS + after_ms(time);
            of_numbers(world, query, Steps { start_ms, end_ms: start_ms, step_ms: None })
        }
        "range" => {
            let words: Vec<&str> = rest.splitn(6, ' ').collect();
            let [start, "to", end, "step", step, query] = words[..] else { panic!("{head}") };
            let (start_ms, end_ms) = (BASE_MS + after_ms(start), BASE_MS + after_ms(end));
            of_numbers(world, query, Steps { start_ms, end_ms, step_ms: Some(after_ms(step)) })
        }
        "prints" => match parse(rest, &ParseLimits::default()) {
            Ok(expr) => vec![expr.to_string()],
            Err(error) => vec![error.to_string()],
        },
        "lays" => laid_out(rest),
        "fails" => of_failure(world, rest),
        other => panic!("{other} is no kind of case"),
    }
}

/// Returns the lines of a query as it is laid out, which means the same.
fn laid_out(query: &str) -> Vec<String> {
    let expr = parse(query, &ParseLimits::default()).unwrap();
    let laid_out = expr.pretty();
    assert_eq!(parse(&laid_out, &ParseLimits::default()).unwrap(), expr, "{laid_out}");
    laid_out.lines().map(str::to_owned).collect()
}

fn range() -> LogRange {
    let (start_ns, end_ns) = ((BASE_MS - 60_000) * 1_000_000, (BASE_MS + 3_600_000) * 1_000_000);
    LogRange { start_ns, end_ns, limit: 100, is_backward: true, interval_ns: 0 }
}

fn of_lines(world: &World, rest: &str) -> Vec<String> {
    let (mut rest, mut range, mut shows_all, mut is_categorized) = (rest, range(), false, false);
    loop {
        if let Some(behind) = rest.strip_prefix("forward ") {
            range.is_backward = false;
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("all ") {
            shows_all = true;
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("categorized ") {
            is_categorized = true;
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("limit ") {
            let (limit, behind) = behind.split_once(' ').unwrap();
            range.limit = limit.parse().unwrap();
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("interval ") {
            let (interval, behind) = behind.split_once(' ').unwrap();
            range.interval_ns = after_ms(interval) * 1_000_000;
            rest = behind;
        } else {
            break;
        }
    }
    match world.lines(rest, range) {
        Ok(answer) => {
            answer.lines.iter().map(|line| show(line, shows_all, is_categorized)).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

fn show(line: &LogLine, shows_all: bool, is_categorized: bool) -> String {
    let is_shown = |name: &str| shows_all || !["service_name", "detected_level"].contains(&name);
    let show = |groups: &[&Vec<(String, String)>]| {
        let mut pairs: Vec<String> = groups
            .iter()
            .flat_map(|pairs| pairs.iter())
            .filter(|(name, _)| is_shown(name))
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        pairs.sort();
        format!("{{{}}}", pairs.join(", "))
    };
    let labels = match is_categorized {
        true => [&line.stream, &line.metadata, &line.parsed].map(|one| show(&[one])).join(" "),
        false => show(&[&line.stream, &line.metadata, &line.parsed]),
    };
    let after_ms = line.ts_ns / 1_000_000 - BASE_MS;
    let time = crate::base::units::format_duration_ms(after_ms);
    format!("{time} {labels} {}", line.line.replace('\n', "\\n")).trim_end().to_owned()
}

fn show_labels(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn of_numbers(world: &World, query: &str, steps: Steps) -> Vec<String> {
    match world.numbers(query, steps) {
        Err(error) => vec![error.to_string().lines().next().unwrap_or("").to_owned()],
        Ok(Value::Scalar { value, .. }) => vec![format_value(value)],
        Ok(Value::String { value, .. }) => vec![value],
        Ok(Value::Vector(samples)) => {
            let is_ordered = query.starts_with("sort") || query.starts_with("topk");
            let mut found: Vec<String> = samples
                .iter()
                .map(|s| format!("{} {}", show_labels(&s.labels), format_value(s.value)))
                .collect();
            if !is_ordered {
                found.sort();
            }
            found
        }
        Ok(Value::Matrix(series)) => {
            let step_ms = steps.step_ms.unwrap_or(1);
            let n = usize::try_from((steps.end_ms - steps.start_ms) / step_ms).unwrap() + 1;
            let mut found: Vec<String> = Vec::new();
            for one in series {
                let mut cells = vec!["_".to_owned(); n];
                for (ms, value) in one.timestamps_ms.iter().zip(&one.values) {
                    let step = usize::try_from((ms - steps.start_ms) / step_ms).unwrap();
                    cells[step] = format_value(*value);
                }
                found.push(format!("{} {}", show_labels(&one.labels), cells.join(" ")));
            }
            found.sort();
            found
        }
    }
}

fn of_failure(world: &World, query: &str) -> Vec<String> {
    let expr = match parse(query, &ParseLimits::default()) {
        Err(error) => return vec![error.to_string()],
        Ok(expr) => expr,
    };
    let error = match expr {
        crate::query::logql::Expr::Log(_) => world.lines(query, range()).map(drop).err(),
        crate::query::logql::Expr::Metric(_) => {
            let start_ms = BASE_MS + 3_600_000;
            let steps = Steps { start_ms, end_ms: start_ms, step_ms: None };
            world.numbers(query, steps).map(drop).err()
        }
    };
    vec![error.map_or_else(|| "it did not fail".to_owned(), |error| error.to_string())]
}
