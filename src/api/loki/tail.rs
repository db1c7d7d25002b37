//! `tail`: lines over a WebSocket as they come, behind those that came before.
//!
//! Each tail looks at what is new a few times a second. What came late comes late here as well: it
//! is followed by arrival, not by time. The number of tails is bounded, a client that reads too
//! slowly is cut off, and what one look finds beyond the limit is counted as dropped.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequest as _, Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::Api;
use super::super::ask::AskOptions;
use super::super::error::ApiError;
use super::super::params::Params;
use super::ask::Follow;
use super::websocket::{self, Heard};
use super::{Answered, params, query, render};
use crate::base::Kind;
use crate::base::tasks::spawn_detached;
use crate::model::Grant;
use crate::query::LogqlAnswer;
use crate::query::logql::{Bounds, LogLine, LogRange, Steps, newest};

/// From one look to the next: a line is seen within a second of its arrival.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A client that takes nothing for so long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// From one ping to the next.
const PING_EVERY: Duration = Duration::from_secs(30);
/// The longest tail: Grafana begins another one by itself.
const TAIL_MAX: Duration = Duration::from_secs(3_600);
/// The longest wait before lines are shown, s.
const DELAY_S_MAX: i64 = 5;

/// What a message may have at least: some lines of the usual length, or a long one.
const MESSAGE_BYTES_MIN: usize = 64 << 10;

/// How many tails there may be at once.
#[derive(Debug, Clone)]
pub struct Tails {
    places: Arc<Semaphore>,
    max: usize,
    open: Gauge,
    refused: Counter,
}

impl Tails {
    /// Returns places for `max` tails (`query.tails_max`), counted in `commonwatch_api_tails…`.
    pub fn new(max: usize, registry: &mut Registry) -> Self {
        let (open, refused) = (Gauge::default(), Counter::default());
        registry.register("commonwatch_api_tails", "Live tails now open", open.clone());
        registry.register(
            "commonwatch_api_tails_refused",
            "Live tails refused because as many were open as may (query.tails_max)",
            refused.clone(),
        );
        Self { places: Arc::new(Semaphore::new(max)), max, open, refused }
    }

    /// Returns what one message of a tail may hold, so that all tails together hold no more than one
    /// answer may have. Lines that wait to be shown are so many messages.
    fn message_bytes(&self, answer_bytes_max: usize, delay: Duration) -> usize {
        let n_looks = usize::try_from(delay.as_millis() / LOOK_EVERY.as_millis()).unwrap_or(0);
        (answer_bytes_max / self.max.max(1) / (1 + n_looks)).max(MESSAGE_BYTES_MIN)
    }

    fn enter(&self) -> Result<Place, ApiError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            self.refused.inc();
            let text = format!(
                "{} tails are open, as many as may (query.tails_max): close one, or try again \
                 shortly",
                self.max
            );
            ApiError { retry_after_s: Some(5), ..ApiError::new(Kind::Overloaded, text) }
        })?;
        self.open.inc();
        Ok(Place { _place: place, open: self.open.clone() })
    }
}

/// A tail's place, until dropped.
struct Place {
    _place: OwnedSemaphorePermit,
    open: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

pub(super) async fn tail(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    mut request: Request,
) -> Answered {
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let accept = websocket::accept_of(request.headers());
    let is_categorized = query::is_categorized(request.headers());
    let asked = Params::from_request(request, &()).await?;
    let (Some(upgrade), Some(accept)) = (upgrade, accept) else {
        let text = "tail is a WebSocket: send `Connection: Upgrade`, `Upgrade: websocket`, \
                    `Sec-WebSocket-Version: 13` and a key";
        return Err(ApiError::new(Kind::BadInput, text).into());
    };
    let query = asked.required("query")?.to_owned();
    let limit = params::limit_of(&asked, 100)?.min(LINES_MAX);
    let delay_s = asked.limit("delay_for")?.map_or(0, |s| i64::try_from(s).unwrap_or(i64::MAX));
    if delay_s > DELAY_S_MAX {
        let text = format!("delay_for can't be greater than {DELAY_S_MAX}");
        return Err(ApiError::parameter("delay_for", text).into());
    }
    let place = api.tails.enter().inspect_err(|_| api.ask.limited("query.tails_max"))?;
    let follow = api.logs.follow(&grant, &query).await?;
    let delay = Duration::from_secs(delay_s.unsigned_abs());
    let bytes_max = api.tails.message_bytes(api.result_bytes_max.bytes(), delay);
    let bounds = Bounds { lines_max: limit, bytes_max };
    let before = before(&api, &grant, &query, &asked, bounds).await?;
    let running = Running { follow, before, bounds, delay, is_categorized };
    spawn_detached(async move {
        let _place = place;
        if let Ok(upgraded) = upgrade.await {
            running.run(TokioIo::<Upgraded>::new(upgraded)).await;
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    let accept = HeaderValue::from_str(&accept).expect("base64 is ASCII");
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// The most lines of one message.
const LINES_MAX: usize = 5_000;

/// The longest that lines are looked for with which a tail begins, when nobody asked for them.
const BEFORE_MAX: Duration = Duration::from_secs(2);

/// Returns the newest lines from `start`, or of the last hour, until now, with which a tail begins. What
/// nobody asked for does not keep a tail from beginning.
async fn before(
    api: &Api,
    grant: &Grant,
    query: &str,
    asked: &Params,
    bounds: Bounds,
) -> Result<(Vec<LogLine>, usize), ApiError> {
    let is_asked = ["start", "since"].into_iter().any(|name| asked.get(name).is_some());
    let now_ms = api.clock.now_ms();
    let (start_ns, end_ns) = params::times_ns(asked, now_ms)?;
    let limit = bounds.lines_max;
    let range = LogRange { start_ns, end_ns, limit, is_backward: true, interval_ns: 0 };
    let steps = Steps { start_ms: now_ms, end_ms: now_ms, step_ms: None };
    let timeout = (!is_asked).then_some(BEFORE_MAX);
    let options = AskOptions { timeout, ..AskOptions::default() };
    let found = match api.logs.logql(grant, query, range, steps, options).await {
        Err(_) if !is_asked => return Ok((Vec::new(), 0)),
        found => found?,
    };
    let LogqlAnswer::Lines(mut answer) = found.answer else { return Ok((Vec::new(), 0)) };
    answer.lines.reverse();
    Ok(newest(answer.lines, bounds))
}

struct Running {
    follow: Box<dyn Follow>,
    /// With how many more there were.
    before: (Vec<LogLine>, usize),
    bounds: Bounds,
    delay: Duration,
    is_categorized: bool,
}

impl Running {
    async fn run(mut self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let ended = tokio::time::timeout(TAIL_MAX, self.serve(&mut stream)).await;
        let (code, reason) = match ended {
            Ok(Ok(())) => return,
            Ok(Err(reason)) => (1011, reason),
            Err(_) => (1000, "reached tail max duration limit".to_owned()),
        };
        let bye = websocket::send_close(&mut stream, code, &reason);
        drop(tokio::time::timeout(WRITE_TIMEOUT, bye).await);
    }

    /// Sends until the client goes; an error is told to it.
    async fn serve(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Result<(), String> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let is_categorized = self.is_categorized;
        let (mut before, n_dropped) = std::mem::take(&mut self.before);
        if !before.is_empty() && !send(&mut writer, &before, n_dropped, is_categorized).await {
            return Ok(());
        }
        let mut waiting: Vec<(tokio::time::Instant, Vec<LogLine>, usize)> = Vec::new();
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pings = tokio::time::interval(PING_EVERY);
        let mut heard = Box::pin(listen(&mut reader));
        loop {
            tokio::select! {
                said = &mut heard => match said {
                    Some(payload) => {
                        drop(heard);
                        if websocket::send_pong(&mut writer, &payload).await.is_err() {
                            return Ok(());
                        }
                        heard = Box::pin(listen(&mut reader));
                    }
                    None => {
                        // A goodbye is answered; whoever is gone does not hear it.
                        drop(websocket::send_close(&mut writer, 1000, "").await);
                        return Ok(());
                    }
                },
                _ = pings.tick() => {
                    if websocket::send_ping(&mut writer).await.is_err() {
                        return Ok(());
                    }
                }
                now = looks.tick() => {
                    let (mut lines, n_dropped) =
                        self.follow.look(self.bounds).await.map_err(|error| error.message)?;
                    // The first look finds again what came while those before were looked for.
                    let known = std::mem::take(&mut before);
                    lines.retain(|line| !known.contains(line));
                    if !lines.is_empty() {
                        waiting.push((now + self.delay, lines, n_dropped));
                    }
                    while waiting.first().is_some_and(|(due, ..)| *due <= now) {
                        let (_, lines, n_dropped) = waiting.remove(0);
                        if !send(&mut writer, &lines, n_dropped, is_categorized).await {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }
}

/// Returns the payload of the client's next ping, or `None` when it goes.
async fn listen(reader: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    loop {
        match websocket::hear(reader).await {
            Ok(Heard::Other) => {}
            Ok(Heard::Ping(payload)) => return Some(payload),
            Ok(Heard::Close) | Err(_) => return None,
        }
    }
}

/// Sends a message; returns false when the client does not take it.
async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    lines: &[LogLine],
    n_dropped: usize,
    is_categorized: bool,
) -> bool {
    let mut text = String::from("{\"streams\":");
    render::push_streams(&mut text, lines, is_categorized);
    text.push_str(",\"dropped_entries\":");
    // Which lines they were is not kept: each is told by the time of the first that was sent.
    let ts_ns = lines.first().map_or(0, |line| line.ts_ns);
    text.push('[');
    for idx in 0..n_dropped.min(DROPPED_MAX) {
        text.push_str(if idx > 0 { "," } else { "" });
        text.push_str(&format!("{{\"labels\":{{}},\"timestamp\":\"{ts_ns}\"}}"));
    }
    text.push(']');
    if is_categorized {
        text.push_str(",\"encodingFlags\":[\"categorize-labels\"]");
    }
    text.push('}');
    let sent = tokio::time::timeout(WRITE_TIMEOUT, websocket::send_text(writer, &text)).await;
    matches!(sent, Ok(Ok(())))
}

/// Dropped lines that one message names.
const DROPPED_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    async fn sent(is_categorized: bool) -> String {
        let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let line = LogLine {
            ts_ns: 7,
            line: "a".to_owned(),
            stream: pair("app", "fence"),
            metadata: pair("user", "ada"),
            parsed: Vec::new(),
        };
        let (mut server, mut client) = tokio::io::duplex(1 << 16);
        assert!(send(&mut server, &[line], 1, is_categorized).await);
        drop(server);
        let mut frame = Vec::new();
        client.read_to_end(&mut frame).await.unwrap();
        let text = String::from_utf8_lossy(&frame);
        text[text.find("{\"streams\"").unwrap()..].to_owned()
    }

    #[test]
    fn all_tails_together_hold_no_more_than_one_answer() {
        let tails = Tails::new(64, &mut Registry::default());
        let each = |delay_s| tails.message_bytes(64 << 20, Duration::from_secs(delay_s));

        assert_eq!([each(0), each(1)], [1 << 20, (1 << 20) / 5]);
        assert_eq!(each(5), MESSAGE_BYTES_MIN);
    }

    #[tokio::test]
    async fn labels_are_one_set_unless_their_origin_is_asked_for() {
        assert_eq!(
            sent(false).await,
            r#"{"streams":[{"stream":{"app":"fence","user":"ada"},"values":[["7","a"]]}],"dropped_entries":[{"labels":{},"timestamp":"7"}]}"#
        );
        assert_eq!(
            sent(true).await,
            r#"{"streams":[{"stream":{"app":"fence"},"values":[["7","a",{"structuredMetadata":{"user":"ada"}}]]}],"dropped_entries":[{"labels":{},"timestamp":"7"}],"encodingFlags":["categorize-labels"]}"#
        );
    }
}
