//! Connections that cost and bring nothing: each has its limit, its counter and its end, and a
//! sender that does everything right on a connection of its own notices none of them.
//!
//! Handshakes have stories of their own in `tls`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::hostile::closed;
use crate::support::http::{Connection, Request, read_response};
use crate::support::raw::{opened, wait_for_end};
use crate::support::wait::{PATIENCE, now_ms, pause, until};
use crate::support::{Caller, Server, Setup, otlp, remote_write};

/// Everything is short, so that a story is.
const SHORT: &str = "[server]\nconnections_max = 40\nheader_timeout = \"1s\"\n\
                     body_timeout = \"1s\"\nidle_timeout = \"2s\"\n[limits]\nbody_read = \"1s\"\n";

/// A sender that keeps its connection, and must be served each time.
struct Honest(Connection);

impl Honest {
    fn open(caller: &Caller) -> Self {
        Self(Connection::open(&caller.http).unwrap())
    }

    #[track_caller]
    fn send(&mut self) {
        let series = remote_write::series(&[("__name__", "honest")], &[(now_ms(), 1.0)]);
        let answer = self.0.send(&remote_write::write(vec![series])).unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
}

#[test]
fn heads_that_never_end_are_cut_and_honest_senders_served() {
    let server = Setup::new("slow-heads").config(SHORT).start();
    let caller = server.caller();
    let mut honest = Honest::open(&caller);

    let starts: [&[u8]; 4] =
        [b"", b"GET /-/ready HTTP/1.1\r\nX: ", b"PRI * HTTP/2.0\r\n\r\n", b"POST /api/v1/write "];
    let slow: Vec<TcpStream> =
        (0..32).map(|n| opened(&caller.http, starts[n % starts.len()])).collect();
    for _ in 0..5 {
        honest.send();
        for mut stream in &slow {
            drop(stream.write_all(b"x"));
        }
        pause(Duration::from_millis(100));
    }
    let ends = thread::spawn(move || slow.into_iter().map(wait_for_end).for_each(drop));
    // Were it silent meanwhile, it might be silent for as long as nobody may be.
    while !ends.is_finished() {
        honest.send();
        pause(Duration::from_millis(100));
    }
    ends.join().unwrap();

    // The count comes behind the end. It depends on how the bytes are cut what some are: a preface of
    // HTTP/2 that goes on wrongly and a head that begins with an `x` are late, silent or not HTTP. Those that
    // are well-formed as far as they go are late.
    until("the count", PATIENCE, || {
        let [slow, silent, other] =
            ["header_timeout", "idle_timeout", "not_http"].map(|reason| closed(&caller, reason));
        let is_right = slow >= 16.0 && slow + silent + other >= 32.0;
        is_right
            .then_some(())
            .ok_or_else(|| format!("{slow} slow, {silent} silent, {other} not HTTP"))
    });
}

#[test]
fn bodies_by_drops_are_told_and_ended_on_every_route() {
    let server = Setup::new("slow-bodies").config(SHORT).start();
    let caller = server.caller();
    let mut honest = Honest::open(&caller);
    let head = |path: &str, content_type: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type}\r\n\
             Content-Length: 100000\r\n\r\nquery=1"
        )
    };

    let slow: Vec<(&str, &[u16], TcpStream)> = [
        ("/api/v1/write", "application/x-protobuf", &[408, 503][..]),
        ("/v1/logs", "application/json", &[408, 503]),
        ("/loki/api/v1/push", "application/json", &[408, 503]),
        ("/api/v1/query", "application/x-www-form-urlencoded", &[408]),
        ("/api/v1/sql", "text/plain", &[408]),
    ]
    .into_iter()
    .map(|(path, kind, want)| (path, want, opened(&caller.http, head(path, kind).as_bytes())))
    .collect();

    for (path, want, stream) in slow {
        honest.send();
        let answer = read_response(&mut std::io::BufReader::new(&stream)).unwrap();
        assert!(want.contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        assert!(answer.text().contains("did not arrive"), "{path}: {}", answer.text());
    }
}

#[test]
fn a_connection_that_asks_for_nothing_is_closed_politely() {
    let server = Setup::new("idle").config(SHORT).start();
    let caller = server.caller();

    let mut stream = opened(&caller.http, b"GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = read_response(&mut std::io::BufReader::new(&mut stream)).unwrap();

    assert_eq!(answer.status, 200);
    assert_eq!(wait_for_end(stream), b"", "nothing but the end comes behind the answer");
    until("the count", PATIENCE, || match closed(&caller, "idle_timeout") {
        n if n >= 1.0 => Ok(()),
        n => Err(n.to_string()),
    });
}

#[test]
fn who_asks_before_it_sends_is_refused_without_being_told_to_send() {
    let server = Setup::new("expect").config(SHORT).start();
    let caller = server.caller();
    let head = b"POST /nowhere HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                 Content-Length: 1000\r\n\r\n";

    let mut stream = opened(&caller.http, head);
    let answer = read_response(&mut std::io::BufReader::new(&mut stream)).unwrap();

    assert_eq!(answer.status, 404, "and no 100 before it: {}", answer.text());
    assert_eq!(wait_for_end(stream), b"", "nor behind it");
}

/// Stores `n` lines of 240 KiB, which is more than the sockets between us and a client hold.
fn store_lines(caller: &Caller, n: i64) {
    for n in 0..n {
        let body = "x".repeat(240 << 10);
        let record = otlp::record(now_ms() * 1_000_000 + n, &body);
        let logs = otlp::logs(otlp::resource(&[("service.name", "large")]), vec![record]);
        let answer = caller.send(otlp::post("/v1/logs", &logs));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn all_lines(caller: &Caller) -> TcpStream {
    const QUERY: &str = "SELECT body FROM logs";
    let head = format!(
        "POST /api/v1/sql HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{QUERY}",
        QUERY.len()
    );
    opened(&caller.http, head.as_bytes())
}

#[test]
fn an_answer_that_nobody_reads_is_cut_off_and_its_memory_given_back() {
    let limits = SHORT.replace(
        "idle_timeout = \"2s\"\n",
        "idle_timeout = \"2s\"\nwrite_timeout = \"2s\"\nunread_answers_max = \"40MiB\"\n",
    );
    let server = Setup::new("unread").config(&limits).start();
    let caller = server.caller();
    store_lines(&caller, 100);
    let unread = |caller: &Caller| caller.own_metric("commonwatch_api_unread_answer_bytes", &[]);

    let never = all_lines(&caller);
    until("the first answer to be ready", PATIENCE, || match unread(&caller) {
        held if held > 20e6 => Ok(()),
        held => Err(format!("{held} bytes wait")),
    });
    let mut refused = all_lines(&caller);
    let told = read_response(&mut std::io::BufReader::new(&mut refused)).unwrap();
    assert_eq!(told.status, 429, "{}", told.text());
    assert!(told.text().contains("server.unread_answers_max"), "{}", told.text());
    assert_eq!(told.header("retry-after"), Some("5"));
    Honest::open(&caller).send();

    until("the answer to be cut off", PATIENCE, || match closed(&caller, "write_timeout") {
        n if n >= 1.0 => Ok(()),
        _ => Err("not yet".to_owned()),
    });
    assert!(unread(&caller) == 0.0, "its memory is given back");
    let n_bytes = wait_for_end(never).len();
    assert!(n_bytes < 20_000_000, "{n_bytes} bytes of 24 MB came out of the sockets");
    Honest::open(&caller).send();
}

#[test]
fn an_answer_that_is_read_slowly_is_read_to_its_end() {
    let limits =
        SHORT.replace("idle_timeout = \"2s\"", "idle_timeout = \"1s\"\nwrite_timeout = \"1s\"");
    let server = Setup::new("slow-reader").config(&limits).start();
    let caller = server.caller();
    store_lines(&caller, 100);

    let mut stream = all_lines(&caller);
    let mut n_bytes = 0;
    let mut piece = vec![0; 1 << 20];
    loop {
        pause(Duration::from_millis(150)); // More than three seconds in all.
        match stream.read(&mut piece).unwrap() {
            0 => break,
            n => n_bytes += n,
        }
    }

    assert!(n_bytes > 100 * (240 << 10), "{n_bytes}");
    assert_eq!(closed(&caller, "write_timeout"), 0.0);
}

#[test]
fn a_flood_of_connections_is_refused_and_passes() {
    let server = Setup::new("flood").config(SHORT).start();
    let caller = server.caller();
    let mut honest = Honest::open(&caller);
    honest.send();

    let flood: Vec<TcpStream> = (0..200).map(|_| opened(&caller.http, b"GET /")).collect();
    honest.send();
    drop(flood);

    // Who comes later is served again once the flood has gone.
    until("a new connection to be served", PATIENCE, || {
        let answer = Connection::open(&caller.http)
            .and_then(|mut connection| connection.send(&Request::get("/-/ready")));
        match answer.map_err(|error| error.to_string())? {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer.text()),
        }
    });
    let metrics = caller.own_metrics();
    let refused = metrics.iter().find(|metric| {
        metric.name == "commonwatch_server_refused_connections_total"
            && metric.labels.get("reason").is_some_and(|reason| reason == "connections_max")
    });
    assert!(refused.is_some_and(|metric| metric.value >= 100.0), "{refused:?}");
    honest.send();
}

#[test]
fn few_open_files_cost_connections_and_not_the_store() {
    // The system lets this server open 64 files: 48 are kept for the store.
    let setup = Setup::new("few-files").before("ulimit -n 64 &&");
    let server = setup.config("[storage]\nflush_age = \"100ms\"\n").start();
    let caller = server.caller();
    let mut honest = Honest::open(&caller);

    for _ in 0..4 {
        let flood: Vec<TcpStream> = (0..100).map(|_| opened(&caller.http, b"GET /")).collect();
        // Flushes open files all the while.
        honest.send();
        pause(Duration::from_millis(300));
        drop(flood);
    }

    honest.send();
    assert!(server.log().contains("connections_max is lowered"), "{}", server.log());
    server.stop();
}

#[test]
fn accepting_goes_on_after_there_were_no_more_files() {
    let server = Setup::new("no-files").start();
    let caller = server.caller();
    let mut honest = Honest::open(&caller);
    honest.send();
    let errors = |honest: &mut Honest| {
        let text = honest.0.send(&Request::get("/metrics")).unwrap().text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("commonwatch_server_accept_errors_total "));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0)
    };

    allow_files(&server, n_open_files(&server));
    // What the server had open for a moment when they were counted is room for more than one.
    let mut in_line = Vec::new();
    let waiting =
        opened(&caller.http, b"GET /-/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    until("an accept to fail", PATIENCE, || {
        in_line.push(opened(&caller.http, b""));
        let n_errors = errors(&mut honest);
        if n_errors > 0.0 { Ok(()) } else { Err("none has failed yet".to_owned()) }
    });
    allow_files(&server, 1_024);

    let answer = String::from_utf8(wait_for_end(waiting)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "who had to wait is served: {answer}");
    honest.send();
}

fn n_open_files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count()
}

/// Lowers or raises the soft limit of a process that runs.
#[track_caller]
fn allow_files(server: &Server, n_files: usize) {
    let pid = server.pid().to_string();
    let limit = format!("--nofile={n_files}:");
    let done = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(done.expect("prlimit is of util-linux").success());
}
