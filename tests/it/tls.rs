//! TLS on the listeners: whoever does not shake hands in time, or at all, is ended and counted, and
//! a client that does everything right notices none of them. The OpenTelemetry SDK over TLS is in
//! `clients::otel`.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::hostile::closed;
use crate::support::http;
use crate::support::otlp;
use crate::support::raw::{opened, wait_for_end};
use crate::support::tls::{Client, Connection, case, install};
use crate::support::wait::{PATIENCE, now_ns, pause, until};
use crate::support::{Caller, Request, Setup};

/// Certificates on the OTLP ports; the other one is for looking at the server.
const OTLP_ONLY: &str = "[server]\nconnections_max = 40\nhandshake_timeout = \"1s\"\n\
                         tls_cert_file = \"tls.pem\"\ntls_key_file = \"tls.key\"\n\
                         tls_listeners = [\"otlp_grpc\", \"otlp_http\"]\n";
const EVERYWHERE: &str = "[server]\ntls_cert_file = \"tls.pem\"\ntls_key_file = \"tls.key\"\n";

fn setup(story: &'static str, config: &str) -> Setup {
    let setup = Setup::new(story);
    install(setup.home(), "server");
    setup.config(config)
}

/// A sender that does everything right, and must be served each time.
struct Good(Connection);

impl Good {
    fn open(address: &str) -> Self {
        Self(Client::new().open(address).unwrap())
    }

    #[track_caller]
    fn send(&mut self) {
        let record = otlp::record(now_ns(), "good");
        let request = otlp::logs(otlp::resource(&[("service.name", "good")]), vec![record]);
        let answer = self.0.send(&otlp::post("/v1/logs", &request)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn handshakes_that_never_end_are_cut_and_a_good_client_is_served() {
    let server = setup("tls-slow", OTLP_ONLY).start();
    let caller = server.caller();
    let mut good = Good::open(&caller.otlp_http);
    let hello = Client::new().hello();

    // Silence, a first byte, half a greeting, and a whole one without what must follow.
    let starts: [&[u8]; 4] = [b"", &hello[..1], &hello[..hello.len() / 2], &hello];
    let slow: Vec<TcpStream> =
        (0..32).map(|n| opened(&caller.otlp_grpc, starts[n % starts.len()])).collect();
    for _ in 0..5 {
        good.send();
        pause(Duration::from_millis(50));
    }
    slow.into_iter().map(wait_for_end).for_each(drop);

    good.send();
    counted(&caller, "handshake_timeout", 32.0);
}

#[test]
fn a_greeting_by_drops_gets_no_more_time() {
    let server = setup("tls-drops", OTLP_ONLY).start();
    let caller = server.caller();

    let mut stream = opened(&caller.otlp_http, b"");
    let mut is_open = true;
    for byte in Client::new().hello() {
        is_open &= stream.write_all(&[byte]).is_ok();
        pause(Duration::from_millis(20)); // Some 200 bytes: far more than the second there is.
    }

    assert!(!is_open || wait_for_end(stream).is_empty());
    counted(&caller, "handshake_timeout", 1.0);
}

#[test]
fn a_flood_without_handshakes_is_refused_and_passes_while_it_lasts() {
    let server = setup("tls-flood", OTLP_ONLY).start();
    let caller = server.caller();
    let mut good = Good::open(&caller.otlp_http);

    let flood: Vec<TcpStream> = (0..200).map(|_| opened(&caller.otlp_grpc, b"\x16")).collect();
    good.send();

    // The flood does not leave: its places are taken from it.
    until("a new client to be served", PATIENCE, || {
        Client::new().open(&caller.otlp_http).map(drop).map_err(|error| error.to_string())
    });
    good.send();
    drop(flood);
    until("a place for whoever reads the metrics", PATIENCE, || {
        let answer = http::send(&caller.http, &Request::get("/-/healthy"));
        answer.map(drop).map_err(|error| error.to_string())
    });
    let refused = caller.own_metric(
        "commonwatch_server_refused_connections_total",
        &[("reason", "connections_max")],
    );
    assert!(refused >= 100.0, "handshakes count among the connections: {refused}");
}

#[test]
fn who_speaks_without_tls_is_told_so() {
    let server = setup("tls-plain", OTLP_ONLY).start();
    let caller = server.caller();
    let mut good = Good::open(&caller.otlp_grpc);

    let body = vec![b'x'; 300_000];
    for said in [
        &b"GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        &[b"POST /v1/logs HTTP/1.1\r\nContent-Length: 300000\r\n\r\n", &body[..]].concat(),
    ] {
        let stream = opened(&caller.otlp_grpc, said);
        stream.shutdown(std::net::Shutdown::Write).ok();
        let answer = String::from_utf8(wait_for_end(stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nthis port speaks TLS: begin the URL with https\n"));
    }

    counted(&caller, "not_tls", 3.0);
    good.send();
}

/// Waits until a reason was counted as often as this; the count comes behind the end.
#[track_caller]
fn counted(caller: &Caller, reason: &str, want: f64) {
    until("the count", PATIENCE, || match closed(caller, reason) {
        n if n < want => Err(format!("{reason}: {n} of {want}")),
        n if n > want => panic!("{reason}: {n}, and not {want}"),
        _ => Ok(()),
    });
}

#[test]
fn what_cannot_be_agreed_on_ends_with_an_alert() {
    let server = setup("tls-refused", OTLP_ONLY).start();
    let caller = server.caller();
    let mut good = Good::open(&caller.otlp_grpc);

    // TLS 1.1 with a suite of its time, and bytes that are no greeting.
    let old = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x13, 1, 0]]
        .concat();
    let garbage = [&[22, 3, 1, 0, 100][..], &[0xff; 100]].concat();
    let answer = wait_for_end(opened(&caller.otlp_grpc, &old));
    assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}");
    wait_for_end(opened(&caller.otlp_grpc, &garbage));

    counted(&caller, "handshake_failed", 2.0);
    good.send();
}

#[test]
fn every_listener_speaks_tls_and_asks_for_a_certificate_when_told_to() {
    let config =
        format!("{EVERYWHERE}tls_client_ca_file = \"{}\"\n", case("authority.pem").display());
    let mut server = setup("tls-clients", &config).spawn();
    let addresses = server.wait_for_addresses();
    let known = Client::showing("client");

    until("the server to be ready", PATIENCE, || ready(&known, &addresses.http));
    for address in [&addresses.otlp_grpc, &addresses.otlp_http] {
        Good(known.open(address).unwrap()).send();
    }

    // Over TLS 1.3 the refusal comes when the client thinks that it is through.
    for unknown in [Client::new(), Client::showing("intruder")] {
        assert!(ready(&unknown, &addresses.http).is_err());
    }
    let mut caller = known.open(&addresses.http).unwrap();
    let metrics = caller.send(&Request::get("/metrics")).unwrap().text();
    let counted = "commonwatch_server_closed_connections_total{reason=\"handshake_failed\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

fn ready(client: &Client, address: &str) -> Result<(), String> {
    let answer = client.open(address).and_then(|mut c| c.send(&Request::get("/-/ready")));
    match answer.map_err(|error| error.to_string())? {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.text()),
    }
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_nobody_is_cut_off() {
    let setup = setup("tls-reload", OTLP_ONLY);
    let server = setup.start();
    let caller = server.caller();
    let mut standing = Good::open(&caller.otlp_http);
    let old = standing.0.shown();

    // A key without its certificate: refused whole.
    std::fs::copy(case("renewed.key"), setup.home().join("tls.key")).unwrap();
    let refused = caller.send(Request::post("/-/reload", ""));
    assert_ne!(refused.status, 200);
    assert!(refused.text().contains("server.tls_key_file"), "{}", refused.text());
    assert_eq!(shown(&caller), old);

    install(setup.home(), "renewed");
    let told = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().unwrap();
    assert!(told.success());
    until("the new certificate", PATIENCE, || {
        standing.send();
        if shown(&caller) == old { Err("still the old one".to_owned()) } else { Ok(()) }
    });

    standing.send();
    assert_eq!(standing.0.shown(), old, "a connection keeps what it was made with");
    Good::open(&caller.otlp_grpc).send();
}

fn shown(caller: &Caller) -> tokio_rustls::rustls::pki_types::CertificateDer<'static> {
    Client::new().open(&caller.otlp_http).unwrap().shown()
}
