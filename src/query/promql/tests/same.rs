//! An answer does not depend on how it was asked for: all steps in one pass are what single
//! evaluations are, and windows found by sliding are what a slow reading of the samples finds.

use proptest::prelude::*;

use crate::model::Labels;
use crate::model::metric::stale_marker;

use super::super::testing::MemorySource;
use super::super::{Engine, Limits, Value, format_value};
use super::{budget_of, parse_ok};

/// Queries that touch every kind of node.
const QUERIES: [&str; 30] = [
    "m",
    "m offset 35s",
    "rate(m[1m])",
    "increase(m[47s])",
    "delta(m[2m] offset 20s)",
    "irate(m[1m])",
    "changes(m[1m]) + resets(m[1m])",
    "sum_over_time(m[1m])",
    "avg_over_time(m[33s])",
    "max_over_time(m[1m]) - min_over_time(m[1m])",
    "stddev_over_time(m[1m])",
    "quantile_over_time(0.3, m[1m])",
    "deriv(m[1m])",
    "predict_linear(m[1m], 30)",
    "last_over_time(m[40s])",
    "count_over_time((m > 2)[1m:7s])",
    "rate(m[1m:5s])",
    "sum by (a) (rate(m[1m]))",
    "avg(m)",
    "stddev without (b) (m)",
    "topk(2, m)",
    "bottomk by (a) (1, m)",
    "quantile(0.6, m)",
    "count_values(\"v\", m > bool 2)",
    "m / on (a, b) m offset 20s",
    "m * on (a) group_left () sum by (a) (m)",
    "m and m > 2 or m unless m < 1",
    "absent(m > 3)",
    "timestamp(m) - time()",
    "clamp(m, 1, 3) % 2 == 1",
];

prop_compose! {
    /// One series: gaps between samples, and values; some NaN, some stale.
    fn series()(
        gaps in prop::collection::vec((1_i64..40_000, 0_u8..20), 0..30),
    ) -> Vec<(i64, f64)> {
        let mut time_ms = -60_000;
        let mut samples = Vec::new();
        for (gap_ms, value) in gaps {
            time_ms += gap_ms;
            samples.push((time_ms, match value {
                18 => f64::NAN,
                19 => stale_marker(),
                value => f64::from(value % 6),
            }));
        }
        samples
    }
}

fn source_of_series(all: &[Vec<(i64, f64)>]) -> MemorySource {
    let mut source = MemorySource::new();
    for (idx, samples) in all.iter().enumerate() {
        let (a, b) = ((idx % 2).to_string(), idx.to_string());
        let labels = Labels::from_pairs([("__name__", "m"), ("a", &*a), ("b", &*b)]);
        samples.iter().for_each(|(time_ms, value)| source.push(&labels, *time_ms, *value));
    }
    source
}

/// Prints the values of one step, sorted by labels.
fn show_step(rows: impl Iterator<Item = (Labels, f64)>) -> Vec<String> {
    // Sums may be joined in another order: compare ten digits.
    let mut rows: Vec<String> =
        rows.map(|(labels, value)| format!("{labels} {}", rounded(value))).collect();
    rows.sort();
    rows
}

fn rounded(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.9}").replace("-0.000000000", "0.000000000")
    } else {
        format_value(value)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_range_is_its_instants(
        all in prop::collection::vec(series(), 1..5),
        start_ms in -50_000_i64..50_000,
        step_ms in 1_000_i64..90_000,
        n_steps in 2_i64..12,
    ) {
        let source = source_of_series(&all);
        let engine = Engine::default().with_lookback_ms(50_000);
        let budget = budget_of(&Limits::default());
        let end_ms = start_ms + step_ms * n_steps;
        for query in QUERIES {
            let expr = parse_ok(query);
            let range = engine.range(&source, &expr, start_ms, end_ms, step_ms, &budget).unwrap();
            let Value::Matrix(range) = range.value else { panic!("not a matrix") };
            for step in 0..=n_steps {
                let at_ms = start_ms + step * step_ms;
                let instant = engine.instant(&source, &expr, at_ms, &budget).unwrap();
                let Value::Vector(instant) = instant.value else { panic!("not a vector") };

                let of_range = range.iter().filter_map(|one| {
                    let idx = one.timestamps_ms.binary_search(&at_ms).ok()?;
                    Some((one.labels.clone(), one.values[idx]))
                });
                let of_instant = instant.into_iter().map(|one| (one.labels, one.value));
                prop_assert_eq!(show_step(of_range), show_step(of_instant), "{} at {}", query, at_ms);
            }
        }
    }

    #[test]
    fn sums_over_time_are_sums_of_the_samples_in_the_window(
        samples in series(),
        at_ms in -50_000_i64..300_000,
        range_ms in 1_i64..200_000,
    ) {
        let source = source_of_series(std::slice::from_ref(&samples));
        let budget = budget_of(&Limits::default());
        let inside: Vec<f64> = samples
            .iter()
            .filter(|(t, v)| *t > at_ms - range_ms && *t <= at_ms && v.to_bits() != stale_marker().to_bits())
            .map(|(_, v)| *v)
            .collect();
        let query = format!("sum_over_time(m[{range_ms}ms]) or count_over_time(m[{range_ms}ms])");

        let answer = Engine::default().instant(&source, &parse_ok(&query), at_ms, &budget).unwrap();

        let Value::Vector(got) = answer.value else { panic!("not a vector") };
        let want: Vec<String> = (!inside.is_empty()).then(|| rounded(inside.iter().sum())).into_iter().collect();
        let got: Vec<String> = got.iter().map(|sample| rounded(sample.value)).collect();
        prop_assert_eq!(got, want);
    }
}

#[test]
fn many_series_are_answered_as_each_of_them_alone() {
    // Enough for several blocks, and for more than one thread.
    let n_series = 600_u32;
    let mut source = MemorySource::new();
    for series in 0..n_series {
        let b = series.to_string();
        let labels = Labels::from_pairs([("__name__", "m"), ("b", &*b)]);
        for n in 0..300_u32 {
            let value = f64::from((n * (series + 7)) % 101);
            source.push(&labels, i64::from(n) * 15_000, value);
        }
    }
    let budget = budget_of(&Limits::default());
    let ask = |query: &str| {
        let expr = parse_ok(query);
        let answer =
            Engine::default().range(&source, &expr, 60_000, 4_500_000, 60_000, &budget).unwrap();
        let Value::Matrix(series) = answer.value else { panic!("not a matrix") };
        series
    };

    let together = ask("rate(m[5m]) + quantile_over_time(0.3, m[2m])");

    assert_eq!(together.len(), 600);
    for one in [0, 255, 256, 257, 511, 512, 599] {
        let b = one.to_string();
        let alone =
            ask(&format!("rate(m{{b=\"{b}\"}}[5m]) + quantile_over_time(0.3, m{{b=\"{b}\"}}[2m])"));
        let same = together.iter().find(|series| series.labels.get("b") == Some(&b)).unwrap();
        assert_eq!(std::slice::from_ref(same), alone.as_slice());
    }
}
