//! The same alerts and the same configuration into Debian's Alertmanager and into us: the same
//! notifications to the same receivers in the same groups, byte for byte but for our own address.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{alert, alertmanager, amtool, ask};
use crate::support::Setup;
use crate::support::http::Request;
use crate::support::sink::Sink;
use crate::support::wait::{PATIENCE, pause, until};

const CONFIG: &str = r#"
global: { resolve_timeout: 1h }
templates: ['own*.tmpl']
route:
  receiver: rest
  group_by: [alertname, commons]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
  routes:
    - matchers: [severity="page"]
      receiver: oncall
      continue: true
    - matchers: [commons="chat"]
      receiver: chat
    - match_re: { commons: heart|canine }
      receiver: team
      group_by: ['...']
      routes:
        - match: { service: fence }
          receiver: fence
          group_by: [commons]
          group_wait: 0s
    - matchers: ['severity=~"low|info"', 'commons!=""']
      receiver: quiet
      mute_time_intervals: [always]
    - matchers: [kind="twin"]
      receiver: twin-a
      continue: true
    - matchers: [kind="twin"]
      receiver: twin-b
    - matchers: [kind="late"]
      receiver: late
      active_time_intervals: [never]
inhibit_rules:
  - source_matchers: [alertname="CommonsDown"]
    target_matchers: [alertname!="CommonsDown"]
    equal: [commons]
  - source_match: { severity: page }
    target_match: { severity: ticket }
    equal: [commons, service]
time_intervals:
  - name: always
    time_intervals: [{ years: ['2000:2100'] }]
  - name: never
    time_intervals: [{ years: ['2000'] }]
receivers:
  - name: rest
    webhook_configs: [{ url: 'SINK', max_alerts: 2 }]
  - name: oncall
    webhook_configs: [{ url: 'SINK' }]
  - name: team
    webhook_configs: [{ url: 'SINK', send_resolved: false }]
  - name: chat
    slack_configs:
      - api_url: 'SINK/slack'
        channel: '#on call'
        send_resolved: true
      - api_url: 'SINK/templates'
        channel: '#{{ .CommonLabels.commons | toUpper }}'
        send_resolved: true
        title: '{{ template "own.title" . }}'
        pretext: '{{ template "slack.default.title" . }} {{ .Alerts.Firing | len }}/{{ len .Alerts }}'
        text: '{{ template "own.text" . }}'
        color: '{{ if eq .Status "firing" }}warning{{ else }}#439FE0{{ end }}'
        title_link: '{{ template "__alertmanagerURL" . }}'
        footer: '{{ printf "%-5s|%q|%v" .Receiver .GroupLabels.alertname (index .Alerts 0).Status }}'
        mrkdwn_in: [text]
        short_fields: true
        fields:
          - { title: commons, value: '{{ .CommonLabels.commons }}' }
          - { title: '{{ .Status }}', value: 'of <{{ len .Alerts }}>', short: false }
        actions:
          - { type: button, text: 'Runbook {{ .Status }}', url: 'http://r/{{ .GroupLabels.alertname }}', name: 'no', value: 'no' }
          - type: button
            text: ack
            name: ack
            value: '{{ .CommonLabels.commons }}'
            style: '{{ if eq .Status "firing" }}danger{{ end }}'
            confirm: { text: 'sure?', title: '{{ .Receiver }}', ok_text: 'yes' }
    pagerduty_configs:
      - url: 'SINK/pagerduty'
        routing_key: key
        severity: critical
        details: { team: heart }
        images:
          - { src: 'http://i/{{ .CommonLabels.commons }}.png', alt: a, href: 'http://h/' }
          - { src: '{{ .CommonLabels.none }}', alt: nowhere }
        links:
          - { href: 'http://l/{{ .Status }}', text: 'the {{ .Receiver }}' }
          - { text: nowhere }
    opsgenie_configs:
      - api_url: 'SINK/opsgenie/'
        api_key: key
        priority: P1
        tags: a,b
        actions: 'restart,{{ .Status }}'
        responders:
          - { name: '{{ .CommonLabels.commons }}-team', type: team }
          - { name: 'a,b', type: teams }
          - { id: '4513', type: '{{ if eq .Status "firing" }}schedule{{ else }}user{{ end }}' }
          - { username: x@example.com, type: user }
  - name: fence
    webhook_configs: [{ url: 'SINK' }]
  - name: quiet
    webhook_configs: [{ url: 'SINK' }]
  - name: late
    webhook_configs: [{ url: 'SINK' }]
  - name: twin-a
    webhook_configs: [{ url: 'SINK' }]
  - name: twin-b
    webhook_configs: [{ url: 'SINK' }]
"#;

/// What a file of templates may do: names, data, methods, functions, times.
const TEMPLATES: &str = r#"
{{- define "own.title" -}}
[{{ .Status | toUpper }}] {{ .GroupLabels.SortedPairs.Values | join "/" }}
{{- with .CommonLabels.Remove .GroupLabels.Names }} ({{ range .SortedPairs }}{{ .Name }}={{ .Value }} {{ end }}){{ end }}
{{- end -}}
{{- define "own.text" -}}
{{- range $i, $alert := .Alerts }}
{{ $i }} {{ .Labels.alertname | title }} {{ .Annotations.summary | reReplaceAll "is (\\w+)" "was $1" }}
{{- if gt (len .Labels) 2 }} {{ .Labels.Names | join "," }}{{ end }} {{ .StartsAt.Format "Mon 2 Jan 2006 15:04:05 MST" }}
{{- if match "^a$" .Labels.instance }} first{{ else if eq .Labels.region "eu" "us" }} {{ .Labels.region | toUpper }}{{ end }}
{{- template "own.state" .Status }}
{{- else }} none
{{- end }}
{{- $n := 0 }}{{ range .CommonAnnotations }}{{ $n = 1 }}{{ end }} {{ $n }} {{ safeHtml "<b>" }} {{ stringSlice "x" "y" | join "+" }}
{{- end -}}
{{- define "own.state" }} <{{ . }}>{{ end -}}
"#;

/// How long an alert lasts that is over.
const LASTED: chrono::TimeDelta = chrono::TimeDelta::milliseconds(500);

/// Alerts that fire, and at later steps end; `!` before a name: it is over.
const STEPS: &[&[&str]] = &[
    &[
        "Plain commons=hub instance=b",
        "Plain commons=hub instance=a",
        "Plain commons=hub instance=c",
        "Plain commons=hub job=z",
        "Plain commons=genome",
        "Page severity=page commons=hub service=guppy",
        "Ticket severity=ticket commons=hub service=guppy",
        "Ticket severity=ticket commons=hub service=indexd",
        "Team commons=heart n=1",
        "Team commons=heart n=2",
        "Fence commons=heart service=fence",
        "Fence commons=canine service=fence severity=page",
        "CommonsDown commons=dark severity=page",
        "Child commons=dark severity=page",
        "Low commons=hub severity=low",
        "Late commons=hub kind=late",
        "Twin commons=hub kind=twin",
        "Silenced commons=hub",
        "Chat commons=chat instance=b region=us",
        "Chat commons=chat instance=a region=us",
    ],
    &[
        "!Plain commons=hub instance=b",
        "Plain commons=hub instance=d",
        "!Page severity=page commons=hub service=guppy",
        "!Team commons=heart n=1",
        "!Chat commons=chat instance=b region=us",
        "Fence2 commons=heart service=fence",
        "!CommonsDown commons=dark severity=page",
        "!Twin commons=hub kind=twin",
    ],
    &[
        "Twin commons=hub kind=twin",
        "Plain commons=hub instance=b",
        "!Fence commons=heart service=fence",
        "!Fence2 commons=heart service=fence",
        "!Chat commons=chat instance=a region=us",
        "!Ticket severity=ticket commons=hub service=indexd",
    ],
];

struct Side {
    sink: Sink,
    address: String,
    base: &'static str,
    external_url: String,
}

impl Side {
    /// Returns what each group of each receiver was told, in order.
    fn told(&self) -> BTreeMap<String, Vec<Value>> {
        let mut by_group: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (path, body) in self.sink.requests() {
            let body = body.to_string().replace(&self.external_url, "http://watch");
            let body: Value = serde_json::from_str(&body).unwrap();
            // Only webhooks name receiver and group; of the others each path is one.
            let path = path.trim_start_matches("/hook");
            let key = format!("{path} {} {}", body["receiver"], body["groupKey"]);
            by_group.entry(key).or_default().push(body);
        }
        by_group
    }

    fn post(&self, alerts: &Value) {
        let path = format!("{}/api/v2/alerts", self.base);
        ask(&self.address, Request::post(path, alerts.to_string()));
    }
}

/// The alerts that inhibit others.
const SOURCES: [&str; 2] = ["CommonsDown ", "Page "];
/// Longer than Alertmanager takes to hear of a source on a busy machine; shorter than any group waits.
const INHIBITOR_PAUSE: Duration = Duration::from_millis(500);

#[test]
fn alertmanager_and_we_tell_the_same_people_the_same() {
    let (ours, theirs) = (Sink::start(), Sink::start());
    let setup = Setup::new("am-differential").config(
        "[alerting]\nfile = \"alertmanager.yml\"\nstorm_groups_max = 0\n\
            external_url = \"http://ours.example\"\n",
    );
    std::fs::write(setup.home().join("alertmanager.yml"), CONFIG.replace("SINK", &ours.url()))
        .unwrap();
    std::fs::write(setup.home().join("theirs.yml"), CONFIG.replace("SINK", &theirs.url())).unwrap();
    std::fs::write(setup.home().join("own.tmpl"), TEMPLATES).unwrap();
    let server = setup.start();
    let (_alertmanager, their_address) = alertmanager(setup.home(), "theirs.yml");
    let theirs = Side {
        sink: theirs,
        address: their_address,
        base: "",
        external_url: "http://theirs.example".to_owned(),
    };
    let ours = Side {
        sink: ours,
        address: server.addresses().http.clone(),
        base: "/am",
        external_url: "http://ours.example".to_owned(),
    };
    let silences = [&theirs, &ours].map(|side| {
        let url = format!("http://{}{}", side.address, side.base);
        let add = ["silence", "add", "alertname=~Sil.*", "--author=a", "--comment=c", "-d", "1h"];
        let id = amtool(&url, &add).trim().to_owned();
        (url, id)
    });

    // Alertmanager tells of an alert that began longer ago than its group waits before it has looked at
    // the next one of the same request.
    let now = chrono::Utc::now();
    let text = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let (began, ended) = (text(now), text(now + LASTED));
    for (idx, step) in STEPS.iter().enumerate() {
        let alerts: Vec<Value> = step
            .iter()
            .map(|name| match name.strip_prefix('!') {
                Some(name) => alert(name, &began, Some(&ended)),
                None => alert(name, &began, None),
            })
            .collect();
        // Alertmanager learns of what inhibits in a task of its own, which may come late.
        let is_source = |name: &&&str| SOURCES.iter().any(|source| name.starts_with(source));
        let sources = step.iter().filter(is_source);
        let sources: Vec<Value> = sources.map(|source| alert(source, &began, None)).collect();
        if !sources.is_empty() {
            [&theirs, &ours].iter().for_each(|side| side.post(&json!(sources)));
            pause(INHIBITOR_PAUSE);
        }
        [&theirs, &ours].iter().for_each(|side| side.post(&json!(alerts)));
        agree(&theirs, &ours, idx);
    }
    for (url, id) in &silences {
        amtool(url, &["silence", "expire", id]);
    }
    let told = agree(&theirs, &ours, STEPS.len());

    let all: Vec<&String> = told.keys().collect();
    let is_told = |text: &str| all.iter().any(|key| key.contains(text));
    for text in [
        "/slack",
        "/templates",
        "/pagerduty",
        "/opsgenie/v2/alerts",
        "/close",
        "Silenced",
        "Child",
        "\"fence\"",
        "\"team\"",
        "\"oncall\"",
        "\"rest\"",
        "\"twin-a\"",
        "\"twin-b\"",
    ] {
        assert!(is_told(text), "{text}: {all:?}");
    }
    assert!(!is_told("\"quiet\"") && !is_told("\"late\""), "{all:?}");
    let n_told: usize = told.values().map(Vec::len).sum();
    assert!(n_told > 15, "{n_told} notifications");
}

/// Waits until both have told the same and neither has more to say.
#[track_caller]
fn agree(theirs: &Side, ours: &Side, step: usize) -> BTreeMap<String, Vec<Value>> {
    // Two intervals of a group after the last word, nothing more is said.
    let quiet = Duration::from_millis(4_500);
    let n_told = || (theirs.sink.received().len(), ours.sink.received().len());
    until("both to be quiet", PATIENCE, || {
        let before = n_told();
        pause(quiet);
        let after = n_told();
        if after == before { Ok(()) } else { Err(format!("{after:?} notifications and counting")) }
    });
    let (theirs, ours) = (theirs.told(), ours.told());
    let of = |told: &BTreeMap<String, Vec<Value>>| told.keys().cloned().collect::<Vec<_>>();
    assert_eq!(of(&ours), of(&theirs), "step {step}: which groups of which receivers");
    for (group, wanted) in &theirs {
        let told = &ours[group];
        assert_eq!(told, wanted, "step {step}: {group}");
    }
    ours
}
