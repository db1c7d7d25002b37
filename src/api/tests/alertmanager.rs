//! `/am/api/v2` with a notifier that runs behind it, asked as Grafana and amtool ask.

use serde_json::{Value, json};

use super::*;
use crate::notify::{Config, Policy, testing};

/// An operator of one commons, beside those of all tests.
const MORE_TOKENS: &str = r#"
[[tokens]]
name = "heart-operator"
token = "token-of-heart-operator"
role = "operator"
read = ["heart"]
commons = "heart"
[[tokens]]
name = "everybody"
token = "token-of-everybody-admin"
role = "admin"
read = ["*"]
write = "any"
"#;

struct Bench(Router);

impl Bench {
    async fn new() -> Self {
        Self::with(HumanSize::from_mib(64)).await
    }

    async fn with(result_bytes_max: HumanSize) -> Self {
        let mut api = Api { result_bytes_max, ..api() };
        let policy = Policy::from(&Config::default());
        (api.notifier, api.ledger) = testing::live(policy, Arc::clone(&api.clock)).await;
        Self(guarded(api, &format!("{TOKENS}{MORE_TOKENS}")))
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = Request::builder()
            .method(method)
            .uri(format!("/am/api/v2/{path}"))
            .header("authorization", format!("Bearer {}", full(token)))
            .header("content-type", "application/json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = send(self.0.clone(), request.body(Body::from(body)).unwrap()).await;
        (answer.status, serde_json::from_slice(&answer.bytes).unwrap_or(Value::Null))
    }

    async fn get(&self, token: &str, path: &str) -> Value {
        let (status, body) = self.ask(token, "GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn with_alerts() -> Self {
        Self::new().await.filled().await
    }

    /// Two alerts of heart, one of canine, one that is over.
    async fn filled(self) -> Self {
        let bench = self;
        let alert = |name: &str, commons: &str| {
            json!({ "labels": { "alertname": name, "commons": commons, "empty": "" },
                    "annotations": { "summary": "s" }, "generatorURL": "http://g/" })
        };
        let mut over = alert("Over", "heart");
        over["endsAt"] = json!("2020-01-01T00:00:00Z");
        let alerts = json!([alert("A", "heart"), alert("B", "heart"), alert("C", "canine"), over]);
        let (status, body) = bench.ask("everybody", "POST", "alerts", alerts).await;
        assert_eq!(status, 200, "{body}");
        bench
    }
}

fn full(token: &str) -> String {
    match token {
        "heart" => "token-of-heart-operator".to_owned(),
        "everybody" => "token-of-everybody-admin".to_owned(),
        other => format!("token-of-{other}"),
    }
}

fn names(alerts: &Value) -> Vec<&str> {
    let alerts = alerts.as_array().unwrap().iter();
    let mut names: Vec<&str> =
        alerts.map(|alert| alert["labels"]["alertname"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

fn silence(matchers: &[(&str, &str)]) -> Value {
    let matchers: Vec<Value> = matchers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value, "isRegex": false }))
        .collect();
    json!({ "matchers": matchers, "startsAt": "2026-11-21T00:00:00Z",
            "endsAt": "2026-11-21T02:00:00Z", "createdBy": "ann", "comment": "work" })
}

#[tokio::test]
async fn an_alert_from_outside_is_shown_whole() {
    let bench = Bench::with_alerts().await;

    let alerts = bench.get("the-admin", "alerts?filter=alertname%3DA").await;

    assert_eq!(
        alerts,
        json!([{
            "annotations": { "summary": "s" },
            "endsAt": "2026-11-21T00:05:00.000Z",
            "fingerprint": alerts[0]["fingerprint"],
            "receivers": [{ "name": "webhook" }],
            "startsAt": "2026-11-21T00:00:00.000Z",
            "status": { "inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active" },
            "updatedAt": "2026-11-21T00:00:00.000Z",
            "generatorURL": "http://g/",
            "labels": { "alertname": "A", "commons": "heart" },
        }])
    );
    assert_eq!(alerts[0]["fingerprint"].as_str().unwrap().len(), 16);
}

#[tokio::test]
async fn filters_narrow_what_is_shown() {
    let bench = Bench::with_alerts().await;

    for (query, want) in [
        ("", vec!["A", "B", "C"]),
        ("?filter=commons%3Dheart&filter=alertname%21%3DA", vec!["B"]),
        ("?filter=%7Balertname%3D~%22A%7CC%22%7D", vec!["A", "C"]),
        ("?receiver=web.*", vec!["A", "B", "C"]),
        ("?receiver=web", vec![]),
        ("?receiver_matchers=name%3D~%22web.%2A%22", vec!["A", "B", "C"]),
        ("?receiver_matchers=name%21%3Dwebhook", vec![]),
        ("?receiver_matchers=team%3Dheart", vec![]),
        ("?active=false", vec![]),
    ] {
        assert_eq!(
            names(&bench.get("the-admin", &format!("alerts{query}")).await),
            want,
            "{query}"
        );
    }
    let (status, body) = bench.ask("the-admin", "GET", "alerts?filter=%21", Value::Null).await;
    assert_eq!(status, 400);
    assert!(body.as_str().unwrap().starts_with("bad matcher format"), "{body}");
}

#[tokio::test]
async fn groups_carry_their_routes_labels() {
    let bench = Bench::with_alerts().await;

    let groups = bench.get("the-admin", "alerts/groups").await;

    let groups = groups.as_array().unwrap();
    assert_eq!(groups.len(), 3);
    assert_eq!(groups[0]["labels"], json!({ "alertname": "A", "commons": "heart" }));
    assert_eq!(groups[0]["routeLabels"], json!({}));
    assert_eq!(groups[0]["receiver"], json!({ "name": "webhook" }));
    assert_eq!(names(&groups[0]["alerts"]), ["A"]);
}

#[tokio::test]
async fn a_caller_sees_only_its_commons() {
    let bench = Bench::with_alerts().await;
    let everywhere =
        bench.ask("everybody", "POST", "silences", silence(&[("alertname", "X")])).await;
    let canine = silence(&[("commons", "canine")]);
    let canine = bench.ask("everybody", "POST", "silences", canine).await;
    let canine = canine.1["silenceID"].as_str().unwrap().to_owned();
    assert_eq!(everywhere.0, 200);

    assert_eq!(names(&bench.get("heart", "alerts").await), ["A", "B"]);
    assert_eq!(bench.get("heart", "alerts/groups").await.as_array().unwrap().len(), 2);
    assert_eq!(bench.get("heart", "silences").await, json!([]));
    let path = format!("silence/{canine}");
    for method in ["GET", "DELETE"] {
        assert_eq!(bench.ask("heart", method, &path, Value::Null).await.0, 404, "{method}");
    }
    let own = silence(&[("commons", "heart"), ("alertname", "A")]);
    for refused in [silence(&[("alertname", "A")]), silence(&[("commons", "canine")])] {
        assert_eq!(bench.ask("heart", "POST", "silences", refused).await.0, 403);
    }
    assert_eq!(bench.ask("heart", "POST", "silences", own).await.0, 200);
    assert_eq!(bench.get("heart", "silences").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_sender_speaks_for_its_own_commons_only() {
    let bench = Bench::new().await;
    let claimed = json!([{ "labels": { "alertname": "A", "commons": "canine" } }]);

    assert_eq!(bench.ask("the-sender", "POST", "alerts", claimed.clone()).await.0, 200);
    assert_eq!(bench.ask("the-viewer", "POST", "alerts", claimed).await.0, 403);

    let alerts = bench.get("everybody", "alerts").await;
    assert_eq!(alerts[0]["labels"]["commons"], "heart");
}

#[tokio::test]
async fn a_silence_is_made_changed_and_ended() {
    let bench = Bench::with_alerts().await;
    let (_, made) =
        bench.ask("everybody", "POST", "silences", silence(&[("alertname", "A")])).await;
    let id = made["silenceID"].as_str().unwrap();

    let shown = bench.get("everybody", &format!("silence/{id}")).await;
    assert_eq!(shown["status"], json!({ "state": "active" }));
    assert_eq!(
        shown["matchers"],
        json!([{ "name": "alertname", "value": "A", "isRegex": false, "isEqual": true }])
    );
    let alerts = bench.get("everybody", "alerts?active=false").await;
    assert_eq!(alerts[0]["status"]["silencedBy"], json!([id]));
    assert_eq!(alerts[0]["status"]["state"], "suppressed");
    assert_eq!(names(&bench.get("everybody", "alerts?silenced=false").await), ["B", "C"]);

    let mut longer = silence(&[("alertname", "A")]);
    longer["id"] = json!(id);
    longer["endsAt"] = json!("2026-11-22T00:00:00Z");
    let (_, same) = bench.ask("everybody", "POST", "silences", longer).await;
    assert_eq!(same["silenceID"], id);

    let path = format!("silence/{id}");
    assert_eq!(bench.ask("everybody", "DELETE", &path, Value::Null).await.0, 200);
    assert_eq!(bench.get("everybody", &path).await["status"], json!({ "state": "expired" }));
    assert_eq!(bench.get("everybody", "silences?expired=false").await, json!([]));
    assert_eq!(names(&bench.get("everybody", "alerts?silenced=false").await), ["A", "B", "C"]);
}

#[tokio::test]
async fn what_is_wrong_is_refused_in_words() {
    let bench = Bench::new().await;
    let post = async |path: &str, body: Value| bench.ask("everybody", "POST", path, body).await;
    let long = "x".repeat(20_000);

    for (path, body, says) in [
        ("alerts", json!({}), "not a list of alerts"),
        ("alerts", json!([{ "labels": {} }]), "at least one label"),
        ("alerts", json!([{ "labels": { "a": "b" }, "startsAt": "noon" }]), "RFC 3339"),
        ("alerts", json!([{ "labels": { "a": "x".repeat(10_000) } }]), "8192"),
        ("alerts", json!([{ "labels": { "a": "b" }, "generatorURL": long }]), "generatorURL"),
        ("silences", silence(&[("a", long.as_str())]), "its matchers have 20001 bytes"),
        ("silences", json!({}), "not a silence"),
        ("silences", silence(&[]), "matchers"),
    ] {
        let (status, body) = post(path, body).await;
        assert_eq!(status, 400, "{body}");
        assert!(body.as_str().is_some_and(|text| text.contains(says)), "{body}");
    }
    let mixed = json!([{ "labels": {} }, { "labels": { "alertname": "Right" } }]);
    assert_eq!(post("alerts", mixed).await.0, 400);
    assert_eq!(names(&bench.get("everybody", "alerts").await), ["Right"], "what is right is taken");
    assert_eq!(bench.ask("everybody", "GET", "silence/none", Value::Null).await.0, 404);
}

#[tokio::test]
async fn the_status_says_what_grafana_looks_for() {
    let bench = Bench::new().await;

    let status = bench.get("the-viewer", "status").await;

    for key in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(status["versionInfo"][key].is_string(), "{status}");
    }
    assert!(status["cluster"]["peers"].is_array() && status["uptime"].is_string());
    assert!(status["config"]["original"].as_str().unwrap().contains("receiver: webhook"));
    assert_eq!(bench.get("the-viewer", "receivers").await, json!([{ "name": "webhook" }]));
    let others = "receivers?receiver_matchers=name%21%3Dwebhook";
    assert_eq!(bench.get("the-viewer", others).await, json!([]));
    let wrong_flavour = Request::get("/alertmanager/api/v2/status")
        .header("authorization", "Bearer token-of-the-admin");
    let answer = send(bench.0.clone(), wrong_flavour.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn the_inventory_is_cut_to_what_a_caller_may_see() {
    for (token, want) in [("the-viewer", vec!["heart"]), ("the-admin", vec!["canine", "heart"])] {
        let request = Request::get("/api/v1/admin/inventory")
            .header("authorization", format!("Bearer token-of-{token}"));
        let answer = send(guarded(api(), TOKENS), request.body(Body::empty()).unwrap()).await;

        let body: Value = serde_json::from_slice(&answer.bytes).unwrap();
        let items = body["data"]["items"].as_array().unwrap();
        let names: Vec<&str> = items.iter().map(|item| item["commons"].as_str().unwrap()).collect();
        assert_eq!(names, want);
        assert_eq!(items[0]["state"], "reporting");
        assert_eq!(items[0]["lastSeen"], "2026-11-20T23:59:00.000Z");
    }
}

#[tokio::test]
async fn the_history_of_an_alert_is_cut_to_what_a_caller_may_see() {
    let bench = Bench::with_alerts().await;

    let ask = async |token: &str, query: &str| {
        let request = Request::get(format!("/api/v1/admin/alerts/{query}"))
            .header("authorization", format!("Bearer {}", full(token)));
        let answer = send(bench.0.clone(), request.body(Body::empty()).unwrap()).await;
        serde_json::from_slice::<Value>(&answer.bytes).unwrap()
    };
    let names = |body: &Value| {
        let records = body["data"]["records"].as_array().unwrap().clone();
        let of = |record: &Value| record["labels"]["alertname"].as_str().unwrap_or("-").to_owned();
        records.iter().map(of).collect::<Vec<_>>()
    };

    assert_eq!(names(&ask("everybody", "history").await), ["A", "B", "C"]);
    assert_eq!(names(&ask("heart", "history").await), ["A", "B"]);
    assert_eq!(names(&ask("heart", "history?filter=alertname%3DB").await), ["B"]);
    let explained = ask("heart", "explain?filter=alertname%3DA").await;
    assert_eq!(explained["data"]["labels"]["alertname"], "A", "{explained}");
    assert_eq!(explained["data"]["routes"][0]["receiver"], "webhook");
    assert_eq!(explained["data"]["records"][0]["event"], "joined");
    let hidden = ask("heart", "explain?filter=alertname%3DC").await;
    assert_eq!(hidden["errorType"], "not_found", "{hidden}");
}

#[tokio::test]
async fn grafana_gets_what_its_alertmanager_data_source_relies_on() {
    let bench = Bench::with_alerts().await;
    let exchanges = fixture::parse(fixture::ALERTMANAGER, NOW_MS).unwrap();
    assert!(exchanges.len() > 7, "only {} exchanges", exchanges.len());
    for exchange in exchanges {
        let mut request = exchange_request(&exchange);
        let token = "Bearer token-of-the-admin".parse().unwrap();
        request.headers_mut().insert(http::header::AUTHORIZATION, token);

        let answer = send(bench.0.clone(), request).await;

        let faults = exchange.judge(answer.status, answer.text());
        assert_eq!(faults, Vec::<String>::new(), "{}", exchange.title);
    }
}

#[tokio::test]
async fn a_list_that_is_longer_than_an_answer_may_be_is_refused_by_the_limits_name() {
    let bench = Bench::with(HumanSize(40)).await.filled().await;
    let silence = silence(&[("alertname", "A")]);
    let (status, body) = bench.ask("the-operator", "POST", "silences", silence).await;
    assert_eq!(status, 200, "{body}");

    for path in ["alerts", "alerts/groups", "silences"] {
        let (status, body) = bench.ask("the-admin", "GET", path, Value::Null).await;
        assert_eq!(status, 422, "{path}: {body}");
        assert!(body.as_str().unwrap().contains("`query.result_bytes_max`"), "{path}: {body}");
    }
    assert_eq!(bench.get("the-admin", "alerts?filter=alertname%3DNobody").await, json!([]));
}
