//! Who is told what, and when: the tree of routes with everything it refers to, as checked values.
//!
//! A policy is made once, from an Alertmanager configuration file or from the section `alerting`, and
//! never changes; a reload puts another one in its place. Finding an alert's routes is pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::units::HumanDuration;
use crate::model::{Labels, MatchOp, Matcher};

use super::interval::TimeInterval;
use super::matchers::{all_match, braces};
use super::target::{Speech, Target};
use super::{Config, Format};

/// The labels whose values make a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GroupBy {
    /// `group_by: ['...']`: each alert is a group of its own.
    All,
    /// These.
    Labels(Vec<String>),
}

impl GroupBy {
    /// Returns the labels that an alert's group has.
    pub(super) fn of(&self, labels: &Labels) -> Labels {
        match self {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => labels.retain(|name| names.iter().any(|by| by == name)),
        }
    }
}

/// The times of a route's groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timing {
    /// How long a new group waits for more alerts.
    pub(super) wait_ms: i64,
    /// How long a group waits after a notification before it tells of changes.
    pub(super) interval_ms: i64,
    /// How long until what still fires is told again.
    pub(super) repeat_ms: i64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { wait_ms: 30_000, interval_ms: 300_000, repeat_ms: 4 * 3_600_000 }
    }
}

/// A node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Route {
    /// Its place in [`Policy::routes`]; the root has none.
    pub(super) parent: Option<usize>,
    pub(super) children: Vec<usize>,
    pub(super) matchers: Vec<Matcher>,
    /// Whether siblings after it are asked as well.
    pub(super) goes_on: bool,
    pub(super) receiver: String,
    pub(super) group_by: GroupBy,
    pub(super) timing: Timing,
    /// Names of intervals in which nothing is told.
    pub(super) mute: Vec<String>,
    /// Names of intervals outside of which nothing is told; none: always.
    pub(super) active: Vec<String>,
}

/// One way of telling somebody.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Integration {
    /// Where and how.
    pub(super) target: Target,
    /// Its place among those of its kind at its receiver.
    pub(super) idx: usize,
    /// Whether ends are told.
    pub(super) send_resolved: bool,
    /// How long one attempt may take.
    pub(super) timeout: Option<Duration>,
}

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Receiver {
    /// Its ways of being told; none: alerts are only shown.
    pub(super) integrations: Vec<Integration>,
}

/// What keeps one alert from being told because of another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct InhibitRule {
    pub(super) source: Vec<Matcher>,
    pub(super) target: Vec<Matcher>,
    /// Labels in which both must agree.
    pub(super) equal: Vec<String>,
}

/// A route that an alert takes, for people.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// Its name: the matchers from the root down.
    pub route: String,
    /// Whom it tells.
    pub receiver: String,
    /// In which ways; none: nobody hears of it.
    pub ways: Vec<String>,
    /// The labels of the alert's group.
    pub group: Labels,
    /// How long a new group waits.
    pub group_wait_ms: i64,
    /// How long between two looks.
    pub group_interval_ms: i64,
    /// How long until it is told again.
    pub repeat_interval_ms: i64,
    /// Time intervals that mute it now.
    pub muted_by: Vec<String>,
}

/// Who is told what, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The tree, parents before children; the first is the root and takes every alert.
    pub(super) routes: Vec<Route>,
    pub(super) receivers: BTreeMap<String, Receiver>,
    pub(super) inhibit: Vec<InhibitRule>,
    pub(super) intervals: BTreeMap<String, Vec<TimeInterval>>,
    /// How long an alert from outside counts as firing when it does not say.
    pub(super) resolve_timeout_ms: i64,
    /// The configuration as text, secrets masked.
    pub(super) shown: String,
}

impl Policy {
    /// Returns the configuration as text, secrets masked.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Returns the names of all receivers, sorted.
    pub fn receiver_names(&self) -> impl Iterator<Item = &str> {
        self.receivers.keys().map(String::as_str)
    }

    /// Returns the places of the routes that an alert takes, in the order of the file.
    pub(super) fn routes_of(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        self.descend(0, labels, &mut found);
        found
    }

    /// Returns whether the node or one below it took the alert.
    fn descend(&self, idx: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let route = &self.routes[idx];
        if !all_match(&route.matchers, |name| labels.get(name)) {
            return false;
        }
        let n_before = found.len();
        for &child in &route.children {
            if self.descend(child, labels, found) && !self.routes[child].goes_on {
                break;
            }
        }
        if found.len() == n_before {
            found.push(idx);
        }
        true
    }

    /// Returns a route's name as Alertmanager writes it into a group's key.
    pub(super) fn route_key(&self, idx: usize) -> String {
        let route = &self.routes[idx];
        let own = braces(&route.matchers);
        match route.parent {
            Some(parent) => format!("{}/{own}", self.route_key(parent)),
            None => own,
        }
    }

    /// Returns the other routes of the same name that tell the same receiver: what differs is when.
    pub(super) fn twins(&self, idx: usize) -> Vec<usize> {
        let receiver = &self.routes[idx].receiver;
        let others = (0..self.routes.len()).filter(|other| *other != idx);
        let of_receiver: Vec<usize> =
            others.filter(|other| self.routes[*other].receiver == *receiver).collect();
        if of_receiver.is_empty() {
            return of_receiver;
        }
        let key = self.route_key(idx);
        of_receiver.into_iter().filter(|other| self.route_key(*other) == key).collect()
    }

    /// Returns the labels that every alert on a route has by the route's own matchers and those above.
    pub(super) fn route_labels(&self, idx: usize) -> Vec<(String, String)> {
        let route = &self.routes[idx];
        let mut labels = route.parent.map_or_else(Vec::new, |parent| self.route_labels(parent));
        let equal = route.matchers.iter().filter(|matcher| matcher.op == MatchOp::Eq);
        labels.extend(equal.map(|matcher| (matcher.name.clone(), matcher.value.clone())));
        labels
    }

    /// Returns, for people, each route that an alert takes.
    pub fn explained(&self, labels: &Labels, now_ms: i64) -> Vec<RouteView> {
        let view = |idx: usize| {
            let route = &self.routes[idx];
            RouteView {
                route: self.route_key(idx),
                receiver: route.receiver.clone(),
                ways: self.ways_of(&route.receiver),
                group: route.group_by.of(labels),
                group_wait_ms: route.timing.wait_ms,
                group_interval_ms: route.timing.interval_ms,
                repeat_interval_ms: route.timing.repeat_ms,
                muted_by: self.muted_by(route, now_ms),
            }
        };
        self.routes_of(labels).into_iter().map(view).collect()
    }

    /// Returns the ways in which a receiver is told, by the names of their queues.
    fn ways_of(&self, receiver: &str) -> Vec<String> {
        let of = self.receivers.get(receiver);
        let all = of.iter().flat_map(|one| &one.integrations);
        all.map(|integration| desk_name(receiver, integration)).collect()
    }

    /// Returns the names of receivers that an alert goes to.
    pub(super) fn receivers_of(&self, labels: &Labels) -> Vec<&str> {
        let routes = self.routes_of(labels);
        let mut names: Vec<&str> = Vec::new();
        for idx in routes {
            let name = self.routes[idx].receiver.as_str();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Returns the interval that keeps a route from telling at a time, if one does: a mute interval
    /// that holds, or all active ones because none holds.
    pub(super) fn muted_by(&self, route: &Route, time_ms: i64) -> Vec<String> {
        let holds = |name: &String| {
            let intervals = self.intervals.get(name);
            intervals.is_some_and(|all| all.iter().any(|one| one.contains(time_ms)))
        };
        if !route.active.is_empty() && !route.active.iter().any(holds) {
            return route.active.clone();
        }
        route.mute.iter().filter(|name| holds(name)).cloned().collect()
    }

    /// Returns the time interval that an alert names as its `hours`, where that does not hold at a time.
    /// A name that no interval has holds always: an alert is told rather than not.
    pub(super) fn closed_hours(&self, labels: &Labels, time_ms: i64) -> Option<String> {
        let name = labels.get(HOURS)?;
        let intervals = self.intervals.get(name)?;
        (!intervals.iter().any(|one| one.contains(time_ms))).then(|| name.to_owned())
    }

    /// Returns whether a time interval has this name.
    pub fn has_interval(&self, name: &str) -> bool {
        self.intervals.contains_key(name)
    }

    /// Returns every way of telling, for people, with the host that it goes to.
    pub fn hosts(&self) -> impl Iterator<Item = (String, &str)> {
        self.desks().map(|(name, _, integration)| (name, integration.target.url.host()))
    }

    /// Returns every way of telling, by the name under which its queue is kept.
    pub(super) fn desks(&self) -> impl Iterator<Item = (String, &str, &Integration)> {
        self.receivers.iter().flat_map(|(name, receiver)| {
            let desk = |one| (desk_name(name, one), name.as_str(), one);
            receiver.integrations.iter().map(desk)
        })
    }
}

/// Names a receiver's way of being told, for its queue and for people.
pub(super) fn desk_name(receiver: &str, integration: &Integration) -> String {
    format!("{receiver}/{}[{}]", integration.target.kind(), integration.idx)
}

impl From<&Config> for Policy {
    /// One route to one webhook, or to nobody.
    fn from(config: &Config) -> Self {
        let webhook = |url: &super::SecretUrl| Integration {
            target: Target {
                speech: match config.webhook_format {
                    Format::Alertmanager => Speech::Webhook { alerts_max: 0, payload: None },
                    Format::Slack => Speech::Text,
                },
                ..Target::webhook(url.clone())
            },
            idx: 0,
            send_resolved: true,
            timeout: None,
        };
        let integrations = config.webhook_url.iter().map(webhook).collect();
        let route = Route {
            parent: None,
            children: Vec::new(),
            matchers: Vec::new(),
            goes_on: false,
            receiver: "webhook".to_owned(),
            group_by: GroupBy::Labels(config.group_by.clone()),
            timing: Timing {
                wait_ms: config.group_wait.as_ms(),
                interval_ms: config.group_interval.as_ms().max(1),
                repeat_ms: config.repeat_interval.as_ms(),
            },
            mute: Vec::new(),
            active: Vec::new(),
        };
        let shown = shown(config);
        Self {
            routes: vec![route],
            receivers: BTreeMap::from([("webhook".to_owned(), Receiver { integrations })]),
            inhibit: built_in_inhibitions(),
            intervals: BTreeMap::new(),
            resolve_timeout_ms: RESOLVE_TIMEOUT_MS,
            shown,
        }
    }
}

/// Inhibitions that hold under every policy: a commons that went dark speaks for its services.
pub(super) fn built_in_inhibitions() -> Vec<InhibitRule> {
    vec![InhibitRule {
        source: vec![Matcher::equal("alertname", "CommonsWentDark")],
        target: vec![Matcher::equal("alertname", "ServiceWentDark")],
        equal: vec!["commons".to_owned(), "signal".to_owned()],
    }]
}

/// The label by which an alert says in which time interval it is told.
const HOURS: &str = "hours";

/// Alertmanager's default.
pub(super) const RESOLVE_TIMEOUT_MS: i64 = 300_000;

/// Writes the built-in route as the file that would mean the same.
fn shown(config: &Config) -> String {
    let time = |duration: HumanDuration| crate::base::units::format_duration_ms(duration.as_ms());
    let labels = serde_json::to_string(&config.group_by).expect("a list of texts is JSON");
    let webhook = match &config.webhook_url {
        Some(url) => format!("\n    webhook_configs:\n      - url: \"{url:?}\""),
        None => String::new(),
    };
    format!(
        "route:\n  receiver: webhook\n  group_by: {labels}\n  group_wait: {}\n  group_interval: {}\n  \
         repeat_interval: {}\nreceivers:\n  - name: webhook{webhook}\n",
        time(config.group_wait),
        time(config.group_interval),
        time(config.repeat_interval),
    )
}
