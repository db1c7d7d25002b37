//! What is wrong with a statement as far as its text alone tells: for those who keep statements to ask
//! them later.

use datafusion::sql::parser::DFParserBuilder;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;

use super::{statements, tokens};

/// Returns why a statement can never be answered, or `Ok` when it may.
pub fn check_sql(text: &str) -> Result<(), String> {
    tokens::check(text)?;
    let shown = |error: datafusion::error::DataFusionError| error.strip_backtrace();
    let mut parser =
        DFParserBuilder::new(text).with_dialect(&PostgreSqlDialect {}).build().map_err(shown)?;
    let all = parser.parse_statements().map_err(shown)?;
    match all.front() {
        Some(statement) if all.len() == 1 => statements::check(statement).map_err(shown),
        _ => Err(format!("{} statements, and one is answered", all.len())),
    }
}
