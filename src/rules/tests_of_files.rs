//! Rule files: what is wrong in them and where, and those that we ship.

use std::collections::BTreeSet;

use super::tests::{MIN, check_expr, groups};
use super::*;

/// Every `tests/cases/rules/*.bad.yml` says on top which mistakes are to be reported; a `*` at the end
/// stands for words that are the YAML reader's.
#[test]
fn every_mistake_is_reported_with_its_place() {
    let mut n_files = 0;
    for path in glob::glob("tests/cases/rules/*.bad.yml").unwrap() {
        let path = path.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut want: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# want: FILE"))
            .map(|line| format!("f.yml{line}"))
            .collect();
        let file = RuleFile { path: "f.yml".to_owned(), text };

        let error = parse(&[file], Defaults::from(&Config::default()), &check_expr).unwrap_err();

        let RulesError::Mistakes(mistakes) = &error else { panic!("{path:?}: {error}") };
        let mut got: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        got.sort();
        want.sort();
        assert_eq!(got.len(), want.len(), "{path:?}: {got:#?}");
        for (got, want) in got.iter().zip(&want) {
            let is_same = match want.strip_suffix('*') {
                Some(start) => got.starts_with(start) && got.len() > start.len(),
                None => got == want,
            };
            assert!(is_same, "{path:?}:\n got {got}\nwant {want}");
        }
        assert_eq!(error.kind(), Kind::BadInput);
        n_files += 1;
    }
    assert!(n_files >= 15, "only {n_files} files");
}

#[test]
fn mistakes_of_all_files_are_reported_together() {
    let files = ["groups: [{name: '', rules: []}]", "group: []"]
        .map(|text| RuleFile { path: format!("{}.yml", text.len()), text: text.to_owned() });

    let error = parse(&files, Defaults::from(&Config::default()), &check_expr).unwrap_err();

    assert_eq!(
        error.to_string(),
        "2 mistakes in the rule files:\n  31.yml:1: group 1: a group needs a `name`\n  \
         9.yml: unknown key `group`; known are groups, overrides, objectives"
    );
}

#[test]
fn more_groups_than_may_be_are_refused_with_the_limits_name() {
    let text = "groups: [{name: a, rules: []}, {name: b, rules: []}]".to_owned();
    let file = RuleFile { path: "f.yml".to_owned(), text };
    let parse = |groups_max| {
        let config = Config { groups_max, ..Config::default() };
        parse(std::slice::from_ref(&file), Defaults::from(&config), &check_expr)
    };

    assert_eq!(parse(2).unwrap().len(), 2);
    let refusal = parse(1).unwrap_err().to_string();
    assert!(refusal.contains("2 groups, at most 1 are allowed (rules.groups_max)"), "{refusal}");
}

#[test]
fn what_yaml_would_take_for_numbers_stays_text() {
    let defs = groups(
        "groups: [{name: 1.10, interval: 0, limit: 3, labels: {site: 010, level: low}, rules: [{alert: A, expr: x, for: 0, labels: {level: 1.50, on: true}}]}]",
    );

    let RuleDef::Alert(rule) = &defs[0].rules[0] else { panic!("{defs:?}") };
    let labels: Vec<_> = rule.labels.iter().map(|(n, t)| (n.as_str(), t.text())).collect();
    assert_eq!(labels, [("level", "1.50"), ("on", "true"), ("site", "010")]);
    assert_eq!((defs[0].name.as_str(), defs[0].interval_ms, defs[0].limit), ("1.10", MIN, 3));
}

#[test]
fn the_rule_files_we_ship_are_without_mistakes() {
    let files = read_files(&["alerts/*.yml".to_owned()]).unwrap();

    let groups = parse(&files, Defaults::from(&Config::default()), &check_expr).unwrap();

    // An alert may have a rule for each of its severities.
    let rules = groups.iter().flat_map(|group| &group.rules);
    let alerts: BTreeSet<&str> =
        rules.filter(|rule| matches!(rule, RuleDef::Alert(_))).map(RuleDef::name).collect();
    for path in glob::glob("alerts/tests/*.yml").unwrap() {
        let path = path.unwrap();
        let test = unit_test::TestFile::parse(
            &path.display().to_string(),
            &std::fs::read_to_string(&path).unwrap(),
        )
        .unwrap();
        assert_eq!(read_files(&test.rule_patterns()).unwrap().len(), 1, "{path:?}");
        let subject = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(subject == "recording" || alerts.contains(subject.as_str()), "{subject}");
    }
    assert_eq!(glob::glob("alerts/tests/*.yml").unwrap().count(), alerts.len() + 1);
}

#[test]
fn a_file_that_is_not_there_is_an_error_and_an_empty_pattern_is_not() {
    assert_eq!(read_files(&["no/such/*.yml".to_owned()]).unwrap(), []);
    let error = read_files(&["no/such.yml".to_owned()]).unwrap_err();

    assert_eq!(error.to_string(), "cannot read rule file no/such.yml");
}
