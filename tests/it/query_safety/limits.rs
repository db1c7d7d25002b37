//! Each limit on questions is a key that works: lowered, it refuses what the default allows, says
//! its own name, and is counted under it.

use super::{ENDLESS, long_promql, metric, send_and_hold, send_numbers, sql};
use crate::support::ask::form;
use crate::support::wait::{PATIENCE, now_ms, until};
use crate::support::{Caller, Request, Setup};

/// A question that meets one lowered limit, and the status it gets.
struct Case {
    key: &'static str,
    question: Request,
    status: u16,
}

fn instant(query: &str) -> Request {
    Request::get(format!("/api/v1/query?{}", form(&[("query", query)])))
}

fn deletion(selector: &str) -> Request {
    let selectors = form(&[("match[]", selector)]);
    Request::post(format!("/api/v1/admin/tsdb/delete_series?{selectors}"), "")
}

fn range(query: &str, seconds: i64) -> Request {
    let end = now_ms() / 1_000;
    let (start, end) = ((end - seconds).to_string(), end.to_string());
    let parameters = [("query", query), ("start", &start), ("end", &end), ("step", "1")];
    Request::get(format!("/api/v1/query_range?{}", form(&parameters)))
}

fn case(key: &'static str, question: Request, status: u16) -> Case {
    Case { key, question, status }
}

/// Asks a server with this section, and then whether each limit was counted.
#[track_caller]
fn check(section: &str, cases: Vec<Case>) {
    let config = format!("[tagging]\nenabled = false\n[query]\n{section}");
    let server = Setup::new("limits").config(&config).start();
    let caller = server.caller();
    send_numbers(&caller, 200, 100);
    let mut wrong = Vec::new();

    for Case { key, question, status } in cases {
        let before = counted(&caller, key);
        let answer = caller.send(question.clone());
        let told: String = answer.text().chars().take(200).collect();
        if answer.status != status || !answer.text().contains(key) {
            wrong.push(format!("{key}: {}: got {} {told}", question.path, answer.status));
        } else if counted(&caller, key) != before + 1.0 {
            wrong.push(format!("{key}: {}: was not counted", question.path));
        }
    }

    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[track_caller]
fn counted(caller: &Caller, key: &str) -> f64 {
    metric(caller, "commonwatch_query_limited_total", &[("limit", key)])
}

#[test]
fn limits_on_what_is_asked_are_keys_that_work() {
    let section = "points_max = 100\nrange_max = \"1h\"\nsubquery_steps_max = 100\n\
         promql_text_max = \"1KiB\"\npromql_tokens_max = 100\npromql_depth_max = 10\n\
         regex_text_max = \"100B\"\nregex_program_max = \"8KiB\"\nsql_text_max = \"1KiB\"\n";
    let deep = format!("{}1{}", "(".repeat(11), ")".repeat(11));
    let pattern = |text: &str| instant(&format!("n{{i=~\"{text}\"}}"));
    let replaced = format!("label_replace(n, \"a\", \"\", \"i\", \"{}\")", "a".repeat(200));

    check(
        section,
        vec![
            case("query.points_max", range("n", 200), 400),
            case("query.range_max", instant("sum(rate(n[2h]))"), 400),
            case("query.range_max", instant("max_over_time(n[2h:5m])"), 400),
            case("query.subquery_steps_max", instant("max_over_time(vector(1)[1h:1s])"), 422),
            case("query.promql_text_max", instant(&" ".repeat(2_000)), 400),
            case("query.promql_tokens_max", instant(&vec!["1"; 300].join("+")), 400),
            case("query.promql_depth_max", instant(&deep), 400),
            case("query.regex_text_max", pattern(&"a".repeat(200)), 400),
            case("query.regex_text_max", instant(&replaced), 400),
            case("query.regex_program_max", pattern("(a{100}){9}"), 400),
            case("query.sql_text_max", sql(&format!("SELECT '{}'", "x".repeat(5_000))), 400),
            // What is no question has no turn either.
            case("query.promql_text_max", deletion(&"n".repeat(2_000)), 400),
        ],
    );
}

#[test]
fn limits_on_what_is_read_are_keys_that_work() {
    check(
        "samples_max = 1000\n",
        vec![case("query.samples_max", instant("sum(rate(n[5m]))"), 422)],
    );
    check(
        "series_max = 50\n",
        vec![
            case("query.series_max", instant("count(n)"), 422),
            case("query.series_max", Request::get("/api/v1/series?match[]=n"), 422),
        ],
    );
    // Menus and counts look at more series than are read, as many as there is room for.
    let cardinality = "/api/v1/cardinality/label_names?selector=n";
    check(
        "memory = \"8KiB\"\nworker_memory = \"256MiB\"\n",
        vec![
            case("query.memory", Request::get("/api/v1/label/i/values?match[]=n"), 422),
            case("query.memory", Request::get(cardinality), 422),
        ],
    );
}

#[test]
fn an_answer_that_a_limit_keeps_small_is_not_refused_for_what_it_leaves_out() {
    let config =
        "[tagging]\nenabled = false\n[query]\nseries_max = 20\nresult_bytes_max = \"4KiB\"\n";
    let server = Setup::new("limits-kept").config(config).start();
    let caller = server.caller();
    send_numbers(&caller, 200, 1);

    for (path, limit) in [
        ("series?match[]=n", 3),
        ("series?match[]=n", 20),
        ("label/i/values?match[]=n", 3),
        ("label/i/values?match[]=n", 100),
        ("labels?match[]=n", 1),
    ] {
        let answer = caller.get(&format!("/api/v1/{path}&limit={limit}"));
        assert_eq!(answer.status, 200, "{path} {limit}: {}", answer.text());
        let body = answer.json();
        assert_eq!(body["data"].as_array().unwrap().len(), limit, "{path}: {body}");
        assert_eq!(body["warnings"][0], "results truncated due to limit", "{path}: {body}");
    }
    for (path, key) in [
        ("series?match[]=n", "query.series_max"),
        ("series?match[]=n&limit=21", "query.series_max"),
        ("label/i/values?match[]=n", "query.result_bytes_max"),
    ] {
        let answer = caller.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.status, 422, "{path}: {}", answer.text());
        assert!(answer.text().contains(key), "{path}: {}", answer.text());
    }
}

#[test]
fn limits_on_what_is_held_answered_and_waited_for_are_keys_that_work() {
    let sort = "SELECT a.labels FROM metrics a, metrics b ORDER BY a.value * b.value";
    let mut large = "SELECT 'abcdefgh' AS v".to_owned();
    for level in 0..14 {
        large = format!("SELECT concat(v, v, v, v) AS v FROM ({large}) AS t{level}");
    }
    let large = format!("SELECT length(v) FROM ({large}) AS t");
    let long_name = format!("SELECT 1 AS {}", "n".repeat(20_000));

    check(
        "memory = \"256KiB\"\nworker_memory = \"256MiB\"\n",
        vec![
            // A rate reads some series at a time; here all samples are the answer.
            case("query.memory", instant("n[5m]"), 422),
            case("query.memory", range("vector(1) or vector(2) or n", 400), 422),
            case("query.memory", sql(sort), 422),
            case("query.worker_memory", sql(&large), 422),
        ],
    );
    check(
        "result_bytes_max = \"4KiB\"\ntimeout = \"2s\"\n",
        vec![
            case("query.result_bytes_max", instant("n"), 422),
            case("query.result_bytes_max", Request::get("/api/v1/series?match[]=n"), 422),
            // One row of eight bytes, and a name.
            case("query.result_bytes_max", sql(&long_name), 422),
            case("query.timeout", sql(ENDLESS), 503),
        ],
    );
}

#[test]
fn promql_ends_when_its_time_is_up_whoever_set_it() {
    let config = "[tagging]\nenabled = false\n[query]\ntimeout = \"3s\"\n";
    let server = Setup::new("limits-time").config(config).start();
    let caller = server.caller();
    send_numbers(&caller, 200, 100);

    for (asked, time) in [("", "3s"), ("?timeout=1s", "1s")] {
        let before = counted(&caller, "query.timeout");
        let mut question = long_promql();
        question.path.push_str(asked);

        let answer = caller.send(question);

        assert_eq!(answer.status, 503, "{}", answer.text());
        let body = answer.json();
        let error = body["error"].as_str().unwrap();
        assert_eq!(body["errorType"], "timeout", "{error}");
        assert!(error.contains(&format!("still running after {time}:")), "{error}");
        assert!(error.contains("(query.timeout,"), "{error}");
        assert_eq!(counted(&caller, "query.timeout"), before + 1.0, "{time}");
    }
    let timed_out = [("dialect", "promql"), ("outcome", "timeout")];
    assert_eq!(metric(&caller, "commonwatch_query_seconds_count", &timed_out), 2.0);
}

#[test]
fn an_sql_answer_is_cut_off_at_its_limits_and_says_so() {
    let config =
        "[tagging]\nenabled = false\n[query]\nrows_max = 50\nresult_bytes_max = \"64KiB\"\n";
    let server = Setup::new("limits-cut").config(config).start();
    let caller = server.caller();
    send_numbers(&caller, 200, 100);
    let cut = |text: &str| {
        let answer = caller.send(sql(text));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let limit = answer.header("x-commonwatch-truncated").unwrap_or("").to_owned();
        assert_eq!(answer.json()["truncated"], limit.as_str());
        (answer.json()["rows"].as_array().unwrap().len(), limit)
    };
    // One text of 131,072 bytes: no part of it is an answer.
    let mut large = "SELECT 'abcdefgh' AS v".to_owned();
    for level in 0..7 {
        large = format!("SELECT concat(v, v, v, v) AS v FROM ({large}) AS t{level}");
    }

    assert_eq!(cut("SELECT value FROM metrics"), (50, "query.rows_max".to_owned()));
    assert_eq!(cut(&large), (0, "query.result_bytes_max".to_owned()));
    for key in ["query.rows_max", "query.result_bytes_max"] {
        let counted = metric(&caller, "commonwatch_query_limited_total", &[("limit", key)]);
        assert_eq!(counted, 1.0, "{key}");
    }
}

#[test]
fn questions_past_the_turns_are_told_which_limit_they_met() {
    let promql = || Request::get("/api/v1/query?query=1&timeout=1s");
    let sql_for_a_second = || {
        let body = r#"{"query": "SELECT 1", "timeout": "1s"}"#;
        Request::post("/api/v1/sql", body).header("Content-Type", "application/json")
    };
    for (key, question) in [
        ("query.concurrency_max", promql()),
        ("query.concurrency_per_principal_max", promql()),
        ("query.workers", sql_for_a_second()),
    ] {
        let lowered = key.trim_start_matches("query.");
        let config = format!("[tagging]\nenabled = false\n[query]\n{lowered} = 1\n");
        let server = Setup::new("limits-turns").config(&config).start();
        let caller = server.caller();
        send_numbers(&caller, 200, 100);
        let held = send_and_hold(&caller, &sql(ENDLESS));
        until("the one turn to be taken", PATIENCE, || {
            match metric(&caller, "commonwatch_query_workers_busy", &[]) {
                1.0 => Ok(()),
                n => Err(format!("{n} are busy")),
            }
        });

        let answer = caller.send(question);

        assert_eq!(answer.status, 429, "{key}: {}", answer.text());
        assert!(answer.text().contains(&format!("({key})")), "{key}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), Some("1"), "{key}");
        assert_eq!(counted(&caller, key), 1.0, "{key}");
        drop(held);
    }
}

#[test]
fn what_is_in_force_is_shown_with_every_limit() {
    let shown = crate::support::server::binary();
    let shown = std::process::Command::new(shown)
        .args(["config", "show"])
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let query = shown.split("[query]").nth(1).unwrap().split("\n[").next().unwrap();

    for key in [
        "timeout = \"30s\"",
        "memory = \"256MiB\"",
        "memory_all = \"1GiB\"",
        "samples_max = 50000000",
        "series_max = 100000",
        "points_max = 11000",
        "range_max = \"92d\"",
        "subquery_steps_max = 1000000",
        "result_bytes_max = \"64MiB\"",
        "promql_text_max = \"16KiB\"",
        "promql_depth_max = 64",
        "regex_text_max = \"4KiB\"",
        "regex_program_max = \"1MiB\"",
        "sql_text_max = \"64KiB\"",
    ] {
        assert!(query.contains(key), "{key} is not in\n{query}");
    }
    assert!(!shown.contains("query_text"), "{shown}");
}
