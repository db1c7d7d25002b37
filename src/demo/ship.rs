//! One cluster's Alloy: keeps what it cannot send, sends it when it may, counts what was taken.
//!
//! The queue is bounded. A server that says "slow down" is asked again after the time it names; one
//! that says "no" has lost that request for good, and it is counted.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tracing::warn;

use super::Addresses;
use super::wire::{Parcel, Road};

/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How long to wait when the server names no time.
const PAUSE: Duration = Duration::from_secs(1);

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// What became of what was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Log lines that the server acknowledged.
    pub lines: u64,
    /// Samples that the server acknowledged.
    pub samples: u64,
    /// Spans that the server acknowledged.
    pub spans: u64,
    /// Items of requests that the server refused for good.
    pub refused: u64,
    /// Items that found the queue full.
    pub dropped: u64,
}

/// What the server made of one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Taken,
    Later(Duration),
    Refused(String),
}

/// Sends over the real ports.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    addresses: Addresses,
    http: HttpClient,
    grpc: HttpClient,
}

impl Sender {
    pub(super) fn new(addresses: Addresses) -> Self {
        let client = |is_h2| Client::builder(TokioExecutor::new()).http2_only(is_h2).build_http();
        Self { addresses, http: client(false), grpc: client(true) }
    }

    /// Sends one parcel.
    pub(super) async fn send(&self, parcel: &Parcel) -> Verdict {
        let exchange = async {
            match parcel.road {
                Road::Traces => self.call(parcel).await,
                Road::Logs | Road::Metrics => self.post(parcel).await,
            }
        };
        match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
            Ok(Ok(verdict)) => verdict,
            // Not reached, or no answer: the same as in an outage of the network.
            Ok(Err(_)) | Err(_) => Verdict::Later(PAUSE),
        }
    }

    async fn post(&self, parcel: &Parcel) -> Result<Verdict, hyper_util::client::legacy::Error> {
        let path = match parcel.road {
            Road::Logs => "/loki/api/v1/push",
            _ => "/api/v1/write",
        };
        let request = Request::post(format!("http://{}{path}", self.addresses.http))
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .header("x-prometheus-remote-write-version", "0.1.0")
            .header("x-scope-orgid", "anonymous")
            .header("user-agent", "Alloy/v1.10.0")
            .body(Full::new(parcel.body.clone()))
            .expect("every part is plain text");
        let response = self.http.request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(Verdict::Taken);
        }
        let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let after = after.and_then(|text| text.parse().ok()).map_or(PAUSE, Duration::from_secs);
        if status.as_u16() == 429 || status.is_server_error() {
            return Ok(Verdict::Later(after));
        }
        let body = response.into_body().collect().await.map(|body| body.to_bytes());
        let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
        Ok(Verdict::Refused(format!("{status} {text}")))
    }

    async fn call(&self, parcel: &Parcel) -> Result<Verdict, hyper_util::client::legacy::Error> {
        const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        let request = Request::post(format!("http://{}{METHOD}", self.addresses.otlp_grpc))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(parcel.body.clone()))
            .expect("every part is plain text");
        let response = self.grpc.request(request).await?;
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return Ok(Verdict::Later(PAUSE)) };
        let trailers = body.trailers().cloned().unwrap_or_default();
        let code = trailers.get("grpc-status").or_else(|| parts.headers.get("grpc-status"));
        Ok(match code.and_then(|code| code.to_str().ok()) {
            Some("0") => Verdict::Taken,
            // RESOURCE_EXHAUSTED and UNAVAILABLE ask to come back.
            Some("8" | "14") => Verdict::Later(PAUSE),
            code => Verdict::Refused(format!("grpc-status {}", code.unwrap_or("missing"))),
        })
    }
}

/// What one cluster has still to send.
#[derive(Debug)]
pub(super) struct Outbox {
    cluster: &'static str,
    waiting: VecDeque<Parcel>,
    parcels_max: usize,
    was_silent: bool,
    totals: Totals,
}

impl Outbox {
    pub(super) fn new(cluster: &'static str, parcels_max: usize) -> Self {
        let (waiting, totals) = (VecDeque::new(), Totals::default());
        Self { cluster, waiting, parcels_max, was_silent: false, totals }
    }

    pub(super) fn totals(&self) -> Totals {
        self.totals
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    #[cfg(test)]
    pub(super) fn waiting_items(&self) -> Vec<usize> {
        self.waiting.iter().map(|parcel| parcel.n_items).collect()
    }

    /// Takes new parcels. Whoever was silent sends what it kept last first.
    pub(super) fn put(&mut self, parcels: Vec<Parcel>, is_silent: bool) {
        if self.was_silent && !is_silent {
            self.waiting.make_contiguous().reverse();
        }
        self.was_silent = is_silent;
        for parcel in parcels {
            if self.waiting.len() >= self.parcels_max {
                let lost = self.waiting.pop_front().map_or(0, |parcel| parcel.n_items);
                self.totals.dropped += count(lost);
            }
            self.waiting.push_back(parcel);
        }
    }

    /// Sends what waits, until nothing does or the server wants a pause, which is returned.
    pub(super) async fn ship(&mut self, sender: &Sender) -> Option<Duration> {
        if self.was_silent {
            return None;
        }
        while let Some(parcel) = self.waiting.front() {
            match sender.send(parcel).await {
                Verdict::Taken => self.taken(),
                Verdict::Later(pause) => return Some(pause),
                Verdict::Refused(reason) => self.refused(&reason),
            }
        }
        None
    }

    fn taken(&mut self) {
        let Some(parcel) = self.waiting.pop_front() else { return };
        let total = match parcel.road {
            Road::Logs => &mut self.totals.lines,
            Road::Metrics => &mut self.totals.samples,
            Road::Traces => &mut self.totals.spans,
        };
        *total += count(parcel.n_items);
    }

    fn refused(&mut self, reason: &str) {
        let Some(parcel) = self.waiting.pop_front() else { return };
        warn!(cluster = self.cluster, road = ?parcel.road, reason, "the server refused a request");
        self.totals.refused += count(parcel.n_items);
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
