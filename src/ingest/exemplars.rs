//! How many exemplars are kept: a few a minute of each series, many of each commons. They are examples,
//! and one more of the same tells nobody anything; what is beyond is counted and not kept.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Ingest;
use super::limits::Limits;
use super::outcome::{Reason, Refusal};
use crate::model::Labels;
use crate::storage::SeriesRef;

const MINUTE_NS: u64 = 60_000_000_000;

/// Counts the exemplars of the minute.
#[derive(Debug)]
pub struct Exemplars {
    limits: Arc<Limits>,
    minute: Mutex<Minute>,
}

#[derive(Debug, Default)]
struct Minute {
    number: u64,
    of_series: HashMap<SeriesRef, u32>,
    of_commons: HashMap<u32, u32>,
}

impl Exemplars {
    /// Returns a counter at zero.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self { limits, minute: Mutex::default() }
    }

    /// Takes one exemplar of a series, or says that there were enough.
    pub fn admit(&self, series: SeriesRef, now_ns: u64) -> Result<(), Refusal> {
        let mut minute = self.minute.lock();
        let number = now_ns / MINUTE_NS;
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        let Minute { of_series, of_commons, .. } = &mut *minute;
        let of_commons = of_commons.entry(series.commons_idx).or_default();
        // First, so that no more series are remembered than this allows.
        if *of_commons >= self.limits.exemplars_per_minute_per_commons {
            return Err(Refusal::new(Reason::Exemplar, ""));
        }
        let of_series = of_series.entry(series).or_default();
        if *of_series >= self.limits.exemplars_per_minute_per_series {
            return Err(Refusal::new(Reason::Exemplar, ""));
        }
        *of_series += 1;
        *of_commons += 1;
        Ok(())
    }
}

impl Ingest {
    /// Returns the labels of an exemplar without persons and the secrets of query strings.
    pub fn clean_exemplar(&self, labels: &Labels) -> Labels {
        let is_fine = |(name, value): (&str, &str)| {
            !self.tagger.is_personal(name) && !value.contains(['=', '%'])
        };
        if labels.iter().all(is_fine) {
            return labels.clone();
        }
        let kept = labels.iter().filter(|(name, _)| !self.tagger.is_personal(name));
        Labels::from_pairs(kept.map(|(name, value)| {
            let clean = self.tagger.scrub_attribute(name, value);
            (name, clean.unwrap_or_else(|| value.to_owned()))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_and_a_commons_have_their_number_a_minute() {
        let limits = Limits {
            exemplars_per_minute_per_series: 2,
            exemplars_per_minute_per_commons: 3,
            ..Limits::default()
        };
        let exemplars = Exemplars::new(Arc::new(limits));
        let series = |series_idx| SeriesRef { commons_idx: 0, series_idx };
        let admit = |idx, now_ns| exemplars.admit(series(idx), now_ns).is_ok();

        assert_eq!([1, 1, 1, 2, 2].map(|idx| admit(idx, 0)), [true, true, false, true, false]);
        assert!(exemplars.admit(SeriesRef { commons_idx: 1, series_idx: 1 }, 0).is_ok());
        assert!(admit(1, MINUTE_NS));
    }
}
