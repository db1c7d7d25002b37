//! The texts of Alertmanager's default templates (template/default.tmpl).

use std::collections::BTreeMap;

use super::host::escaped;
use crate::model::AlertEvent;
use crate::notify::dispatch::Notification;
use crate::notify::payload;
use crate::notify::sign::sha256_hex;

/// A notification in words.
#[derive(Debug)]
pub(in crate::notify) struct Words<'a> {
    pub(in crate::notify) news: &'a Notification,
    external_url: &'a str,
    now_ms: i64,
}

impl<'a> Words<'a> {
    pub(in crate::notify) fn new(
        news: &'a Notification,
        external_url: &'a str,
        now_ms: i64,
    ) -> Self {
        Self { news, external_url, now_ms }
    }

    pub(super) fn now_ns(&self) -> i64 {
        self.now_ms.saturating_mul(1_000_000)
    }

    pub(in crate::notify) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    pub(in crate::notify) fn external_url(&self) -> &'a str {
        self.external_url
    }

    pub(super) fn status(&self) -> &'static str {
        if self.is_firing() { "firing" } else { "resolved" }
    }

    pub(super) fn color(&self) -> &'static str {
        if self.is_firing() { "danger" } else { "good" }
    }

    /// Returns the alerts that are told, in their order.
    pub(super) fn all_alerts(&self) -> impl Iterator<Item = &'a AlertEvent> {
        self.news.alerts.iter().take(payload::ALERTS_MAX)
    }

    pub(super) fn is_firing(&self) -> bool {
        self.news.alerts.iter().any(|alert| !alert.resolved)
    }

    /// Returns the alerts that fire, or those that are over.
    pub(super) fn alerts(&self, resolved: bool) -> Vec<&'a AlertEvent> {
        self.all_alerts().filter(|alert| alert.resolved == resolved).collect()
    }

    /// Names the incident of the group, alike for its beginning and its end.
    pub(super) fn key(&self) -> String {
        sha256_hex(&self.news.group_key)
    }

    pub(super) fn common_labels(&self) -> BTreeMap<&'a str, &'a str> {
        payload::common(self.news.alerts.iter().map(|alert| alert.labels.iter()))
    }

    pub(super) fn common_annotations(&self) -> BTreeMap<&'a str, &'a str> {
        payload::common(self.news.alerts.iter().map(|alert| {
            alert.annotations.iter().map(|(name, text)| (name.as_str(), text.as_str()))
        }))
    }

    /// `__subject`
    pub(super) fn subject(&self) -> String {
        let state = match self.alerts(false).len() {
            0 => "RESOLVED".to_owned(),
            n => format!("FIRING:{n}"),
        };
        let group: BTreeMap<&str, &str> = self.news.group_labels.iter().collect();
        let mut rest = self.common_labels();
        let has_more = rest.len() > group.len();
        rest.retain(|name, _| !group.contains_key(name));
        let rest = if has_more { format!("({})", values(&rest)) } else { String::new() };
        format!("[{state}] {} {rest}", values(&group))
    }

    /// `__alertmanagerURL`
    pub(super) fn url(&self) -> String {
        let receiver = escaped(&self.news.receiver);
        format!("{}/#/alerts?receiver={receiver}", self.external_url)
    }

    /// `opsgenie.default.description`
    pub(super) fn description(&self) -> String {
        let part = |title: &str, resolved: bool| match self.alerts(resolved).is_empty() {
            true => String::new(),
            false => format!("{title}:\n{}", self.list(resolved)),
        };
        let annotations = values(&self.common_annotations());
        format!(
            "{annotations}\n{}\n{}",
            part("Alerts Firing", false),
            part("Alerts Resolved", true)
        )
    }

    /// `__text_alert_list`
    pub(super) fn list(&self, resolved: bool) -> String {
        let mut text = String::new();
        for alert in self.alerts(resolved) {
            let labels: BTreeMap<&str, &str> = alert.labels.iter().collect();
            let annotations = alert.annotations.iter();
            let annotations = annotations.map(|(name, text)| (name.as_str(), text.as_str()));
            text.push_str(&format!(
                "Labels:\n{}Annotations:\n{}Source: {}\n",
                lines(&labels),
                lines(&annotations.collect()),
                alert.generator_url
            ));
        }
        text
    }
}

fn lines(pairs: &BTreeMap<&str, &str>) -> String {
    sorted(pairs).iter().map(|(name, value)| format!(" - {name} = {value}\n")).collect()
}

/// Returns pairs sorted by name, the alert's own first (template.go, `SortedPairs`).
fn sorted<'a>(pairs: &BTreeMap<&'a str, &'a str>) -> Vec<(&'a str, &'a str)> {
    let mut all: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, *value)).collect();
    all.sort_by_key(|(name, _)| (*name != "alertname", *name));
    all
}

/// Joins the values, in the order of [`sorted`].
pub(super) fn values(pairs: &BTreeMap<&str, &str>) -> String {
    let values: Vec<&str> = sorted(pairs).into_iter().map(|(_, value)| value).collect();
    values.join(" ")
}
