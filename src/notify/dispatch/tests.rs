//! The dispatcher on a clock of minutes: what is told to whom, together with what.

use std::path::Path;

use super::*;
use crate::model::AlertEvent;

const SEC: i64 = 1_000;
pub(super) const MIN: i64 = 60 * SEC;
pub(super) const HOUR: i64 = 60 * MIN;

const LIMITS: Limits = Limits {
    alerts_max: 100_000,
    groups_max: 1_000,
    silences_max: 100,
    silence_kept_ms: HOUR,
    storm: StormLimits { groups_max: 0, window_ms: 5 * MIN },
};

pub(super) struct Bench {
    pub(super) dispatcher: Dispatcher,
    pub(super) now_ms: i64,
    firing: BTreeMap<String, i64>,
}

/// `a=b c=d` as labels.
pub(super) fn labels(text: &str) -> Labels {
    Labels::from_pairs(text.split(' ').map(|pair| pair.split_once('=').unwrap()))
}

fn policy(text: &str) -> Arc<Policy> {
    let parsed = Policy::parse(Path::new("am.yml"), text);
    Arc::new(parsed.unwrap_or_else(|mistakes| panic!("{mistakes:#?}")))
}

/// One route to receivers `x` and, where the text names it, others; each has one webhook.
pub(super) fn config(rest: &str, receivers: &[&str]) -> Arc<Policy> {
    let mut text = format!("{rest}\nreceivers:\n");
    for name in receivers {
        text.push_str(&format!(
            "- {{name: {name}, webhook_configs: [{{url: 'http://{name}/'}}]}}\n"
        ));
    }
    policy(&text)
}

fn plain() -> Arc<Policy> {
    config("route: {receiver: x, group_by: [g], group_wait: 30s, group_interval: 5m}", &["x"])
}

impl Bench {
    pub(super) fn new(policy: Arc<Policy>) -> Self {
        Self::with_limits(policy, LIMITS)
    }

    fn with_limits(policy: Arc<Policy>, limits: Limits) -> Self {
        Self { dispatcher: Dispatcher::new(policy, limits), now_ms: 0, firing: BTreeMap::new() }
    }

    /// These alerts fire from now on; they are told again each minute.
    pub(super) fn fire(&mut self, alerts: &[&str]) {
        for alert in alerts {
            self.firing.insert((*alert).to_owned(), self.now_ms);
        }
        self.tell();
    }

    pub(super) fn is_firing(&self, alert: &str) -> bool {
        self.firing.contains_key(alert)
    }

    pub(super) fn end(&mut self, alerts: &[&str]) {
        for alert in alerts {
            let starts_at_ms = self.firing.remove(*alert).unwrap();
            let event = event(alert, starts_at_ms, self.now_ms);
            self.dispatcher.accept(vec![Held::told(event, self.now_ms)], self.now_ms);
        }
    }

    fn tell(&mut self) {
        let told = self.firing.iter().map(|(alert, starts_at_ms)| {
            Held::told(event(alert, *starts_at_ms, self.now_ms + 4 * MIN), self.now_ms)
        });
        assert_eq!(self.dispatcher.accept(told.collect(), self.now_ms), 0);
    }

    /// Runs the clock and returns what was said: `minute receiver: firing, !resolved`.
    pub(super) fn run_to(&mut self, end_ms: i64) -> Vec<String> {
        let mut said = Vec::new();
        while self.now_ms < end_ms {
            self.now_ms += SEC;
            if self.now_ms % MIN == 0 {
                self.tell();
            }
            for news in self.dispatcher.look(self.now_ms, &|_, _| false) {
                said.push(summary(&news, self.now_ms));
            }
        }
        said
    }

    fn silence(&mut self, matcher: &str, ends_at_ms: i64) -> String {
        let (name, value) = matcher.split_once('=').unwrap();
        let matcher = SilenceMatcher {
            name: name.to_owned(),
            value: value.to_owned(),
            is_regex: true,
            is_equal: true,
        };
        let def = SilenceDef {
            matchers: vec![matcher],
            starts_at_ms: self.now_ms,
            ends_at_ms,
            created_by: "ann".to_owned(),
            comment: "work".to_owned(),
        };
        self.dispatcher.set_silence(None, def, self.now_ms).unwrap()
    }

    /// The process dies, and another one starts from what was stored so far.
    pub(super) fn restart(&mut self, stored: &mut BTreeMap<String, Vec<u8>>, policy: Arc<Policy>) {
        for (key, value) in self.dispatcher.take_changes() {
            match value {
                Some(value) => drop(stored.insert(key, value)),
                None => drop(stored.remove(&key)),
            }
        }
        let stored: Vec<_> = stored.clone().into_iter().collect();
        self.dispatcher = Dispatcher::restored(policy, LIMITS, &stored, self.now_ms);
    }
}

fn event(alert: &str, starts_at_ms: i64, ends_at_ms: i64) -> AlertEvent {
    AlertEvent {
        labels: labels(alert),
        annotations: BTreeMap::new(),
        starts_at_ms,
        ends_at_ms,
        resolved: false,
        generator_url: String::new(),
    }
}

fn summary(news: &Notification, now_ms: i64) -> String {
    let name = |alert: &AlertEvent| {
        let mark = if alert.resolved { "!" } else { "" };
        format!("{mark}{}", alert.labels.get("n").unwrap_or("-"))
    };
    let names: Vec<String> = news.alerts.iter().map(name).collect();
    let seconds = now_ms.rem_euclid(MIN) / SEC;
    format!("{}:{seconds:02} {}: {}", now_ms / MIN, news.receiver, names.join(" "))
}

#[test]
fn each_route_groups_and_times_for_itself() {
    let policy = config(
        "route:\n  receiver: x\n  group_by: [g]\n  routes:\n  \
         - {match: {sev: page}, receiver: y, group_wait: 5s, group_by: ['...'], continue: true}\n  \
         - {match: {sev: page}, group_wait: 1m}",
        &["x", "y"],
    );
    let mut bench = Bench::new(policy);
    bench.fire(&["n=1 g=a sev=page", "n=2 g=a sev=page", "n=3 g=a sev=low"]);

    let said = bench.run_to(2 * MIN);

    assert_eq!(said, ["0:05 y: 1", "0:05 y: 2", "0:30 x: 3", "1:00 x: 1 2"]);
    let keys: Vec<&str> =
        bench.dispatcher.groups.values().map(|group| group.key.as_str()).collect();
    assert!(keys.contains(&r#"{}:{g="a"}"#), "{keys:?}");
    assert!(keys.contains(&r#"{}/{sev="page"}:{g="a", n="1", sev="page"}"#), "{keys:?}");
}

/// Groups of routes with the same matchers have one name.
#[test]
fn routes_with_the_same_matchers_each_tell_the_end() {
    let policy = config(
        "route:\n  receiver: x\n  group_by: [g]\n  routes:\n  \
         - {receiver: x, continue: true}\n  - {receiver: y, group_wait: 1m}",
        &["x", "y"],
    );
    let mut bench = Bench::new(Arc::clone(&policy));
    let mut stored = BTreeMap::new();
    bench.fire(&["n=1 g=a"]);
    assert_eq!(bench.run_to(45 * SEC), ["0:30 x: 1"]);
    bench.restart(&mut stored, Arc::clone(&policy));
    assert_eq!(bench.run_to(2 * MIN), ["1:00 y: 1"], "each at its own pace");

    bench.end(&["n=1 g=a"]);
    assert_eq!(bench.run_to(20 * MIN), ["5:30 x: !1", "6:00 y: !1"]);
    assert_eq!(bench.dispatcher.log.told.len(), 0, "nothing is left behind");
}

#[test]
fn two_routes_to_one_receiver_tell_it_once() {
    let policy = config(
        "route:\n  receiver: x\n  group_by: [g]\n  routes:\n  \
         - {receiver: x, continue: true}\n  - {receiver: x, group_wait: 1m}",
        &["x"],
    );
    let mut bench = Bench::new(policy);
    bench.fire(&["n=1 g=a"]);
    assert_eq!(bench.run_to(2 * MIN), ["0:30 x: 1"]);

    bench.end(&["n=1 g=a"]);
    assert_eq!(bench.run_to(20 * MIN), ["5:30 x: !1"]);
    assert_eq!(bench.dispatcher.log.told.len(), 0, "nothing is left behind");
}

#[test]
fn an_end_is_told_only_where_it_is_wanted() {
    let policy = policy(
        "route: {receiver: x, group_by: [g]}\nreceivers:\n- name: x\n  webhook_configs:\n  \
         - {url: 'http://a/', send_resolved: false}\n  - {url: 'http://b/'}\n",
    );
    let mut bench = Bench::new(policy);
    bench.fire(&["n=1 g=a", "n=2 g=a"]);
    assert_eq!(bench.run_to(MIN), ["0:30 x: 1 2", "0:30 x: 1 2"]);

    bench.end(&["n=1 g=a"]);
    assert_eq!(bench.run_to(10 * MIN), ["5:30 x: !1 2"], "the one that wants ends");
    bench.end(&["n=2 g=a"]);
    assert_eq!(bench.run_to(20 * MIN), ["10:30 x: !2"]);
    bench.fire(&["n=2 g=a"]);
    assert_eq!(bench.run_to(21 * MIN).len(), 2, "both hear the next beginning");
}

#[test]
fn a_clock_that_is_set_wrong_pages_nobody_of_what_is_silenced() {
    let mut bench = Bench::new(plain());
    bench.silence("n=1", HOUR);
    bench.fire(&["g=a n=1"]);
    assert_eq!(bench.run_to(MIN), [""; 0]);

    bench.now_ms += 1_000 * HOUR;
    bench.dispatcher.leap(1_000 * HOUR, bench.now_ms);

    assert_eq!(bench.run_to(1_000 * HOUR + 10 * MIN), [""; 0]);
}

#[test]
fn a_silence_holds_back_and_lets_go() {
    let mut bench = Bench::new(plain());
    let id = bench.silence("n=1|2", 20 * MIN);
    bench.fire(&["n=1 g=a", "n=3 g=a"]);

    assert_eq!(bench.run_to(10 * MIN), ["0:30 x: 3"]);
    let seen = bench.dispatcher.alerts_view(&AlertsFilter::everything(), &|_| true, bench.now_ms);
    let silenced: Vec<_> = seen.iter().filter(|alert| !alert.status.is_active()).collect();
    assert_eq!(silenced.len(), 1);
    assert_eq!(silenced[0].status.silenced_by, std::slice::from_ref(&id));

    bench.dispatcher.expire_silence(&id, bench.now_ms).unwrap();
    assert_eq!(bench.run_to(11 * MIN), ["10:30 x: 1 3"]);
}

#[test]
fn an_alert_that_ended_unheard_is_news_when_it_comes_back() {
    let mut bench = Bench::new(plain());
    bench.fire(&["n=1 g=a", "n=2 g=a"]);
    bench.run_to(MIN);
    let id = bench.silence("n=1", HOUR);
    bench.end(&["n=1 g=a"]);
    assert_eq!(bench.run_to(10 * MIN), [""; 0], "its end is silenced");
    bench.dispatcher.expire_silence(&id, bench.now_ms).unwrap();

    bench.fire(&["n=1 g=a"]);

    assert_eq!(bench.run_to(16 * MIN), ["10:30 x: 1 2"]);
}

#[test]
fn a_source_holds_back_its_targets_and_not_itself() {
    let policy = config(
        "route: {receiver: x, group_by: [g]}\ninhibit_rules:\n\
         - {source_matchers: ['sev=~\"page|ticket\"'], target_matchers: ['sev=~\"ticket|low\"'], equal: [c]}",
        &["x"],
    );
    let mut bench = Bench::new(policy);
    bench.fire(&["n=1 g=a c=1 sev=page", "n=2 g=a c=1 sev=low", "n=3 g=a c=2 sev=low"]);
    bench.fire(&["n=4 g=b c=3 sev=ticket", "n=5 g=b c=3 sev=ticket", "n=6 g=b c=3 sev=low"]);

    let said = bench.run_to(MIN);

    assert_eq!(said, ["0:30 x: 1 3", "0:30 x: 4 5"]);
    bench.end(&["n=1 g=a c=1 sev=page"]);
    assert_eq!(bench.run_to(6 * MIN), ["5:30 x: !1 2 3"], "and when the source is over");
}

#[test]
fn time_intervals_mute_and_admit() {
    let text = "route:\n  receiver: x\n  group_by: [g]\n  routes:\n  \
        - {match: {sev: low}, mute_time_intervals: [start]}\n  \
        - {match: {sev: mid}, active_time_intervals: [late]}\n\
        time_intervals:\n\
        - {name: start, time_intervals: [{times: [{start_time: '00:00', end_time: '00:10'}]}]}\n\
        - {name: late, time_intervals: [{times: [{start_time: '00:20', end_time: '00:40'}]}]}";
    let mut bench = Bench::new(config(text, &["x"]));
    bench.fire(&["n=1 g=a sev=low", "n=2 g=a sev=mid", "n=3 g=a sev=high"]);

    let said = bench.run_to(30 * MIN);

    assert_eq!(said, ["0:30 x: 3", "10:30 x: 1", "20:30 x: 2"]);
}

#[test]
fn an_alert_is_told_within_its_own_hours_and_the_others_of_its_group_always() {
    let text = "route: {receiver: x, group_by: [g]}\ntime_intervals:\n\
        - {name: late, time_intervals: [{times: [{start_time: '00:20', end_time: '00:40'}]}]}";
    let mut bench = Bench::new(config(text, &["x"]));
    bench.fire(&["n=1 g=a hours=late", "n=2 g=a", "n=3 g=a hours=nobody"]);

    let said = bench.run_to(30 * MIN);

    assert_eq!(said, ["0:30 x: 2 3", "20:30 x: 2 1 3"], "a name that nobody has holds always");
}

#[test]
fn what_is_told_survives_a_restart_and_is_not_told_twice() {
    let mut stored = BTreeMap::new();
    let mut bench = Bench::new(plain());
    bench.silence("n=2", HOUR);
    bench.fire(&["n=1 g=a", "n=2 g=b"]);
    bench.run_to(10 * SEC);
    bench.restart(&mut stored, plain());
    assert_eq!(bench.run_to(MIN), ["0:30 x: 1"], "after the same wait");
    bench.restart(&mut stored, plain());

    let said = bench.run_to(30 * MIN);

    assert_eq!(said, [""; 0]);
    bench.end(&["n=1 g=a", "n=2 g=b"]);
    bench.restart(&mut stored, plain());
    assert_eq!(bench.run_to(HOUR), ["30:30 x: !1"]);
    bench.restart(&mut stored, plain());
    let left: Vec<&String> = stored.keys().filter(|key| !key.starts_with("silence/")).collect();
    assert_eq!(left, [""; 0], "nothing is left behind");
}

#[test]
fn another_policy_keeps_pace_and_memory_where_a_route_stays() {
    let tree = |more: &str| {
        config(&format!("route:\n  receiver: x\n  group_by: [g]\n  routes:\n  {more}"), &["x", "y"])
    };
    let mut bench = Bench::new(tree("- {match: {sev: page}, receiver: x}"));
    bench.fire(&["n=1 g=a sev=page", "n=2 g=a sev=low"]);
    assert_eq!(bench.run_to(MIN).len(), 2);

    let other =
        tree("- {match: {g: a, sev: low}, receiver: y}\n  - {match: {sev: page}, receiver: x}");
    bench.dispatcher.replace_policy(other, bench.now_ms);

    assert_eq!(bench.run_to(20 * MIN), ["1:01 y: 2"], "only the new route's receiver hears");
}

#[test]
fn a_refusal_is_tried_anew_at_the_next_look() {
    let mut bench = Bench::new(plain());
    bench.fire(&["n=1 g=a"]);
    assert_eq!(bench.run_to(MIN), ["0:30 x: 1"]);

    bench.dispatcher.refused(r#"{}:{g="a"}"#, "x/webhook[0]");

    assert_eq!(bench.run_to(20 * MIN), ["5:30 x: 1"]);
}

#[test]
fn a_storm_is_told_in_few_messages_that_name_every_alert() {
    let storm = StormLimits { groups_max: 10, window_ms: 5 * MIN };
    let mut bench = Bench::with_limits(plain(), Limits { storm, groups_max: 5_000, ..LIMITS });
    let alerts: Vec<String> = (0..5_000).map(|n| format!("n={n} g={}", n / 10)).collect();
    bench.fire(&alerts.iter().map(String::as_str).collect::<Vec<_>>());

    let mut n_messages = 0;
    let mut told = BTreeSet::new();
    while bench.now_ms < 2 * MIN {
        bench.now_ms += SEC;
        for news in bench.dispatcher.look(bench.now_ms, &|_, _| false) {
            n_messages += 1;
            told.extend(news.alerts.iter().map(|alert| alert.labels.get("n").unwrap().to_owned()));
        }
    }

    assert_eq!((n_messages, told.len()), (11, 5_000));
    assert_eq!(bench.dispatcher.take_tally().groups_stormed, 490);
}

#[test]
fn past_the_most_groups_alerts_share_one_and_past_the_most_alerts_they_are_refused() {
    let limits = Limits { groups_max: 2, alerts_max: 4, ..LIMITS };
    let mut bench = Bench::with_limits(plain(), limits);
    bench.fire(&["n=1 g=a", "n=2 g=b", "n=3 g=c", "n=4 g=d"]);
    let fifth = Held::told(event("n=5 g=e", 0, MIN), 0);

    assert_eq!(bench.dispatcher.accept(vec![fifth], 0), 1);
    assert_eq!(bench.run_to(MIN), ["0:30 x: 3 4", "0:30 x: 1", "0:30 x: 2"]);
    let tally = bench.dispatcher.take_tally();
    assert_eq!((tally.alerts_refused, tally.alerts_lumped), (1, 2));
}

#[test]
fn views_end_behind_the_first_alert_that_is_too_much() {
    let mut bench = Bench::new(plain());
    bench.fire(&["n=1 g=a", "n=2 g=b", "n=3 g=c"]);
    let view = |bytes_max: usize| {
        let filter = AlertsFilter { bytes_max: Some(bytes_max), ..AlertsFilter::everything() };
        let groups = bench.dispatcher.groups_view(&filter, &|_| true, 0);
        let n_grouped: usize = groups.iter().map(|group| group.alerts.len()).sum();
        (bench.dispatcher.alerts_view(&filter, &|_| true, 0).len(), n_grouped)
    };

    assert_eq!([view(0), view(1_000)], [(1, 1), (3, 3)]);
}

#[test]
fn views_show_only_what_the_caller_may_see() {
    let mut bench = Bench::new(plain());
    bench.fire(&["n=1 g=a", "n=2 g=b"]);
    let sees = |labels: &Labels| labels.get("g") == Some("a");
    let all = AlertsFilter::everything();

    let alerts = bench.dispatcher.alerts_view(&all, &sees, 0);
    let groups = bench.dispatcher.groups_view(&all, &sees, 0);

    assert_eq!((alerts.len(), groups.len()), (1, 1));
    assert_eq!(alerts[0].receivers, ["x"]);
    assert_eq!(groups[0].labels, labels("g=a"));
    let nobody = regex::Regex::new("^nobody$").unwrap();
    let filter = AlertsFilter { receiver: Some(nobody), ..all };
    assert!(bench.dispatcher.alerts_view(&filter, &|_| true, 0).is_empty());
}
