//! What a running server says about a rule over logs: a label that no stream has, a selector that
//! selects nothing, a stage that shuts out every line which the others let through.
//!
//! That a healthy commons has no line with `panic` is no fault of the rule, so a filter that stands
//! alone is not judged. One of several is: when the others find lines and all of them stop at it, it
//! looks for what nobody writes any more.

use serde_json::Value;

use super::CliError;
use super::client::Client;
use super::lint::{get, shown};
use crate::model::{MatchOp, Matcher};
use crate::query::logql::{self, ParseLimits, syntax::ast};

/// How far back is looked.
const WINDOW: &str = "1d";

/// Returns what is odd about an expression, a sentence each.
pub(super) fn findings(text: &str, client: &Client) -> Result<Vec<String>, CliError> {
    let Ok(logql::Expr::Metric(expr)) = logql::parse(text, &ParseLimits::default()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for lines in logql::lines_counted(&expr) {
        found.extend(of_lines(lines, client)?);
    }
    Ok(found)
}

fn of_lines(lines: &ast::LogExpr, client: &Client) -> Result<Vec<String>, CliError> {
    let bare = |matchers: Vec<Matcher>| ast::LogExpr { matchers, stages: Vec::new() };
    if count(&bare(lines.matchers.clone()), client)? == 0.0 {
        for matcher in &lines.matchers {
            // Without an equality that something is there, one matcher alone selects nothing or all.
            let others = lines.matchers.iter().filter(|one| *one != matcher);
            let others: Vec<Matcher> = others.cloned().collect();
            let is_wanting = matches!(matcher.op, MatchOp::Eq | MatchOp::Re);
            if is_wanting && !others.is_empty() && count(&bare(others), client)? > 0.0 {
                return Ok(vec![format!(
                    "the matcher {matcher} of {} matches no line of the last day",
                    shown(&lines.matchers)
                )]);
            }
        }
        return Ok(vec![format!("no line of the last day is in {}", shown(&lines.matchers))]);
    }
    let filters: Vec<usize> = filters(lines).collect();
    if filters.len() < 2 || count(lines, client)? > 0.0 {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for idx in filters {
        let mut without = lines.clone();
        let stage = without.stages.remove(idx);
        let n_without = count(&without, client)?;
        if n_without > 0.0 {
            found.push(format!(
                "`{stage}` shuts out all {n_without} lines of the last day that the rest lets through"
            ));
        }
    }
    Ok(found)
}

/// Returns the places of the stages that let some lines through and others not.
fn filters(lines: &ast::LogExpr) -> impl Iterator<Item = usize> {
    let is_filter =
        |stage: &ast::Stage| matches!(stage, ast::Stage::Line(_) | ast::Stage::Filter(_));
    lines.stages.iter().enumerate().filter(move |(_, stage)| is_filter(stage)).map(|(idx, _)| idx)
}

/// Returns how many series an expression yields now.
pub(super) fn count_series(expr: &str, client: &Client) -> Result<f64, CliError> {
    asked(&format!("count({expr})"), client)
}

fn count(lines: &ast::LogExpr, client: &Client) -> Result<f64, CliError> {
    asked(&format!("sum(count_over_time({lines} [{WINDOW}]))"), client)
}

fn asked(query: &str, client: &Client) -> Result<f64, CliError> {
    let query = query.to_owned();
    let answer: Value = get(client, "/loki/api/v1/query", &[("query", query)])?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    Ok(value.and_then(|text| text.parse().ok()).unwrap_or(0.0))
}
