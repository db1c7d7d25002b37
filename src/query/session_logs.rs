//! Questions about logs: the same permission, turns and deadlines as all others.

use super::error::QueryError;
use super::logql::{
    self, Bounds, DetectedField, Expr, Follower, LogAnswer, LogLine, LogPattern, LogRange,
    LogqlError, ScanStats, Steps, StreamsFound, StreamsWanted,
};
use super::promql::{Answer, Budget};
use super::session::{Options, Session};
use crate::storage::{LogCursor, Snapshot};

/// The answer to a LogQL query.
#[derive(Debug, Clone, PartialEq)]
pub enum LogqlAnswer {
    /// Lines.
    Lines(LogAnswer),
    /// Numbers.
    Numbers(Box<Answer>, ScanStats),
}

/// The most lines that patterns are learned from.
const PATTERN_LINES_MAX: usize = 20_000;

/// A log query that is followed.
#[derive(Debug)]
pub struct Tail {
    follower: Follower,
    cursor: LogCursor,
}

impl Tail {
    /// Returns the lines that have come since the last look, by time, the newest of them within the
    /// bounds, and how many more there were. The session must be of the same caller, and of now.
    pub fn look(&mut self, session: &Session, bounds: Bounds) -> (Vec<LogLine>, usize) {
        let batches = session.logs_since(&mut self.cursor);
        self.follower.take(&batches, bounds)
    }
}

impl Session {
    /// Answers LogQL: a log query over the range, a metric query at the steps.
    pub async fn logql(
        &self,
        query: &str,
        range: LogRange,
        steps: Steps,
        now_ns: i64,
        options: Options,
    ) -> Result<LogqlAnswer, QueryError> {
        let query = query.to_owned();
        self.logs("logql", options, move |snapshot, limits, budget| {
            match logql::parse(&query, &limits.parse)? {
                Expr::Log(log) => logql::lines(snapshot, &log, range, limits, budget, now_ns)
                    .map(LogqlAnswer::Lines),
                Expr::Metric(expr) => {
                    let (mut answer, stats) =
                        logql::numbers(snapshot, &expr, steps, budget, now_ns)?;
                    answer.warnings.extend(snapshot.warnings());
                    Ok(LogqlAnswer::Numbers(Box::new(answer), stats))
                }
            }
        })
        .await
    }

    /// Lays LogQL out as people do.
    pub async fn logql_format(&self, query: &str) -> Result<String, QueryError> {
        let query = query.to_owned();
        let format = move |_: &Snapshot, limits: &logql::LogLimits, _: &Budget| {
            Ok(logql::parse(&query, &limits.parse)?.pretty())
        };
        self.logs("metadata", Options::default(), format).await
    }

    /// Returns the streams that any of the selectors means, and that have lines in the time.
    pub async fn log_streams(
        &self,
        selectors: Vec<String>,
        (start_ns, end_ns): (i64, i64),
        step_ns: Option<i64>,
    ) -> Result<StreamsFound, QueryError> {
        self.logs("series", Options::default(), move |snapshot, limits, budget| {
            let sets = logql::parse_selectors(&selectors, &limits.parse)?;
            let wanted = StreamsWanted { sets, start_ns, end_ns, step_ns };
            logql::streams(snapshot, &wanted, budget)
        })
        .await
    }

    /// Returns the fields that the newest lines of a log query have.
    pub async fn log_fields(
        &self,
        query: &str,
        range: LogRange,
        now_ns: i64,
    ) -> Result<Vec<DetectedField>, QueryError> {
        let query = query.to_owned();
        self.logs("logql", Options::default(), move |snapshot, limits, budget| {
            let log = logql::parse_log(&query, &limits.parse)?;
            let found = logql::lines(snapshot, &log, range, limits, budget, now_ns)?;
            Ok(logql::fields(&found.lines))
        })
        .await
    }

    /// Returns the patterns of a log query's lines; of very many, those of some of every part of the
    /// time, counted for all.
    pub async fn log_patterns(
        &self,
        query: &str,
        range: LogRange,
        step_ns: i64,
        now_ns: i64,
    ) -> Result<Vec<LogPattern>, QueryError> {
        let query = query.to_owned();
        self.logs("logql", Options::default(), move |snapshot, limits, budget| {
            let log = logql::parse_log(&query, &limits.parse)?;
            let range = LogRange { limit: PATTERN_LINES_MAX, ..range };
            logql::patterns(snapshot, &log, range, step_ns.max(1), limits, budget, now_ns)
        })
        .await
    }

    /// Begins to follow the lines of a log query.
    pub fn follow(&self, query: &str, now_ns: i64) -> Result<Tail, QueryError> {
        self.need_logs()?;
        let follower = self.follower(query, now_ns);
        self.engine.note_limit(&follower);
        Ok(Tail { follower: follower?, cursor: self.log_cursor() })
    }

    fn follower(&self, query: &str, now_ns: i64) -> Result<Follower, QueryError> {
        let log = logql::parse_log(query, &self.log_limits().parse)?;
        Ok(Follower::new(log, now_ns)?)
    }

    /// Runs work that reads logs, again from the beginning when a file turns out to be damaged: it
    /// is left out from then on.
    pub(super) async fn logs<T: Send + 'static>(
        &self,
        dialect: &'static str,
        options: Options,
        mut work: impl FnMut(&Snapshot, &logql::LogLimits, &Budget) -> Result<T, LogqlError>
        + Send
        + 'static,
    ) -> Result<T, QueryError> {
        self.need_logs()?;
        let limits = self.log_limits();
        self.read(dialect, options.timeout, move |snapshot, budget| {
            loop {
                match work(snapshot, &limits, budget) {
                    Err(LogqlError::Read(error)) => {
                        snapshot.leave_out(error).map_err(LogqlError::Read)?;
                    }
                    done => return Ok(done?),
                }
            }
        })
        .await
    }
}
