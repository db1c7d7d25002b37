//! Everything that is stored, held against what the senders were told.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use super::items::Items;
use super::{SIGNALS, Signal};
use crate::support::Caller;

const PAGE_IDS: u64 = 50_000;
const EXAMPLES_MAX: usize = 10;

/// What the senders were told, by batch.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) acknowledged: BTreeSet<(Signal, u64)>,
    pub(super) unknown: BTreeSet<(Signal, u64)>,
    pub(super) n_refused: usize,
    /// Items of unknown batches that an audit has found: from then on they must stay.
    kept: BTreeSet<(Signal, u64)>,
}

/// Items of one signal, as an audit counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) acknowledged: usize,
    pub(crate) stored: usize,
    /// Acknowledged or seen before, and not there.
    pub(crate) lost: usize,
    /// There more than once.
    pub(crate) doubled: usize,
    /// There with a content that was not sent.
    pub(crate) wrong: usize,
    /// There, and never sent, refused, or gone in an earlier audit.
    pub(crate) invented: usize,
}

impl Count {
    pub(crate) fn is_clean(self) -> bool {
        [self.lost, self.doubled, self.wrong, self.invented] == [0; 4]
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.stored += other.stored;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.wrong += other.wrong;
        self.invented += other.invented;
    }
}

/// What an audit found.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) counts: BTreeMap<Signal, Count>,
    pub(crate) examples: Vec<String>,
}

impl Audit {
    pub(crate) fn total(&self) -> Count {
        let mut total = Count::default();
        self.counts.values().for_each(|count| total += *count);
        total
    }

    fn note(&mut self, example: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }
}

impl Items {
    /// Asks for all that is stored of the first `n_ids` items and holds it against `told`.
    pub(super) fn audit(&self, caller: &Caller, n_ids: u64, told: &mut Told) -> Audit {
        let mut audit = Audit::default();
        for signal in SIGNALS {
            let mut count = Count::default();
            let found = self.stored(caller, signal, n_ids, &mut count, &mut audit);
            told.judge(self, signal, &found, &mut count, &mut audit);
            audit.counts.insert(signal, count);
        }
        audit
    }

    /// Returns how often each item is there, after checking that its content follows from its id.
    fn stored(
        &self,
        caller: &Caller,
        signal: Signal,
        n_ids: u64,
        count: &mut Count,
        audit: &mut Audit,
    ) -> BTreeMap<u64, u32> {
        let (columns, time, rows) = match signal {
            Signal::Samples => (
                "CAST(value AS BIGINT) AS id, labels['writer'] AS what",
                "timestamp",
                "metrics WHERE metric = 'ledger_samples'",
            ),
            Signal::Logs => ("body AS what", "timestamp", "logs WHERE true"),
            Signal::Spans => ("name AS what", "start_time", "spans WHERE true"),
        };
        let per_ms = if signal == Signal::Samples { 1 } else { 1_000_000 };
        let (mut found, mut n_found) = (BTreeMap::new(), 0);
        // In pages below the limit of rows in one answer.
        for page in 0..=n_ids / PAGE_IDS {
            let [from, to] =
                [page * PAGE_IDS, (page + 1) * PAGE_IDS].map(|id| self.at_ms(id) * per_ms);
            for row in caller.sql(&format!(
                "SELECT {columns}, CAST({time} AS BIGINT) AS at FROM {rows} \
                 AND CAST({time} AS BIGINT) >= {from} AND CAST({time} AS BIGINT) < {to}"
            )) {
                n_found += 1;
                match self.id(signal, &row) {
                    Some(id) => *found.entry(id).or_default() += 1,
                    None => {
                        count.wrong += 1;
                        audit.note(format!("{signal:?}: not as it was sent: {row:?}"));
                    }
                }
            }
        }
        let n_rows = caller.sql(&format!("SELECT count(*) AS n FROM {rows}"))[0]["n"].as_u64();
        let n_rows = usize::try_from(n_rows.unwrap()).unwrap();
        assert!(n_found <= n_rows, "{signal:?}: {n_rows} rows are counted, {n_found} are there");
        if n_rows > n_found {
            count.invented += n_rows - n_found;
            audit.note(format!("{signal:?}: {} at times never sent", n_rows - n_found));
        }
        count.stored = n_rows;
        found
    }
}

impl Told {
    fn judge(
        &mut self,
        items: &Items,
        signal: Signal,
        found: &BTreeMap<u64, u32>,
        count: &mut Count,
        audit: &mut Audit,
    ) {
        let of_signal = |set: &BTreeSet<(Signal, u64)>| -> BTreeSet<u64> {
            let mine = set.iter().filter(|(other, _)| *other == signal);
            mine.map(|(_, number)| *number).collect()
        };
        let of_batches = |set: &BTreeSet<(Signal, u64)>| -> BTreeSet<u64> {
            of_signal(set).into_iter().flat_map(|batch| items.ids(batch)).collect()
        };
        let (acknowledged, unknown) = (of_batches(&self.acknowledged), of_batches(&self.unknown));
        let kept = of_signal(&self.kept);
        count.acknowledged = acknowledged.len();
        for id in acknowledged.union(&kept).filter(|id| !found.contains_key(id)) {
            count.lost += 1;
            audit.note(format!("{signal:?} {id}: was acknowledged or seen, and is gone"));
        }
        for (&id, &n_times) in found {
            if n_times > 1 {
                count.doubled += 1;
                audit.note(format!("{signal:?} {id}: there {n_times} times"));
            }
            if unknown.contains(&id) {
                self.kept.insert((signal, id));
            } else if !(acknowledged.contains(&id) || kept.contains(&id)) {
                count.invented += 1;
                audit.note(format!("{signal:?} {id}: never acknowledged, or gone before"));
            }
        }
        // Samples are sent again; of the rest, what is not there now must never come.
        if signal != Signal::Samples {
            self.unknown.retain(|(other, _)| *other != signal);
        }
    }
}
