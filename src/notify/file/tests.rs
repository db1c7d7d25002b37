//! Files that are read, and files that are refused: `tests/cases/alerting`.

use std::path::Path;

use super::*;
use crate::model::Labels;
use crate::notify::policy::GroupBy;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/alerting"))
}

fn whole() -> Policy {
    Policy::read(&folder().join("whole.yml")).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

#[track_caller]
fn check_routes(policy: &Policy, labels: &[(&str, &str)], want: &[&str]) {
    let routes = policy.routes_of(&Labels::from_pairs(labels.iter().copied()));
    let keys: Vec<String> = routes.iter().map(|idx| policy.route_key(*idx)).collect();
    assert_eq!(keys, want, "{labels:?}");
}

#[test]
fn a_file_of_alertmanagers_is_read_as_it_is() {
    let policy = whole();

    assert_eq!(policy.receivers.len(), 4);
    assert_eq!(policy.resolve_timeout_ms, 120_000);
    assert_eq!(policy.inhibit.len(), 3, "and the one that is built in");
    assert_eq!(policy.intervals.len(), 3);
    let page = policy.routes.iter().find(|route| route.receiver == "oncall").unwrap();
    assert_eq!(page.timing.wait_ms, 10_000);
    assert_eq!(page.timing.repeat_ms, 3 * 3_600_000, "inherited");
    assert_eq!(page.group_by, GroupBy::All);
    let desks: Vec<String> = policy.desks().map(|(name, ..)| name).collect();
    assert_eq!(
        desks,
        ["oncall/webhook[0]", "oncall/webhook[1]", "team/webhook[0]", "tickets/webhook[0]"]
    );
}

#[test]
fn alerts_find_their_routes() {
    let policy = whole();
    check_routes(&policy, &[("alertname", "A")], &["{}"]);
    check_routes(
        &policy,
        &[("severity", "page"), ("commons", "heart")],
        &[r#"{}/{severity="page"}"#, r#"{}/{commons=~"^(?:heart|canine)$"}"#],
    );
    check_routes(
        &policy,
        &[("severity", "page"), ("commons", "hub")],
        &[r#"{}/{severity="page"}"#],
    );
    check_routes(
        &policy,
        &[("severity", "ticket"), ("service", "fence")],
        &[r#"{}/{severity=~"ticket|info"}/{service="fence"}"#],
    );
    check_routes(&policy, &[("severity", "ticket")], &[r#"{}/{severity=~"ticket|info"}"#]);
}

#[test]
fn what_is_shown_is_yaml_without_secrets() {
    let shown = whole().shown;

    for secret in ["hunter2", "T000", "/key"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("group_wait") && shown.contains("oncall"), "{shown}");
    Node::parse(&shown).unwrap();
}

/// Each `*.bad.yml` begins with the mistakes that it has, as comments.
#[test]
fn every_mistake_is_told_at_once_with_its_line() {
    let files = glob::glob(&format!("{}/*.bad.yml", folder().display())).unwrap();
    let (mut n_files, mut wrong) = (0, String::new());
    for file in files {
        let file = file.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let want: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();

        let mistakes = Policy::parse(&file, &text).expect_err("it is bad");

        let got: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
        let got = got.join("\n").replace(&folder().display().to_string(), "DIR");
        if got != want.join("\n") {
            wrong.push_str(&format!("== {} says\n{got}\n", file.display()));
        }
        n_files += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(n_files >= 4, "{n_files} files");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let text = " ".repeat(FILE_BYTES_MAX + 1);

    let mistakes = Policy::parse(Path::new("x.yml"), &text).unwrap_err();

    assert!(mistakes[0].message.contains("are the most"), "{mistakes:?}");
}
