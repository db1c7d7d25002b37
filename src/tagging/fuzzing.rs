//! What must hold of whatever senders say of themselves: nobody reaches a commons by its name, no
//! secret of a query string and no mail address gets past.

use std::sync::LazyLock;

use super::files::{AliasesFile, CommonsFile, HygieneFile, JobsFile, NamespacesFile, RoutesFile};
use super::files::{ServicesFile, parse};
use super::hygiene::{Hygiene, hides_mail};
use super::lines::{LineRules, LinesFile};
use super::routes::Routes;
use super::scrub::Scrubber;
use super::{Config, SeriesDecision, Tagger};
use crate::base::fuzzing::Choices;
use crate::model::labels::METRIC_NAME;
use crate::model::{Commons, Grant, LabelsBuilder, Tags, WriteScope};

static TAGGER: LazyLock<Tagger> = LazyLock::new(|| {
    Tagger::load(&Config::default()).expect("the data files that are built in can be read")
});

/// Names that the rules know, so that they are met.
const NAMES: &[&str] = &[
    "app",
    "service",
    "service_name",
    "job",
    "container",
    "namespace",
    "pod",
    "instance",
    "cluster",
    "env",
    "commons",
    "project",
    "username",
    "user",
    "client_id",
    "idp",
    "path",
    "hostname",
    "host",
    "url",
    "filename",
    "exported_service",
    "exported_namespace",
    "k8s.namespace.name",
    "node",
];
/// Metrics that have rules of their own.
const METRICS: &[&str] = &["up", "kube_pod_info", "gen3_fence_login_requests_total", "python_info"];

/// Any text: scrubbing once is enough, and a secret after any text is gone.
pub fn scrub(bytes: &[u8]) {
    const SECRET: &str = "S3CR3T-KEY.x~y";
    let text = String::from_utf8_lossy(bytes);
    check_idempotent(&text, |text| TAGGER.scrub_text(text));
    check_idempotent(&text, |text| TAGGER.scrub_attribute("url.query", text));
    if text.contains(SECRET) {
        return;
    }
    let (before, after) = text.split_at(text.floor_char_boundary(text.len() / 2));
    for (open, close) in [("?token=", "&"), ("#access_token=", " "), ("?a=1&amp;code=", "\"")] {
        let written = format!("{before}{open}{SECRET}{close}{after}");
        let scrubbed = TAGGER.scrub_text(&written).unwrap_or_default();
        assert!(!scrubbed.is_empty() && !scrubbed.contains(SECRET), "{written} became {scrubbed}");
    }
}

fn check_idempotent(text: &str, scrub: impl Fn(&str) -> Option<String>) {
    let Some(once) = scrub(text) else { return };
    assert_ne!(once, text, "an unchanged text is not copied");
    assert_eq!(scrub(&once), None, "{text} became {once}");
}

/// Labels of any names and values, sent by anyone.
pub fn tagging(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let own = Commons::new("heart.example").expect("a name");
    let way = choices.u8();
    let grant = match way & 3 {
        0 => WriteScope::Commons(own.clone()),
        1 => WriteScope::Cluster { cluster: "c1".into(), commons: [own.clone()].into() },
        _ => WriteScope::Any,
    };
    let grant = Grant { write: grant, ..Grant::open() };
    let tenant = (way & 4 != 0).then(|| choices.text());
    let mut labels = LabelsBuilder::new();
    labels.set(METRIC_NAME, METRICS[choices.below(METRICS.len())]);
    while !choices.is_empty() {
        let name = choices.u8();
        let name = NAMES.get(usize::from(name)).map_or_else(|| choices.text(), |n| (*n).to_owned());
        labels.set(&name, &choices.text());
    }
    let sent: Vec<(String, String)> =
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let decision = TAGGER.tag_series(&grant, tenant.as_deref(), &mut labels);
    if let SeriesDecision::Keep(tags) | SeriesDecision::Fold(tags, _) = &decision {
        check_tags(&grant, tags);
        check_clean(&labels);
    }
    let find = |key: &str| sent.iter().find(|(n, _)| n == key).map(|(_, value)| value.clone());
    let tags = TAGGER.tag_resource(&grant, tenant.as_deref(), &find);
    check_tags(&grant, &tags);
    for (_, line) in &sent {
        if let Some(tags) = TAGGER.tag_line(&grant, &tags, line) {
            check_tags(&grant, &tags);
        }
        let _ = TAGGER.request_path(line);
    }
}

fn check_tags(grant: &Grant, tags: &Tags) {
    if let WriteScope::Commons(own) = &grant.write {
        assert_eq!(&tags.commons, own, "a credential of one commons writes to that one");
    }
    assert_ne!(tags.commons, Commons::own(), "nobody writes our own metrics");
}

fn check_clean(labels: &LabelsBuilder) {
    for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
        assert!(!hides_mail(value), "the label {name} still holds a mail address: {value}");
    }
}

/// A data file of any text: it is refused, or compiles.
pub fn tagging_files(bytes: &[u8]) {
    let Some((kind, text)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(text);
    let services = || {
        let file = include_str!("../../config/gen3/services.toml");
        parse::<ServicesFile>("services.toml", file).expect("it is built in")
    };
    match kind % 8 {
        0 => drop(parse::<ServicesFile>("services.toml", &text)),
        1 => drop(parse::<AliasesFile>("aliases.toml", &text)),
        2 => drop(parse::<JobsFile>("jobs.toml", &text)),
        3 => drop(parse::<NamespacesFile>("namespaces.toml", &text)),
        4 => drop(parse::<CommonsFile>("commons.toml", &text)),
        5 => {
            let Ok(file) = parse::<RoutesFile>("routes.toml", &text) else { return };
            let _ = Routes::new(&services().service, &file).find("/user/login/google?x=1");
        }
        7 => {
            let Ok(file) = parse::<LinesFile>("lines.toml", &text) else { return };
            let Ok(rules) = LineRules::new(&file) else { return };
            for rule in rules.of_service("guppy") {
                let message = "[ES.query] DurationInMS:137. body: a_idx";
                assert!(rule.values(message).all(|value| !value.contains(' ')));
                let _ = (rule.fits(message), rule.value(message));
            }
        }
        _ => {
            let Ok(file) = parse::<HygieneFile>("hygiene.toml", &text) else { return };
            drop(Scrubber::new(&file).text("/x?code=1&token=2"));
            let mut labels = LabelsBuilder::new();
            labels.set("pod", "hatchery-a-40b-2ec").set("path", "['/a/b', '/c']");
            Hygiene::new(file, "key").clean(&mut labels, true, |_| {});
        }
    }
}
