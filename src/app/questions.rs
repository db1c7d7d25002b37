//! The languages of rules: what is checked when they are read.
//!
//! What can be checked here can be answered by `api::answer_question`. The server and the command line,
//! which checks rules without one, come to the same.

use crate::api::GIVES_LINES;
use crate::query::{Config, check_sql, logql, promql, traceql};
use crate::rules::Dialect;

const SPANS: &str = "the expression gives traces, and rules work on numbers: put a function such as \
    `| rate()` behind it";

/// Returns an expression laid out as people do, or what is wrong with it.
pub(crate) fn formatted(config: &Config, dialect: Dialect, text: &str) -> Result<String, String> {
    match dialect {
        Dialect::Promql => {
            let parsed = promql::parse(text, &config.promql_limits().parse);
            parsed.map(|expr| expr.to_string()).map_err(|error| error.to_string())
        }
        Dialect::Logql => match logql::parse(text, &config.log_limits().parse) {
            Ok(expr @ logql::Expr::Metric(_)) => Ok(expr.to_string()),
            Ok(logql::Expr::Log(_)) => Err(GIVES_LINES.to_owned()),
            Err(error) => Err(error.to_string()),
        },
        Dialect::Traceql => match traceql::parse(text, &config.traceql_limits()) {
            Ok(query) if query.is_metrics() => Ok(query.to_string()),
            Ok(_) => Err(SPANS.to_owned()),
            Err(error) => Err(error.to_string()),
        },
        // Nobody lays SQL out alike: it stays as it was written.
        Dialect::Sql => check_sql(text).map(|()| text.trim().to_owned()),
    }
}
