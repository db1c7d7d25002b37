//! `commonwatch rules check|test`: rule files without a server.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::Subcommand;
use parking_lot::Mutex;

use super::{CliError, block_on};
use crate::base::SystemClock;
use crate::model::{Labels, SeriesData};
use crate::query::promql::testing::MemorySource;
use crate::query::promql::{self, Budget, Engine, ParseLimits, Value};
use crate::rules::unit_test::{self, TestFile};
use crate::rules::{self, AlertEvent, Config, Defaults, Row, World};

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Tell every mistake in rule files
    Check {
        /// Rule files or patterns, Prometheus format
        #[arg(required = true)]
        files: Vec<String>,
    },
    /// Run unit tests of rules, in the format of `promtool test rules`
    Test {
        /// Test files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

pub(super) fn run(command: &RulesCommand, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        RulesCommand::Check { files } => check(files, out),
        RulesCommand::Test { files } => test(files, out),
    }
}

fn check(patterns: &[String], out: &mut dyn Write) -> Result<(), CliError> {
    let of = |error: rules::RulesError| CliError::of(error.kind(), &error);
    let files = rules::read_files(patterns).map_err(of)?;
    if files.is_empty() {
        return Err(CliError::usage(format!("no file is meant by {}", patterns.join(", "))));
    }
    let groups = rules::parse(&files, Defaults::from(&Config::default()), &formatted);
    let groups = groups.map_err(|error| CliError::failed(error.to_string()))?;
    let n_rules: usize = groups.iter().map(|group| group.rules.len()).sum();
    let (n_files, n_groups) = (files.len(), groups.len());
    writeln!(out, "{n_files} files, {n_groups} groups, {n_rules} rules: all right")?;
    Ok(())
}

fn test(paths: &[PathBuf], out: &mut dyn Write) -> Result<(), CliError> {
    let mut n_failed = 0;
    for path in paths {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::usage(format!("cannot read {shown}: {error}")))?;
        let file = TestFile::parse(&shown, &text).map_err(CliError::usage)?;
        let rule_files = rules::read_files(&file.rule_patterns())
            .map_err(|error| CliError::of(error.kind(), &error))?;
        let run = unit_test::run(&file, &rule_files, &formatted, &make_world);
        let failures = block_on(async { Ok(run.await) })?;
        writeln!(out, "{} {shown}", if failures.is_empty() { "ok  " } else { "FAIL" })?;
        for failure in &failures {
            writeln!(out, "     {}", failure.replace('\n', "\n     "))?;
        }
        n_failed += usize::from(!failures.is_empty());
    }
    if n_failed > 0 {
        return Err(CliError::failed(format!("{n_failed} of {} test files failed", paths.len())));
    }
    Ok(())
}

/// Returns an expression as people lay it out, or what is wrong with it.
fn formatted(expr: &str) -> Result<String, String> {
    let parsed = promql::parse(expr, &ParseLimits::experimental());
    parsed.map(|expr| expr.to_string()).map_err(|error| error.to_string())
}

/// Series in memory, evaluated by the engine of the server.
struct MemoryWorld {
    source: Mutex<MemorySource>,
    engine: Engine,
}

fn make_world(series: Vec<SeriesData>) -> Arc<dyn World> {
    let mut source = MemorySource::new();
    for one in &series {
        for (&timestamp_ms, &value) in one.timestamps_ms.iter().zip(&one.values) {
            source.push(&one.labels, timestamp_ms, value);
        }
    }
    Arc::new(MemoryWorld { source: Mutex::new(source), engine: Engine::default() })
}

/// One expression of a unit test that runs longer is a mistake in the test.
const TIMEOUT: Duration = Duration::from_secs(30);

#[async_trait]
impl World for MemoryWorld {
    async fn ask(&self, expr: &str, time_ms: i64) -> Result<Vec<(Labels, f64)>, String> {
        let shown = |error: promql::PromqlError| error.to_string();
        let expr = promql::parse(expr, &ParseLimits::experimental()).map_err(shown)?;
        let budget = Budget::new(Arc::new(SystemClock::new()), TIMEOUT);
        let source = self.source.lock();
        let answer = self.engine.instant(&*source, &expr, time_ms, &budget).map_err(shown)?;
        match answer.value {
            Value::Scalar { value, .. } => Ok(vec![(Labels::empty(), value)]),
            Value::Vector(samples) => {
                Ok(samples.into_iter().map(|sample| (sample.labels, sample.value)).collect())
            }
            Value::String { .. } | Value::Matrix(_) => {
                Err("a rule's expression must give a number or one value a series".to_owned())
            }
        }
    }

    async fn record(&self, rows: Vec<Row>) -> Result<(), String> {
        let mut source = self.source.lock();
        for (labels, timestamp_ms, value) in rows {
            source.push(&labels, timestamp_ms, value);
        }
        Ok(())
    }

    async fn fire(&self, _events: Vec<AlertEvent>) {}
}
