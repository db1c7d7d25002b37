//! The bodies of webhooks: Alertmanager's version 4, and Slack's text.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, Timelike};
use serde::Serialize;

use crate::model::{AlertEvent, Labels};

use super::dispatch::Notification;

/// The most alerts in one body; further ones are counted in `truncatedAlerts`.
pub(super) const ALERTS_MAX: usize = 1_000;
/// The most alerts that a chat message lists.
const SLACK_ALERTS_MAX: usize = 10;

/// Keys in the order in which Alertmanager sends them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<PayloadAlert<'a>>,
    group_labels: &'a Labels,
    common_labels: BTreeMap<&'a str, &'a str>,
    common_annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayloadAlert<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

/// Writes Alertmanager's webhook with at most so many alerts; 0: as many as may be.
pub(super) fn alertmanager(news: &Notification, alerts_max: usize, external_url: &str) -> String {
    let alerts_max = if alerts_max == 0 { ALERTS_MAX } else { alerts_max.min(ALERTS_MAX) };
    let alerts: Vec<PayloadAlert<'_>> = first(&news.alerts, alerts_max).map(alert).collect();
    let payload = Payload {
        receiver: &news.receiver,
        status: status(news.alerts.iter().all(|alert| alert.resolved)),
        truncated_alerts: news.alerts.len() - alerts.len(),
        alerts,
        group_labels: &news.group_labels,
        common_labels: common(news.alerts.iter().map(|alert| alert.labels.iter())),
        common_annotations: common(news.alerts.iter().map(|alert| {
            alert.annotations.iter().map(|(name, text)| (name.as_str(), text.as_str()))
        })),
        external_url,
        version: "4",
        group_key: &news.group_key,
    };
    serde_json::to_string(&payload).expect("texts and maps with text keys are always JSON")
}

/// Returns at most so many alerts, in their order; where some are left out, those that fire stay.
fn first(alerts: &[AlertEvent], alerts_max: usize) -> impl Iterator<Item = &AlertEvent> {
    let n_firing = alerts.iter().filter(|alert| !alert.resolved).count();
    let mut n_resolved_left = alerts_max.saturating_sub(n_firing);
    let kept = alerts.iter().filter(move |alert| {
        let stays = !alert.resolved || n_resolved_left > 0;
        n_resolved_left -= usize::from(alert.resolved && stays);
        stays
    });
    kept.take(alerts_max)
}

fn alert(alert: &AlertEvent) -> PayloadAlert<'_> {
    PayloadAlert {
        status: status(alert.resolved),
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: go_time(alert.starts_at_ms),
        ends_at: match alert.resolved {
            true => go_time(alert.ends_at_ms),
            false => "0001-01-01T00:00:00Z".to_owned(), // Go's zero time: not over.
        },
        generator_url: &alert.generator_url,
        fingerprint: format!("{:016x}", fingerprint(&alert.labels)),
    }
}

fn status(resolved: bool) -> &'static str {
    if resolved { "resolved" } else { "firing" }
}

/// Returns the pairs that all maps have.
pub(super) fn common<'a, I: Iterator<Item = (&'a str, &'a str)>>(
    mut maps: impl Iterator<Item = I>,
) -> BTreeMap<&'a str, &'a str> {
    let mut common: BTreeMap<&str, &str> = maps.next().into_iter().flatten().collect();
    for map in maps {
        let map: BTreeMap<&str, &str> = map.collect();
        common.retain(|name, value| map.get(name) == Some(value));
    }
    common
}

/// Writes a time as Go's JSON does: RFC 3339, no zeros at the end of the fraction.
fn go_time(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    let fraction = format!("{:03}", time.nanosecond() / 1_000_000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{}{dot}{fraction}Z", time.format("%Y-%m-%dT%H:%M:%S"))
}

/// Returns what Alertmanager knows an alert by: FNV-1a over names and values, each ended by 0xff
/// (prometheus/common, `LabelSet.Fingerprint`).
pub(super) fn fingerprint(labels: &Labels) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for (name, value) in labels.iter() {
        name.bytes().for_each(&mut add);
        add(0xff);
        value.bytes().for_each(&mut add);
        add(0xff);
    }
    hash
}

/// Compares alerts as Alertmanager sorts them (types.go, `AlertSlice`; model.go, `LabelSet.Before`): by
/// job, by instance, then the fewer labels first, then label by label.
pub(super) fn alert_order(a: &Labels, b: &Labels) -> Ordering {
    for name in ["job", "instance"] {
        match (a.get(name), b.get(name)) {
            (None, None) => {}
            (None, Some(_)) => return Ordering::Greater,
            (Some(_), None) => return Ordering::Less,
            (Some(a), Some(b)) if a != b => return a.cmp(b),
            _ => {}
        }
    }
    let by_label = || {
        let pairs = a.iter().zip(b.iter());
        // Where the names part, the set that lacks the smaller one comes first.
        let order = pairs.map(|((an, av), (bn, bv))| bn.cmp(an).then_with(|| av.cmp(bv)));
        order.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    a.len().cmp(&b.len()).then_with(by_label)
}

/// Writes labels as Alertmanager does in a group's key: `{alertname="A", commons="b"}`.
pub(super) fn braces(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// Writes a chat message.
pub(super) fn slack(news: &Notification) -> String {
    let n_firing = news.alerts.iter().filter(|alert| !alert.resolved).count();
    let head = match n_firing {
        0 => "[RESOLVED]".to_owned(),
        n => format!("[FIRING:{n}]"),
    };
    let values: Vec<String> = news.group_labels.iter().map(|(_, value)| escape(value)).collect();
    let mut text = format!("*{head} {}*", values.join(" · "));
    for alert in news.alerts.iter().take(SLACK_ALERTS_MAX) {
        text.push_str(&slack_line(alert));
    }
    if news.alerts.len() > SLACK_ALERTS_MAX {
        text.push_str(&format!("\n… and {} more", news.alerts.len() - SLACK_ALERTS_MAX));
    }
    serde_json::json!({ "text": text }).to_string()
}

fn slack_line(alert: &AlertEvent) -> String {
    let annotation = |name| alert.annotations.get(name).filter(|text| !text.is_empty());
    let severity = alert.labels.get("severity").unwrap_or("alert");
    let said = annotation("summary").or(annotation("description")).cloned();
    let said = said.unwrap_or_else(|| braces(&alert.labels));
    let state = if alert.resolved { "resolved" } else { severity };
    let mut line = format!("\n• {}: {}", escape(state), escape(&said));
    for name in ["runbook", "runbook_url", "logs", "explain_url"] {
        if let Some(text) = annotation(name) {
            line.push_str(&format!("\n   {name}: {}", escape(text)));
        }
    }
    line
}

/// Slack's three control characters; unescaped, a label could mention a whole channel.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
