//! What must hold of any rule file, test file and template: it is refused with a reason, or it works
//! within its fuel.

use std::sync::Arc;

use super::def::{Defaults, RuleFile};
use super::load::parse;
use super::text::{Data, OUTPUT_BYTES_MAX, Template};
use super::unit_test::TestFile;
use super::{Config, Dialect, RulesError, state};
use crate::model::Labels;

/// A rule file.
pub fn rule_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let file = RuleFile { path: "rules.yml".to_owned(), text };
    let check_expr = |_: Dialect, expr: &str| match expr.contains('!') {
        true => Err("an exclamation mark".to_owned()),
        false => Ok(expr.to_owned()),
    };
    match parse(&[file], Defaults::from(&Config::default()), &check_expr) {
        Ok(groups) => {
            let intervals = groups.iter().map(|group| group.interval_ms);
            intervals.for_each(|ms| assert!(ms > 0, "a group is evaluated every {ms} ms"));
        }
        Err(RulesError::Mistakes(mistakes)) => {
            assert!(!mistakes.is_empty(), "a file is refused for a reason");
            mistakes.iter().for_each(|mistake| drop(mistake.to_string()));
        }
        Err(other) => panic!("{other}"),
    }
}

/// A template, expanded over an alert's data.
pub fn rule_template(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(template) = Template::parse("__alert_A", &text) else { return };
    let data = Data {
        labels: Labels::from_pairs([("n", "1"), ("__name__", "m")]),
        value: 2.5e7.into(),
        external_labels: Labels::from_pairs([("region", "x")]),
        external_url: Arc::from("https://watch.example/base/"),
        now_ms: 1_500,
    };
    let ask = |expr: String| async move {
        match expr.as_str() {
            "broken" => Err("no such thing".to_owned()),
            "m" => Ok(["4", "2", "NaN"]
                .map(|n| (Labels::from_pairs([("n", n)]), n.parse().unwrap_or(0.0).into()))
                .to_vec()),
            _ => Ok(Vec::new()),
        }
    };
    let expanded = futures::executor::block_on(template.expand(&data, ask));
    assert!(expanded.len() <= OUTPUT_BYTES_MAX + 4096, "{} bytes", expanded.len());
}

/// A file of unit tests.
pub fn rule_test_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(file) = TestFile::parse("tests.yml", &text) else { return };
    drop(file.rule_patterns());
    super::unit_test::fuzzing::read_series(&file);
}

/// The alerts that were kept over a restart: what is read is written back as it was.
pub fn rules_state(bytes: &[u8]) {
    let Ok(read) = state::decode(bytes) else { return };
    // By its text: NaN is not equal to itself.
    let shown = format!("{:?}", read.groups);
    let written = state::encode(read.groups, read.saved_at_ms);
    let again = state::decode(&written).expect("what we write we read");
    assert_eq!((format!("{:?}", again.groups), again.saved_at_ms), (shown, read.saved_at_ms));
}
