//! Rows go into a generation: those that were just synced, and those that the log held.
//!
//! What was just framed is known to be whole. Of the log a frame may be lost, so what it says of a slot
//! that nothing defines is left out, and counted.

use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;

use super::deltas::{State, Summed, Total};
use super::descriptions::Described;
use super::head::metrics::MetricsHead;
use super::head::{CommonsHead, Generation};
use super::retire;
use super::shared::Shared;
use super::wal::payload::Payload;
use crate::model::metric::stale_marker;
use crate::model::{Commons, ExpHistogram, Labels, SeriesMeta, Signal};

/// Rows whose series have slots.
pub(super) enum Rows {
    Samples(Vec<u32>, Vec<i64>, Vec<f64>, Vec<i64>),
    Totals(Vec<(u32, Summed)>),
    ExpHistograms(Vec<(u32, i64, ExpHistogram)>),
    Of(Signal, RecordBatch),
    Descriptions(Vec<Described>),
}

/// Puts rows that are on disk into a generation.
pub(super) fn apply(shared: &Shared, generation: &Generation, head: &CommonsHead, rows: Rows) {
    match rows {
        Rows::Samples(slots, timestamps_ms, values, starts_ns) => {
            let mut metrics = head.metrics.write();
            if starts_ns.is_empty() && !metrics.has_starts() {
                for ((slot, ms), value) in slots.into_iter().zip(timestamps_ms).zip(values) {
                    metrics.append(slot, ms, value);
                }
            } else {
                let samples = started(slots, timestamps_ms, values, starts_ns);
                for (slot, ms, value, start_ns) in samples {
                    metrics.append_started(slot, ms, value, start_ns);
                }
            }
        }
        Rows::Totals(totals) => {
            let mut metrics = head.metrics.write();
            totals.into_iter().for_each(|(slot, one)| append_total(&mut metrics, slot, one));
        }
        Rows::ExpHistograms(points) => {
            let mut metrics = head.metrics.write();
            for (slot, ms, histogram) in points {
                metrics.append_exp(slot, ms, histogram);
            }
        }
        Rows::Of(signal, batch) => head.rows(signal).write().append(batch),
        Rows::Descriptions(described) => shared.describe(&head.entry.name, described),
    }
    head.count_bytes(generation);
}

fn append_total(metrics: &mut MetricsHead, slot: u32, summed: Summed) {
    let ms = summed.time_ms();
    match summed {
        Summed::End(_) => metrics.append_started(slot, ms, stale_marker(), 0),
        Summed::Total(State { start_ns, total, .. }) => match total {
            Total::Number(number) => metrics.append_started(slot, ms, number, start_ns),
            Total::Histogram(histogram) => metrics.append_exp(slot, ms, *histogram),
        },
    }
}

/// Returns samples with the time since when each counts, 0 where nothing says so.
fn started(
    slots: Vec<u32>,
    timestamps_ms: Vec<i64>,
    values: Vec<f64>,
    starts_ns: Vec<i64>,
) -> impl Iterator<Item = (u32, i64, f64, i64)> {
    let starts = starts_ns.into_iter().chain(std::iter::repeat(0));
    let samples = slots.into_iter().zip(timestamps_ms).zip(values).zip(starts);
    samples.map(|(((slot, ms), value), start_ns)| (slot, ms, value, start_ns))
}

/// Puts a payload read from the log into a generation; samples of slots whose definition was lost
/// are left out, and their number returned.
pub(super) fn apply_replayed(
    shared: &Shared,
    generation: &Generation,
    commons: &Commons,
    payload: Payload,
) -> usize {
    let idx = shared.commons.index_of(commons);
    let head = generation.commons(&shared.commons, idx);
    let mut n_lost = 0;
    match payload {
        Payload::Series(series) => {
            define(&head, series, retire::seconds(shared.clock.monotonic_ns()));
        }
        Payload::Samples(slots, timestamps_ms, values, starts_ns) => {
            n_lost = replay_samples(&head, started(slots, timestamps_ms, values, starts_ns));
        }
        Payload::Totals(totals) => {
            shared.totals_changed.store(true, Ordering::Release);
            n_lost = replay_totals(&head, totals);
        }
        Payload::ExpHistograms(points) => n_lost = replay_exp_histograms(&head, points),
        Payload::Logs(batch) => head.logs.write().append(batch),
        Payload::Spans(batch) => head.spans.write().append(batch),
        Payload::Exemplars(batch) => head.exemplars.write().append(batch),
        Payload::Points(batch) => head.points.write().append(batch),
        Payload::Descriptions(described) => shared.describe(commons, described),
    }
    head.count_bytes(generation);
    n_lost
}

fn replay_samples(
    head: &CommonsHead,
    samples: impl Iterator<Item = (u32, i64, f64, i64)>,
) -> usize {
    let mut metrics = head.metrics.write();
    let mut n_lost = 0;
    for (slot, ms, value, start_ns) in samples {
        if metrics.is_defined(slot) {
            metrics.append_started(slot, ms, value, start_ns);
        } else {
            n_lost += 1;
        }
    }
    n_lost
}

fn replay_exp_histograms(head: &CommonsHead, points: Vec<(u32, i64, ExpHistogram)>) -> usize {
    let mut metrics = head.metrics.write();
    let mut n_lost = 0;
    for (slot, ms, histogram) in points {
        if metrics.is_defined(slot) {
            metrics.append_exp(slot, ms, histogram);
        } else {
            n_lost += 1;
        }
    }
    n_lost
}

/// Puts totals read from the log into a generation, and goes on counting from them.
fn replay_totals(head: &CommonsHead, replayed: Vec<(u32, Summed)>) -> usize {
    let registry = head.entry.registry.read();
    let mut metrics = head.metrics.write();
    let mut totals = head.entry.totals.lock();
    let mut n_lost = 0;
    for (slot, summed) in replayed {
        if !metrics.is_defined(slot) {
            n_lost += 1;
            continue;
        }
        if let Summed::Total(state) = &summed {
            let series_idx = metrics.series_of(slot);
            totals.restore(series_idx, registry.series(series_idx).id, state.clone());
        }
        append_total(&mut metrics, slot, summed);
    }
    n_lost
}

/// The most series that one frame can define, rounded up: each takes more than 16 of its bytes.
const SLOT_GAP_MAX: u32 = 1 << 24;

fn define(head: &CommonsHead, series: Vec<(u32, Labels, SeriesMeta)>, now_s: u32) {
    let mut registry = head.entry.registry.write();
    let mut metrics = head.metrics.write();
    for (slot, labels, meta) in series {
        // Slots are dense, so only as many can be missing as a lost frame can define; memory is not
        // taken for a number that no writer has written.
        if slot >= metrics.n_defined.saturating_add(SLOT_GAP_MAX) {
            tracing::warn!(
                slot,
                n_defined = metrics.n_defined,
                "a definition names a slot that cannot be"
            );
            continue;
        }
        let series_idx = registry.find(&labels);
        let series_idx = series_idx.unwrap_or_else(|| registry.insert(&labels, &meta, now_s));
        metrics.define(slot, series_idx);
        metrics.n_defined = metrics.n_defined.max(slot + 1);
        metrics.n_framed = metrics.n_defined;
    }
    head.entry.note_len(&registry);
}
