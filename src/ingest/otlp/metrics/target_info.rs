//! `target_info`: the series of a resource that carries its attributes, to be joined with its points.
//!
//! A join finds it where it has a sample within the lookback, at each moment that a point is shown. One
//! at the newest point would not do: who could not send for an hour sends that hour at once. Prometheus
//! writes one each half lookback from the first point to the last; we do so where there are points, as
//! two points with a month between them would be seventeen thousand samples.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scope::Scope;
use super::series::{self, Metric, Part};
use super::{GROUP_MAX, NO_POINT, Place, Walk};
use crate::ingest::otlp::resource::Resource;
use crate::model::{MetricKind, Temporality};

/// Half of what PromQL looks back unless it is told otherwise, ms.
const STEP_MS: i64 = 150_000;

/// When a resource has points.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The first and the last time, ms since 1970 UTC, of each step that has any.
    steps: BTreeMap<i64, (i64, i64)>,
    /// What was noted last: most points of a request share their time.
    noted_ms: Option<i64>,
}

impl Times {
    /// Notes the time of a point, ms since 1970 UTC.
    #[inline]
    pub(super) fn note(&mut self, time_ms: i64) {
        if self.noted_ms != Some(time_ms) {
            self.noted_ms = Some(time_ms);
            let step = self.steps.entry(time_ms.div_euclid(STEP_MS)).or_insert((time_ms, time_ms));
            *step = (step.0.min(time_ms), step.1.max(time_ms));
        }
    }

    /// Returns true before the first point.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns when there has to be a sample: at the first and the last point of each step, at most
    /// two a point.
    fn of_samples(&self) -> impl Iterator<Item = i64> {
        let of_step = |&(first, last): &(i64, i64)| {
            std::iter::once(first).chain((first != last).then_some(last))
        };
        self.steps.values().flat_map(of_step)
    }
}

impl Walk<'_, '_> {
    /// Adds the samples of a resource's `target_info`.
    pub(super) fn target_info(&mut self, resource: &Arc<Resource>, times: &Times) {
        if !series::has_target_info(resource) {
            return;
        }
        let kind = (MetricKind::Gauge, Temporality::Unspecified);
        let info = (&b"target_info"[..], &b""[..], &b""[..]);
        self.metrics.push(Metric::new(resource, info, Scope::default(), kind, 0));
        for time_ms in times.of_samples() {
            let time_ns = time_ms.saturating_mul(1_000_000);
            let place = Place { time_ns, ..Place::default() };
            self.push_sample(place, NO_POINT, Part::TargetInfo, 1.0, 0);
            if self.waiting.len() >= GROUP_MAX {
                self.place_group();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    const LOOKBACK_MS: i64 = 300_000;

    fn samples(times_ms: &[i64]) -> Vec<i64> {
        let mut times = Times::default();
        times_ms.iter().for_each(|ms| times.note(*ms));
        times.of_samples().collect()
    }

    #[test]
    fn a_sample_stands_at_the_first_and_the_last_point_of_a_step() {
        assert!(samples(&[]).is_empty());
        assert_eq!(samples(&[5, 5, 5]), [5]);
        assert_eq!(samples(&[10, 30, 20]), [10, 30]);
        assert_eq!(samples(&[150_000, 149_999, 0]), [0, 149_999, 150_000]);
        assert_eq!(samples(&[i64::MAX, i64::MIN, 0]), [i64::MIN, 0, i64::MAX]);
    }

    #[test]
    fn whenever_a_point_is_shown_there_is_a_sample_to_join() {
        for seed in 0..200 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let n = rng.random_range(1..20);
            let points: Vec<i64> = (0..n).map(|_| rng.random_range(0..3_000_000)).collect();

            let samples = samples(&points);

            for point in &points {
                for later in [0, 1, 149_999, 150_000, 150_001, LOOKBACK_MS - 1] {
                    let at = point + later;
                    let is_seen = |ms: &i64| *ms <= at && at < *ms + LOOKBACK_MS;
                    assert!(samples.iter().any(is_seen), "seed {seed}: {points:?} at {at}");
                }
            }
        }
    }
}
