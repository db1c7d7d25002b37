//! What must hold of any bytes that a sender may put into a body; called by `crate::fuzzing`.
//!
//! Each body goes through the code that the routes call, into a store in memory, and what comes of
//! it is held against the protobuf library where there is one: what that can read, our walkers read
//! too, and they count the same items. Whatever was decoded must be fit for storage.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use parking_lot::Mutex;
use prost::Message as _;

use super::records::{Decoded, Parser};
use super::wire::WireFault;
use super::{
    Encoding, Ingest, IngestError, Limits, Metrics, Parts, Sender, Store, TimeBounds, remote_write,
};
use crate::base::ManualClock;
use crate::derive::{self, Derive};
use crate::model::{Commons, Description, Grant, Labels, SeriesMeta};
use crate::storage::{AppendError, Epoch, Part, RegisterError, SeriesRef};
use crate::tagging::{self, Tagger};

pub use super::loki_push::fuzzing::{loki_json, loki_labels, loki_pb};
pub use super::otlp::fuzzing::{
    otlp_grpc, otlp_logs_json, otlp_logs_pb, otlp_metrics_json, otlp_metrics_pb, otlp_traces_json,
    otlp_traces_pb,
};

/// What the clock shows, ms since 1970 UTC.
pub(super) const NOW_MS: i64 = 1_800_000_000_000;

/// A series as it was registered: its commons and labels.
type Registered = (u32, Labels);

/// Registers whatever it is asked to and keeps it for one body.
#[derive(Debug, Default)]
struct Memory {
    commons: Mutex<Vec<Commons>>,
    by_key: Mutex<HashMap<u128, SeriesRef>>,
    series: Mutex<Vec<Registered>>,
}

#[async_trait]
impl Store for Memory {
    fn lookup(&self, keys: &[u128], out: &mut Vec<Option<SeriesRef>>) -> Epoch {
        let by_key = self.by_key.lock();
        out.clear();
        out.extend(keys.iter().map(|key| by_key.get(key).copied()));
        Epoch::FIRST
    }

    fn register(
        &self,
        key: u128,
        commons: &Commons,
        labels: &Labels,
        _: &SeriesMeta,
    ) -> Result<SeriesRef, RegisterError> {
        assert!(Labels::from_packed(labels.packed()).is_some(), "not a label set: {labels}");
        assert!(!labels.metric().is_empty(), "a series without a name: {labels}");
        let mut all = self.commons.lock();
        let place = all.iter().position(|known| known == commons).unwrap_or_else(|| {
            all.push(commons.clone());
            all.len() - 1
        });
        let commons_idx = u32::try_from(place).expect("a body has few commons");
        let mut series = self.series.lock();
        let registered = (commons_idx, labels.clone());
        let place = series.iter().position(|known| *known == registered).unwrap_or_else(|| {
            series.push(registered);
            series.len() - 1
        });
        let series_idx = u32::try_from(place).expect("a body has few series");
        let found = SeriesRef { commons_idx, series_idx };
        self.by_key.lock().insert(key, found);
        Ok(found)
    }

    fn labels_of(&self, series: SeriesRef, _: Epoch) -> Option<(Labels, Arc<str>)> {
        let at = usize::try_from(series.series_idx).expect("an index of a short list");
        Some((self.series.lock()[at].1.clone(), Arc::from("")))
    }

    fn is_news(&self, _: &Commons, metric: &str, _: &Description) -> bool {
        assert!(!metric.is_empty(), "a description of nothing");
        true
    }

    fn commons_with(&self, _: &[String]) -> Vec<Commons> {
        self.commons.lock().clone()
    }

    fn description(&self, _: &Commons, _: &str) -> Option<Description> {
        None
    }

    fn commons(&self, commons_idx: u32) -> Commons {
        self.commons.lock()[usize::try_from(commons_idx).expect("it was given out here")].clone()
    }

    async fn append(&self, _: Vec<Part>) -> Result<(), AppendError> {
        Ok(())
    }
}

/// The room for one body: nothing that an earlier body left behind is seen, except by tagging, which
/// learns.
pub(super) struct Room {
    pub(super) ingest: Ingest,
    pub(super) grant: Grant,
    store: Arc<Memory>,
}

impl Room {
    /// Returns an empty room with the default limits.
    pub(super) fn new() -> Self {
        static TAGGER: LazyLock<Arc<Tagger>> = LazyLock::new(|| {
            let loaded = Tagger::load(&tagging::Config::default());
            Arc::new(loaded.expect("the data files that are built in can be read"))
        });
        // Registering them takes longer than most bodies.
        static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
            Metrics::register(&mut prometheus_client::registry::Registry::default())
        });
        let store = Arc::<Memory>::default();
        let clock = ManualClock::at_ms(NOW_MS);
        let derive = Derive::new(
            derive::Config::default(),
            Arc::clone(&TAGGER),
            Arc::<ManualClock>::clone(&clock),
            derive::Metrics::default(),
        );
        let ingest = Ingest::new(Parts {
            store: Arc::<Memory>::clone(&store),
            tagger: Arc::clone(&TAGGER),
            derive,
            limits: Limits::default(),
            retention_ms: Some(90 * 86_400_000),
            otlp: super::otlp::Config { keep_points: true, ..Default::default() },
            metrics: METRICS.clone(),
            clock,
        });
        Self { ingest, grant: Grant::open(), store }
    }

    /// Returns who sends.
    pub(super) fn sender(&self) -> Sender<'_> {
        Sender { grant: &self.grant, tenant: None }
    }

    /// Checks that storage may take the parts as they are.
    pub(super) fn check_parts(&self, parts: &[Part]) {
        for part in parts {
            match part {
                Part::Samples { commons_idx, series_idx, timestamps_ms, values, .. } => {
                    assert_eq!(series_idx.len(), timestamps_ms.len());
                    assert_eq!(series_idx.len(), values.len());
                    series_idx.iter().for_each(|idx| self.check_series(*commons_idx, *idx));
                    timestamps_ms.iter().for_each(|ms| check_ms(self.ingest.time_bounds(), *ms));
                }
                Part::ExpHistograms { commons_idx, points, .. } => {
                    for (series_idx, ms, _) in points {
                        self.check_series(*commons_idx, *series_idx);
                        check_ms(self.ingest.time_bounds(), *ms);
                    }
                }
                Part::Deltas { commons_idx, deltas, .. } => {
                    for delta in deltas {
                        self.check_series(*commons_idx, delta.series_idx);
                        check_ms(self.ingest.time_bounds(), delta.time_ns.div_euclid(1_000_000));
                    }
                }
                Part::Logs { batch, .. } => check_json(batch, &["attributes", "resource"]),
                Part::Exemplars { batch, .. } => check_json(batch, &["exemplar_labels", "labels"]),
                Part::Points { batch, .. } => {
                    check_json(batch, &["attributes", "resource", "labels"]);
                }
                Part::Descriptions { .. } => {}
                Part::Spans { batch, .. } => {
                    check_json(batch, &["attributes", "resource", "events", "links"]);
                }
            }
        }
    }

    fn check_series(&self, commons_idx: u32, series_idx: u32) {
        let at = usize::try_from(series_idx).expect("an index of a short list");
        assert_eq!(self.store.series.lock()[at].0, commons_idx, "a sample of another's series");
    }

    /// Checks what records were made of.
    pub(super) fn check_decoded(&self, decoded: &Decoded) {
        self.check_parts(&decoded.parts);
        assert!(decoded.rejected.total() <= decoded.n_received, "more refused than received");
        for logs in &decoded.logs {
            let n_rows: usize = logs.runs.iter().map(|(_, n)| n).sum();
            assert_eq!(n_rows, logs.batch.num_rows(), "each row has one origin");
        }
    }
}

fn check_ms(bounds: TimeBounds, ms: i64) {
    let (min_ms, max_ms) = bounds.in_ms();
    assert!((min_ms..=max_ms).contains(&ms), "{ms} ms is out of bounds");
}

/// What is stored as JSON is JSON.
fn check_json(batch: &RecordBatch, names: &[&str]) {
    for name in names {
        let column = batch.column_by_name(name).expect("the signal's schema has it");
        let texts = cast(column, &DataType::Utf8).expect("text is text");
        for text in texts.as_string::<i32>().iter().flatten() {
            let read = serde_json::from_str::<serde::de::IgnoredAny>(text);
            // Deeper than `serde_json` reads by recursion is no mistake of ours.
            let is_fine = read.is_ok_and(|_| true) || text.matches(['[', '{']).count() > 120;
            assert!(is_fine, "{name} is not JSON: {text}");
        }
    }
}

/// What the protobuf library reads, a walker reads. It refuses groups, which nobody has sent for
/// fifteen years, and the library skips them.
pub(super) fn check_read(error: Option<&IngestError>, is_protobuf: bool) {
    if let Some(IngestError::Wire(error)) = error {
        assert!(!is_protobuf || error.fault == WireFault::WireType, "{error}");
    }
}

/// A remote-write body as it comes over the wire.
pub fn rw1_snappy(bytes: &[u8]) {
    let room = Room::new();
    let mut permit = room.ingest.admit.enter(&room.grant.name);
    if let Ok(body) = room.ingest.bodies.decompress(Encoding::Snappy, bytes, &mut permit) {
        rw1_walk(&body);
    }
}

/// A remote-write body without its compression.
pub fn rw1_walk(body: &[u8]) {
    let room = Room::new();
    let decoded = remote_write::decode(&room.ingest, room.sender(), body);
    let reference = remote_write::proto::WriteRequest::decode(body).ok();
    check_read(decoded.as_ref().err(), reference.is_some());
    let Ok(batch) = decoded else { return };
    room.check_parts(&batch.parts);
    if let Some(reference) = reference {
        let items = |series: &remote_write::proto::TimeSeries| {
            series.samples.len() + series.exemplars.len() + series.histograms.len()
        };
        let n_items: usize = reference.timeseries.iter().map(items).sum();
        assert_eq!(batch.n_received, n_items as u64, "items are neither lost nor invented");
    }
    let again = remote_write::decode(&room.ingest, room.sender(), body);
    let again = again.expect("what was read once is read again");
    let columns = |parts: &[Part]| format!("{parts:?}");
    assert_eq!(columns(&again.parts), columns(&batch.parts), "known series take the same samples");
}

/// A body of remote write 2.0 without its compression.
pub fn rw2_walk(body: &[u8]) {
    let room = Room::new();
    let decoded = remote_write::decode_v2(&room.ingest, room.sender(), body);
    let reference = remote_write::proto2::Request::decode(body).ok();
    check_read(decoded.as_ref().err(), reference.is_some());
    let Ok(batch) = decoded else { return };
    room.check_parts(&batch.parts);
    if let Some(reference) = reference {
        let items = |series: &remote_write::proto2::TimeSeries| {
            series.samples.len() + series.exemplars.len() + series.histograms.len()
        };
        let n_items: usize = reference.timeseries.iter().map(items).sum();
        assert_eq!(batch.n_received, n_items as u64, "items are neither lost nor invented");
    }
    let again = remote_write::decode_v2(&room.ingest, room.sender(), body);
    assert_eq!(again.expect("what was read once is read again").n_received, batch.n_received);
}

/// A compressed body; the first byte says in which way. Whatever it claims, it stays within limits,
/// and what was reserved is given back.
pub fn zstd_gzip_limit(bytes: &[u8]) {
    let Some((way, encoded)) = bytes.split_first() else { return };
    let encoding = match way % 5 {
        0 => Encoding::Gzip,
        1 => Encoding::Zstd,
        2 => Encoding::Deflate,
        3 => Encoding::Snappy,
        _ => Encoding::Identity,
    };
    let room = Room::new();
    let bodies = &room.ingest.bodies;
    let mut permit = room.ingest.admit.enter(&room.grant.name);
    let n_reserved = match bodies.decompress(encoding, encoded, &mut permit) {
        Ok(body) => {
            bodies.check_decoded(encoded.len(), body.len()).expect("a body is within limits");
            body.len()
        }
        Err(error) => {
            assert!(error.status().is_client_error(), "{error}");
            0
        }
    };
    assert!(encoding == Encoding::Identity || permit.n_bytes() >= n_reserved, "held, not reserved");
    drop(permit);
    assert_eq!(room.ingest.admit.in_flight_bytes(), 0);
}

/// JSON as the pull parser reads it: it agrees with `serde_json` on what is JSON.
pub fn json_records(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parser = Parser::new(text);
    let read = parser.skip().and_then(|()| parser.end());
    let reference = serde_json::from_str::<serde::de::IgnoredAny>(text);
    if let (Ok(()), Err(error)) = (&read, &reference) {
        // The one difference: half a surrogate pair, as JavaScript writes it, is taken.
        let text = error.to_string();
        let is_known = text.contains("surrogate") || text.contains("hex escape");
        assert!(is_known || text.contains("recursion limit"), "{text}");
    }
    if let (Err(error), Ok(_)) = (&read, &reference) {
        assert!(error.to_string().contains("nested deeper"), "{error}");
    }
    // A reader that stops half-way, as the dialects do.
    drop(Parser::new(text).object(|parser, name| {
        if name.len() % 2 == 0 { parser.skip() } else { parser.array(|parser, _| parser.skip()) }
    }));
    drop(Parser::new(text).string());
    drop(Parser::new(text).number());
}
