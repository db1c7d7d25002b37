//! The alerts of what is dark: one for each commons and signal, one for each service of it.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};

use super::book::{Entry, Inventory, Item};
use crate::base::units::format_duration_ms;
use crate::model::{AlertEvent, Labels};

/// The alert of a commons that sends nothing of a signal any more.
pub const COMMONS_ALERT: &str = "CommonsWentDark";
/// The alert of one service; that of its commons inhibits it.
pub const SERVICE_ALERT: &str = "ServiceWentDark";

/// How long an alert counts as firing when nothing more is heard of it.
const VALID_MS: i64 = 5 * 60_000;
/// The most services that an annotation names.
const NAMED_MAX: usize = 20;

impl Item {
    /// Returns the labels of the item's alert; a silence that holds for them is maintenance.
    pub fn labels(&self) -> Labels {
        let name = if self.service.is_some() { SERVICE_ALERT } else { COMMONS_ALERT };
        let mut labels = vec![
            ("alertname", name),
            ("commons", self.commons.as_str()),
            ("signal", self.signal.as_str()),
        ];
        labels.extend(self.service.as_deref().map(|service| ("service", service)));
        Labels::from_pairs(labels)
    }
}

impl Inventory {
    /// Returns an alert for everything that is dark; who is told no more of one takes it for over.
    pub fn alerts(&self, now_ms: i64, external_url: &str) -> Vec<AlertEvent> {
        self.told().map(|entry| self.alert(entry, now_ms, external_url)).collect()
    }

    /// Returns the ends of alerts that `before` told of and that are over now.
    pub fn ended(&self, before: &[AlertEvent], now_ms: i64) -> Vec<AlertEvent> {
        let is_dark = |labels: &Labels| self.told().any(|entry| self.labels(entry) == *labels);
        let over = before.iter().filter(|event| !is_dark(&event.labels));
        over.map(|event| AlertEvent { ends_at_ms: now_ms, resolved: true, ..event.clone() })
            .collect()
    }

    /// Walks what is dark and has an alert.
    fn told(&self) -> impl Iterator<Item = &Entry> {
        let dark = self.entries.values().filter(|entry| entry.dark_since_ms.is_some());
        dark.filter(|entry| !self.severity(entry).is_empty() && !self.waits(entry))
    }

    /// Returns whether a service waits for the verdict on its commons: that fell silent with it, and is
    /// not dark yet because it is known to report more rarely. Told now, the service would page for what
    /// its commons is about to say.
    fn waits(&self, entry: &Entry) -> bool {
        if entry.item.service.is_none() {
            return false;
        }
        let commons = self.entries.get(&Item { service: None, ..entry.item.clone() });
        commons.is_some_and(|one| one.dark_since_ms.is_none() && !one.outlived(entry))
    }

    fn severity(&self, entry: &Entry) -> &str {
        match entry.item.service {
            Some(_) => &self.config.service_severity,
            None => &self.config.commons_severity,
        }
    }

    fn labels(&self, entry: &Entry) -> Labels {
        entry.item.labels().to_builder().set("severity", self.severity(entry)).build()
    }

    fn alert(&self, entry: &Entry, now_ms: i64, external_url: &str) -> AlertEvent {
        let Item { commons, service, signal } = &entry.item;
        let last = entry.last_seen_ms.unwrap_or_default();
        let ago = format_duration_ms(now_ms.saturating_sub(last).max(0) / 60_000 * 60_000);
        let who = match service {
            Some(service) => format!("{service} of {commons}"),
            None => commons.clone(),
        };
        let mut annotations = BTreeMap::from([
            ("summary".to_owned(), format!("{who} sends no {} any more", signal.as_str())),
            (
                "description".to_owned(),
                format!("last seen {ago} ago, at {}{}", time(last), self.services(entry)),
            ),
            ("commons".to_owned(), commons.clone()),
        ]);
        annotations.extend(service.clone().map(|service| ("service".to_owned(), service)));
        AlertEvent {
            labels: self.labels(entry),
            annotations,
            starts_at_ms: entry.dark_since_ms.unwrap_or(now_ms),
            ends_at_ms: now_ms.saturating_add(VALID_MS),
            resolved: false,
            generator_url: format!("{}/api/v1/admin/inventory", external_url.trim_end_matches('/')),
        }
    }

    /// Names the services that a commons had, so that people see what vanished with it.
    fn services(&self, entry: &Entry) -> String {
        if entry.item.service.is_some() {
            return String::new();
        }
        let of_commons = self
            .entries
            .keys()
            .filter(|item| item.commons == entry.item.commons && item.signal == entry.item.signal);
        let names: Vec<&str> = of_commons.filter_map(|item| item.service.as_deref()).collect();
        match names.len() {
            0 => String::new(),
            n if n > NAMED_MAX => {
                format!("; with it {} and {} more", names[..NAMED_MAX].join(", "), n - NAMED_MAX)
            }
            _ => format!("; with it {}", names.join(", ")),
        }
    }
}

fn time(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
