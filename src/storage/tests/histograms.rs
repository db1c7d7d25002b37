//! Native histograms on their way to files: each is there once, and as it was sent.

use std::collections::BTreeMap;

use arrow::array::Array;
use proptest::prelude::*;

use super::*;
use crate::model::histogram::FloatCounts;
use crate::model::{ExpHistogram, Histogram, Native, ResetHint, decimal};
use crate::storage::files::read_histograms::histogram_at;

/// What the store should show: by series and time, first come, first kept.
type Want = BTreeMap<(String, i64), String>;

fn counts() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![0_u64..5, any::<u64>()], 0..5)
}

fn native() -> impl Strategy<Value = Option<Box<Native>>> {
    let float = prop::option::of((any::<f64>(), prop::collection::vec(any::<f64>(), 3)));
    let parts = (0_u8..4, prop::collection::vec(-10.0..10.0_f64, 0..3), float, any::<bool>());
    let native = parts.prop_map(|(hint, custom_bounds, float, has_gaps)| {
        let float = float.map(|(count, positive)| FloatCounts {
            count,
            positive,
            ..FloatCounts::default()
        });
        let positive_indexes = if has_gaps { vec![-5, 2, 40] } else { Vec::new() };
        let reset_hint = ResetHint::from_u8(hint).unwrap();
        let negative_indexes = Vec::new();
        Box::new(Native { reset_hint, custom_bounds, positive_indexes, negative_indexes, float })
    });
    prop::option::of(native)
}

prop_compose! {
    fn histogram()(
        (count, sum, scale) in (any::<u64>(), prop::option::of(any::<f64>()), -6..12_i32),
        (zero_count, zero_threshold) in (any::<u64>(), 0.0..1.0_f64),
        (positive_offset, positive_counts) in (-100..100_i32, counts()),
        (negative_offset, negative_counts) in (-100..100_i32, counts()),
        (min, max) in (prop::option::of(any::<f64>()), prop::option::of(any::<f64>())),
        (native, start_ns) in (native(), prop_oneof![Just(0), any::<i64>()]),
    ) -> ExpHistogram {
        let has_float = native.as_ref().is_some_and(|native| native.float.is_some());
        let has_gaps = native.as_ref().is_some_and(|native| !native.positive_indexes.is_empty());
        let integers = |counts: Vec<u64>| if has_float { Vec::new() } else { counts };
        ExpHistogram {
            // Counts stand in one of the two places.
            count: if has_float { 0 } else { count },
            zero_count: if has_float { 0 } else { zero_count },
            positive_counts: if has_gaps { integers(vec![1, 2, 3]) } else { integers(positive_counts) },
            negative_counts: integers(negative_counts),
            sum, scale, zero_threshold, positive_offset, negative_offset, min, max, start_ns, native,
        }
    }
}

fn part(store: &Store, metric: &str, points: &[(i64, ExpHistogram)]) -> Part {
    let epoch = store.storage.lookup(&[], &mut Vec::new());
    let labels = Labels::from_pairs([("__name__", metric), ("commons", "heart")]);
    let key = u128::from(labels.series_id());
    let series =
        store.storage.register(key, &commons("heart"), &labels, &SeriesMeta::default()).unwrap();
    let points = points.iter().map(|(ms, h)| (series.series_idx, *ms, h.clone())).collect();
    Part::ExpHistograms { commons_idx: series.commons_idx, epoch, points }
}

/// Returns what a selection shows, and what the rows hold in full.
fn read(store: &Store) -> (Want, Want) {
    let request = SeriesRequest {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        samples_max: usize::MAX,
        series_max: usize::MAX,
    };
    let snapshot = store.storage.snapshot(&ReadScope::All);
    let mut selected = Want::new();
    for series in snapshot.select(&request).unwrap() {
        assert!(series.values.is_empty());
        for (ms, histogram) in &series.histograms {
            let key = (series.labels.metric().to_owned(), *ms);
            let before = selected.insert(key, format!("{histogram:?}"));
            assert_eq!(before, None, "a point came twice");
        }
    }
    let mut rows = Want::new();
    let mut note = |batch: &RecordBatch| {
        let columns = crate::storage::files::read::Columns::new(batch);
        for row in 0..batch.num_rows() {
            let Some(histogram) = histogram_at(batch, row) else { continue };
            assert!(columns.timestamp.is_valid(row));
            let key = (columns.text("metric", row).to_owned(), columns.timestamp.value(row));
            rows.entry(key).or_insert_with(|| format!("{histogram:?}"));
        }
    };
    for file in snapshot.files(Signal::Metrics) {
        let bytes = store.shared.disk.read(&file.path).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 7);
        reader.unwrap().for_each(|batch| note(&decimal::from_file(batch.unwrap())));
    }
    snapshot.head(Signal::Metrics, HeadFilter::default()).for_each(|head| note(&head.batch));
    (selected, rows)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn each_histogram_is_there_once_and_whole_through_flush_merge_and_restart(
        steps in prop::collection::vec((0..5_u8, 0..3_i64, 0..4_i64, histogram()), 1..24),
    ) {
        let disk = SimDisk::new();
        let mut store = open(&disk);
        let (mut want, mut want_rows) = (Want::new(), Want::new());
        for (action, day, at, histogram) in steps {
            match action {
                0 => {
                    store.engine.seal().unwrap();
                    flush::flush_oldest(&store.shared).unwrap();
                }
                1 => drop(store.keeper.tidy().unwrap()),
                2 => store = open(&disk),
                _ => {
                    let (metric, ms) = (["a", "b"][usize::from(action) % 2], NOW_MS - day * 86_400_000 - at);
                    let part = part(&store, metric, &[(ms, histogram.clone())]);
                    store.engine.commit(vec![part]).unwrap();
                    let key = (metric.to_owned(), ms);
                    if !want_rows.contains_key(&key)
                        && let Some(seen) = Histogram::of(&histogram)
                    {
                        want.insert(key.clone(), format!("{seen:?}"));
                    }
                    want_rows.entry(key).or_insert_with(|| format!("{histogram:?}"));
                }
            }
            let (selected, rows) = read(&store);
            // A first point that has no form here does not hide the second of its time.
            for (key, seen) in &selected {
                prop_assert_eq!(want.get(key).unwrap_or(seen), seen);
            }
            prop_assert_eq!(&rows, &want_rows);
            prop_assert!(want.keys().all(|key| selected.contains_key(key)));
        }
    }
}
