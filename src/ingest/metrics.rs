//! Own counters of the door, so that one equation always holds:
//!
//! ```text
//! received_items = stored_items + refused_items{reason}      per signal and protocol
//! ```
//!
//! Items are counted once their number is known, all at once when their request is answered: a
//! [`Tally`] that is dropped before (the client broke off) books the rest as `abandoned`. A request
//! whose items nobody can count, because its body cannot be decoded, is a refused *request*.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::outcome::{Reason, Rejected};
use crate::model::Signal;

/// What a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Prometheus remote write 1.0.
    RemoteWrite,
    /// Prometheus remote write 2.0.
    RemoteWrite2,
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP, protobuf or JSON.
    OtlpHttp,
    /// Loki push, protobuf or JSON.
    Loki,
}

impl Protocol {
    /// Returns the label value of the counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::RemoteWrite => "remote_write",
            Protocol::RemoteWrite2 => "remote_write_2",
            Protocol::OtlpGrpc => "otlp_grpc",
            Protocol::OtlpHttp => "otlp_http",
            Protocol::Loki => "loki",
        }
    }
}

/// A signal and the protocol it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The signal.
    pub signal: Signal,
    /// The protocol.
    pub protocol: Protocol,
}

impl Lane {
    /// Prometheus remote write 1.0.
    pub const REMOTE_WRITE: Lane =
        Lane { signal: Signal::Metrics, protocol: Protocol::RemoteWrite };
    /// Prometheus remote write 2.0.
    pub const REMOTE_WRITE_2: Lane =
        Lane { signal: Signal::Metrics, protocol: Protocol::RemoteWrite2 };
    /// Loki push.
    pub const LOKI: Lane = Lane { signal: Signal::Logs, protocol: Protocol::Loki };

    /// Returns the lane of a signal that comes over OTLP/gRPC.
    pub const fn otlp_grpc(signal: Signal) -> Lane {
        Lane { signal, protocol: Protocol::OtlpGrpc }
    }

    /// Returns the lane of a signal that comes over OTLP/HTTP.
    pub const fn otlp_http(signal: Signal) -> Lane {
        Lane { signal, protocol: Protocol::OtlpHttp }
    }

    /// All lanes there are; their counters exist from the start, at zero.
    pub const ALL: [Lane; 9] = [
        Lane::REMOTE_WRITE,
        Lane::REMOTE_WRITE_2,
        Lane::otlp_grpc(Signal::Metrics),
        Lane::otlp_http(Signal::Metrics),
        Lane::LOKI,
        Lane::otlp_grpc(Signal::Logs),
        Lane::otlp_http(Signal::Logs),
        Lane::otlp_grpc(Signal::Spans),
        Lane::otlp_http(Signal::Spans),
    ];

    fn labels(self) -> LaneLabels {
        [("signal", self.signal.as_str()), ("protocol", self.protocol.as_str())]
    }

    fn labels_and(self, name: &'static str, value: &'static str) -> LaneLabelsAnd {
        let [signal, protocol] = self.labels();
        [signal, protocol, (name, value)]
    }
}

type LaneLabels = [(&'static str, &'static str); 2];
type LaneLabelsAnd = [(&'static str, &'static str); 3];
type Seconds = Counter<f64, std::sync::atomic::AtomicU64>;

/// How a request ended; the label `outcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything was stored, but for what policy drops.
    Stored,
    /// Some items were refused, the others stored.
    Partial,
    /// Refused for good.
    Refused,
    /// Told to come back later.
    Deferred,
    /// All of it had been stored before, so nothing was done.
    Repeated,
}

impl Ending {
    fn as_str(self) -> &'static str {
        match self {
            Ending::Stored => "stored",
            Ending::Partial => "partial",
            Ending::Refused => "refused",
            Ending::Deferred => "deferred",
            Ending::Repeated => "repeated",
        }
    }
}

/// The counters of this room; cloning costs one counter.
#[derive(Debug, Clone)]
pub struct Metrics {
    families: Arc<Families>,
    lanes: Arc<[LaneCounters]>,
}

#[derive(Debug)]
struct Families {
    refused_items: Family<LaneLabelsAnd, Counter>,
    refused_requests: Family<LaneLabelsAnd, Counter>,
    requests: Family<LaneLabelsAnd, Counter>,
    new_series: Counter,
    forgotten_pushes: Counter,
    in_flight_bytes: Gauge,
    in_flight_requests: Gauge,
}

/// The counters of one lane that every request touches, looked up once at the start.
#[derive(Debug)]
struct LaneCounters {
    lane: Lane,
    received_items: Counter,
    stored_items: Counter,
    encoded_bytes: Counter,
    decoded_bytes: Counter,
    decode_seconds: Seconds,
    request_seconds: Histogram,
}

impl Metrics {
    /// Creates the counters and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let mut registrar = Registrar { registry };
        let received = registrar.family("received_items", "Items that came in, once decoded");
        let stored = registrar.family("stored_items", "Items synced and visible");
        let encoded = registrar.family("encoded_bytes", "Bytes of bodies on the wire");
        let decoded = registrar.family("decoded_bytes", "Bytes of bodies once decompressed");
        let families = Families {
            refused_items: registrar.family_and("refused_items", "Items not stored, by reason"),
            refused_requests: registrar
                .family_and("refused_requests", "Requests refused whole, by reason"),
            requests: registrar.family_and("requests", "Requests by how they ended"),
            new_series: Counter::default(),
            forgotten_pushes: Counter::default(),
            in_flight_bytes: Gauge::default(),
            in_flight_requests: Gauge::default(),
        };
        registrar.registry.register(
            "commonwatch_ingest_in_flight_requests",
            "Requests whose bodies are here and that are not answered yet",
            families.in_flight_requests.clone(),
        );
        registrar.registry.register(
            "commonwatch_ingest_in_flight_bytes",
            "What the requests under way hold, of limits.bytes_in_flight",
            families.in_flight_bytes.clone(),
        );
        let help = "Series registered, because their label bytes were not known yet";
        let new_series = families.new_series.clone();
        registrar.registry.register("commonwatch_ingest_new_series", help, new_series);
        let help = "Requests forgotten within ten minutes, for limits.known_pushes came since";
        let forgotten = families.forgotten_pushes.clone();
        registrar.registry.register("commonwatch_ingest_forgotten_pushes", help, forgotten);
        let decode_seconds: Family<LaneLabels, Seconds> = Family::default();
        registrar.registry.register(
            "commonwatch_ingest_decode_seconds",
            "Time spent on decompressing, walking and looking up series",
            decode_seconds.clone(),
        );
        let request_seconds: Family<LaneLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_5, 2.0, 16)));
        registrar.registry.register(
            "commonwatch_ingest_request_seconds",
            "Time from the first byte of a body to its answer",
            request_seconds.clone(),
        );
        let lanes = Lane::ALL.map(|lane| LaneCounters {
            lane,
            received_items: received.get_or_create_owned(&lane.labels()),
            stored_items: stored.get_or_create_owned(&lane.labels()),
            encoded_bytes: encoded.get_or_create_owned(&lane.labels()),
            decoded_bytes: decoded.get_or_create_owned(&lane.labels()),
            decode_seconds: decode_seconds.get_or_create_owned(&lane.labels()),
            request_seconds: request_seconds.get_or_create_owned(&lane.labels()),
        });
        Self { families: Arc::new(families), lanes: Arc::from(lanes) }
    }

    /// Returns the gauge of the bytes of all requests under way, for `admit` to keep.
    pub fn in_flight_bytes(&self) -> Gauge {
        self.families.in_flight_bytes.clone()
    }

    /// Returns the gauge of the requests under way, for `queue` to keep.
    pub fn in_flight_requests(&self) -> Gauge {
        self.families.in_flight_requests.clone()
    }

    /// Returns the counter of the pushes that were forgotten before their time, for `pushes` to keep.
    pub fn forgotten_pushes(&self) -> Counter {
        self.families.forgotten_pushes.clone()
    }

    fn lane(&self, lane: Lane) -> &LaneCounters {
        self.lanes.iter().find(|counters| counters.lane == lane).expect("ALL holds every lane")
    }

    /// Counts the bytes of one body, on the wire and decompressed.
    pub fn body(&self, lane: Lane, encoded_bytes: usize, decoded_bytes: usize) {
        let counters = self.lane(lane);
        counters.encoded_bytes.inc_by(as_u64(encoded_bytes));
        counters.decoded_bytes.inc_by(as_u64(decoded_bytes));
    }

    /// Adds the time that decoding a request took.
    pub fn decoded_in(&self, lane: Lane, decode_ns: u64) {
        self.lane(lane).decode_seconds.inc_by(seconds(decode_ns));
    }

    /// Counts a request by its end, and how long it took.
    pub fn request(&self, lane: Lane, ending: Ending, request_ns: u64) {
        self.lane(lane).request_seconds.observe(seconds(request_ns));
        let labels = lane.labels_and("outcome", ending.as_str());
        self.families.requests.get_or_create(&labels).inc();
    }

    /// Counts a request that was refused whole.
    pub fn refused_request(&self, lane: Lane, reason: &'static str) {
        let labels = lane.labels_and("reason", reason);
        self.families.refused_requests.get_or_create(&labels).inc();
    }

    /// Counts series that were registered.
    pub fn new_series(&self, n: u64) {
        self.families.new_series.inc_by(n);
    }

    /// Opens the book of one decoded request of `n_received` items.
    pub fn tally(&self, lane: Lane, n_received: u64) -> Tally {
        self.lane(lane).received_items.inc_by(n_received);
        Tally { metrics: self.clone(), lane, n_open: n_received }
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a duration of 2^53 ns is a hundred days")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

struct Registrar<'a> {
    registry: &'a mut Registry,
}

impl Registrar<'_> {
    fn family(&mut self, name: &str, help: &str) -> Family<LaneLabels, Counter> {
        let family = Family::default();
        self.registry.register(format!("commonwatch_ingest_{name}"), help, Family::clone(&family));
        family
    }

    fn family_and(&mut self, name: &str, help: &str) -> Family<LaneLabelsAnd, Counter> {
        let family = Family::default();
        self.registry.register(format!("commonwatch_ingest_{name}"), help, Family::clone(&family));
        family
    }
}

/// The items of one request that are neither stored nor refused yet.
#[derive(Debug)]
pub struct Tally {
    metrics: Metrics,
    lane: Lane,
    n_open: u64,
}

impl Tally {
    /// Books the items that were refused.
    pub fn refused(&mut self, rejected: &Rejected) {
        for &(reason, n) in rejected.counts() {
            self.book(reason, n);
        }
    }

    /// Books all that is left as stored, and returns how many items that were.
    pub fn stored_rest(mut self) -> u64 {
        let n_stored = std::mem::take(&mut self.n_open);
        self.metrics.lane(self.lane).stored_items.inc_by(n_stored);
        n_stored
    }

    /// Books all that is left as refused.
    pub fn refused_rest(mut self, reason: Reason) {
        self.book(reason, self.n_open);
    }

    fn book(&mut self, reason: Reason, n: u64) {
        let n = n.min(self.n_open);
        self.n_open -= n;
        if n > 0 {
            let labels = self.lane.labels_and("reason", reason.as_str());
            self.metrics.families.refused_items.get_or_create(&labels).inc_by(n);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.book(Reason::Abandoned, self.n_open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    }

    #[test]
    fn received_is_stored_and_refused() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let mut rejected = Rejected::default();
        rejected.add(Reason::Future, 3, String::new);

        let mut tally = metrics.tally(Lane::REMOTE_WRITE, 10);
        tally.refused(&rejected);
        let n_stored = tally.stored_rest();

        let text = text(&registry);
        let lane = r#"signal="metrics",protocol="remote_write""#;
        assert_eq!(n_stored, 7);
        for want in [
            format!("commonwatch_ingest_received_items_total{{{lane}}} 10"),
            format!("commonwatch_ingest_stored_items_total{{{lane}}} 7"),
            format!("commonwatch_ingest_refused_items_total{{{lane},reason=\"future\"}} 3"),
        ] {
            assert!(text.contains(&want), "{want} in {text}");
        }
    }

    #[test]
    fn a_request_that_is_dropped_half_way_is_booked_too() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);

        drop(metrics.tally(Lane::LOKI, 5));

        let want = r#"refused_items_total{signal="logs",protocol="loki",reason="abandoned"} 5"#;
        assert!(text(&registry).contains(want));
    }

    #[test]
    fn every_lane_is_there_from_the_start() {
        let mut registry = Registry::default();
        Metrics::register(&mut registry);

        let text = text(&registry);
        assert_eq!(text.matches("received_items_total{").count(), Lane::ALL.len());
    }
}
