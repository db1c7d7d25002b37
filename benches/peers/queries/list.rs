//! The twenty questions of dashboards and rules.

use crate::load::fleet::{commons, selective};

/// Which of the aims a question counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// One moment.
    Instant,
    /// Many moments.
    Range,
    /// The names that menus show.
    Labels,
}

/// How an answer of VictoriaMetrics may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OfVm {
    /// As that of Prometheus, but for the order in which numbers are added.
    Same,
    /// Its `rate` and `increase` take the sample before the window in, and stretch nothing; with
    /// counters that do not grow evenly, the result differs by some percent.
    Near,
    /// Which of almost equal series come first depends on that.
    Loose,
}

/// What to ask.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    /// At the end of the data.
    At(String),
    /// The last so many seconds, with a step of so many.
    Last(String, u64, u64),
    /// A path below `/api/v1/` and what to match; over all of the data.
    Names(String, Option<String>),
}

/// One question.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) name: &'static str,
    pub(super) class: Class,
    pub(super) of_vm: OfVm,
    pub(super) ask: Ask,
}

/// Returns the questions about so many seconds of data.
pub(super) fn questions(length_s: u64) -> Vec<Question> {
    let of = |class, of_vm, name, ask| Question { name, class, of_vm, ask };
    let at = |of_vm, name, text: &str| of(Class::Instant, of_vm, name, Ask::At(text.to_owned()));
    let range = |of_vm, name, text: &str, length_s, step_s| {
        of(Class::Range, of_vm, name, Ask::Last(text.to_owned(), length_s, step_s))
    };
    let names = |name, path: String, matches: Option<String>| {
        of(Class::Labels, OfVm::Same, name, Ask::Names(path, matches))
    };
    let few = selective(7, 10);
    let one = commons(3);
    // The first window should not begin before the data does.
    let all_s = length_s - 1_200;
    let hour_s = all_s.min(3_600);
    let near = OfVm::Near;
    vec![
        at(near, "at: sum by (service) (rate)", RATE),
        at(
            near,
            "at: sum by (service) (increase[1h])",
            "sum by (service) (increase(http_requests_total[1h]))",
        ),
        at(near, "at: histogram_quantile by (service, le)", QUANTILE),
        at(OfVm::Loose, "at: topk(10, sum by (pod) (rate))", TOP),
        at(
            OfVm::Same,
            "at: count by (commons) of 72 % of all series",
            "count by (commons) ({__name__=~\"http_.*\"})",
        ),
        at(
            near,
            "at: wide regular expression on pods",
            "sum by (service) (rate({__name__=~\"http_.+_count\",pod=~\".+-0000[0-9]{2}[02468]\"}[5m]))",
        ),
        at(OfVm::Same, "at: avg by (commons) of a gauge", "avg by (commons) (process_gauge_07)"),
        at(near, "at: rate of a few series", &format!("sum(rate({few}[5m]))")),
        range(near, "1h/15s: sum by (service) (rate)", RATE, hour_s, 15),
        range(near, "1h/15s: errors of all by (commons, service)", ERRORS, hour_s, 15),
        range(near, "1h/15s: histogram_quantile by (service, le)", QUANTILE, hour_s, 15),
        range(OfVm::Loose, "1h/15s: topk(10, sum by (pod) (rate))", TOP, hour_s, 15),
        range(near, "1h/15s: rate of a few series", &format!("rate({few}[5m])"), hour_s, 15),
        range(near, "all/60s: sum by (service) (rate)", RATE, all_s, 60),
        range(
            near,
            "all/60s: histogram_quantile by (commons, le)",
            "histogram_quantile(0.99, sum by (commons, le) (rate(http_request_duration_seconds_bucket[5m])))",
            all_s,
            60,
        ),
        range(
            OfVm::Same,
            "all/60s: avg by (commons) of a gauge",
            "avg by (commons) (process_gauge_07)",
            all_s,
            60,
        ),
        range(
            near,
            "all/300s: max by (service) (max_over_time[1h])",
            "max by (service) (max_over_time(process_gauge_11[1h]))",
            all_s,
            300,
        ),
        names("values of pod", "label/pod/values".to_owned(), None),
        names(
            "values of service, of one metric",
            "label/service/values".to_owned(),
            Some("http_requests_total".to_owned()),
        ),
        names(
            "series of one commons and metric",
            "series".to_owned(),
            Some(format!("process_gauge_07{{commons=\"{one}\"}}")),
        ),
    ]
}

const RATE: &str = "sum by (service) (rate(http_requests_total[5m]))";
const QUANTILE: &str = "histogram_quantile(0.99, sum by (service, le) (rate(http_request_duration_seconds_bucket[5m])))";
const TOP: &str = "topk(10, sum by (pod) (rate(http_requests_total[5m])))";
const ERRORS: &str = "sum by (commons, service) (rate(http_requests_total{status=~\"5..\"}[5m])) / sum by (commons, service) (rate(http_requests_total[5m]))";
