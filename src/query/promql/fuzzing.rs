//! What must hold of any text that somebody asks for.
//!
//! The parser panics on no text; whatever was parsed can be printed and read again; rules are kept as they were printed, so a printed query answers as the one that was written.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::testing::{MemorySource, parse_series};
use super::{Engine, Expr, Limits, ParseLimits, format_expr, parse, selectors};
use crate::base::{Clock, ManualClock};

/// Parses, or returns `None` when the text was refused.
fn parsed(text: &str) -> Option<Expr> {
    parse(text, &ParseLimits::experimental()).ok()
}

/// A query's text.
pub fn promql_parse(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(expr) = parsed(&text) else { return };
    drop(selectors(&expr));
    drop(super::as_selector(&expr));
    drop(super::expr_to_json(&expr));
    for printed in [expr.to_string(), format_expr(&expr)] {
        check_printed(&expr, &printed);
    }
}

/// What is printed is read again, and says the same.
fn check_printed(expr: &Expr, printed: &str) {
    let again = match parse(printed, &ParseLimits::experimental()) {
        Ok(again) => again,
        // Printing writes defaults out, and may pass a limit by that.
        Err(error @ super::PromqlError::Limit { .. }) => return drop(error),
        Err(error) => panic!("{expr} was printed as {printed}, which is no query: {error}"),
    };
    assert_eq!(again.to_string(), expr.to_string(), "{printed}");
}

fn source() -> MemorySource {
    let mut source = MemorySource::new();
    for line in [
        r#"m{a="0",b="0"} 0 1 NaN 3 stale 5 Inf -Inf 0.5x4"#,
        r#"m{a="0",b="1"} 1+2x10"#,
        r#"m{a="1",b="2"} 10-1x12"#,
        r#"up{job="api"} 1 0 1 1 0 _ _ 1"#,
        r#"x_bucket{le="0.1"} 1x10"#,
        r#"x_bucket{le="1"} 2+1x10"#,
        r#"x_bucket{le="+Inf"} 3+2x10"#,
    ] {
        let (labels, values) = parse_series(line).expect("the notation of rule tests");
        source.push_values(&labels, 0, 60_000, &values);
    }
    source
}

/// A query's text, asked over a few series: at single times, over a range, and as it is printed.
pub fn promql_eval(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(expr) = parsed(&text) else { return };
    static SOURCE: LazyLock<MemorySource> = LazyLock::new(source);
    let limits = Limits { samples_max: 20_000, memory_bytes_max: 1 << 20, ..Limits::default() };
    let clock: Arc<dyn Clock> = ManualClock::at_ms(0);
    let budget = || limits.budget(Arc::clone(&clock), Duration::from_secs(120));
    let engine = Engine::default();
    let instant = |expr: &Expr, ms| engine.instant(&*SOURCE, expr, ms, &budget());
    for ms in [i64::MAX, i64::MIN, -1] {
        drop(instant(&expr, ms));
    }
    drop(engine.range(&*SOURCE, &expr, -60_000, 300_000, 30_000, &budget()));
    drop(engine.range(&*SOURCE, &expr, i64::MAX - 2, i64::MAX, 1, &budget()));
    let Some(printed) = parse(&expr.to_string(), &ParseLimits::experimental()).ok() else { return };
    let answers = [&expr, &printed].map(|expr| match instant(expr, 240_000) {
        Ok(answer) => format!("{:?}", answer.value),
        Err(_) => "none".to_owned(),
    });
    assert_eq!(answers[0], answers[1], "{text} was printed as {printed}");
}

/// Series in the notation of rule unit tests.
pub fn promql_notation(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    drop(parse_series(&text));
}
