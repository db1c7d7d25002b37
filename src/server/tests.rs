use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Verdict, Watched};
use super::connections::Connections;
use super::*;
use crate::auth::Peer;
use crate::base::clock::SharedClock;
use crate::base::{ManualClock, SystemClock};

#[track_caller]
fn check_address(text: &str, want: Option<(&str, bool)>) {
    let got = text.parse::<ListenAddr>().ok();
    let got = got.as_ref().map(|address| (address.to_string(), address.is_loopback()));
    assert_eq!(got, want.map(|(shown, loopback)| (shown.to_owned(), loopback)), "{text}");
}

#[test]
fn addresses_are_read() {
    check_address("127.0.0.1:7070", Some(("127.0.0.1:7070", true)));
    check_address("localhost:0", Some(("127.0.0.1:0", true)));
    check_address("[::1]:7070", Some(("[::1]:7070", true)));
    check_address("[::ffff:127.0.0.1]:1", Some(("[::ffff:127.0.0.1]:1", true)));
    check_address("off", Some(("off", true)));
    check_address(":7070", Some(("0.0.0.0:7070", false)));
    check_address("0.0.0.0:7070", Some(("0.0.0.0:7070", false)));
    check_address("[::]:7070", Some(("[::]:7070", false)));
    check_address("7070", None);
    check_address("127.0.0.1", None);
    check_address("127.0.0.1:70700", None);
    check_address("", None);
}

#[test]
fn places_are_limited_and_given_back() {
    let config = Config { connections_max: 3, connections_per_address_max: 2, ..Config::default() };
    let connections = Connections::new(&config, Metrics::default());
    let far = |n| IpAddr::V4(Ipv4Addr::new(192, 0, 2, n));

    let first = connections.admit(far(1));
    let second = connections.admit(far(1));
    assert!(first.is_some() && second.is_some());
    assert!(connections.admit(far(1)).is_none(), "two from one address");
    let third = connections.admit(far(2));
    assert!(third.is_some());
    assert!(connections.admit(far(3)).is_none(), "three in all");

    drop(first);
    assert!(connections.admit(far(1)).is_some());
    assert_eq!(connections.metrics.open.get(), 2);
}

#[test]
fn loopback_has_no_limit_of_its_own() {
    let config = Config { connections_per_address_max: 1, ..Config::default() };
    let connections = Connections::new(&config, Metrics::default());
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);

    let places = [connections.admit(here), connections.admit(here)];

    assert!(places.iter().all(Option::is_some));
}

const HEADER_NS: u64 = 10_000_000_000;
const IDLE_NS: u64 = 75_000_000_000;

struct Scene {
    clock: Arc<ManualClock>,
    activity: Arc<Activity>,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::at_ms(1_000);
        let shared: SharedClock = Arc::clone(&clock) as _;
        Self { activity: Activity::new(shared), clock }
    }

    async fn bytes(&self, bytes: &[u8]) {
        let mut watched = Watched { stream: bytes, activity: Arc::clone(&self.activity) };
        watched.read_to_end(&mut Vec::new()).await.unwrap();
    }

    #[track_caller]
    fn after(&self, secs: u64, want: Verdict) {
        self.clock.advance(Duration::from_secs(secs));
        assert_eq!(self.activity.verdict(HEADER_NS, IDLE_NS), want);
    }
}

#[tokio::test]
async fn who_says_nothing_is_cut() {
    let scene = Scene::new();

    scene.after(9, Verdict::Keep);
    scene.after(1, Verdict::SlowHeaders);
}

#[tokio::test]
async fn headers_by_drops_are_cut() {
    let scene = Scene::new();
    scene.bytes(b"GET / HT").await;
    scene.after(6, Verdict::Keep);
    scene.bytes(b"TP/1.1\r\n").await;

    scene.after(4, Verdict::SlowHeaders);
}

#[tokio::test]
async fn a_sender_may_pause_between_requests() {
    let scene = Scene::new();
    scene.bytes(b"POST / HTTP/1.1\r\n\r\n").await;
    let running = scene.activity.begin();
    scene.after(600, Verdict::Keep);
    drop(running);

    scene.after(74, Verdict::Keep);
    scene.bytes(b"POST").await;
    scene.after(9, Verdict::Keep);
    scene.after(1, Verdict::SlowHeaders);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let scene = Scene::new();
    scene.bytes(b"GET / HTTP/1.1\r\n\r\n").await;
    drop(scene.activity.begin());

    scene.after(75, Verdict::Idle);
}

#[tokio::test]
async fn pings_of_http2_are_no_headers_and_no_requests() {
    let scene = Scene::new();
    scene.bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    scene.after(30, Verdict::Keep);
    scene.bytes(b"\0\0\x08\x06\0\0\0\0\0ping....").await;

    scene.after(44, Verdict::Keep);
    scene.after(1, Verdict::Idle);
}

#[tokio::test]
async fn a_greeting_of_http2_has_the_time_of_headers() {
    let scene = Scene::new();
    scene.bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;

    scene.after(9, Verdict::Keep);
    scene.after(1, Verdict::SlowHeaders);
}

/// A server on free ports with a route that answers only when it is told to.
struct Running {
    entered: Arc<tokio::sync::Notify>,
    addresses: Addresses,
    shutdown: CancellationToken,
    release: Arc<tokio::sync::Notify>,
    ended: tokio::sync::oneshot::Receiver<bool>,
}

async fn running(config: Config) -> Running {
    let release = Arc::new(tokio::sync::Notify::new());
    let held = Arc::clone(&release);
    let router = Router::new()
        .route("/", get(|peer: axum::Extension<Peer>| async move { peer.0.0.to_string() }))
        .route("/echo", post(|body: String| async move { body }))
        .route("/held", get(|| async move { held.notified().await }));
    let entered = Arc::new(tokio::sync::Notify::new());
    let seen = Arc::clone(&entered);
    let router = router.layer(axum::middleware::from_fn(
        move |request: axum::extract::Request, next: axum::middleware::Next| {
            seen.notify_one();
            next.run(request)
        },
    ));
    let clock: SharedClock = Arc::new(SystemClock::new());
    let bound = bind(&config, None, clock, Metrics::default()).await.unwrap();
    let addresses = bound.addresses();
    let shutdown = CancellationToken::new();
    let (tell, ended) = tokio::sync::oneshot::channel();
    let token = shutdown.clone();
    crate::base::tasks::spawn_detached(async move {
        let routers = Routers { http: router.clone(), otlp: router };
        tell.send(bound.serve(routers, token).await).ok();
    });
    Running { entered, addresses, shutdown, release, ended }
}

fn at(address: &ListenAddr) -> SocketAddr {
    match address {
        ListenAddr::At(address) => *address,
        ListenAddr::Off => panic!("the listener is off"),
    }
}

fn free_ports() -> Config {
    Config {
        http: ListenAddr::loopback(0),
        otlp_grpc: ListenAddr::loopback(0),
        otlp_http: ListenAddr::Off,
        ..Config::default()
    }
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_listener_answers_and_off_is_off() {
    let server = running(free_ports()).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

    for address in [&server.addresses.http, &server.addresses.otlp_grpc] {
        let answer = exchange(at(address), request).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
    }
    assert_eq!(server.addresses.otlp_http, ListenAddr::Off);
}

#[tokio::test]
async fn http2_is_spoken_without_tls() {
    let server = running(free_ports()).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<axum::body::Body>();

    let uri = format!("http://{}/", at(&server.addresses.http)).parse().unwrap();
    let answer = client.get(uri).await.unwrap();

    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
}

#[tokio::test]
async fn too_many_headers_or_too_large_ones_are_refused() {
    let server = running(free_ports()).await;
    let address = at(&server.addresses.http);

    let many: String = (0..101).map(|n| format!("h{n}: 1\r\n")).collect();
    let answer = exchange(address, &format!("GET / HTTP/1.1\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");

    let large = "x".repeat(33 << 10);
    let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nh: {large}\r\n\r\n");
    let answer = exchange(address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn who_is_refused_while_still_sending_reads_why_and_may_go_on() {
    let server = running(free_ports()).await;
    let mut stream = TcpStream::connect(at(&server.addresses.http)).await.unwrap();
    // More than any socket buffers: the rest is still on its way when the answer is written.
    let body = vec![b'x'; 16 << 20];
    let head =
        format!("POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());

    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let next = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(next).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();

    assert!(answers.starts_with("HTTP/1.1 404"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200"), "the connection serves the next request: {answers}");
}

#[tokio::test]
async fn a_rest_that_does_not_come_is_not_waited_for() {
    let linger_timeout = crate::base::units::HumanDuration(Duration::from_millis(50));
    let server = running(Config { linger_timeout, ..free_ports() }).await;

    let request = "POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx";
    let answer = exchange(at(&server.addresses.http), request).await;

    assert!(answer.starts_with("HTTP/1.1 404"), "and then the end: {answer}");
}

#[tokio::test]
async fn a_body_by_drops_is_told_so() {
    let short = crate::base::units::HumanDuration(Duration::from_millis(50));
    let config = Config { body_timeout: short, linger_timeout: short, ..free_ports() };
    let server = running(config).await;

    let request = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nx";
    let answer = exchange(at(&server.addresses.http), request).await;

    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("server.body_timeout"), "{answer}");
}

#[tokio::test]
async fn a_request_under_way_is_finished_when_the_server_stops() {
    let server = running(free_ports()).await;
    let address = at(&server.addresses.http);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab")
        .await
        .unwrap();
    server.entered.notified().await;

    server.shutdown.cancel();
    stream.write_all(b"cd").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();

    assert!(answer.ends_with("abcd"), "{answer}");
    assert!(server.ended.await.unwrap(), "all finished");
    assert!(TcpStream::connect(address).await.is_err(), "the socket is closed");
}

#[tokio::test]
async fn what_outlives_the_drain_is_cut() {
    let drain_timeout = crate::base::units::HumanDuration(Duration::from_millis(20));
    let server = running(Config { drain_timeout, ..free_ports() }).await;
    let mut stream = TcpStream::connect(at(&server.addresses.http)).await.unwrap();
    stream.write_all(b"GET /held HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    server.entered.notified().await;

    server.shutdown.cancel();

    assert!(!server.ended.await.unwrap());
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok();
    assert_eq!(answer, "");
    drop(server.release);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let server = running(free_ports()).await;
    let taken = at(&server.addresses.http);
    let config = Config { http: ListenAddr::At(taken), ..free_ports() };

    let error =
        bind(&config, None, Arc::new(SystemClock::new()), Metrics::default()).await.unwrap_err();

    let message = error.to_string();
    assert!(message.starts_with(&format!("cannot listen on {taken} (server.http)")), "{message}");
}
