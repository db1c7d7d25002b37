//! A stored histogram in the form that Prometheus' wire formats have: whole numbers stay whole, and an
//! empty bucket that was sent is still listed.
//!
//! [`super::Histogram`] is what questions compute with, and keeps neither.

use super::histogram::{
    CUSTOM_SCHEMA, FloatCounts, Native, SCHEMA_MAX, SCHEMA_MIN, ZERO_THRESHOLD,
};
use super::metric::ExpHistogram;
use super::{Buckets, Histogram, ResetHint};

/// A native histogram, counted as Prometheus does: bucket `i` ends at `2^(i * 2^-schema)`.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeHistogram {
    /// -4 to 8, or [`CUSTOM_SCHEMA`].
    pub schema: i32,
    /// The half-width of the zero bucket.
    pub zero_threshold: f64,
    /// The sum of the observations; NaN where nobody knows it.
    pub sum: f64,
    /// About counter resets.
    pub reset_hint: ResetHint,
    /// The upper bounds of custom buckets; of no other schema.
    pub custom_bounds: Vec<f64>,
    /// The index of each positive count, strictly ascending.
    pub positive: Vec<i32>,
    /// The index of each negative count, strictly ascending.
    pub negative: Vec<i32>,
    /// How many observations there are.
    pub counts: Counts,
}

/// Counts of one of the two kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Counts {
    /// Whole numbers, as an instrumented program has them.
    Integers {
        /// All observations.
        count: u64,
        /// Of them, those in the zero bucket.
        zero_count: u64,
        /// Of each positive bucket.
        positive: Vec<u64>,
        /// Of each negative bucket.
        negative: Vec<u64>,
    },
    /// Numbers that need not be whole, as recording rules make them.
    Floats(FloatCounts),
}

impl NativeHistogram {
    /// Returns the form of a stored histogram, or `None` when Prometheus has none for it: coarser than
    /// schema -4. A finer one than 8 is made coarser.
    pub fn of(stored: &ExpHistogram) -> Option<Self> {
        // OTLP has no custom buckets: there it is a scale, and too coarse.
        let is_custom = stored.scale == CUSTOM_SCHEMA && stored.native.is_some();
        if stored.scale < SCHEMA_MIN && !is_custom {
            return None;
        }
        let coarser = if is_custom { 0 } else { (stored.scale - SCHEMA_MAX).max(0) };
        let native = stored.native.as_deref();
        let (positive, negative, counts) = buckets_of(stored, native, coarser);
        Some(Self {
            schema: stored.scale - coarser,
            zero_threshold: match stored.zero_threshold {
                // OTLP's 0 says nothing; Prometheus' own is what it says.
                threshold if threshold == 0.0 && native.is_none() => ZERO_THRESHOLD,
                threshold => threshold,
            },
            sum: stored.sum.unwrap_or(f64::NAN),
            reset_hint: native.map_or(ResetHint::Unknown, |native| native.reset_hint),
            custom_bounds: native.map_or_else(Vec::new, |native| native.custom_bounds.clone()),
            positive,
            negative,
            counts,
        })
    }

    /// Returns the counts as floats.
    pub fn floats(&self) -> FloatCounts {
        let all = |counts: &[u64]| counts.iter().map(|count| as_f64(*count)).collect();
        match &self.counts {
            Counts::Integers { count, zero_count, positive, negative } => FloatCounts {
                count: as_f64(*count),
                zero_count: as_f64(*zero_count),
                positive: all(positive),
                negative: all(negative),
            },
            Counts::Floats(counts) => counts.clone(),
        }
    }
}

/// Returns the indexes of the positive buckets, of the negative ones, and the counts.
fn buckets_of(
    stored: &ExpHistogram,
    native: Option<&Native>,
    coarser: i32,
) -> (Vec<i32>, Vec<i32>, Counts) {
    // The store's index of exponential buckets is OTLP's, which is one less.
    let up = i32::from(stored.scale != CUSTOM_SCHEMA);
    let place = |offset: i32, listed: Option<&Vec<i32>>, at: usize| {
        let dense = || offset.saturating_add(i32::try_from(at).unwrap_or(i32::MAX));
        let index = listed.and_then(|listed| listed.get(at)).copied().unwrap_or_else(dense);
        (index >> coarser.min(31)).saturating_add(up)
    };
    let above = native.map(|native| &native.positive_indexes);
    let below = native.map(|native| &native.negative_indexes);
    let positive = |at| place(stored.positive_offset, above, at);
    let negative = |at| place(stored.negative_offset, below, at);
    if let Some(float) = native.and_then(|native| native.float.as_ref()) {
        let (above, positive) = merged(&float.positive, positive, |a, b| a + b);
        let (below, negative) = merged(&float.negative, negative, |a, b| a + b);
        return (above, below, Counts::Floats(FloatCounts { positive, negative, ..*float }));
    }
    let (above, positive) = merged(&stored.positive_counts, positive, u64::saturating_add);
    let (below, negative) = merged(&stored.negative_counts, negative, u64::saturating_add);
    let (count, zero_count) = (stored.count, stored.zero_count);
    (above, below, Counts::Integers { count, zero_count, positive, negative })
}

/// Returns the index of each count and the counts; those of one index are added.
fn merged<T: Copy>(
    counts: &[T],
    index_of: impl Fn(usize) -> i32,
    add: impl Fn(T, T) -> T,
) -> (Vec<i32>, Vec<T>) {
    let mut indexes = Vec::with_capacity(counts.len());
    let mut added: Vec<T> = Vec::with_capacity(counts.len());
    for (at, count) in counts.iter().enumerate() {
        let index = index_of(at);
        match added.last_mut().filter(|_| indexes.last() == Some(&index)) {
            Some(last) => *last = add(*last, *count),
            None => {
                indexes.push(index);
                added.push(*count);
            }
        }
    }
    (indexes, added)
}

/// Returns buckets as the wire formats place them: how many indexes are left out before each run of
/// them, the first counted from 0, and how many follow one another.
pub fn spans(indexes: &[i32]) -> Vec<(i32, u32)> {
    let mut spans: Vec<(i32, u32)> = Vec::new();
    let mut next = 0_i32;
    for index in indexes {
        match spans.last_mut().filter(|_| next == *index) {
            Some((_, length)) => *length += 1,
            // Who reads it adds with 32 bits too.
            None => spans.push((index.wrapping_sub(next), 1)),
        }
        next = index.wrapping_add(1);
    }
    spans
}

#[expect(clippy::cast_precision_loss, reason = "what a double can hold of a count is what is kept")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

impl Histogram {
    /// Returns what is wrong with it that no histogram may have which is stored, in the words of
    /// Prometheus (`model/histogram` `FloatHistogram.Validate`).
    pub fn check(&self) -> Result<(), String> {
        let below = |buckets: &Buckets| {
            let mut counts = buckets.counts.iter().enumerate();
            counts.find(|(_, count)| **count < 0.0).map(|(at, count)| {
                let place = at + 1;
                format!("bucket number {place} has observation count of {count}: histogram has a bucket whose observation count is negative")
            })
        };
        if self.is_custom() {
            let wrong = match () {
                () if self.zero_count != 0.0 => "must have zero count of 0",
                () if self.zero_threshold != 0.0 => "must have zero threshold of 0",
                () if !self.negative.is_empty() => "must not have negative buckets",
                () => "",
            };
            if !wrong.is_empty() {
                return Err(format!("custom buckets: {wrong}"));
            }
        }
        let sides = [("negative", &self.negative), ("positive", &self.positive)];
        let mut wrong = sides.into_iter().filter_map(|(side, all)| Some((side, below(all)?)));
        wrong.next().map_or(Ok(()), |(side, what)| Err(format!("{side} side: {what}")))
    }

    /// Returns the form in which the store keeps it: as a histogram of floats that was sent.
    pub fn to_stored(&self) -> ExpHistogram {
        let down = i32::from(!self.is_custom());
        let place = |buckets: &Buckets| {
            let indexes = buckets.indexes.iter().map(|index| index.saturating_sub(down));
            let indexes: Vec<i32> = indexes.collect();
            let first = indexes.first().copied().unwrap_or(0);
            let is_dense = indexes.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]));
            (first, if is_dense { Vec::new() } else { indexes })
        };
        let (positive_offset, positive_indexes) = place(&self.positive);
        let (negative_offset, negative_indexes) = place(&self.negative);
        let float = FloatCounts {
            count: self.count,
            zero_count: self.zero_count,
            positive: self.positive.counts.clone(),
            negative: self.negative.counts.clone(),
        };
        ExpHistogram {
            sum: Some(self.sum),
            scale: self.schema,
            zero_threshold: self.zero_threshold,
            positive_offset,
            negative_offset,
            native: Some(Box::new(Native {
                reset_hint: self.reset_hint,
                custom_bounds: self.custom_bounds.to_vec(),
                positive_indexes,
                negative_indexes,
                float: Some(float),
            })),
            ..ExpHistogram::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(indexes: &[i32], want: &[(i32, u32)]) {
        assert_eq!(spans(indexes), want, "{indexes:?}");
    }

    #[test]
    fn spans_are_runs_of_indexes() {
        check(&[], &[]);
        check(&[0, 1, 2], &[(0, 3)]);
        check(&[-3, -2, 0, 4, 5], &[(-3, 2), (1, 1), (3, 2)]);
        check(&[i32::MIN, i32::MAX], &[(i32::MIN, 1), (-2, 1)]);
    }

    #[test]
    fn empty_buckets_and_whole_numbers_are_kept() {
        let stored = ExpHistogram {
            count: u64::MAX,
            sum: Some(2.5),
            scale: 3,
            positive_offset: -2,
            positive_counts: vec![1, 0, u64::MAX - 1],
            native: Some(Box::default()),
            ..ExpHistogram::default()
        };

        let form = NativeHistogram::of(&stored).unwrap();

        assert_eq!((form.positive, form.zero_threshold), (vec![-1, 0, 1], 0.0));
        let Counts::Integers { count, positive, .. } = form.counts else { panic!("no integers") };
        assert_eq!((count, positive), (u64::MAX, vec![1, 0, u64::MAX - 1]));
    }

    #[test]
    fn both_forms_of_a_stored_histogram_say_the_same() {
        let stored = ExpHistogram {
            count: 63,
            sum: None,
            scale: 10,
            positive_offset: -1,
            positive_counts: vec![1, 2, 4, 8, 16, 32],
            ..ExpHistogram::default()
        };

        let (form, seen) = (NativeHistogram::of(&stored).unwrap(), Histogram::of(&stored).unwrap());

        assert_eq!((form.schema, &form.positive), (8, &seen.positive.indexes));
        assert_eq!((form.floats().positive, form.floats().count), (seen.positive.counts, 63.0));
        assert_eq!(form.zero_threshold, seen.zero_threshold);
        assert_eq!(NativeHistogram::of(&ExpHistogram { scale: -5, ..stored }), None);
    }

    #[test]
    fn what_a_question_gives_is_stored_and_seen_again() {
        let exponential = Histogram {
            schema: 2,
            zero_threshold: 0.25,
            zero_count: 0.5,
            count: 4.0,
            sum: -1.5,
            positive: [(-3, 1.0), (7, 2.0)].into_iter().collect(),
            negative: [(0, 0.5)].into_iter().collect(),
            reset_hint: ResetHint::Gauge,
            ..Histogram::default()
        };
        let custom = Histogram {
            schema: CUSTOM_SCHEMA,
            custom_bounds: [0.5, 1.0].into(),
            positive: [(0, 1.0), (2, 2.0)].into_iter().collect(),
            ..Histogram::default()
        };

        for histogram in [exponential, custom, Histogram::default()] {
            assert_eq!(Histogram::of(&histogram.to_stored()), Some(histogram));
        }
    }

    #[test]
    fn a_histogram_that_cannot_be_says_why() {
        let of = |schema, count| Histogram {
            schema,
            negative: [(1, 1.0), (2, count)].into_iter().collect(),
            ..Histogram::default()
        };

        assert_eq!(of(0, 2.0).check(), Ok(()));
        assert_eq!(
            of(0, -2.0).check().unwrap_err(),
            "negative side: bucket number 2 has observation count of -2: histogram has a bucket \
             whose observation count is negative"
        );
        let wrong = of(CUSTOM_SCHEMA, 2.0).check().unwrap_err();
        assert_eq!(wrong, "custom buckets: must not have negative buckets");
    }
}
