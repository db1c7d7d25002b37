//! The one who writes: frames a group into the log, syncs it, puts it into the open generation.
//!
//! The engine is plain, synchronous code without a thread or a clock of its own, so the same code
//! runs under the writer's thread and under the simulated disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;

use super::Part;
use super::apply::{Rows, apply};
use super::deltas::{Adding, Delta, LeftOut};
use super::head::{CommonsHead, Generation};
use super::retire::{self, Retirement};
use super::shared::{Shared, Version};
use super::wal::frame::push_frame;
use super::wal::packed::Packer;
use super::wal::payload;
use super::wal::segment::{Segment, WalError};
use crate::model::{Commons, ExpHistogram, Signal};

/// Room for frames that is kept from group to group.
const FRAMES_KEPT_BYTES: usize = 8 << 20;

/// Owns the open segment and the order of groups.
#[derive(Debug)]
pub struct Engine {
    shared: Arc<Shared>,
    segment: Segment,
    next_group: u64,
    frames: Vec<u8>,
    packer: Packer,
    adding: Adding,
    retirement: Retirement,
}

/// A part whose series have slots, ready for the head.
struct Framed {
    head: Arc<CommonsHead>,
    rows: Rows,
}

impl Engine {
    /// Returns an engine that appends to `segment`, numbering groups from `next_group`.
    pub fn new(shared: Arc<Shared>, segment: Segment, next_group: u64) -> Self {
        let retirement = Retirement::default();
        let (frames, packer) = (Vec::new(), Packer::default());
        let adding = Adding::default();
        Self { shared, segment, next_group, frames, packer, adding, retirement }
    }

    /// Returns true when all series of one request are still what they were when they were looked
    /// up; only then may it be committed, before the next step of retirement.
    pub fn may_commit(&self, parts: &[Part]) -> bool {
        retire::are_valid(&self.shared, parts)
    }

    /// Does a bounded part of retiring idle series; returns true when there is more to do at once.
    pub fn retire(&mut self) -> bool {
        self.retirement.step(&self.shared)
    }

    /// Stores the parts of one group: when this returns `Ok`, they are synced and visible; on
    /// `Full` nothing of them is.
    pub fn commit(&mut self, parts: Vec<Part>) -> Result<(), WalError> {
        self.make_segment()?;
        self.rotate_if_large()?;
        self.frames.clear();
        let generation = Arc::clone(&self.shared.version.read().open);
        let framed: Vec<Framed> =
            parts.into_iter().map(|part| self.frame(&generation, part)).collect();
        let start_ns = self.shared.clock.monotonic_ns();
        let result = self.segment.append(&self.frames);
        self.settle_definitions(&framed, result.is_ok());
        match &result {
            Ok(()) => self.adding.settle(&self.shared),
            Err(_) => self.adding.forget(),
        }
        result?;
        self.next_group += 1;
        self.note_sync(start_ns);
        for Framed { head, rows } in framed {
            apply(&self.shared, &generation, &head, rows);
        }
        // One group of large requests must not be kept room for until the next such group.
        self.frames.clear();
        self.frames.shrink_to(FRAMES_KEPT_BYTES);
        let head_bytes = self.shared.version.read().head_bytes();
        self.shared.metrics.head_bytes.set(i64::try_from(head_bytes).unwrap_or(i64::MAX));
        Ok(())
    }

    fn note_sync(&self, start_ns: u64) {
        let metrics = &self.shared.metrics;
        let elapsed_ns = self.shared.clock.monotonic_ns().saturating_sub(start_ns);
        metrics.wal_synced_bytes.inc_by(self.frames.len() as u64);
        metrics.wal_sync_seconds.observe(std::time::Duration::from_nanos(elapsed_ns).as_secs_f64());
    }

    /// Makes the segment that the start had no room for.
    fn make_segment(&mut self) -> Result<(), WalError> {
        if self.segment.is_yet_to_come() {
            let generation = self.shared.version.read().open.number;
            self.segment = self.segment_of(self.segment.number(), generation)?;
        }
        Ok(())
    }

    fn rotate_if_large(&mut self) -> Result<(), WalError> {
        if self.segment.len_bytes() < self.shared.config.segment_size.0 {
            return Ok(());
        }
        let generation = Arc::clone(&self.shared.version.read().open);
        self.segment = self.next_segment(generation.number)?;
        generation.last_segment.store(self.segment.number(), Ordering::SeqCst);
        Ok(())
    }

    fn next_segment(&self, generation: u64) -> Result<Segment, WalError> {
        self.segment_of(self.segment.number() + 1, generation)
    }

    fn segment_of(&self, number: u64, generation: u64) -> Result<Segment, WalError> {
        let ahead_bytes = self.shared.config.segment_ahead.0;
        Segment::create(&*self.shared.disk, number, generation, ahead_bytes)
    }

    fn frame(&mut self, generation: &Generation, part: Part) -> Framed {
        let shared = Arc::clone(&self.shared);
        let head = |commons_idx| generation.commons(&shared.commons, commons_idx);
        match part {
            Part::Samples {
                commons_idx,
                epoch: _,
                series_idx,
                timestamps_ms,
                values,
                starts_ns,
            } => {
                let columns = (timestamps_ms, values, starts_ns);
                self.frame_samples(head(commons_idx), series_idx, columns)
            }
            Part::Deltas { commons_idx, epoch: _, deltas, left_out } => {
                self.frame_totals(head(commons_idx), commons_idx, deltas, &left_out)
            }
            Part::ExpHistograms { commons_idx, epoch: _, points } => {
                self.frame_exp_histograms(head(commons_idx), points)
            }
            Part::Logs { commons, batch } => {
                self.frame_rows(generation, &commons, Signal::Logs, batch)
            }
            Part::Spans { commons, batch } => {
                self.frame_rows(generation, &commons, Signal::Spans, batch)
            }
            Part::Exemplars { commons, batch } => {
                self.frame_rows(generation, &commons, Signal::Exemplars, batch)
            }
            Part::Points { commons, batch } => {
                self.frame_rows(generation, &commons, Signal::Points, batch)
            }
            Part::Descriptions { commons, described } => {
                let idx = self.shared.commons.index_of(&commons);
                push_frame(&mut self.frames, self.next_group, |out| {
                    payload::push_descriptions(out, &commons, &described);
                });
                Framed { head: head(idx), rows: Rows::Descriptions(described) }
            }
        }
    }

    fn frame_samples(
        &mut self,
        head: Arc<CommonsHead>,
        series_idx: Vec<u32>,
        (timestamps_ms, values, starts_ns): (Vec<i64>, Vec<f64>, Vec<i64>),
    ) -> Framed {
        let slots = self.slots(&head, series_idx);
        push_frame(&mut self.frames, self.next_group, |out| {
            let (commons, samples) = (&head.entry.name, (&*timestamps_ms, &*values));
            if starts_ns.is_empty() {
                payload::push_samples(out, commons, &slots, samples.0, samples.1);
            } else {
                payload::push_started_samples(out, commons, &slots, samples, &starts_ns);
            }
        });
        Framed { head, rows: Rows::Samples(slots, timestamps_ms, values, starts_ns) }
    }

    fn frame_totals(
        &mut self,
        head: Arc<CommonsHead>,
        commons_idx: u32,
        deltas: Vec<Delta>,
        left_out: &LeftOut,
    ) -> Framed {
        let of = (commons_idx, &*head.entry);
        let summed = self.adding.add_up(&self.shared, of, deltas, left_out);
        let slots = self.slots(&head, summed.iter().map(|(idx, _)| *idx).collect());
        let totals: Vec<_> =
            slots.into_iter().zip(summed).map(|(slot, (_, one))| (slot, one)).collect();
        if !totals.is_empty() {
            push_frame(&mut self.frames, self.next_group, |out| {
                payload::push_totals(out, &head.entry.name, &totals);
            });
        }
        Framed { head, rows: Rows::Totals(totals) }
    }

    fn frame_exp_histograms(
        &mut self,
        head: Arc<CommonsHead>,
        points: Vec<(u32, i64, ExpHistogram)>,
    ) -> Framed {
        let slots = self.slots(&head, points.iter().map(|(series_idx, ..)| *series_idx).collect());
        let points = slots.into_iter().zip(points);
        let points: Vec<_> =
            points.map(|(slot, (_, ms, histogram))| (slot, ms, histogram)).collect();
        push_frame(&mut self.frames, self.next_group, |out| {
            let points: Vec<_> = points.iter().map(|(slot, ms, h)| (*slot, *ms, h)).collect();
            payload::push_exp_histograms(out, &head.entry.name, &points);
        });
        Framed { head, rows: Rows::ExpHistograms(points) }
    }

    fn frame_rows(
        &mut self,
        generation: &Generation,
        commons: &Commons,
        signal: Signal,
        batch: RecordBatch,
    ) -> Framed {
        let idx = self.shared.commons.index_of(commons);
        push_frame(&mut self.frames, self.next_group, |out| {
            payload::push_rows(out, &mut self.packer, commons, signal, &batch);
        });
        let head = generation.commons(&self.shared.commons, idx);
        Framed { head, rows: Rows::Of(signal, batch) }
    }

    /// Turns series into slots in place, framing the definitions of those the log does not know yet.
    fn slots(&mut self, head: &CommonsHead, mut series_idx: Vec<u32>) -> Vec<u32> {
        // The registry's lock is never waited for under the head's: readers take them the other way.
        let (from, new_series) = {
            let mut metrics = head.metrics.write();
            for idx in &mut series_idx {
                *idx = metrics.slot(*idx);
            }
            let from = metrics.n_framed;
            let new_series = metrics.series_from(from).to_vec();
            metrics.n_framed = u32::try_from(metrics.n_slots()).expect("slots have 32 bits");
            (from, new_series)
        };
        if !new_series.is_empty() {
            let registry = head.entry.registry.read();
            let n_new = u32::try_from(new_series.len()).expect("slots have 32 bits");
            let slots = from..from + n_new;
            let definitions = new_series.iter().zip(slots).map(|(&series_idx, slot)| {
                (slot, &registry.series(series_idx).labels, registry.meta(series_idx))
            });
            push_frame(&mut self.frames, self.next_group, |out| {
                payload::push_series(out, &head.entry.name, definitions);
            });
        }
        series_idx
    }

    // What was framed is on disk, or must be framed again.
    fn settle_definitions(&self, framed: &[Framed], is_synced: bool) {
        for Framed { head, rows } in framed {
            if matches!(rows, Rows::Samples(..) | Rows::ExpHistograms(..) | Rows::Totals(..)) {
                let mut metrics = head.metrics.write();
                if is_synced {
                    metrics.n_defined = metrics.n_framed;
                } else {
                    metrics.n_framed = metrics.n_defined;
                }
            }
        }
    }

    /// Returns true when the open generation is old or large enough to be sealed.
    pub fn wants_seal(&self) -> bool {
        let version = self.shared.version.read();
        let open = &version.open;
        let age_ns = u128::from(self.shared.clock.monotonic_ns().saturating_sub(open.opened_at_ns));
        let config = &self.shared.config;
        let is_large = open.bytes() >= config.head_soft.0;
        if is_large {
            self.shared.metrics.pressure.get_or_create(&[("mark", "soft".to_owned())]).inc();
        }
        !open.is_empty() && (is_large || age_ns >= config.flush_age.0.as_nanos())
    }

    /// Seals the open generation, if it holds anything, and opens the next.
    pub fn seal(&mut self) -> Result<(), WalError> {
        let open = Arc::clone(&self.shared.version.read().open);
        if open.is_empty() {
            return Ok(());
        }
        let number = open.number + 1;
        self.segment = self.next_segment(number)?;
        let now_ns = self.shared.clock.monotonic_ns();
        open.sealed(now_ns);
        let next = Arc::new(Generation::new(number, self.segment.number(), now_ns));
        let mut version = self.shared.version.write();
        let mut sealed = version.sealed.clone();
        sealed.push(open);
        *version = Version { files: Arc::clone(&version.files), sealed, open: next };
        Ok(())
    }
}
