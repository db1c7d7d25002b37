//! A question and a `Grant` become an answer; the only room that knows DataFusion.
//!
//! A [`Session`] is one caller at one moment: it holds a snapshot taken with the grant's scope, and
//! that is the one place where read permission is applied. PromQL is our own evaluator and runs
//! here, on threads of its own, with a budget checked at every step, and so does LogQL; what was answered
//! quickly the last time is tried on the spot (`quick`). SQL is DataFusion's and runs
//! in [worker processes](worker_main) that may be ended at any time. What both share (limits,
//! turns, the processes, metrics) is the [`Engine`]; [`answer`] writes SQL answers down.
//!
//! When you add a dialect, also touch: `session` (permission), `session_read` (a turn, a deadline), `docs/`.

pub mod promql;
pub mod traceql;
pub mod logql;

pub mod answer;
mod answer_samples;
mod bounded_text;
pub mod cardinality;
pub mod limits;
mod engine;
mod session;
mod session_read;
mod session_sql;
mod session_names;
mod session_traces;
mod session_logs;
mod session_delete;
mod quoted;
mod admission;
mod quick;
mod helpers;
mod error;
mod metrics;
mod sql;
mod worker;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    //! What the fuzz targets call.

    pub use super::logql::fuzzing::{logql_parse, logql_pipeline, logql_template};
    pub use super::promql::fuzzing::{promql_eval, promql_notation, promql_parse};
    pub use super::sql::fuzzing::{sql_gate, sql_json_get, sql_tokens};
    pub use super::traceql::fuzzing::traceql;
    pub use super::worker::fuzzing::worker_frames;
}
#[cfg(test)]
mod tests;

pub use answer::SqlAnswer;
pub use engine::{Engine, EngineParts};
pub use error::QueryError;
pub use helpers::SpareThreads;
pub use limits::Config;
pub use metrics::Metrics;
pub use quoted::Quoted;
pub use session::{Options, SampleQuery, Session, may_see, within};
pub use session_delete::{Deletions, Doomed};
pub use session_logs::{LogqlAnswer, Tail};
pub use session_names::{CardinalityQuery, Selection};
pub use sql::{Param, Truncated, check_sql};
pub use worker::{WorkerCommand, worker_main};
