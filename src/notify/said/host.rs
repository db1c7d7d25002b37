//! What a notification is to a template: Alertmanager's data, functions and methods (its documentation,
//! "Notification Template Reference").

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono_tz::Tz;

use super::text::Library;
use super::words::Words;
use crate::model::{AlertEvent, Labels};
use crate::notify::payload;
use crate::template::{
    Host, Program, Run, Stop, Value, call_text, dates, print, query_escape, want,
};

/// Those that are called here.
pub(super) const FUNCTIONS: &[&str] = &[
    "trimSpace",
    "join",
    "safeUrl",
    "urlUnescape",
    "stringSlice",
    "list",
    "append",
    "date",
    "tz",
    "since",
    "now",
];

/// The templates that need no text of their own.
const BUILT_IN: [&str; 20] = [
    "__alertmanager",
    "__alertmanagerURL",
    "__subject",
    "__description",
    "__text_alert_list",
    "slack.default.title",
    "slack.default.username",
    "slack.default.fallback",
    "slack.default.titlelink",
    "slack.default.color",
    "pagerduty.default.description",
    "pagerduty.default.client",
    "pagerduty.default.clientURL",
    "pagerduty.default.instances",
    "opsgenie.default.message",
    "opsgenie.default.description",
    "opsgenie.default.source",
    "email.default.subject",
    "email.default.html",
    "email.default.text",
];

/// Default templates that are empty.
const EMPTY: [&str; 8] = [
    "slack.default.pretext",
    "slack.default.text",
    "slack.default.callbackid",
    "slack.default.footer",
    "slack.default.iconemoji",
    "slack.default.iconurl",
    "slack.default.imageurl",
    "slack.default.thumburl",
];

/// Returns whether a template is there without being defined.
pub(super) fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name) || EMPTY.contains(&name)
}

/// A notification that is being told.
pub(super) struct Told<'a> {
    pub(super) words: &'a Words<'a>,
    pub(super) library: &'a Library,
    pub(super) is_html: bool,
}

impl Host for Told<'_> {
    fn call(&self, _run: &mut Run<'_>, name: &str, arguments: &[Value]) -> Result<Value, Stop> {
        match (name, arguments) {
            ("safeHtml", [value]) => Ok(Value::Safe(value.as_text()?.into())),
            ("trimSpace", [value]) => Ok(Value::text(value.as_text()?.trim())),
            ("join", [separator, Value::List(list)]) => {
                let texts: Vec<String> = list.iter().map(print).collect();
                Ok(Value::text(&texts.join(separator.as_text()?)))
            }
            ("safeUrl", [value]) => Ok(value.clone()),
            ("urlUnescape", [value]) => unescaped(value.as_text()?),
            ("stringSlice" | "list", all) => Ok(Value::List(all.to_vec().into())),
            ("append", [Value::List(list), more @ ..]) => {
                Ok(Value::List(list.iter().chain(more).cloned().collect::<Vec<_>>().into()))
            }
            ("now", []) => Ok(Value::Time(self.words.now_ns())),
            ("date", [layout, time]) => {
                let (ns, zone) = moment(time)?;
                Ok(Value::text(&dates::format(layout.as_text()?, ns, zone)))
            }
            ("tz", [zone, time]) => {
                let name = zone.as_text()?;
                let wrong = || Stop::Fail(format!("unknown time zone {name}"));
                Ok(Value::Zoned(moment(time)?.0, name.parse().map_err(|_| wrong())?))
            }
            ("since", [time]) => {
                Ok(Value::Duration(self.words.now_ns().saturating_sub(moment(time)?.0)))
            }
            ("join" | "append" | "now" | "date" | "tz" | "since" | "trimSpace", _) => {
                Stop::fail(format!("wrong number or type of arguments ({})", arguments.len()))
            }
            _ => call_text(name, arguments),
        }
    }

    fn method(&self, of: &Value, name: &str, arguments: &[Value]) -> Option<Result<Value, Stop>> {
        match of {
            Value::Labels(labels) => of_labels(labels, name, arguments),
            Value::List(list) => of_list(list, name),
            Value::Time(_) | Value::Zoned(..) => Some(of_time(of, name, arguments)),
            _ => None,
        }
    }

    fn root_field(&self, name: &str) -> Result<Value, Stop> {
        let words = self.words;
        let owned = |pairs: &BTreeMap<&str, &str>| Value::Labels(pairs.iter().collect());
        Ok(match name {
            "Receiver" => Value::text(&words.news.receiver),
            "Status" => Value::text(words.status()),
            "Alerts" => Value::List(words.all_alerts().map(alert).collect::<Vec<_>>().into()),
            "GroupLabels" => Value::Labels(words.news.group_labels.clone()),
            "CommonLabels" => owned(&words.common_labels()),
            "CommonAnnotations" => owned(&words.common_annotations()),
            "ExternalURL" => Value::text(words.external_url()),
            "GroupKey" => Value::text(&words.news.group_key),
            _ => return Stop::fail(format!("can't evaluate field {name} in type *template.Data")),
        })
    }

    fn root(&self) -> Value {
        Value::text(&format!("{} {}", self.words.news.receiver, self.words.status()))
    }

    fn defined(&self, name: &str) -> Option<&Program> {
        self.library.defining(name)
    }

    fn is_html(&self) -> bool {
        self.is_html
    }

    fn written(&self, name: &str, argument: &Value) -> Option<Result<String, Stop>> {
        let words = self.words;
        Some(Ok(match name {
            "__alertmanager" | "slack.default.username" | "pagerduty.default.client" => {
                "Alertmanager".to_owned()
            }
            "__subject"
            | "slack.default.title"
            | "pagerduty.default.description"
            | "opsgenie.default.message"
            | "email.default.subject" => words.subject(),
            "__alertmanagerURL"
            | "slack.default.titlelink"
            | "pagerduty.default.clientURL"
            | "opsgenie.default.source" => words.url(),
            "slack.default.fallback" => format!("{} | {}", words.subject(), words.url()),
            "slack.default.color" => words.color().to_owned(),
            "opsgenie.default.description" => words.description(),
            "email.default.html" => words.html(),
            "email.default.text" => words.text(),
            "__text_alert_list" | "pagerduty.default.instances" => match argument {
                Value::List(list) => list.iter().map(listed).collect(),
                _ => return Some(Stop::fail("the template wants a list of alerts")),
            },
            name if is_built_in(name) => String::new(),
            _ => return None,
        }))
    }
}

/// Returns an alert as templates see it.
fn alert(event: &AlertEvent) -> Value {
    let ns = |ms: i64| Value::Time(ms.saturating_mul(1_000_000));
    let ends_ms = if event.resolved { event.ends_at_ms } else { ZERO_MS };
    Value::Record(Arc::new(vec![
        ("Status", Value::text(if event.resolved { "resolved" } else { "firing" })),
        ("Labels", Value::Labels(event.labels.clone())),
        ("Annotations", Value::Labels(event.annotations.iter().collect())),
        ("StartsAt", ns(event.starts_at_ms)),
        ("EndsAt", ns(ends_ms)),
        ("GeneratorURL", Value::text(&event.generator_url)),
        ("Fingerprint", Value::text(&format!("{:016x}", payload::fingerprint(&event.labels)))),
    ]))
}

/// Go's zero time, as near as ns since 1970 can say it.
const ZERO_MS: i64 = -62_135_596_800_000;

fn listed(alert: &Value) -> String {
    let field = |name: &str| alert.field(name).unwrap_or(Value::Nil);
    let lines = |value: Value| match value {
        Value::Labels(labels) => {
            sorted(&labels).iter().map(|(n, v)| format!(" - {n} = {v}\n")).collect()
        }
        _ => String::new(),
    };
    format!(
        "Labels:\n{}Annotations:\n{}Source: {}\n",
        lines(field("Labels")),
        lines(field("Annotations")),
        print(&field("GeneratorURL"))
    )
}

/// Returns pairs sorted by name, the alert's own first.
fn sorted(labels: &Labels) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> = labels.iter().collect();
    all.sort_by_key(|(name, _)| (*name != "alertname", *name));
    all
}

fn pair(name: &str, value: &str) -> Value {
    Value::Record(Arc::new(vec![("Name", Value::text(name)), ("Value", Value::text(value))]))
}

fn list(values: impl Iterator<Item = Value>) -> Option<Result<Value, Stop>> {
    Some(Ok(Value::List(values.collect::<Vec<_>>().into())))
}

fn of_labels(labels: &Labels, name: &str, arguments: &[Value]) -> Option<Result<Value, Stop>> {
    let all = || sorted(labels).into_iter();
    match (name, arguments) {
        ("SortedPairs", []) => list(all().map(|(name, value)| pair(name, value))),
        ("Names", []) => list(all().map(|(name, _)| Value::text(name))),
        ("Values", []) => list(all().map(|(_, value)| Value::text(value))),
        ("Remove", [Value::List(names)]) => {
            let is_named = |own: &str| {
                names.iter().any(|name| matches!(name, Value::Text(name) if &**name == own))
            };
            Some(Ok(Value::Labels(labels.iter().filter(|(own, _)| !is_named(own)).collect())))
        }
        _ => None,
    }
}

/// Lists of pairs have names and values, lists of alerts those that fire and those that are over.
fn of_list(all: &Arc<Vec<Value>>, name: &str) -> Option<Result<Value, Stop>> {
    let field = |key: &'static str| all.iter().filter_map(move |one| one.field(key).ok());
    let is = |one: &&Value, status: &str| {
        one.field("Status").is_ok_and(|own| matches!(own, Value::Text(text) if &*text == status))
    };
    match name {
        "Names" => list(field("Name")),
        "Values" => list(field("Value")),
        "Firing" => list(all.iter().filter(|one| is(one, "firing")).cloned()),
        "Resolved" => list(all.iter().filter(|one| is(one, "resolved")).cloned()),
        _ => None,
    }
}

fn moment(time: &Value) -> Result<(i64, Tz), Stop> {
    match time {
        Value::Time(ns) => Ok((*ns, Tz::UTC)),
        Value::Zoned(ns, zone) => Ok((*ns, *zone)),
        other => Stop::fail(format!("expected time.Time; got {}", other.type_name())),
    }
}

fn of_time(time: &Value, name: &str, arguments: &[Value]) -> Result<Value, Stop> {
    let (ns, zone) = moment(time)?;
    match (name, arguments) {
        ("Format", arguments) => {
            let [layout] = want::<1>(arguments)?;
            Ok(Value::text(&dates::format(layout.as_text()?, ns, zone)))
        }
        ("UTC" | "Local", []) => Ok(Value::Time(ns)),
        ("Unix", []) => Ok(Value::Int(ns.div_euclid(1_000_000_000))),
        ("UnixMilli", []) => Ok(Value::Int(ns.div_euclid(1_000_000))),
        ("IsZero", []) => Ok(Value::Bool(ns <= ZERO_MS.saturating_mul(1_000_000))),
        ("Sub", [other]) => Ok(Value::Duration(ns.saturating_sub(moment(other)?.0))),
        ("Before", [other]) => Ok(Value::Bool(ns < moment(other)?.0)),
        ("After", [other]) => Ok(Value::Bool(ns > moment(other)?.0)),
        _ => Stop::fail(format!("can't evaluate field {name} in type time.Time")),
    }
}

fn unescaped(text: &str) -> Result<Value, Stop> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, code) {
            (b'%', None) => return Stop::fail(format!("invalid URL escape in {text:?}")),
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &behind[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(byte),
        }
        rest = behind;
    }
    Ok(Value::text(&String::from_utf8_lossy(&bytes)))
}

/// Returns a text for a URL's query.
pub(super) fn escaped(text: &str) -> String {
    query_escape(text)
}
