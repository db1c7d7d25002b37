//! The scripts under `tests/cases/promql`, and what no script can say: hostile texts, budgets,
//! and that one read serves all who need it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use crate::base::{Clock, Kind, ManualClock};
use crate::model::{Labels, SeriesData};
use crate::storage::{ReadError, SeriesRequest};

use super::testing::{MemorySource, parse_series, run_script};
use super::*;

fn budget_of(limits: &Limits) -> Budget {
    let clock: Arc<dyn Clock> = ManualClock::at_ms(0);
    limits.budget(clock)
}

fn source_of(step_ms: i64, lines: &[&str]) -> MemorySource {
    let mut source = MemorySource::new();
    for line in lines {
        let (labels, values) = parse_series(line).unwrap();
        source.push_values(&labels, 0, step_ms, &values);
    }
    source
}

fn parse_ok(text: &str) -> Expr {
    parse(text, &ParseLimits::default()).unwrap()
}

#[test]
fn every_script_holds() {
    let mut paths: Vec<_> = std::fs::read_dir("tests/cases/promql")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "test"))
        .collect();
    paths.sort();
    let mut report = String::new();
    let mut n_total = 0;
    for path in &paths {
        let (n_evals, failures) =
            run_script(&Engine::default(), &std::fs::read_to_string(path).unwrap());
        n_total += n_evals;
        for failure in failures {
            report.push_str(&format!("{}: {failure}\n", path.display()));
        }
    }
    assert!(report.is_empty(), "\n{report}");
    assert!(n_total >= 300, "only {n_total} evaluations: was a script lost?");
}
