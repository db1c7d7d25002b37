//! Lines in, samples out, through the door.

mod cases;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::base::ManualClock;
use crate::base::clock::SettableClock;
use crate::base::units::HumanDuration;

const NOW_MS: i64 = 1_787_000_000_000;
const NOW_NS: i64 = NOW_MS * 1_000_000;

fn derive_with(config: Config) -> Derive {
    let tagger = Tagger::load(&crate::tagging::Config::default()).unwrap();
    Derive::new(config, Arc::new(tagger), ManualClock::at_ms(NOW_MS), Metrics::default())
}

fn tags(service: &str) -> Tags {
    Tags {
        commons: Commons::new("heart.commons.example").unwrap(),
        service: Some(Arc::from(service)),
        env: Some(Arc::from("prod")),
        cluster: Some(Arc::from("shared-east")),
        rule: "hostname",
    }
}

/// A line that comes and is stored.
fn observe(derive: &Derive, tags: &Tags, app: Option<&str>, at_ns: i64, body: &str) {
    let line = derive.read_line(tags, app, body);
    derive.observe_log(tags, at_ns, "{}", body, &line);
}

/// A line as nginx writes it; sheepdog's `noproxy` and so on are told by the caller.
fn line(verb: &str, path: &str, status: u16, proxy: &str, upstream: &str) -> String {
    format!(
        r#"{{"gen3log": "nginx", "date_access": "2026-08-21T10:11:12+00:00", "user_id": "uid:7,ada", "network_client_ip": "203.0.113.9", "network_bytes_write": 100, "response_secs": 0.2, "http_status_code": {status}, "http_request": "{path}", "http_verb": "{verb}", "http_referer": "-", "http_useragent": "a\x22b\xC3\xA9", "http_upstream": "{upstream}", "proxy_service": "{proxy}", "message": "{verb} {path} HTTP/1.1"}}"#
    )
}

/// Every sample as `name{labels without the tags}` and its value.
fn values(derive: &Derive) -> BTreeMap<String, f64> {
    let is_tag = |name: &str| matches!(name, "commons" | "service" | "env" | "cluster");
    let show = |labels: &Labels| labels.retain(|name| !is_tag(name)).to_string();
    derive.collect().iter().map(|sample| (show(&sample.labels), sample.value)).collect()
}

#[track_caller]
fn check_request(line: &str, backend: &str, route: &str, status: &str) {
    let derive = derive_with(Config::default());

    observe(&derive, &tags("revproxy"), Some("revproxy"), NOW_NS, line);

    let values = values(&derive);
    let found: Vec<_> =
        values.keys().filter(|k| k.starts_with("csoc_http_requests_total")).collect();
    let want = format!(r#"backend="{backend}", method="GET", route="{route}", status="{status}""#);
    assert!(found.len() == 1 && found[0].contains(&want), "{want} in {found:?}");
}

fn get(path: &str, proxy: &str, upstream: &str) -> String {
    line("GET", path, 200, proxy, upstream)
}

#[test]
fn the_backend_is_the_proxys_word_first() {
    check_request(&get("/user/user", "fence", "x"), "fence", "/user/user", "200");
    check_request(
        &get("/mds/objects/1", "metadata-service", ""),
        "metadata",
        "/mds/objects/{guid}",
        "200",
    );
    check_request(&get("/x/1", "my-own-tool", ""), "my-own-tool", "/x", "200");
}

#[test]
fn sheepdog_is_found_though_it_is_logged_as_noproxy() {
    let upstream = "http://sheepdog-service.default.svc.cluster.local";
    let route = "/api/v0/submission/{program}/{project}";
    check_request(&get("/api/v0/submission/p/q", "noproxy", upstream), "sheepdog", route, "200");
    check_request(&get("/api/v0/submission/p/q", "noproxy", ""), "sheepdog", route, "200");
    check_request(
        &get("/api/v0/submission/p/q", "", "http://10.0.0.1:80"),
        "sheepdog",
        route,
        "200",
    );
}

#[test]
fn without_a_proxy_or_upstream_the_longest_prefix_decides() {
    let graphql = "/api/v0/submission/graphql";
    check_request(&get(graphql, "noproxy", "-"), "peregrine", graphql, "200");
    check_request(&get("/", "noproxy", "-"), "portal", "/", "200");
    check_request(
        &get("/ga4gh/drs/v1/objects/dg.1/2/access/s3", "-", ""),
        "presigned-url-fence",
        "/ga4gh/drs/v1/objects/{id}/access/{proto}",
        "200",
    );
}

#[test]
fn every_server_error_keeps_its_own_status() {
    for status in [500, 502, 503, 504] {
        let line = line("GET", "/user/user", status, "fence", "");
        check_request(&line, "fence", "/user/user", &status.to_string());
    }
}

#[test]
fn what_a_scanner_asks_of_the_portal_is_one_route() {
    check_request(&get("/wp-admin/setup.php", "portal", ""), "portal", "/{page}", "200");
    check_request(&get("/.env", "portal", ""), "portal", "/{page}", "200");
}

#[test]
fn strange_names_are_not_labels() {
    check_request(&get("/%7Bx%7D/y", "indexd", ""), "indexd", "other", "200");
    check_request(&get("/user/user", &"x".repeat(200), ""), "fence", "/user/user", "200");
    check_request(&line("GET", "/user/user", 42, "fence", ""), "fence", "/user/user", "other");
}

#[test]
fn one_request_gives_the_whole_set() {
    let derive = derive_with(Config::default());

    observe(&derive, &tags("revproxy"), None, NOW_NS, &get("/user/user", "fence", ""));

    let values = values(&derive);
    let buckets = "csoc_http_request_duration_seconds_bucket{backend=\"fence\"";
    for (key, want) in [
        (format!("{buckets}, le=\"0.1\", route=\"/user/user\"}}"), 0.0),
        (format!("{buckets}, le=\"0.25\", route=\"/user/user\"}}"), 1.0),
        (format!("{buckets}, le=\"+Inf\", route=\"/user/user\"}}"), 1.0),
        ("csoc_http_response_bytes_total{backend=\"fence\"}".to_owned(), 100.0),
        ("csoc_log_lines_total{level=\"info\"}".to_owned(), 1.0),
    ] {
        assert_eq!(values.get(&key), Some(&want), "{key} in {values:#?}");
    }
    let n_users = 2; // An hour's, a day's.
    assert_eq!(values.len(), 1 + 15 + 1 + 1 + n_users, "{values:#?}");
}

#[test]
fn samples_carry_all_tags() {
    let derive = derive_with(Config::default());

    observe(&derive, &tags("x"), Some("fence"), NOW_NS, "[2026-08-21 10:11:12,345][x][  ERROR] y");

    let sample = &derive.collect()[0];
    assert_eq!(
        sample.labels.to_string(),
        "csoc_log_lines_total{cluster=\"shared-east\", commons=\"heart.commons.example\", \
         env=\"prod\", level=\"error\", service=\"x\"}"
    );
    assert_eq!(
        (sample.meta.kind, sample.commons.as_str()),
        (MetricKind::Counter, "heart.commons.example")
    );
}

#[track_caller]
fn check_login(path: &str, status: u16, want: Option<(&str, &str, &str)>) {
    let derive = derive_with(Config::default());

    observe(&derive, &tags("revproxy"), None, NOW_NS, &line("GET", path, status, "fence", ""));

    let values = values(&derive);
    let found = values.keys().find(|key| key.starts_with("csoc_login_total")).cloned();
    let want = want.map(|(idp, stage, outcome)| {
        format!(r#"csoc_login_total{{idp="{idp}", outcome="{outcome}", stage="{stage}"}}"#)
    });
    assert_eq!(found, want, "{path} {status}");
}

#[test]
fn logins_are_counted_by_provider_stage_and_outcome() {
    check_login("/user/login/google?redirect=/", 302, Some(("google", "start", "ok")));
    check_login("/user/login/google/login?code=x&state=y", 302, Some(("google", "callback", "ok")));
    check_login("/user/login/shib/login", 401, Some(("shib", "callback", "fail")));
    check_login("/user/login/ras/callback?code=x", 500, Some(("ras", "callback", "fail")));
    check_login("/user/login/guessed", 404, Some(("other", "start", "fail")));
    check_login("/user/login", 200, None);
    check_login("/user/user", 200, None);
}

#[track_caller]
fn check_access(verb: &str, path: &str, status: u16, want: &str) {
    let derive = derive_with(Config::default());

    observe(&derive, &tags("revproxy"), None, NOW_NS, &line(verb, path, status, "fence", ""));

    let values = values(&derive);
    assert_eq!(values.get(&format!("csoc_data_access_total{{{want}}}")), Some(&1.0), "{values:#?}");
}

#[test]
fn data_access_is_counted_by_kind_and_outcome() {
    let drs = "/ga4gh/drs/v1/objects/dg.1/2/access/s3";
    check_access("GET", "/user/data/download/dg.1/2", 200, r#"kind="download", outcome="ok""#);
    check_access("GET", "/user/data/download/1", 403, r#"kind="download", outcome="denied""#);
    check_access("GET", drs, 404, r#"kind="drs", outcome="missing""#);
    check_access("GET", drs, 503, r#"kind="drs", outcome="error""#);
    check_access("POST", "/ga4gh/drs/v1/objects/access", 200, r#"kind="bulk", outcome="ok""#);
    check_access("POST", "/user/data/upload", 201, r#"kind="upload", outcome="ok""#);
}

#[test]
fn the_portals_own_log_of_the_same_request_is_not_counted_again() {
    let derive = derive_with(Config::default());

    observe(&derive, &tags("portal"), Some("portal"), NOW_NS, &get("/", "", ""));

    assert_eq!(values(&derive).len(), 1, "only csoc_log_lines_total");
}

#[test]
fn a_cut_line_is_counted_as_a_request_and_as_an_error() {
    let derive = derive_with(Config::default());
    let whole = get("/user/user", "fence", "");

    observe(
        &derive,
        &tags("revproxy"),
        None,
        NOW_NS,
        &whole[..whole.find("http_upstream").unwrap()],
    );
    observe(&derive, &tags("revproxy"), None, NOW_NS, r#"{"gen3log": "ng"#);

    let values = values(&derive);
    assert_eq!(values.get(r#"csoc_parse_errors_total{format="revproxy"}"#), Some(&2.0));
    let n_requests = values.keys().filter(|k| k.starts_with("csoc_http_requests_total")).count();
    assert_eq!(n_requests, 1);
}

#[test]
fn lines_of_other_formats_are_no_errors() {
    let derive = derive_with(Config::default());

    observe(
        &derive,
        &tags("revproxy"),
        None,
        NOW_NS,
        "2026/08/21 10:11:12 [error] 7#7: upstream timed out",
    );

    assert_eq!(values(&derive).len(), 1, "only csoc_log_lines_total");
}

#[test]
fn a_counter_is_born_once() {
    let derive = derive_with(Config::default());
    observe(&derive, &tags("x"), None, NOW_NS, "x");
    derive.observe_signal(&tags("x").commons, Signal::Logs, NOW_NS);
    let born = |samples: Vec<DerivedSample>| {
        samples.iter().filter(|s| s.born).map(|s| s.labels.metric().to_owned()).collect::<Vec<_>>()
    };

    let first = born(derive.collect());
    observe(&derive, &tags("x"), None, NOW_NS, "x");
    let second = born(derive.collect());

    assert_eq!((first, second), (vec!["csoc_log_lines_total".to_owned()], vec![]));
}

#[test]
fn what_may_be_counted_is_there_before_it_happens() {
    let derive = derive_with(Config::default());

    observe(&derive, &tags("audit"), None, NOW_NS, "Sleeping for 300 seconds...");
    observe(&derive, &tags("job:usersync"), None, NOW_NS, "begin");

    let values = values(&derive);
    for key in [
        r#"csoc_audit_errors_total{side="pull"}"#,
        r#"csoc_job_runs_total{job="usersync", outcome="false_success"}"#,
        r#"csoc_log_events_total{event="sync_partial"}"#,
    ] {
        assert_eq!(values.get(key), Some(&0.0), "{key} in {values:#?}");
    }
}

#[test]
fn the_last_sight_of_a_signal_never_goes_back_nor_ahead() {
    let derive = derive_with(Config::default());
    let commons = tags("x").commons;
    let key = r#"csoc_last_seen_timestamp_seconds{signal="spans"}"#;

    derive.observe_signal(&commons, Signal::Spans, NOW_NS - 60_000_000_000);
    derive.observe_signal(&commons, Signal::Spans, NOW_NS - 90_000_000_000);
    let past = values(&derive)[key];
    derive.observe_signal(&commons, Signal::Spans, i64::MAX);
    let now = values(&derive)[key];

    assert_eq!((past, now), (1_786_999_940.0, 1_787_000_000.0));
}

#[test]
fn series_are_bounded_and_the_total_stays_right() {
    let derive = derive_with(Config { series_per_commons_max: 10, ..Config::default() });

    for n in 0..100 {
        let mut tags = tags("x");
        tags.env = Some(Arc::from(format!("env{n}")));
        observe(&derive, &tags, None, NOW_NS, "x");
    }

    let samples = derive.collect();
    assert_eq!(samples.len(), 11);
    assert_eq!(samples.iter().map(|sample| sample.value).sum::<f64>(), 100.0);
    let others = samples.iter().filter(|s| s.labels.get("level") == Some("other"));
    assert_eq!(others.map(|s| s.value).collect::<Vec<_>>(), [90.0]);
}

#[test]
fn routes_are_bounded_but_templates_always_fit() {
    let derive = derive_with(Config { routes_per_commons_max: 3, ..Config::default() });
    let ask = |path: &str| {
        observe(&derive, &tags("revproxy"), None, NOW_NS, &get(path, "indexd", ""));
    };

    for n in 0..10 {
        ask(&format!("/made-up-{n}/x"));
    }
    ask("/index/_stats");

    let routes: std::collections::BTreeSet<String> = derive
        .collect()
        .iter()
        .filter_map(|sample| sample.labels.get("route").map(str::to_owned))
        .collect();
    let want = ["/index/_stats", "/made-up-0", "/made-up-1", "/made-up-2", "other"];
    assert!(routes.iter().map(String::as_str).eq(want), "{routes:?}");
}

#[test]
fn commons_are_bounded() {
    let derive = derive_with(Config { commons_max: 2, ..Config::default() });

    for n in 0..5 {
        derive.observe_signal(&Commons::new(&format!("c{n}")).unwrap(), Signal::Logs, NOW_NS);
    }

    assert_eq!(derive.collect().len(), 2);
}

#[track_caller]
fn check_job(service: &str, lines: &[&str], want: &[&str]) {
    let derive = derive_with(Config::default());

    for line in lines {
        observe(&derive, &tags(service), Some("gen3job"), NOW_NS, line);
    }

    let values = values(&derive);
    let is_run =
        |(key, value): &(&String, &f64)| key.starts_with("csoc_job_runs_total") && **value > 0.0;
    let runs = values.iter().filter(is_run);
    let found: Vec<String> = runs.map(|(key, value)| format!("{key} {value}")).collect();
    let want: Vec<String> = want
        .iter()
        .map(|run| format!("csoc_job_runs_total{{job=\"{}\", {run}", &service[4..]))
        .collect();
    assert_eq!(found, want);
}

#[test]
fn a_job_that_says_0_after_it_failed_is_a_false_success() {
    let spark = "ERROR when connecting to spark. Please roll spark";
    check_job("job:etl-cronjob", &[spark, "Exit code: 0"], &["outcome=\"false_success\"} 1"]);
    check_job("job:etl-cronjob", &["Nothing's new", "Exit code: 0"], &["outcome=\"ok\"} 1"]);
    check_job("job:etl-cronjob", &[spark, "Exit code: 1"], &["outcome=\"failed\"} 1"]);
    check_job(
        "job:etl-cronjob",
        &[spark, "Exit code: 0", "Exit code: 0"],
        &["outcome=\"false_success\"} 1", "outcome=\"ok\"} 1"],
    );
    check_job("job:usersync", &["Exit code: x", "Exit code:"], &[]);
}

/// Shows lines of pods of the ETL, and returns how often its runs ended in which way.
fn runs_of_pods<'l>(lines: impl IntoIterator<Item = (&'l str, &'l str)>) -> [f64; 3] {
    let (derive, tags) = (derive_with(Config::default()), tags("job:etl-cronjob"));
    for (pod, body) in lines {
        let line = derive.read_line(&tags, None, body);
        let resource = format!(r#"{{"app":"gen3job",{pod}}}"#);
        derive.observe_log(&tags, NOW_NS, &resource, body, &line);
    }
    let values = values(&derive);
    ["ok", "failed", "false_success"].map(|outcome| {
        let key = format!(r#"csoc_job_runs_total{{job="etl-cronjob", outcome="{outcome}"}}"#);
        values[&key]
    })
}

#[test]
fn a_run_that_was_killed_is_not_held_against_the_next() {
    let fault = "ERROR when running transformation";
    for (first, second) in [
        (r#""pod":"etl-cronjob-1-a""#, r#""pod":"etl-cronjob-2-b""#),
        (r#""k8s.pod.name":"etl-cronjob-1-a""#, r#""k8s.pod.name":"etl-cronjob-2-b""#),
    ] {
        let lines = [(first, fault), (second, "Nothing's new"), (second, "Exit code: 0")];
        assert_eq!(runs_of_pods(lines), [1.0, 0.0, 0.0], "{second}");
        // Two at a time, as in two namespaces of one commons.
        let lines = [(first, fault), (second, "Exit code: 0"), (first, "Exit code: 0")];
        assert_eq!(runs_of_pods(lines), [1.0, 0.0, 1.0], "{second}");
    }
}

#[test]
fn runs_that_were_killed_make_room_for_later_ones() {
    let pods: Vec<String> =
        (0..1_000).map(|number| format!(r#""pod":"etl-cronjob-{number}-a""#)).collect();
    let killed = pods.iter().map(|pod| (pod.as_str(), "ERROR when connecting to spark"));
    let ended = [&pods[999], &pods[0]].map(|pod| (pod.as_str(), "Exit code: 0"));

    assert_eq!(runs_of_pods(killed.chain(ended)), [1.0, 0.0, 1.0]);
}

#[test]
fn the_last_success_of_a_job_is_known() {
    let derive = derive_with(Config::default());

    observe(&derive, &tags("job:usersync"), None, NOW_NS, "Exit code: 0");

    let key = "csoc_job_last_success_timestamp_seconds{job=\"usersync\"}";
    assert_eq!(values(&derive).get(key), Some(&1_787_000_000.0));
}

/// Returns what comes out of two senders' series of a counter, added up.
fn folded(metric: &str, enabled: bool) -> Vec<DerivedSample> {
    let fold_warm_up = HumanDuration::from_secs(0);
    let derive = derive_with(Config { enabled, fold_warm_up, ..Config::default() });
    let labels = Labels::from_pairs([("__name__", metric), ("idp", "google")]);
    let send = |wire_id, value| {
        let series = Folding { labels: &labels, meta: &SeriesMeta::default(), observed: None };
        let sample = FoldedSample { wire_id, time_ns: NOW_NS, value, is_difference: false };
        derive.fold(&tags("x").commons, &series, sample);
    };

    send(1, 2.0);
    send(2, 3.0);
    send(1, 4.0);

    let mut samples = derive.collect();
    samples.retain(|sample| sample.labels.metric() != "csoc_folded_series");
    samples
}

#[test]
fn a_clock_that_is_set_makes_no_old_counter_new_and_no_new_one_old() {
    let clock = SettableClock::at_ms(NOW_MS);
    let tagger = Arc::new(Tagger::load(&crate::tagging::Config::default()).unwrap());
    let shared = Arc::<SettableClock>::clone(&clock);
    let derive = Derive::new(Config::default(), tagger, shared, Metrics::default());
    let labels = Labels::from_pairs([("__name__", "gen3_other_total"), ("idp", "google")]);
    let meta = SeriesMeta::default();
    let send = |wire_id, value| {
        let series = Folding { labels: &labels, meta: &meta, observed: None };
        let sample = FoldedSample { wire_id, time_ns: NOW_NS, value, is_difference: false };
        derive.fold(&tags("x").commons, &series, sample);
    };
    let year_ms = 365 * 86_400_000;

    send(1, 5.0);
    clock.set_ahead_ms(year_ms);
    send(2, 100.0);
    clock.passing.advance(std::time::Duration::from_secs(301));
    clock.set_ahead_ms(-year_ms);
    send(3, 7.0);

    let samples = derive.collect();
    let total = samples.iter().find(|one| one.labels.metric() == "gen3_other_total").unwrap();
    assert_eq!(total.value, 7.0, "of the first five minutes nobody knows how much is new");
}

#[test]
fn folded_series_come_out_as_one() {
    let samples = folded("gen3_other_total", true);

    assert_eq!(samples.len(), 1);
    assert_eq!((samples[0].value, samples[0].born), (7.0, true));
    let want = Labels::from_pairs([("__name__", "gen3_other_total"), ("idp", "google")]);
    assert_eq!(samples[0].labels, want);
}

#[test]
fn series_are_added_up_also_when_deriving_is_off_and_nothing_is_made_of_them() {
    let is_made = |sample: &DerivedSample| sample.labels.metric() == "csoc_fence_logins_total";
    assert!(folded("gen3_fence_login_total", true).iter().any(is_made));

    let samples = folded("gen3_fence_login_total", false);

    assert!(!samples.iter().any(is_made));
    assert_eq!(samples.iter().map(|sample| sample.value).collect::<Vec<_>>(), [7.0]);
}

#[test]
fn nothing_is_derived_when_it_is_off() {
    let derive = derive_with(Config { enabled: false, ..Config::default() });

    observe(&derive, &tags("fence"), None, NOW_NS, "x");
    derive.observe_signal(&tags("fence").commons, Signal::Logs, NOW_NS);

    assert_eq!(derive.collect(), []);
}

#[test]
fn people_do_not_become_labels() {
    let derive = derive_with(Config::default());

    observe(
        &derive,
        &tags("revproxy"),
        None,
        NOW_NS,
        &get("/user/login/google/login?code=SECRET&x=ada@example.org", "fence", ""),
    );

    for sample in derive.collect() {
        let text = sample.labels.to_string();
        for personal in ["ada", "203.0.113.9", "SECRET", "uid"] {
            assert!(!text.contains(personal), "{text}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let derive = derive_with(Config::default());
        let text = String::from_utf8_lossy(&bytes);
        for body in [text.to_string(), format!("{{\"gen3log\": \"nginx\", {text}")] {
            observe(&derive, &tags("revproxy"), None, NOW_NS, &body);
            observe(&derive, &tags("job:etl-cronjob"), None, i64::MIN, &body);
        }
        derive.collect();
    }
}
