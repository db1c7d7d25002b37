//! karma, the dashboard of Alertmanagers, is no package that a test could install. This asks what it asks,
//! in its order, and insists on every field that it takes without looking whether it is there. Source:
//! prymitive/karma, `internal/alertmanager/models.go`, `internal/verprobe/verprobe.go`,
//! `internal/mapper/v017/{api,stream,status}.go`.

use std::collections::BTreeMap;

use base64::Engine as _;
use serde_json::{Value, json};

use super::alert;
use crate::support::ask::array;
use crate::support::http::{self, Request};
use crate::support::sink::Sink;
use crate::support::{Server, Setup};

const ALERTING: &str = "route: {receiver: team, group_by: [alertname], group_wait: 0s, routes: \
    [{matchers: [severity=\"page\"], receiver: oncall, continue: true}, {receiver: team}]}\n\
    receivers:\n- {name: team, webhook_configs: [{url: 'SINK'}]}\n- {name: oncall, webhook_configs: [{url: 'SINK'}]}\n\
    inhibit_rules: [{source_matchers: [alertname=\"Down\"], target_matchers: [alertname=\"Slow\"], equal: [commons]}]\n";

/// A group: its receiver and its labels.
type Key = (String, String);
/// Its alerts: name, state, and how many hold it back.
type Alerts = Vec<(String, String, usize)>;

/// What karma makes of an Alertmanager in one round.
#[derive(Debug)]
struct Round {
    version: String,
    groups: BTreeMap<Key, Alerts>,
    silences: Vec<Value>,
}

struct Karma<'s> {
    server: &'s Server,
    token: &'static str,
}

impl Karma<'_> {
    /// Sends a request with what stands in the `uri` before the host: karma's Basic authentication.
    fn send(&self, request: Request) -> http::Response {
        let encoded =
            base64::engine::general_purpose::STANDARD.encode(format!("karma:{}", self.token));
        let request = request.header("Authorization", &format!("Basic {encoded}"));
        http::send(&self.server.addresses().http, &request).unwrap()
    }

    fn json(&self, path: &str) -> Value {
        let answer = self.send(Request::get(path));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    /// Pulls everything, as karma does every minute.
    fn pull(&self) -> Round {
        let metrics = self.send(Request::get("/am/metrics"));
        assert_eq!(metrics.status, 200, "{}", metrics.text());
        let build = metrics.text();
        let build = build.lines().find(|line| line.starts_with("alertmanager_build_info{"));
        let labels = build.expect("the version is sought here").to_owned();
        let version = labels.split("version=\"").last().unwrap().split('"').next().unwrap();
        // Anything from 0.17 on is spoken to in version 2 of the API; it must be three numbers.
        let numbers: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
        assert!(numbers.len() == 3 && numbers > vec![0, 22, 0], "{version}");

        let status = self.json("/am/api/v2/status");
        assert!(status["cluster"]["name"].is_string() && status["cluster"]["peers"].is_array());
        assert_eq!(status["versionInfo"]["version"], version);
        let silences = self.json("/am/api/v2/silences");
        for silence in array(&silences) {
            for key in ["id", "startsAt", "endsAt", "updatedAt", "createdBy", "comment"] {
                assert!(silence[key].is_string(), "{key}: {silence}");
            }
            assert!(silence["status"]["state"].is_string(), "{silence}");
            for matcher in array(&silence["matchers"]) {
                assert!(matcher["name"].is_string() && matcher["value"].is_string(), "{matcher}");
                assert!(matcher["isRegex"].is_boolean() && matcher["isEqual"].is_boolean());
            }
        }
        let groups = self.json("/am/api/v2/alerts/groups");
        let groups = array(&groups).iter().map(group).collect();
        Round { version: version.to_owned(), groups, silences: array(&silences).to_vec() }
    }
}

fn group(group: &Value) -> (Key, Alerts) {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{group}")).to_owned();
    let receiver = text(&group["receiver"]["name"]);
    assert!(group["labels"].is_object(), "{group}");
    let alerts = array(&group["alerts"]).iter().map(|alert| {
        let begins = text(&alert["startsAt"]);
        assert!(chrono::DateTime::parse_from_rfc3339(&begins).is_ok(), "{begins}");
        assert_eq!(text(&alert["fingerprint"]).len(), 16);
        assert!(alert["annotations"].is_object() && alert["generatorURL"].is_string(), "{alert}");
        let status = &alert["status"];
        let by = array(&status["silencedBy"]).len() + array(&status["inhibitedBy"]).len();
        assert!(status["silencedBy"].is_array() && status["inhibitedBy"].is_array(), "{alert}");
        (text(&alert["labels"]["alertname"]), text(&status["state"]), by)
    });
    ((receiver, group["labels"].to_string()), alerts.collect())
}

#[test]
fn karma_finds_what_it_asks_for_and_silences_through_us() {
    let sink = Sink::start();
    let setup = Setup::new("karma").config(
        "[alerting]\nfile = \"alertmanager.yml\"\n[[auth.tokens]]\nname = \"karma\"\n\
         role = \"operator\"\nread = [\"*\"]\nwrite = \"any\"\ntoken = \"token-of-karma-0123\"\n\
         [[auth.tokens]]\nname = \"guest\"\nrole = \"viewer\"\nread = [\"hub\"]\ntoken = \"token-of-a-guest-0123\"\n",
    );
    std::fs::write(setup.home().join("alertmanager.yml"), ALERTING.replace("SINK", &sink.url()))
        .unwrap();
    let server = setup.start();
    let karma = Karma { server: &server, token: "token-of-karma-0123" };
    assert_eq!(karma.pull().version, "0.28.0", "it has nothing to show yet, and is there");
    let began = "2026-01-01T10:00:00Z";
    let alerts = json!([
        alert("Down commons=heart severity=page", began, None),
        alert("Slow commons=heart", began, None),
        alert("Full commons=hub", began, None),
    ]);
    let posted = Request::post("/am/api/v2/alerts", alerts.to_string())
        .header("Content-Type", "application/json");
    assert_eq!(karma.send(posted).status, 200);

    let seen = karma.pull().groups;
    let of = |receiver: &str, name: &str| {
        let key = (receiver.to_owned(), json!({ "alertname": name }).to_string());
        seen.get(&key).unwrap_or_else(|| panic!("{key:?}: {seen:?}")).clone()
    };
    let one = |name: &str, state: &str, by| vec![(name.to_owned(), state.to_owned(), by)];
    assert_eq!(seen.len(), 4, "each group of each receiver: {seen:?}");
    assert_eq!(of("oncall", "Down"), one("Down", "active", 0));
    assert_eq!(of("team", "Down"), one("Down", "active", 0));
    assert_eq!(of("team", "Slow"), one("Slow", "suppressed", 1));
    assert_eq!(of("team", "Full"), one("Full", "active", 0));

    // What its form sends, and what its proxy passes on.
    let silence = json!({
        "matchers": [{ "name": "alertname", "value": "(Full|Empty)", "isRegex": true, "isEqual": true },
                     { "name": "commons", "value": "hub", "isRegex": false, "isEqual": true }],
        "startsAt": "2026-01-01T10:00:00.000Z", "endsAt": "2099-01-01T10:00:00.000Z",
        "createdBy": "ann", "comment": "ACK! by karma" });
    let post = |body: &Value| {
        let request = Request::post("/am/api/v2/silences", body.to_string());
        let answer = karma.send(request.header("Content-Type", "application/json"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["silenceID"].as_str().unwrap().to_owned()
    };
    let id = post(&silence);
    let round = karma.pull();
    assert_eq!(round.silences[0]["id"], id.as_str());
    assert!(round.groups.values().flatten().any(|one| one.0 == "Full" && one.2 == 1));
    // Its form takes over what it saw: of one that holds the beginning cannot be another.
    let mut edited = round.silences[0].clone();
    edited["comment"] = json!("longer");
    edited["endsAt"] = json!("2099-02-01T10:00:00.000Z");
    assert_eq!(post(&edited), id);
    let expire = Request { method: "DELETE", ..Request::get(format!("/am/api/v2/silence/{id}")) };
    assert_eq!(karma.send(expire).status, 200);
    let round = karma.pull();
    assert_eq!(round.silences[0]["status"]["state"], "expired");
    assert!(round.groups.values().flatten().all(|one| one.0 != "Full" || one.2 == 0));

    let guest = Karma { server: &server, token: "token-of-a-guest-0123" }.pull();
    let names: Vec<&str> = guest.groups.values().flatten().map(|one| one.0.as_str()).collect();
    assert_eq!(names, ["Full"], "a dashboard of one commons shows that one");
}
