//! What a commons says although nobody asked: probes, browsers' own reports, queues, warnings.

use std::sync::Arc;

use super::catalogue::Site;
use super::dice::Dice;
use super::lines::Streams;
use super::pods::{Pods, stream};
use super::scenario::Scenario;
use super::text::{cdis, time};
use super::trouble::Trouble;

const PROBE_EVERY_MS: i64 = 10_000;
const CUT_EVERY_MS: i64 = 120_000;
const QUEUE_EVERY_MS: i64 = 20_000;
const VITALS_EVERY_MS: i64 = 15_000;
const EVENTS_EVERY_MS: i64 = 30_000;

/// Writes what is said in a stretch of time.
pub(super) fn write(
    site: &'static Site,
    pods: &Pods,
    (from_ms, to_ms): (i64, i64),
    trouble: &Trouble,
    streams: &mut Streams,
    dice: &mut Dice,
) {
    for at_ms in multiples(PROBE_EVERY_MS, from_ms, to_ms) {
        let mut line = probe(at_ms);
        // Now and then a log driver cuts a line off.
        if at_ms % CUT_EVERY_MS == 0 {
            line.truncate(line.len() / 2);
        }
        put(pods, site, "portal", at_ms, line, streams);
    }
    for at_ms in multiples(QUEUE_EVERY_MS, from_ms, to_ms) {
        put(pods, site, "ssjdispatcher", at_ms, queue(at_ms, dice), streams);
        if !trouble.is(Scenario::AuditStuck) {
            put(pods, site, "audit", at_ms, audit(at_ms), streams);
        }
    }
    for at_ms in multiples(EVENTS_EVERY_MS, from_ms, to_ms) {
        let entries = streams.entry(events_stream(site)).or_default();
        entries.push((at_ms * 1_000_000, event(dice)));
    }
    for at_ms in multiples(EVENTS_EVERY_MS, from_ms, to_ms) {
        let entries = streams.entry(events_stream(site)).or_default();
        entries.push((at_ms * 1_000_000, event(dice)));
    }
    for at_ms in multiples(VITALS_EVERY_MS, from_ms, to_ms) {
        if site.runs("portal") {
            let entries = streams.entry(faro_stream(site)).or_default();
            entries.push((at_ms * 1_000_000, vitals(site, at_ms, dice)));
        }
    }
}

fn multiples(every_ms: i64, from_ms: i64, to_ms: i64) -> impl Iterator<Item = i64> {
    let first = (from_ms + every_ms - 1).div_euclid(every_ms);
    (first..).map(move |slot| slot * every_ms).take_while(move |at_ms| *at_ms < to_ms)
}

fn put(pods: &Pods, site: &Site, service: &str, at_ms: i64, line: String, streams: &mut Streams) {
    if let Some(pod) = pods.of(site.namespace, service, 0) {
        streams.entry(Arc::clone(&pod.stream)).or_default().push((at_ms * 1_000_000, line));
    }
}

/// The portal's nginx does not filter the probes.
fn probe(at_ms: i64) -> String {
    format!(
        r#"{{"gen3log": "nginx", "date_access": "{}", "user_id": "uid:null,unknown@unknown", "request_id": "-", "network_client_ip": "10.0.4.1", "network_bytes_write": 612, "http_response_time": "0.000", "http_status_code": 200, "http_request": "/", "http_verb": "GET", "http_referer": "-", "http_useragent": "kube-probe/1.31+", "message": "GET / HTTP/1.1"}}"#,
        time(at_ms * 1_000_000, "%Y-%m-%dT%H:%M:%S+00:00")
    )
}

fn queue(at_ms: i64, dice: &mut Dice) -> String {
    format!(
        "I{}.{:06} 1 handler.go:97] [StartConsumingProcess] received {} messages",
        time(at_ms * 1_000_000, "%m%d %H:%M:%S"),
        dice.below(1_000_000),
        dice.below(3)
    )
}

fn audit(at_ms: i64) -> String {
    cdis(at_ms * 1_000_000, "audit", "INFO", "Sleeping for 300 seconds...")
}

/// Events of Kubernetes come as logs of nobody: the stream knows the namespace alone.
fn events_stream(site: &Site) -> Arc<str> {
    stream(&[
        ("cluster", site.cluster.to_owned()),
        ("job", "integrations/kubernetes/eventhandler".to_owned()),
        ("namespace", site.namespace.to_owned()),
        ("project", site.project.to_owned()),
    ])
}

fn event(dice: &mut Dice) -> String {
    let (reason, kind, message) = *dice.one_of(&[
        ("Scheduled", "Normal", "Successfully assigned the pod to ip-10-0-4-2"),
        ("Pulled", "Normal", "Container image is already present on machine"),
        ("Unhealthy", "Warning", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
    ]);
    format!(
        "name=indexd-deployment-{:05x} kind=Pod objectAPIversion=v1 reason={reason} type={kind} count={} msg={message:?}",
        dice.below(1 << 20),
        1 + dice.below(4)
    )
}

/// Alloy's Faro receiver knows neither cluster nor namespace: the event says where it is from.
fn faro_stream(site: &Site) -> Arc<str> {
    stream(&[
        ("app_environment", site.hostname.to_owned()),
        ("app_name", "portal".to_owned()),
        ("app_namespace", site.namespace.to_owned()),
        ("service", "frontend-app".to_owned()),
    ])
}

fn vitals(site: &Site, at_ms: i64, dice: &mut Dice) -> String {
    let at = time(at_ms * 1_000_000, "%Y-%m-%dT%H:%M:%SZ");
    let session = dice.bits();
    let about = format!(
        "session_id={session:016x} page_url=https://{}/{} browser_name=Firefox app_name=portal app_environment={} app_namespace={}",
        site.hostname,
        dice.one_of(&["explorer", "discovery", "workspace"]),
        site.hostname,
        site.namespace
    );
    match dice.below(4) {
        0 => format!("timestamp=\"{at}\" kind=event event_name=manifestDownload {about}"),
        1 => format!(
            "timestamp=\"{at}\" kind=exception type=Error value=\"Loading chunk 7 failed\" {about}"
        ),
        _ => format!(
            "timestamp=\"{at}\" kind=measurement type=web-vitals value_lcp={} {about}",
            800 + dice.below(2_400)
        ),
    }
}
