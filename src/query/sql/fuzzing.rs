//! What must hold of any SQL: what comes through both gates is a query over our tables, made of
//! operators and functions that are offered.
//!
//! The check here shares no line with the gates: it reads the plan as it is printed.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use futures::stream::{self, BoxStream, StreamExt};

use super::context::{self, Parts};
use super::{
    HeadRange, HeadRequest, HeadRows, Heads, Limits, Param, Question, run, statements, table,
    tokens,
};
use crate::model::Signal;

#[derive(Debug)]
struct NoRows;

#[async_trait]
impl Heads for NoRows {
    fn read(&self, _: HeadRequest) -> BoxStream<'static, Result<HeadRows>> {
        stream::empty().boxed()
    }

    async fn metric_ranges(&self) -> Result<Vec<HeadRange>> {
        Ok(Vec::new())
    }
}

/// Runs the planner as the worker does: on a stack of 16 MiB.
fn on_large_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    use std::sync::mpsc;
    type Job = Box<dyn FnOnce() + Send>;
    static JOBS: LazyLock<mpsc::SyncSender<Job>> = LazyLock::new(|| {
        let (jobs, inbox) = mpsc::sync_channel::<Job>(0);
        let thread = std::thread::Builder::new().stack_size(16 << 20);
        thread.spawn(move || inbox.iter().for_each(|job| job())).expect("a thread can be started");
        jobs
    });
    let (done, result) = mpsc::sync_channel(1);
    let job: Job = Box::new(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        drop(done.send(outcome));
    });
    JOBS.send(job).expect("the thread lives as long as the process");
    match result.recv().expect("the job answers") {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}

fn question(sql: &str) -> Question {
    Question {
        sql: sql.to_owned(),
        params: vec![Param::Int(1), Param::Text("a".to_owned()), Param::Null],
        files: Vec::new(),
        data_dir: PathBuf::from("/nowhere"),
        may_explain: false,
        limits: Limits {
            memory_bytes: 16 << 20,
            rows_max: 100,
            result_bytes_max: 1 << 20,
            n_partitions: 1,
            cpu_secs_max: 60,
        },
    }
}

fn session() -> SessionState {
    let store = table::store(Path::new("/nowhere"), &[], Arc::new(NoRows))
        .expect("no file is outside its folder");
    context::session(Parts {
        store: Arc::new(store),
        files: &[],
        heads: Arc::new(NoRows),
        memory_bytes: 16 << 20,
        n_partitions: 1,
    })
    .expect("a session over nothing")
}

/// A text through the first gate and the parser.
pub fn sql_tokens(bytes: &[u8]) {
    let sql = String::from_utf8_lossy(bytes).into_owned();
    if tokens::check(&sql).is_err() {
        return;
    }
    on_large_stack(move || {
        static STATE: LazyLock<SessionState> = LazyLock::new(session);
        let dialect = STATE.config_options().sql_parser.dialect;
        let Ok(statement) = STATE.sql_to_statement(&sql, &dialect) else { return };
        drop(statements::check(&statement));
        drop(statement);
    });
}

/// A text through both gates; a plan that comes through is looked at once more.
pub fn sql_gate(bytes: &[u8]) {
    let sql = String::from_utf8_lossy(bytes).into_owned();
    if tokens::check(&sql).is_err() {
        return;
    }
    on_large_stack(move || {
        static STATE: LazyLock<SessionState> = LazyLock::new(session);
        let mut state = STATE.clone();
        state.mark_start_execution();
        if let Ok(plan) = wait(run::plan_of(&state, &question(&sql))) {
            check_plan(&plan, &sql);
        }
    });
}

/// What the lines of a printed plan may begin with, beside reads of our tables.
const OPERATORS: &[&str] = &[
    "Aggregate:",
    "Cross Join:",
    "Distinct:",
    "DistinctOn:",
    "EmptyRelation:",
    "Filter:",
    "Full Join:",
    "Inner Join:",
    "Left Join:",
    "LeftAnti Join:",
    "LeftMark Join:",
    "LeftSemi Join:",
    "Limit:",
    "Projection:",
    "Right Join:",
    "RightAnti Join:",
    "RightSemi Join:",
    "Sort:",
    "Subquery:",
    "SubqueryAlias:",
    "Union",
    "Unnest:",
    "Values:",
    "WindowAggr:",
];

/// Functions that must not be called, each by a part of a text that only a call prints.
const CALLS: &[&str] = &[
    "array_repeat(",
    "array_resize(",
    "generate_series(",
    "range(",
    "repeat(",
    "lpad(",
    "rpad(",
    "regexp_replace(",
    "string_agg(",
    "version(",
    "input_file_name(",
    "read_csv(",
];

fn check_plan(plan: &LogicalPlan, sql: &str) {
    let printed = plan.display_indent().to_string();
    // A line break or a call in quotes prints like one outside: such texts are not judged.
    let is_plain =
        !sql.contains(['\'', '"', '$', '`']) && !sql.contains("/*") && !sql.contains("--");
    if !is_plain {
        return;
    }
    for line in printed.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        let is_known = OPERATORS.iter().any(|operator| line.starts_with(operator));
        assert!(is_known || is_our_scan(line), "{sql} was let through, with the step {line}");
        let called = CALLS.iter().find(|call| calls(line, call));
        assert!(called.is_none(), "{sql} was let through, calling {called:?} in {line}");
    }
}

/// Returns true for a read of one of our tables, by any of its names, or of what PromQL answers.
fn is_our_scan(line: &str) -> bool {
    let Some(table) = line.strip_prefix("TableScan: ") else { return false };
    let table = table.strip_prefix("commonwatch.").unwrap_or(table);
    let table = table.strip_prefix("public.").unwrap_or(table);
    let name = table.split([' ', ',', '(']).next().unwrap_or_default();
    name == "promql" || Signal::ALL.iter().any(|signal| signal.as_str() == name)
}

fn calls(line: &str, call: &str) -> bool {
    line.match_indices(call).any(|(at, _)| {
        // `array_range(` is another function's name.
        !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// `attributes['key']`: the key is the first line.
pub fn sql_json_get(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (key, text) = text.split_once('\n').unwrap_or(("a", &text));
    super::json_get::fuzzing::get_any(key, text);
}
