//! Since when the samples of a generation count, where their senders say so.
//!
//! A counter says the same from its start to its end, so what is kept is where in a series' samples the
//! answer changes. Series whose senders say nothing have no entry, and cost nothing.

use hashbrown::HashMap;

/// From this sample on, counted in the order of arrival, the start is this one.
type Change = (u32, i64);

/// The start times of series, by slot.
#[derive(Debug, Default)]
pub struct Starts {
    changes: HashMap<u32, Vec<Change>>,
    n_changes: usize,
}

impl Starts {
    /// Returns true when no sample has one.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Notes the start of a sample of a slot, the `idx`th; 0 when its sender does not say.
    pub fn note(&mut self, slot: u32, idx: usize, start_ns: i64) {
        let changes = match self.changes.get_mut(&slot) {
            Some(changes) => changes,
            None if start_ns == 0 => return,
            None => self.changes.entry(slot).or_default(),
        };
        if changes.last().map_or(0, |(_, last)| *last) != start_ns {
            let idx = u32::try_from(idx).expect("the head's size is limited");
            changes.push((idx, start_ns));
            self.n_changes += 1;
        }
    }

    /// Returns the starts of a slot's samples, for a walk in the order of arrival.
    pub fn of(&self, slot: u32) -> Walk<'_> {
        let changes = self.changes.get(&slot).map_or(&[][..], Vec::as_slice);
        Walk { changes, now_ns: 0, idx: 0 }
    }

    /// Returns an estimate of the memory held.
    pub fn size_bytes(&self) -> usize {
        self.changes.allocation_size() + self.n_changes * size_of::<Change>() * 4 / 3
    }
}

/// The starts of one series' samples, one after the other.
#[derive(Debug, Clone)]
pub struct Walk<'s> {
    changes: &'s [Change],
    now_ns: i64,
    idx: u32,
}

impl Walk<'_> {
    /// Returns true when no sample has one.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Returns the start of the next sample, ns since 1970 UTC, 0 for none.
    pub fn step(&mut self) -> i64 {
        if let [(from, start_ns), rest @ ..] = self.changes
            && *from <= self.idx
        {
            (self.now_ns, self.changes) = (*start_ns, rest);
        }
        self.idx += 1;
        self.now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(starts_ns: &[i64], n_changes: usize) {
        let mut starts = Starts::default();
        for (idx, &start_ns) in starts_ns.iter().enumerate() {
            starts.note(3, idx, start_ns);
        }

        let mut walk = starts.of(3);
        let read: Vec<i64> = starts_ns.iter().map(|_| walk.step()).collect();
        assert_eq!(read, starts_ns);
        assert_eq!(starts.n_changes, n_changes);
        assert_eq!(starts.is_empty(), n_changes == 0);
    }

    #[test]
    fn starts_are_kept_where_they_change() {
        check(&[], 0);
        check(&[0, 0, 0], 0);
        check(&[7, 7, 7, 7], 1);
        check(&[0, 7, 7, 0, 0, 9, 7], 4);
    }

    #[test]
    fn a_slot_without_starts_has_none() {
        let mut starts = Starts::default();
        starts.note(1, 0, 5);

        assert_eq!([starts.of(0).step(), starts.of(2).step()], [0, 0]);
        assert!(starts.of(0).is_empty() && !starts.of(1).is_empty());
    }
}
