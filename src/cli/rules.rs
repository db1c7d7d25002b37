//! `commonwatch rules check|test|backtest`: rule files before they are in force.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clap::{Args, Subcommand};
use parking_lot::Mutex;

use super::client::{Client, ServerArgs};
use super::{CliError, backtest, block_on, lint};
use crate::base::{Clock as _, SystemClock};
use crate::model::{Labels, SeriesData};
use crate::notify::Policy;
use crate::query::promql::testing::MemorySource;
use crate::query::promql::{self, Budget, Engine, ParseLimits, Value};
use crate::rules::unit_test::{self, TestFile};
use crate::rules::{self, AlertEvent, Config, Defaults, GroupDef, Row, RuleDef, World};

#[derive(Debug, Subcommand)]
pub(super) enum RulesCommand {
    /// Tell every mistake in rule files, and what is odd about them
    Check(CheckArgs),
    /// Replay rules and routes over stored history: who would have been told how often
    Backtest(backtest::BacktestArgs),
    /// Run unit tests of rules, in the format of `promtool test rules`
    Test {
        /// Test files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Rule files or patterns, Prometheus format
    #[arg(required = true)]
    files: Vec<String>,
    /// Say who would be told, by this Alertmanager configuration file
    #[arg(long, value_name = "FILE")]
    alerting: Option<PathBuf>,
    /// Ask the running server too: selectors that match nothing, gauges under rate, fan-out
    #[arg(long)]
    live: bool,
    /// Fail when something is odd
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(command: &RulesCommand, out: &mut dyn Write) -> Result<(), CliError> {
    match command {
        RulesCommand::Check(args) => check(args, out),
        RulesCommand::Backtest(args) => backtest::run(args, out),
        RulesCommand::Test { files } => test(files, out),
    }
}

fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let of = |error: rules::RulesError| CliError::of(error.kind(), &error);
    let files = rules::read_files(&args.files).map_err(of)?;
    if files.is_empty() {
        return Err(CliError::usage(format!("no file is meant by {}", args.files.join(", "))));
    }
    let groups = rules::parse(&files, Defaults::from(&Config::default()), &formatted);
    let groups = groups.map_err(|error| CliError::failed(error.to_string()))?;
    if let Some(path) = &args.alerting {
        tell_routes(&groups, path, out)?;
    }
    let mut odd: Vec<String> = groups.iter().flat_map(lint::findings).collect();
    if args.live {
        let client = Client::new(&args.server)?;
        for group in &groups {
            odd.extend(lint::findings_of_server(group, &client)?);
        }
    }
    for finding in &odd {
        writeln!(out, "odd: {finding}")?;
    }
    let n_rules: usize = groups.iter().map(|group| group.rules.len()).sum();
    let (n_files, n_groups, n_odd) = (files.len(), groups.len(), odd.len());
    let verdict = if odd.is_empty() { "all right".to_owned() } else { format!("{n_odd} odd") };
    writeln!(out, "{n_files} files, {n_groups} groups, {n_rules} rules: {verdict}")?;
    match args.strict && !odd.is_empty() {
        true => Err(CliError::failed(format!("{n_odd} findings, and --strict"))),
        false => Ok(()),
    }
}

fn tell_routes(groups: &[GroupDef], path: &Path, out: &mut dyn Write) -> Result<(), CliError> {
    let policy = read_policy(path)?;
    let now_ms = SystemClock::new().now_ms();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        if let RuleDef::Alert(alert) = rule {
            writeln!(out, "{}", lint::route_of(alert, &policy, now_ms))?;
        }
    }
    Ok(())
}

/// Reads an Alertmanager configuration file, or tells its mistakes.
pub(super) fn read_policy(path: &Path) -> Result<Policy, CliError> {
    Policy::read(path).map_err(|mistakes| {
        let lines: Vec<String> =
            mistakes.iter().map(|mistake| format!("{}: {mistake}", path.display())).collect();
        CliError::usage(lines.join("\n"))
    })
}

fn test(paths: &[PathBuf], out: &mut dyn Write) -> Result<(), CliError> {
    let mut n_failed = 0;
    let parsed = Parsed::default();
    let make_world = |series| make_world(series, Arc::clone(&parsed));
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
pub(super) fn formatted(expr: &str) -> Result<String, String> {
    let parsed = promql::parse(expr, &ParseLimits::experimental());
    parsed.map(|expr| expr.to_string()).map_err(|error| error.to_string())
}

/// Series in memory, evaluated by the engine of the server.
struct MemoryWorld {
    source: Mutex<MemorySource>,
    engine: Engine,
    parsed: Parsed,
}

/// Expressions that were asked before: a rule is evaluated again and again.
type Parsed = Arc<Mutex<HashMap<String, Arc<promql::Expr>>>>;

fn make_world(series: Vec<SeriesData>, parsed: Parsed) -> Arc<dyn World> {
    let mut source = MemorySource::new();
    for one in &series {
        for (&timestamp_ms, &value) in one.timestamps_ms.iter().zip(&one.values) {
            source.push(&one.labels, timestamp_ms, value);
        }
    }
    Arc::new(MemoryWorld { source: Mutex::new(source), engine: Engine::default(), parsed })
}

impl MemoryWorld {
    fn parse(&self, text: &str) -> Result<Arc<promql::Expr>, String> {
        if let Some(expr) = self.parsed.lock().get(text) {
            return Ok(Arc::clone(expr));
        }
        let expr = promql::parse(text, &ParseLimits::experimental());
        let expr = Arc::new(expr.map_err(|error| error.to_string())?);
        self.parsed.lock().insert(text.to_owned(), Arc::clone(&expr));
        Ok(expr)
    }
}

/// One expression of a unit test that runs longer is a mistake in the test.
const TIMEOUT: Duration = Duration::from_secs(30);

#[async_trait]
impl World for MemoryWorld {
    async fn ask(&self, expr: &str, time_ms: i64) -> Result<Vec<(Labels, f64)>, String> {
        let shown = |error: promql::PromqlError| error.to_string();
        let expr = self.parse(expr)?;
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
