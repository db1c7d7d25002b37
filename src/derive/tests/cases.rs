//! Runs the text cases of `tests/cases/lines/`: lines as services write them, what is read of each,
//! and what is counted.
//!
//! ```text
//! # why this case is here
//! <service> | <line>                    `\n` in it is the end of a line; several such lines follow each other
//! is <format> <level> [logger=…] [verb=…] [path=…] [status=…] [duration_s=…] [size_bytes=…] [broken]
//! gives <metric>{labels} <value>        every series that is not 0; of histograms sum and count
//! ```
//! `is` stands for the last line. `csoc_log_lines_total` is given by every line and not repeated.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use super::*;
use crate::derive::lines::{self, Line};

#[derive(Debug, Default)]
struct Case {
    place: String,
    lines: Vec<(String, String)>,
    is: String,
    gives: BTreeSet<String>,
}

fn cases() -> Vec<Case> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/lines");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut case = Case::default();
        for (idx, row) in text.lines().enumerate().filter(|(_, row)| !row.starts_with('#')) {
            match row {
                "" => cases.extend(Some(std::mem::take(&mut case)).filter(|c| !c.lines.is_empty())),
                row if row.starts_with("is ") => case.is = row[3..].to_owned(),
                row if row.starts_with("gives ") => {
                    case.gives.insert(row[6..].to_owned());
                }
                row => {
                    let (service, line) = row.split_once(" | ").expect("a service and a line");
                    case.place = format!("{name}:{}", idx + 1);
                    case.lines.push((service.to_owned(), line.replace("\\n", "\n")));
                }
            }
        }
        cases.extend(Some(case).filter(|case| !case.lines.is_empty()));
    }
    cases
}

fn shown(line: &Line<'_>) -> String {
    let mut text = format!("{} {}", line.format.as_str(), line.level);
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            write!(text, " {name}={value}").unwrap();
        }
    };
    let request = line.request.unwrap_or_default();
    put("logger", Some(line.logger.to_owned()));
    put("verb", request.verb.map(str::to_owned));
    put("path", request.path.map(str::to_owned));
    put("status", request.status.map(|n| n.to_string()));
    put("duration_s", request.duration_s.map(|n| n.to_string()));
    put("size_bytes", request.size_bytes.map(|n| n.to_string()));
    if !line.is_whole {
        text.push_str(" broken");
    }
    text
}

fn given(case: &Case) -> BTreeSet<String> {
    let derive = derive_with(Config::default());
    for (service, line) in &case.lines {
        let mut tags = tags(service);
        tags.service = Some(Arc::from(service.as_str())).filter(|name| &**name != "-");
        observe(&derive, &tags, None, NOW_NS, line);
    }
    let is_told = |sample: &&DerivedSample| {
        let metric = sample.labels.metric();
        sample.value != 0.0 && metric != "csoc_log_lines_total" && !metric.ends_with("_bucket")
    };
    let is_tag = |name: &str| matches!(name, "commons" | "service" | "env" | "cluster");
    let show = |sample: &DerivedSample| {
        format!("{} {}", sample.labels.retain(|name| !is_tag(name)), sample.value)
    };
    derive.collect().iter().filter(is_told).map(show).collect()
}

#[test]
fn lines_are_read_and_counted_as_their_services_write_them() {
    let cases = cases();
    let mut wrong = String::new();
    for case in &cases {
        let (service, line) = case.lines.last().unwrap();
        let is_edge = matches!(service.as_str(), "revproxy" | "-");
        let is = shown(&lines::read(line, is_edge));
        if is != case.is {
            writeln!(wrong, "{}: is {is}\n  not {}", case.place, case.is).unwrap();
        }
        let given = given(case);
        for odd in given.symmetric_difference(&case.gives) {
            let which = if given.contains(odd) { "gives too" } else { "does not give" };
            writeln!(wrong, "{}: {which} {odd}", case.place).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(cases.len() > 50, "{} cases", cases.len());
}

/// Whoever adds a rule shows a line that it is about.
#[test]
fn every_rule_has_a_case() {
    let tagger = Tagger::load(&crate::tagging::Config::default()).unwrap();
    let cases = cases();
    for service in tagger.services().iter().map(|service| service.app.as_str()).chain([
        "job:usersync",
        "job:etl-cronjob",
        "job:workspace-launch-test",
    ]) {
        for (idx, rule) in tagger.line_rules(service).iter().enumerate() {
            let of_service =
                cases.iter().flat_map(|case| &case.lines).filter(|(s, _)| s == service);
            let shared = service == "presigned-url-fence"; // fence's rules are its own.
            let is_shown = shared || of_service.into_iter().any(|(_, line)| rule.fits(line));
            assert!(is_shown, "{service}: no case for its rule {idx}: {rule:?}");
        }
    }
}
