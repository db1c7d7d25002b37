//! What lines mean by themselves: markers, numbers in them, results of launches on trial.
//!
//! Which line means what is data (`config/gen3/lines.toml`); here are the families it may be counted
//! in. A line about a request is never looked at: whoever asks chooses its path and agent, and must
//! not be able to write markers.

use crate::model::{MetricKind, Tags};
use crate::tagging::{LineFamily, LineRule};

use super::book::{Book, Family, OTHER};
use super::lines::{LaunchTest, Line};

static LOG_EVENTS: Family = counter("csoc_log_events_total");
static AUDIT_ERRORS: Family = counter("csoc_audit_errors_total");
static WORKSPACE_LAUNCH: Family = counter("csoc_workspace_launch_total");
static PRESIGNED_KIB: Family = counter("csoc_fence_presigned_kib_total");
static ES_QUERY: Family =
    Family { name: "csoc_es_query_duration_seconds", kind: MetricKind::Histogram, unit: "s" };
static WORKSPACE_TEST: Family =
    Family { name: "csoc_workspace_test_duration_seconds", kind: MetricKind::Histogram, unit: "s" };

/// Longer words are not made labels.
const LABEL_BYTES_MAX: usize = 100;
/// The most labels of a family.
const LABELS_MAX: usize = 2;

const fn counter(name: &'static str) -> Family {
    Family { name, kind: MetricKind::Counter, unit: "" }
}

/// Gives 0 for everything that the lines of a service may be counted in.
pub(super) fn announce(book: &mut Book, tags: &Tags, rules: &[LineRule]) {
    for rule in rules.iter().filter(|rule| rule.is_fixed()) {
        with_pairs(rule, "", |pairs| book.count(family(rule.family), tags, pairs, 0.0));
    }
}

/// Counts what a line means.
pub(super) fn observe(book: &mut Book, tags: &Tags, rules: &[LineRule], line: &Line<'_>) {
    if let Some(test) = &line.launch_test {
        observe_launch_test(book, tags, test);
    }
    if line.request.is_some() {
        return;
    }
    for rule in rules.iter().filter(|rule| rule.fits(line.message)) {
        let Some(value) = rule.value(line.message) else { continue };
        let family = family(rule.family);
        with_pairs(rule, line.message, |pairs| match family.kind {
            MetricKind::Histogram => book.observe(family, tags, pairs, value),
            _ => drop(book.count(family, tags, pairs, value)),
        });
    }
}

fn family(family: LineFamily) -> &'static Family {
    match family {
        LineFamily::LogEvents => &LOG_EVENTS,
        LineFamily::AuditErrors => &AUDIT_ERRORS,
        LineFamily::WorkspaceLaunch => &WORKSPACE_LAUNCH,
        LineFamily::EsQueryDuration => &ES_QUERY,
        LineFamily::PresignedKib => &PRESIGNED_KIB,
    }
}

fn with_pairs<T>(
    rule: &LineRule,
    message: &str,
    act: impl FnOnce(&[(&'static str, &str)]) -> T,
) -> T {
    let mut pairs = [("", ""); LABELS_MAX];
    let names = rule.family.labels();
    for ((pair, name), value) in pairs.iter_mut().zip(names).zip(rule.values(message)) {
        *pair = (name, label(value));
    }
    act(&pairs[..names.len()])
}

fn observe_launch_test(book: &mut Book, tags: &Tags, test: &LaunchTest<'_>) {
    let Some(duration_s) = test.duration_s else { return };
    let result = match test.result {
        "Running" if !test.is_reachable => "Unreachable",
        result => label(result),
    };
    let pairs = [("image", label(test.image)), ("result", result)];
    book.observe(&WORKSPACE_TEST, tags, &pairs, duration_s);
}

/// Returns a word as a label: what is long or strange is `other`. An image's name has slashes,
/// colons and an `@` before its digest, which nothing that names a person has together.
fn label(text: &str) -> &str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    let name = text.split_once("@sha256:").map_or(text, |(name, _)| name);
    match !name.is_empty() && name.len() <= LABEL_BYTES_MAX && name.bytes().all(is_plain) {
        true => name,
        false => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_plain_words() {
        for (text, want) in [
            ("subject_idx", "subject_idx"),
            ("quay.io/cdis/jupyter:1.4", "quay.io/cdis/jupyter:1.4"),
            ("quay.io/cdis/jupyter@sha256:00ff", "quay.io/cdis/jupyter"),
            ("ada@people.example", OTHER),
            ("a b", OTHER),
            ("", OTHER),
            (&"x".repeat(101), OTHER),
        ] {
            assert_eq!(label(text), want);
        }
    }
}
