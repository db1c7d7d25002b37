//! `tests/cases/traceql/*.txt`: a trace, then queries and what they find in it.
//!
//! ```text
//! span <id> <parent> <name> [word=value …]
//! > query
//! ids of a spanset | ids of the next        (or `nothing`, or `error: …`)
//! ```

use super::{answer, given, trace_of};

#[track_caller]
fn check(path: &str, text: &str) -> usize {
    let (mut spans, mut query, mut n_checked) = (Vec::new(), None, 0);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(span) = line.strip_prefix("span ") {
            spans.push(given(span));
        } else if let Some(text) = line.strip_prefix("> ") {
            query = Some(text.to_owned());
        } else if line == "new trace" {
            spans.clear();
        } else if !line.is_empty() && !line.starts_with('#') {
            let query = query.take().unwrap_or_else(|| panic!("{path}:{number}: no query"));
            let found = match answer(&query, &trace_of(&spans)) {
                Ok(found) => found,
                Err(error) => format!("error: {error}"),
            };
            assert_eq!(found, line, "{path}:{number}: {query}");
            n_checked += 1;
        }
    }
    assert_eq!(query, None, "{path}: a query without an answer");
    n_checked
}

#[test]
fn every_operator_finds_what_its_case_says() {
    let pattern = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/traceql/*.txt");
    let mut n_checked = 0;
    for path in glob::glob(pattern).unwrap() {
        let path = path.unwrap();
        n_checked += check(&path.display().to_string(), &std::fs::read_to_string(&path).unwrap());
    }
    assert!(n_checked > 100, "{n_checked} cases");
}
