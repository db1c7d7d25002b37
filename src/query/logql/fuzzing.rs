//! What must hold of any text that somebody asks for, and of any template and line.

use super::fields::Fields;
use super::pipeline::{Entry, Metadata, Pipeline, Wanted};
use super::syntax::{Expr, ParseLimits, parse};
use super::template::{Scope, Template};

/// A query's text: it is refused, or what is printed of it means the same.
pub fn logql_parse(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let limits = ParseLimits::default();
    let Ok(expr) = parse(&text, &limits) else { return };
    let printed = expr.to_string();
    // Printing writes parentheses and defaults out, and may pass a limit by that.
    let wide = ParseLimits {
        text_bytes_max: usize::MAX,
        depth_max: usize::MAX / 8,
        regex_bytes_max: usize::MAX,
        ..limits
    };
    for again in [&printed, &expr.pretty()] {
        match parse(again, &wide) {
            Ok(same) => assert_eq!(same.to_string(), printed, "{text}"),
            Err(error) => panic!("{text:?} was printed as {again:?}, which is no query: {error}"),
        }
    }
}

/// A query and a line: whatever both are, the pipeline ends and says something.
pub fn logql_pipeline(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (query, line) = text.split_once('\n').unwrap_or((&text, r#"{"a":{"b":"1.5s"}}"#));
    let Ok(Expr::Log(log)) = parse(query, &ParseLimits::default()) else { return };
    let Ok(pipeline) = Pipeline::new(&log, Wanted::All, 0) else { return };
    let stream = [("app".to_owned(), "fence".to_owned())];
    let metadata = Metadata { attributes: line, ..Metadata::default() };
    let mut entry = Entry::new(1_763_730_000_000_000_000, line, &stream);
    if pipeline.run(&mut entry, &metadata) {
        pipeline.complete(&mut entry, &metadata);
        drop(entry.fields.labels());
    }
}

/// A template, run over one line.
pub fn logql_template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(template) = Template::parse(&text) else { return };
    drop(template.fields());
    let stream = [("a".to_owned(), "x".to_owned()), ("n".to_owned(), "12.5".to_owned())];
    let fields = Fields::new(&stream);
    let scope =
        Scope { fields: &fields, line: "GET /", ts_ns: 1_763_730_000_000_000_000, now_ns: 0 };
    drop(template.render(&scope));
}
