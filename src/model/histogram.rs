//! Native histograms: what Prometheus' form has beyond OTLP's, and the form questions compute with.
//!
//! Bucket `i` of an exponential schema `s` covers `(b^(i-1), b^i]` with `b = 2^(2^-s)`; of custom
//! buckets (schema -53) bucket `i` ends at the `i`-th bound, and the last has no end. OTLP counts
//! exponential buckets from one less, and so do the columns on disk; [`Histogram`] counts as
//! Prometheus does.

use std::sync::Arc;

use super::metric::{ExpHistogram, is_stale};

/// The schema that says "the bounds are listed".
pub const CUSTOM_SCHEMA: i32 = -53;
/// The finest exponential schema.
pub const SCHEMA_MAX: i32 = 8;
/// The coarsest exponential schema.
pub const SCHEMA_MIN: i32 = -4;
/// The half-width of the zero bucket of a sender that names none (Prometheus' default).
pub const ZERO_THRESHOLD: f64 = 1e-128;

/// What a sender says about counter resets between this histogram and the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum ResetHint {
    /// Nothing: who wants to know compares.
    #[default]
    Unknown = 0,
    /// There was a reset.
    Reset = 1,
    /// There was none.
    NotReset = 2,
    /// It is not a counter.
    Gauge = 3,
}

impl ResetHint {
    /// Reads the number on the wire and on disk.
    pub fn from_u8(number: u8) -> Option<Self> {
        [Self::Unknown, Self::Reset, Self::NotReset, Self::Gauge].get(usize::from(number)).copied()
    }

    /// Returns the text of the `exp_reset_hint` column.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Reset => "reset",
            Self::NotReset => "not_reset",
            Self::Gauge => "gauge",
        }
    }

    /// Reads the text of the column back.
    pub fn from_text(text: &str) -> Self {
        let all = [Self::Reset, Self::NotReset, Self::Gauge];
        all.into_iter().find(|hint| hint.as_str() == text).unwrap_or_default()
    }
}

/// Counts that are not whole numbers, as recording rules make them; they stand in the place of the
/// integer ones.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FloatCounts {
    /// The number of observations.
    pub count: f64,
    /// Of them, those in the zero bucket.
    pub zero_count: f64,
    /// Of each positive bucket.
    pub positive: Vec<f64>,
    /// Of each negative bucket.
    pub negative: Vec<f64>,
}

/// What a Prometheus native histogram has that OTLP's exponential histogram has not.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Native {
    /// About counter resets.
    pub reset_hint: ResetHint,
    /// The upper bounds of custom buckets; schema -53 only.
    pub custom_bounds: Vec<f64>,
    /// The index of each positive count, where they do not follow one another from the offset.
    pub positive_indexes: Vec<i32>,
    /// The same of the negative ones.
    pub negative_indexes: Vec<i32>,
    /// Counts that are not whole numbers.
    pub float: Option<FloatCounts>,
}

impl Native {
    /// Returns about how much memory it takes.
    pub fn n_bytes(&self) -> usize {
        let float = self.float.as_ref();
        let n_floats = float.map_or(0, |float| float.positive.len() + float.negative.len());
        size_of::<Self>()
            + 8 * (self.custom_bounds.len() + n_floats)
            + 4 * (self.positive_indexes.len() + self.negative_indexes.len())
    }
}

/// Counts by bucket index, ascending; buckets that are not listed are empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// The indexes.
    pub indexes: Vec<i32>,
    /// One count an index.
    pub counts: Vec<f64>,
}

impl Buckets {
    /// Walks (index, count).
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> + ExactSizeIterator {
        self.indexes.iter().copied().zip(self.counts.iter().copied())
    }

    /// Returns true when no bucket is listed.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// Adds to a bucket that is the last one or one after it.
    pub fn push(&mut self, index: i32, count: f64) {
        match self.indexes.last() {
            Some(last) if *last == index => {
                *self.counts.last_mut().expect("there is one a index") += count;
            }
            _ => {
                self.indexes.push(index);
                self.counts.push(count);
            }
        }
    }
}

impl FromIterator<(i32, f64)> for Buckets {
    fn from_iter<I: IntoIterator<Item = (i32, f64)>>(pairs: I) -> Self {
        let mut buckets = Self::default();
        pairs.into_iter().for_each(|(index, count)| buckets.push(index, count));
        buckets
    }
}

/// A histogram as questions compute with it: all counts are floats.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// -4 to 8, or [`CUSTOM_SCHEMA`].
    pub schema: i32,
    /// The half-width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in it.
    pub zero_count: f64,
    /// All observations, NaN included.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// Buckets above zero, or all custom ones.
    pub positive: Buckets,
    /// Buckets below zero, by the index of their absolute value.
    pub negative: Buckets,
    /// The upper bounds of custom buckets.
    pub custom_bounds: Arc<[f64]>,
    /// About counter resets.
    pub reset_hint: ResetHint,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            schema: 0,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: Buckets::default(),
            negative: Buckets::default(),
            custom_bounds: Arc::from([]),
            reset_hint: ResetHint::Unknown,
        }
    }
}

/// The points of one series that are histograms: ms since 1970 UTC, and the histogram.
pub type HistogramPoints = Vec<(i64, Arc<Histogram>)>;

impl Histogram {
    /// Returns true when the buckets' bounds are listed.
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_SCHEMA
    }

    /// Returns true when this is the marker that ends a series.
    pub fn is_stale(&self) -> bool {
        is_stale(self.sum)
    }

    /// Returns about how much memory it takes.
    pub fn n_bytes(&self) -> usize {
        size_of::<Self>()
            + 12 * (self.positive.indexes.capacity() + self.negative.indexes.capacity())
    }

    /// Returns what a question sees of a stored histogram, or `None` when Prometheus has no form
    /// for it: coarser than schema -4. A finer one than 8 is made coarser. Without a sum there is
    /// none to compute with: it is NaN.
    pub fn of(stored: &ExpHistogram) -> Option<Self> {
        let empty = Native::default();
        let native = stored.native.as_deref().unwrap_or(&empty);
        // OTLP has no custom buckets: there it is a scale, and too coarse.
        let is_custom = stored.scale == CUSTOM_SCHEMA && stored.native.is_some();
        if stored.scale < SCHEMA_MIN && !is_custom {
            return None;
        }
        let coarser = if is_custom { 0 } else { (stored.scale - SCHEMA_MAX).max(0) };
        // OTLP's index is one less.
        let up = i32::from(!is_custom);
        let at_scale = |index: i32| (index >> coarser.min(31)).saturating_add(up);
        let float = native.float.as_ref();
        Some(Self {
            schema: stored.scale - coarser,
            zero_threshold: match stored.zero_threshold {
                // OTLP's 0 says nothing; Prometheus' own is what it says.
                threshold if threshold == 0.0 && stored.native.is_none() => ZERO_THRESHOLD,
                threshold => threshold,
            },
            zero_count: float.map_or(as_f64(stored.zero_count), |float| float.zero_count),
            count: float.map_or(as_f64(stored.count), |float| float.count),
            sum: stored.sum.unwrap_or(f64::NAN),
            positive: buckets_of(
                (stored.positive_offset, &native.positive_indexes),
                (&stored.positive_counts, float.map(|float| &*float.positive)),
                at_scale,
            ),
            negative: buckets_of(
                (stored.negative_offset, &native.negative_indexes),
                (&stored.negative_counts, float.map(|float| &*float.negative)),
                at_scale,
            ),
            custom_bounds: Arc::from(native.custom_bounds.as_slice()),
            reset_hint: native.reset_hint,
        })
    }
}

/// Returns the buckets of one side that have something. Where they do not say their indexes, they follow
/// one another from the offset; where they are not whole numbers, `floats` are the counts.
fn buckets_of(
    (offset, indexes): (i32, &[i32]),
    (counts, floats): (&[u64], Option<&[f64]>),
    at_scale: impl Fn(i32) -> i32,
) -> Buckets {
    let n = floats.map_or(counts.len(), <[f64]>::len);
    let index = |at: usize| match indexes.get(at) {
        Some(index) => *index,
        None => offset.saturating_add(i32::try_from(at).unwrap_or(i32::MAX)),
    };
    let count = |at: usize| match floats {
        Some(floats) => floats[at],
        None => as_f64(counts[at]),
    };
    let pairs = (0..n).map(|at| (at_scale(index(at)), count(at)));
    pairs.filter(|(_, count)| *count != 0.0).collect()
}

#[expect(clippy::cast_precision_loss, reason = "what a double can hold of a count is what is kept")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(buckets: &Buckets) -> Vec<(i32, f64)> {
        buckets.iter().collect()
    }

    #[test]
    fn otlp_counts_buckets_from_one_less() {
        let stored = ExpHistogram {
            scale: 3,
            count: 6,
            sum: Some(2.5),
            positive_offset: -2,
            positive_counts: vec![1, 0, 2],
            negative_offset: 5,
            negative_counts: vec![3],
            ..ExpHistogram::default()
        };

        let seen = Histogram::of(&stored).unwrap();

        assert_eq!((seen.schema, seen.count, seen.sum), (3, 6.0, 2.5));
        assert_eq!(pairs(&seen.positive), [(-1, 1.0), (1, 2.0)]);
        assert_eq!(pairs(&seen.negative), [(6, 3.0)]);
        assert_eq!(seen.zero_threshold, ZERO_THRESHOLD);
    }

    #[test]
    fn a_scale_finer_than_8_is_made_coarser_and_one_below_4_has_no_form() {
        let stored = ExpHistogram {
            scale: 10,
            positive_offset: -1,
            positive_counts: vec![1, 2, 4, 8, 16, 32],
            ..ExpHistogram::default()
        };

        let seen = Histogram::of(&stored).unwrap();

        // Indexes -1..=4 become -1, 0, 0, 0, 0, 1.
        assert_eq!((seen.schema, pairs(&seen.positive)), (8, vec![(0, 1.0), (1, 30.0), (2, 32.0)]));
        for scale in [-5, CUSTOM_SCHEMA, i32::MIN] {
            let coarse = ExpHistogram { scale, ..stored.clone() };
            assert_eq!(Histogram::of(&coarse), None, "{scale}");
            assert_eq!(crate::model::native::NativeHistogram::of(&coarse), None, "{scale}");
        }
    }

    #[test]
    fn custom_buckets_keep_their_indexes_and_floats_stand_for_integers() {
        let native = Native {
            custom_bounds: vec![0.5, 1.0],
            positive_indexes: vec![0, 2],
            float: Some(FloatCounts {
                count: 1.5,
                positive: vec![0.5, 1.0],
                ..FloatCounts::default()
            }),
            ..Native::default()
        };
        let stored = ExpHistogram {
            scale: CUSTOM_SCHEMA,
            native: Some(Box::new(native)),
            ..ExpHistogram::default()
        };

        let seen = Histogram::of(&stored).unwrap();

        assert!(seen.is_custom() && seen.count == 1.5 && seen.zero_threshold == 0.0);
        assert_eq!(pairs(&seen.positive), [(0, 0.5), (2, 1.0)]);
        assert_eq!(&*seen.custom_bounds, [0.5, 1.0]);
    }
}
