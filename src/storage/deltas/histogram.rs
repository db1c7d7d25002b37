//! The sum of two exponential histograms (OpenTelemetry's data model, "all scales use the logarithm"):
//! both at the coarser scale, with the wider zero bucket, bucket by bucket.

use crate::model::ExpHistogram;

/// Buckets on one side of zero; past this the scale becomes coarser. What OpenTelemetry's SDKs and its
/// deltatocumulative processor keep.
const BUCKETS_MAX: i64 = 160;

/// Returns the sum, which counts since the start of `total`.
pub fn add(total: &ExpHistogram, more: &ExpHistogram) -> ExpHistogram {
    let scale = total.scale.min(more.scale);
    let (mut a, mut b) = (Parts::of(total, scale), Parts::of(more, scale));
    let coarser = coarser(&a.positive, &b.positive).max(coarser(&a.negative, &b.negative));
    a.coarsen(coarser);
    b.coarsen(coarser);
    let scale = scale.saturating_sub(i32::try_from(coarser).unwrap_or(i32::MAX));
    let zero_threshold = widen_zero(&mut a, &mut b, scale);
    let (positive, negative) = (a.positive.merge(&b.positive), a.negative.merge(&b.negative));
    let both = |a: Option<f64>, b: Option<f64>, join: fn(f64, f64) -> f64| Some(join(a?, b?));
    ExpHistogram {
        count: total.count.saturating_add(more.count),
        sum: both(total.sum, more.sum, |a, b| a + b),
        scale,
        zero_count: a.zero_count.saturating_add(b.zero_count),
        zero_threshold,
        positive_offset: positive.offset(),
        positive_counts: positive.counts,
        negative_offset: negative.offset(),
        negative_counts: negative.counts,
        min: both(total.min, more.min, f64::min),
        max: both(total.max, more.max, f64::max),
        start_ns: total.start_ns,
        native: None,
    }
}

/// One of the two, taken apart.
struct Parts {
    zero_count: u64,
    zero_threshold: f64,
    positive: Side,
    negative: Side,
}

impl Parts {
    fn of(histogram: &ExpHistogram, scale: i32) -> Self {
        let by = i64::from(histogram.scale) - i64::from(scale);
        let by = u32::try_from(by).expect("the scale is the smaller of two");
        let mut parts = Self {
            zero_count: histogram.zero_count,
            zero_threshold: histogram.zero_threshold,
            positive: Side::of(histogram.positive_offset, &histogram.positive_counts),
            negative: Side::of(histogram.negative_offset, &histogram.negative_counts),
        };
        parts.coarsen(by);
        parts
    }

    fn coarsen(&mut self, by: u32) {
        self.positive.coarsen(by);
        self.negative.coarsen(by);
    }
}

/// The buckets on one side of zero, without empty ones at the ends.
#[derive(Default)]
struct Side {
    first: i64,
    counts: Vec<u64>,
}

impl Side {
    fn of(offset: i32, counts: &[u64]) -> Self {
        let n_empty = counts.iter().take_while(|count| **count == 0).count();
        let n_trailing = counts.iter().rev().take_while(|count| **count == 0).count();
        let filled = counts.get(n_empty..counts.len() - n_trailing).unwrap_or_default();
        if filled.is_empty() {
            return Self::default();
        }
        Self { first: i64::from(offset) + len(n_empty), counts: filled.to_vec() }
    }

    /// The first index past the last bucket.
    fn end(&self) -> i64 {
        self.first + len(self.counts.len())
    }

    fn offset(&self) -> i32 {
        i32::try_from(self.first).unwrap_or(if self.first < 0 { i32::MIN } else { i32::MAX })
    }

    /// Joins 2^`by` buckets each: bucket `i` of a scale lies in bucket `i >> 1` of the next coarser.
    fn coarsen(&mut self, by: u32) {
        if by == 0 || self.counts.is_empty() {
            return;
        }
        let by = by.min(63);
        let first = self.first >> by;
        let mut joined = Vec::new();
        for (index, count) in (self.first..).zip(&self.counts) {
            let place = usize::try_from((index >> by) - first).expect("it is the first or later");
            if place == joined.len() {
                joined.push(0_u64);
            }
            joined[place] = joined[place].saturating_add(*count);
        }
        (self.first, self.counts) = (first, joined);
    }

    fn merge(self, other: &Self) -> Self {
        if self.counts.is_empty() {
            return Self { first: other.first, counts: other.counts.clone() };
        }
        if other.counts.is_empty() {
            return self;
        }
        let (first, end) = (self.first.min(other.first), self.end().max(other.end()));
        let n_buckets = usize::try_from(end - first).expect("both are within the limit of buckets");
        let mut counts = vec![0_u64; n_buckets];
        for side in [&self, other] {
            let from = usize::try_from(side.first - first).expect("it is the first or later");
            for (sum, count) in counts[from..].iter_mut().zip(&side.counts) {
                *sum = sum.saturating_add(*count);
            }
        }
        Self { first, counts }
    }

    /// Takes the buckets up to an index off; returns their count and whether that of the index had any.
    fn take_up_to(&mut self, index: i64) -> (u64, bool) {
        let n_taken = usize::try_from(index - self.first + 1).unwrap_or(0).min(self.counts.len());
        let is_cut = n_taken > 0 && self.first + len(n_taken) == index + 1;
        let last = if is_cut { self.counts[n_taken - 1] } else { 0 };
        let taken = self.counts.drain(..n_taken).fold(0_u64, u64::saturating_add);
        self.first += len(n_taken);
        (taken, last > 0)
    }
}

/// Returns by how many powers of two buckets must become wider for both to fit side by side.
fn coarser(a: &Side, b: &Side) -> u32 {
    if a.counts.is_empty() && b.counts.is_empty() {
        return 0;
    }
    let (mut first, mut last) = match (a.counts.is_empty(), b.counts.is_empty()) {
        (false, true) => (a.first, a.end() - 1),
        (true, false) => (b.first, b.end() - 1),
        _ => (a.first.min(b.first), a.end().max(b.end()) - 1),
    };
    let mut by = 0;
    while last - first >= BUCKETS_MAX {
        (first, last) = (first >> 1, last >> 1);
        by += 1;
    }
    by
}

/// Brings both to one zero bucket, the wider; a bucket that it ends in goes into it whole. Returns
/// where it ends.
fn widen_zero(a: &mut Parts, b: &mut Parts, scale: i32) -> f64 {
    let wider = a.zero_threshold.max(b.zero_threshold);
    // Also when only what is NaN or infinite differs: then no bucket is below it that can be told.
    let is_same = a.zero_threshold == b.zero_threshold;
    let Some((index, end)) = bucket_of(wider, scale).filter(|_| !is_same) else { return wider };
    let mut is_cut = false;
    for parts in [a, b] {
        for side in [&mut parts.positive, &mut parts.negative] {
            let (count, had_last) = side.take_up_to(index);
            parts.zero_count = parts.zero_count.saturating_add(count);
            is_cut |= had_last;
        }
    }
    if is_cut { end } else { wider }
}

/// Returns the bucket that a positive number is in, and where it ends.
#[expect(clippy::cast_possible_truncation, reason = "an index past 64 bits is no bucket's")]
fn bucket_of(number: f64, scale: i32) -> Option<(i64, f64)> {
    let per_doubling = f64::from(scale).exp2();
    let end = (number.log2() * per_doubling).ceil();
    let is_one = number > 0.0 && number.is_finite() && per_doubling > 0.0 && end.is_finite();
    is_one.then(|| (end as i64 - 1, (end / per_doubling).exp2()))
}

fn len(n: usize) -> i64 {
    i64::try_from(n).expect("a list has fewer entries")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    fn positive(scale: i32, offset: i32, counts: &[u64]) -> ExpHistogram {
        ExpHistogram {
            count: counts.iter().sum(),
            sum: Some(1.0),
            scale,
            positive_offset: offset,
            positive_counts: counts.to_vec(),
            ..ExpHistogram::default()
        }
    }

    #[track_caller]
    fn check(a: &ExpHistogram, b: &ExpHistogram, want: (i32, i32, &[u64])) {
        for sum in [add(a, b), add(b, a)] {
            let got = (sum.scale, sum.positive_offset, &*sum.positive_counts);
            assert_eq!(got, want);
            assert_eq!(sum.count, a.count + b.count);
        }
    }

    #[test]
    fn buckets_are_added_where_they_stand() {
        check(&positive(3, -2, &[1, 2]), &positive(3, 0, &[4]), (3, -2, &[1, 2, 4]));
        check(&positive(3, 5, &[1]), &positive(3, -1, &[2]), (3, -1, &[2, 0, 0, 0, 0, 0, 1]));
        check(&positive(3, 5, &[]), &positive(3, 7, &[0, 2, 0]), (3, 8, &[2]));
        check(&positive(3, 5, &[]), &positive(3, 7, &[]), (3, 0, &[]));
    }

    #[test]
    fn the_coarser_scale_wins() {
        // Of scale 1, buckets -3, -2, -1, 0 lie in -2, -1, -1, 0 of scale 0.
        check(&positive(1, -3, &[1, 2, 3, 4]), &positive(0, 0, &[10]), (0, -2, &[1, 5, 14]));
        check(&positive(20, 1 << 20, &[1]), &positive(0, 1, &[1]), (0, 1, &[2]));
        check(&positive(i32::MAX, 7, &[1]), &positive(i32::MIN, 0, &[1]), (i32::MIN, 0, &[2]));
    }

    #[test]
    fn buckets_far_apart_make_the_scale_coarser() {
        let sum = add(&positive(4, 0, &[1]), &positive(4, 1_000, &[1]));

        assert_eq!((sum.scale, sum.positive_counts.len()), (1, 126));
        assert_eq!((sum.positive_counts[0], sum.positive_counts[125]), (1, 1));
        let far = add(&positive(0, i32::MIN, &[1]), &positive(0, i32::MAX, &[1]));
        assert_eq!(far.positive_counts.iter().sum::<u64>(), 2);
    }

    #[test]
    fn the_wider_zero_bucket_takes_the_buckets_below_it() {
        // At scale 0, bucket -1 is (0.5, 1] and bucket 0 is (1, 2].
        let narrow = ExpHistogram { zero_count: 1, ..positive(0, -2, &[1, 2, 4]) };
        let wide =
            |zero_threshold| ExpHistogram { zero_threshold, zero_count: 8, ..positive(0, 0, &[]) };

        let sum = add(&narrow, &wide(1.0));
        assert_eq!((sum.zero_count, sum.zero_threshold), (12, 1.0));
        assert_eq!((sum.positive_offset, &*sum.positive_counts), (0, &[4][..]));

        let cut = add(&narrow, &wide(0.75));
        assert_eq!((cut.zero_count, cut.zero_threshold), (12, 1.0), "a bucket goes in whole");

        let below = add(&narrow, &wide(0.1));
        assert_eq!((below.zero_count, below.zero_threshold), (9, 0.1));
        assert_eq!(&*below.positive_counts, [1, 2, 4]);
    }

    #[test]
    fn a_sum_that_one_does_not_know_is_not_known() {
        let with = ExpHistogram { min: Some(1.0), max: Some(2.0), ..positive(0, 0, &[1]) };
        let more = ExpHistogram { min: Some(-1.0), max: None, sum: None, ..positive(0, 0, &[1]) };

        let sum = add(&with, &more);

        assert_eq!((sum.sum, sum.min, sum.max), (None, Some(-1.0), None));
    }

    #[test]
    fn no_observation_is_lost_whatever_is_added() {
        let seed = 11;
        let mut rng = SmallRng::seed_from_u64(seed);
        for round in 0..2_000 {
            let mut any = || {
                let mut counts =
                    || (0..rng.random_range(0..40)).map(|_| rng.random_range(0..5)).collect();
                let (positive_counts, negative_counts): (Vec<u64>, Vec<u64>) = (counts(), counts());
                let zero_count = rng.random_range(0..5);
                let in_buckets: u64 = positive_counts.iter().chain(&negative_counts).sum();
                ExpHistogram {
                    count: in_buckets + zero_count,
                    scale: rng.random_range(-10..=20),
                    zero_count,
                    zero_threshold: [0.0, 1e-9, 0.5, 3.0][rng.random_range(0..4)],
                    positive_offset: rng.random_range(-300..300),
                    positive_counts,
                    negative_offset: rng.random_range(-300..300),
                    negative_counts,
                    ..ExpHistogram::default()
                }
            };
            let (a, b) = (any(), any());

            let sum = add(&a, &b);

            let buckets = sum.positive_counts.iter().chain(&sum.negative_counts);
            let n: u64 = buckets.sum::<u64>() + sum.zero_count;
            assert_eq!(n, a.count + b.count, "seed {seed}, round {round}: {a:?} + {b:?}");
            assert!(sum.positive_counts.len() <= 160 && sum.negative_counts.len() <= 160);
            assert!(sum.scale <= a.scale.min(b.scale));
        }
    }
}
