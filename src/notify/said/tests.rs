//! Templates over a notification, held against what Alertmanager's documentation says of them.

use std::sync::Arc;

use super::*;
use crate::model::{AlertEvent, Labels};
use crate::notify::dispatch::Notification;

fn alert(labels: &[(&str, &str)], summary: &str, resolved: bool) -> AlertEvent {
    AlertEvent {
        labels: Labels::from_pairs(labels.iter().copied()),
        annotations: [("summary".to_owned(), summary.to_owned())].into(),
        starts_at_ms: 1_763_730_000_000,
        ends_at_ms: 1_763_730_600_000,
        resolved,
        generator_url: "http://g/".to_owned(),
    }
}

fn news() -> Notification {
    let alerts = vec![
        alert(&[("alertname", "Down"), ("commons", "heart"), ("pod", "a")], "a <b> is down", false),
        alert(&[("alertname", "Down"), ("commons", "heart"), ("pod", "b")], "b is down", true),
    ];
    Notification {
        receiver: "oncall".to_owned(),
        desk: "oncall/email[0]".to_owned(),
        group_key: "{}:{alertname=\"Down\"}".to_owned(),
        covers: Vec::new(),
        group_labels: Labels::from_pairs([("alertname", "Down")]),
        since_ms: 0,
        alerts,
        n: 0,
    }
}

fn say(text: &str, library: &str, is_html: bool) -> Result<String, String> {
    let mut own = Library::default();
    own.add(library.to_owned()).map_err(|(line, reason)| format!("{line}: {reason}"))?;
    let news = news();
    let words = Words::new(&news, "https://watch.example", 1_763_730_120_000);
    Text::parse(text, &Arc::new(own))?.say(&words, is_html)
}

#[track_caller]
fn check(text: &str, want: &str) {
    assert_eq!(say(text, "", false).as_deref(), Ok(want), "{text}");
}

#[test]
fn a_notification_is_what_alertmanagers_templates_know() {
    check(
        "{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}",
        "oncall firing https://watch.example",
    );
    check("{{ len .Alerts.Firing }} of {{ len .Alerts }}", "1 of 2");
    check("{{ range .Alerts }}{{ .Labels.pod }}={{ .Status }};{{ end }}", "a=firing;b=resolved;");
    check("{{ .CommonLabels.Names | join \",\" }}", "alertname,commons");
    check("{{ .CommonLabels.SortedPairs.Values | join \" \" }}", "Down heart");
    check("{{ (.CommonLabels.Remove .GroupLabels.Names).Values | join \" \" }}", "heart");
    check(
        "{{ range .GroupLabels.SortedPairs }}{{ .Name }}:{{ .Value }}{{ end }}",
        "alertname:Down",
    );
    check("{{ (index .Alerts 0).Annotations.summary }}", "a <b> is down");
    check("{{ (index .Alerts 0).Fingerprint | len }}", "16");
}

#[test]
fn functions_and_times_are_alertmanagers() {
    check(
        "{{ .Status | toUpper }} {{ \"ab c\" | title }} {{ trimSpace \" x \" }}",
        "FIRING Ab C x",
    );
    check(
        "{{ reReplaceAll \"(o)n\" \"$1-\" .Receiver }} {{ match \"^on\" .Receiver }}",
        "o-call true",
    );
    check("{{ join \"+\" (stringSlice \"a\" \"b\") }} {{ urlUnescape \"a%20b+c\" }}", "a+b a b c");
    let first = "(index .Alerts 0).StartsAt";
    check(&format!("{{{{ {first}.Format \"2006-01-02 15:04 MST\" }}}}"), "2025-11-21 13:00 UTC");
    check(
        &format!("{{{{ {first} | tz \"America/Chicago\" | date \"15:04 MST -0700\" }}}}"),
        "07:00 CST -0600",
    );
    check(
        &format!("{{{{ since {first} | humanizeDuration }}}} {{{{ {first}.Unix }}}}"),
        "2m 0s 1763730000",
    );
    check("{{ .Alerts.Firing | len | printf \"%02d\" }}", "01");
}

#[test]
fn the_default_templates_may_be_called_and_ones_own_as_well() {
    check("{{ template \"__subject\" . }}", "[FIRING:1] Down (heart)");
    check("{{ template \"slack.default.title\" . }}", "[FIRING:1] Down (heart)");
    let said =
        say("{{ template \"mine\" . }}!", "{{ define \"mine\" }}{{ .Receiver }}{{ end }}", false);
    assert_eq!(said.as_deref(), Ok("oncall!"));
    let said = say(
        "{{ template \"slack.default.text\" . }}",
        "{{ define \"slack.default.text\" }}own{{ end }}",
        false,
    );
    assert_eq!(said.as_deref(), Ok("own"), "a default may be another");
    let list = say("{{ template \"__text_alert_list\" .Alerts.Firing }}", "", false).unwrap();
    assert!(list.starts_with("Labels:\n - alertname = Down\n - commons = heart\n"), "{list}");
}

#[test]
fn a_page_of_html_shows_a_label_as_text() {
    let said =
        say("<p>{{ (index .Alerts 0).Annotations.summary }}</p>{{ safeHtml \"<i>\" }}", "", true);

    assert_eq!(said.as_deref(), Ok("<p>a &lt;b&gt; is down</p><i>"));
}

#[test]
fn what_cannot_be_read_is_a_mistake_and_what_fails_says_so() {
    for (text, want) in [
        ("{{ nope }}", "function \"nope\" not defined"),
        ("{{ template \"nope\" . }}", "template \"nope\" is defined nowhere"),
        ("{{ if }}", "missing value"),
    ] {
        let error = say(text, "", false).unwrap_err();
        assert!(error.contains(want), "{text}: {error}");
    }
    let news = news();
    let words = Words::new(&news, "", 0);
    let broken = Text::parse("{{ .Nope }}", &Arc::default()).unwrap();
    let said = prose(&Some(broken.clone()), &words, || "usual".to_owned());
    assert!(said.starts_with("usual [its template failed: line 1: "), "{said}");
    assert_eq!(or(&Some(broken), &words, || "usual".to_owned()), "usual");
}
