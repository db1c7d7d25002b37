//! By how much each series of a sender grew.
//!
//! A request may come again, because its answer was lost or came late. So a sender's samples count in the
//! order of their times: one that is older than the last is passed over, and so is a difference of the
//! same time.

use hashbrown::HashMap;

/// A sender's series that was silent for so long makes room for a new one.
pub(super) const SILENT_NS: i64 = 15 * 60 * 1_000_000_000;
/// Silent ones are looked for no more often: a flood of new series costs one look each, not a look at all
/// that are known.
pub(super) const SWEEP_EVERY_NS: i64 = 1_000_000_000;

/// A sample of a series that is added up with others.
#[derive(Debug, Clone, Copy)]
pub struct FoldedSample {
    /// Tells the sender's series from the others.
    pub wire_id: u128,
    /// When, ns since 1970 UTC.
    pub time_ns: i64,
    /// How much.
    pub value: f64,
    /// Whether the value is a difference and not a total.
    pub is_difference: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    total_id: u64,
    /// Its last sample, and when that was by the sender's clock.
    last_value: f64,
    last_ns: i64,
    /// By our clock.
    seen_ns: i64,
}

/// The series of the senders of one commons.
#[derive(Debug)]
pub(super) struct Senders {
    by_wire_id: HashMap<u128, Sender>,
    max: usize,
    /// When silent ones are looked for next, if there is no room by then.
    sweep_at_ns: i64,
    /// Until then first values are old news.
    warm_at_ns: i64,
}

impl Senders {
    /// Returns a memory of at most so many, to which first values are old news until `warm_at_ns`.
    pub(super) fn new(warm_at_ns: i64, max: usize) -> Self {
        Self { by_wire_id: HashMap::new(), max, sweep_at_ns: i64::MIN, warm_at_ns }
    }

    /// Returns the total that each is added to.
    pub(super) fn total_ids(&self) -> impl Iterator<Item = u64> {
        self.by_wire_id.values().map(|sender| sender.total_id)
    }

    /// Returns by how much a sender's series grew, `None` when there is no room to remember it.
    pub(super) fn growth(
        &mut self,
        total_id: u64,
        sample: FoldedSample,
        now_ns: i64,
    ) -> Option<f64> {
        let FoldedSample { wire_id, time_ns, value, is_difference } = sample;
        let now = Sender { total_id, last_value: value, last_ns: time_ns, seen_ns: now_ns };
        if let Some(sender) = self.by_wire_id.get_mut(&wire_id) {
            sender.seen_ns = now_ns;
            if time_ns < sender.last_ns || (is_difference && time_ns == sender.last_ns) {
                return Some(0.0);
            }
            let before = std::mem::replace(sender, now).last_value;
            let is_whole = is_difference || value < before;
            return Some(if is_whole { value } else { value - before });
        }
        let is_remembered = self.has_room(now_ns);
        if is_remembered {
            self.by_wire_id.insert(wire_id, now);
        }
        match is_difference {
            // It counts all the same: only whether it came before cannot be told.
            true => Some(value),
            false => is_remembered.then_some(if now_ns >= self.warm_at_ns { value } else { 0.0 }),
        }
    }

    /// Returns true when one more sender can be remembered, silent ones forgotten.
    fn has_room(&mut self, now_ns: i64) -> bool {
        if self.by_wire_id.len() >= self.max && now_ns >= self.sweep_at_ns {
            let mut oldest_ns = now_ns;
            self.by_wire_id.retain(|_, sender| {
                let is_heard = now_ns.saturating_sub(sender.seen_ns) < SILENT_NS;
                oldest_ns = if is_heard { oldest_ns.min(sender.seen_ns) } else { oldest_ns };
                is_heard
            });
            let next_ns = oldest_ns.saturating_add(SILENT_NS);
            self.sweep_at_ns = next_ns.max(now_ns.saturating_add(SWEEP_EVERY_NS));
        }
        self.by_wire_id.len() < self.max
    }
}
