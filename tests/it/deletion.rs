//! What an administrator deletes is in no answer of any dialect, at once and after `kill -9`; until
//! the grace is over it can be taken back, and then the receipt says that the bytes are gone.

use serde_json::{Value, json};

use crate::support::ask::{array, form};
use crate::support::wait::{PATIENCE, now_ms, now_ns, until};
use crate::support::{Caller, Request, Setup, loki, otlp, remote_write};

const CONFIG: &str = "[tagging]\nenabled = false\n";
const TRACE: &str = "00000010000000000000000000000007";
const SECRET: &str = "alice@example.org";

/// Two series, lines of two streams, and two traces, some of each in files and some in memory.
fn send(caller: &Caller) {
    for round in 0..2 {
        let at_ms = now_ms() - 1_000 + round;
        let sample =
            |name: &str| remote_write::series(&[("__name__", name), ("job", "a")], &[(at_ms, 1.0)]);
        assert_eq!(
            caller.send(remote_write::write(vec![sample("secret"), sample("kept")])).status,
            204
        );
        let told = format!("login of {SECRET}");
        for app in ["fence", "guppy"] {
            let stream = json!({ "app": app });
            let lines = [(at_ms * 1_000_000, told.as_str()), (at_ms * 1_000_000 + 1, "a line")];
            assert_eq!(caller.send(loki::push_json(&stream, &lines)).status, 204);
        }
        if round == 0 {
            // A deletion that means nothing: what there is goes to files.
            delete(caller, "/api/v1/admin/tsdb/delete_series", &[("match[]", "no_such_series")]);
        }
    }
    let spans = vec![otlp::span(7, now_ns(), "secret"), otlp::span(8, now_ns(), "kept")];
    let request = otlp::spans(otlp::resource(&[("service.name", "fence")]), spans);
    assert_eq!(caller.send(otlp::post("/v1/traces", &request)).status, 200);
}

/// Deletes and returns the receipt's id.
#[track_caller]
fn delete(caller: &Caller, path: &str, parameters: &[(&str, &str)]) -> String {
    let answer = caller.send(Request::post(format!("{path}?{}", form(parameters)), ""));
    assert_eq!(answer.status, 204, "{}", answer.text());
    answer.header("x-commonwatch-deletion").unwrap().to_owned()
}

#[track_caller]
fn receipt(caller: &Caller, id: &str) -> Value {
    let answer = caller.get(&format!("/api/v1/admin/deletions/{id}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["data"].clone()
}

/// Returns how much of what was deleted, and of what was not, each way of asking finds.
fn found(caller: &Caller) -> Vec<(&'static str, usize, usize)> {
    let count = |sql: &str| usize::try_from(caller.sql(sql)[0]["n"].as_i64().unwrap()).unwrap();
    let series = |name: &str| {
        let parameters = [("match[]", name)];
        array(&caller.prometheus("/api/v1/series", &parameters)).len()
    };
    let menu = |name: &str| {
        let parameters = [("match[]", name)];
        array(&caller.prometheus("/api/v1/label/__name__/values", &parameters)).len()
    };
    let promql = |name: &str| {
        let samples = caller.promql(&format!("count_over_time({name}[1h])"), now_ms());
        samples.iter().map(|sample| sample.value.parse::<usize>().unwrap()).sum()
    };
    let federated = |name: &str| {
        let path = format!("/federate?{}", form(&[("match[]", name)]));
        caller.get(&path).text().lines().filter(|line| line.starts_with(name)).count()
    };
    let lines = |query: &str| {
        let path =
            format!("/loki/api/v1/query_range?{}", form(&[("query", query), ("limit", "99")]));
        let answer = caller.get(&path).json();
        let streams = array(&answer["data"]["result"]).iter();
        streams.map(|stream| array(&stream["values"]).len()).sum()
    };
    let trace =
        |id: &str| usize::from(caller.get(&format!("/tempo/api/traces/{id}")).status == 200);
    let search = |name: &str| {
        let query = format!("{{ name = \"{name}\" }}");
        let answer = caller.get(&format!("/tempo/api/search?{}", form(&[("q", &query)]))).json();
        array(&answer["traces"]).len()
    };
    let other = TRACE.replace('7', "8");
    let secret_line = format!("{{app=\"fence\"}} |= \"{SECRET}\"");
    let in_sql = |table: &str, column: &str, text: &str| {
        count(&format!("SELECT count(*) AS n FROM {table} WHERE {column} = '{text}'"))
    };
    vec![
        ("series", series("secret"), series("kept")),
        ("promql", promql("secret"), promql("kept")),
        ("federate", federated("secret"), federated("kept")),
        ("sql metrics", in_sql("metrics", "metric", "secret"), in_sql("metrics", "metric", "kept")),
        ("logql", lines(&secret_line), lines("{app=~\"fence|guppy\"}")),
        (
            "sql logs",
            count(&format!(
                "SELECT count(*) AS n FROM logs WHERE body LIKE '%{SECRET}%' AND resource['app'] = 'fence'"
            )),
            count("SELECT count(*) AS n FROM logs WHERE resource['app'] IN ('fence', 'guppy')"),
        ),
        ("trace", trace(TRACE), trace(&other)),
        ("traceql", search("secret"), search("kept")),
        ("sql spans", in_sql("spans", "name", "secret"), in_sql("spans", "name", "kept")),
        ("menu", menu("secret"), menu("kept")),
    ]
}

const BEFORE: &[(&str, usize, usize)] = &[
    ("series", 1, 1),
    ("promql", 2, 2),
    ("federate", 1, 1),
    ("sql metrics", 2, 2),
    ("logql", 2, 8),
    ("sql logs", 2, 8),
    ("trace", 1, 1),
    ("traceql", 1, 1),
    ("sql spans", 1, 1),
    ("menu", 1, 1),
];

const AFTER: &[(&str, usize, usize)] = &[
    ("series", 0, 1),
    ("promql", 0, 2),
    ("federate", 0, 1),
    ("sql metrics", 0, 2),
    ("logql", 0, 6),
    ("sql logs", 0, 6),
    ("trace", 0, 1),
    ("traceql", 0, 1),
    ("sql spans", 0, 1),
    ("menu", 0, 1),
];

#[test]
fn what_is_deleted_is_gone_from_every_dialect_and_stays_so() {
    let setup = Setup::new("deletion").config(CONFIG);
    let server = setup.start();
    let caller = server.caller();
    send(&caller);
    assert_eq!(found(&caller), BEFORE);

    let of_series = delete(
        &caller,
        "/api/v1/admin/tsdb/delete_series",
        &[("match[]", "{__name__=\"secret\"}")],
    );
    let query = format!("{{app=\"fence\"}} |= \"{SECRET}\"");
    let hour_ago = (now_ms() / 1_000 - 3_600).to_string();
    let parameters = [("query", query.as_str()), ("start", &hour_ago)];
    let of_lines = delete(&caller, "/loki/api/v1/delete", &parameters);
    let selector = format!("{{trace_id=\"{TRACE}\"}}");
    let target =
        format!("/api/v1/admin/deletions?{}", form(&[("signal", "spans"), ("match[]", &selector)]));
    let of_spans = caller.send(Request::post(target, "")).json()["data"].clone();

    assert_eq!(found(&caller), AFTER, "at once");
    assert_eq!(receipt(&caller, &of_series)["rows"], 2);
    assert_eq!(receipt(&caller, &of_lines)["rows"], 2);
    assert_eq!((&of_spans["rows"], &of_spans["status"]), (&json!(1), &json!("hidden")));
    server.kill_9();
    let server = setup.start();
    let caller = server.caller();
    assert_eq!(found(&caller), AFTER, "after kill -9");
    let list = caller.get("/loki/api/v1/delete").json();
    assert_eq!((&list[0]["query"], &list[0]["status"]), (&json!(query), &json!("received")));

    // Taken back, deleted again, and then let go.
    let cancel = |id: &str| {
        let target = format!("/loki/api/v1/delete?request_id={id}");
        Request { method: "DELETE", ..Request::get(target) }
    };
    assert_eq!(caller.send(cancel(&of_lines)).status, 204);
    assert_eq!(found(&caller)[4], BEFORE[4], "the lines are back");
    assert_eq!(caller.send(cancel(&of_lines)).status, 404, "once");
    let of_lines = delete(&caller, "/loki/api/v1/delete", &parameters);
    let cleaned = caller.send(Request::post("/api/v1/admin/tsdb/clean_tombstones", ""));
    assert_eq!(cleaned.status, 204, "{}", cleaned.text());
    for id in [&of_series, &of_lines] {
        until("the bytes to be gone", PATIENCE, || {
            let receipt = receipt(&caller, id);
            if receipt["status"] == "erased" { Ok(()) } else { Err(receipt.to_string()) }
        });
    }
    assert_eq!(found(&caller), AFTER, "without the bytes");
    server.kill_9();
    let server = setup.start();
    assert_eq!(found(&server.caller()), AFTER, "for good");
    let deletions = setup.data_dir().join("deletions");
    assert_eq!(std::fs::read_dir(deletions).unwrap().count(), 0, "nothing lies about");
}

#[test]
fn a_selector_that_means_everything_or_nothing_we_know_is_refused() {
    let server = Setup::new("deletion-refused").config(CONFIG).start();
    let caller = server.caller();
    let check = |path: &str, parameters: &[(&str, &str)], text: &str| {
        let answer = caller.send(Request::post(format!("{path}?{}", form(parameters)), ""));
        assert!(
            answer.status == 400 && answer.text().contains(text),
            "{parameters:?}: {}",
            answer.text()
        );
    };

    let series = "/api/v1/admin/tsdb/delete_series";
    check(series, &[], "no match[] parameter provided");
    check(series, &[("match[]", "{__name__=~\".*\"}")], "non-empty matcher");
    check(series, &[("match[]", "up{")], "");
    let lines = "/loki/api/v1/delete";
    let start = ("start", "1");
    check(lines, &[("query", "{app=\"a\"} | line_format \"x\""), start], "no other stage");
    check(lines, &[("query", "rate({app=\"a\"}[1m])"), start], "log selector");
    check(lines, &[("query", "{app=~\".*\"}"), start], "");
    let own = "/api/v1/admin/deletions";
    check(own, &[("signal", "spans"), ("match[]", "{pod=\"a\"}")], "only by commons");
}
