//! Since when samples count: kept where senders say so, through flush, merge and restart.

use proptest::prelude::*;

use super::*;
use crate::storage::wal::payload::Payload;

type Samples = BTreeMap<(String, i64), (u64, i64)>;

fn part(store: &Store, samples: &[(&str, i64, f64, i64)], has_starts: bool) -> Part {
    let plain: Vec<_> = samples.iter().map(|(name, ms, value, _)| (*name, *ms, *value)).collect();
    let mut part = store.samples("heart", &plain);
    if let Part::Samples { starts_ns, .. } = &mut part
        && has_starts
    {
        *starts_ns = samples.iter().map(|(.., start_ns)| *start_ns).collect();
    }
    part
}

fn read(store: &Store) -> Samples {
    let request = SeriesRequest {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        samples_max: usize::MAX,
        series_max: usize::MAX,
    };
    let mut all = Samples::new();
    let snapshot = store.storage.snapshot(&ReadScope::All);
    for series in snapshot.select_started(&request).unwrap() {
        assert_eq!(series.starts_ns.len(), series.values.len());
        for (at, ms) in series.timestamps_ms.iter().enumerate() {
            let sample = (series.values[at].to_bits(), series.starts_ns[at]);
            let before = all.insert((series.labels.metric().to_owned(), *ms), sample);
            assert_eq!(before, None, "a sample came twice");
        }
    }
    // Who does not ask gets the same without them.
    let mut plain = snapshot.select(&request).unwrap();
    assert!(plain.iter().all(|series| series.starts_ns.is_empty()));
    let n_samples: usize = plain.drain(..).map(|series| series.values.len()).sum();
    assert_eq!(n_samples, all.len());
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn each_sample_keeps_its_start_through_flush_merge_and_restart(
        steps in prop::collection::vec(
            (0..6_u8, any::<bool>(), prop::collection::vec((0..3_usize, 0..3_i64, 0..9_i64, 0..4_i64), 1..9)),
            1..24,
        ),
    ) {
        let disk = SimDisk::new();
        let mut store = open(&disk);
        let mut want = Samples::new();
        for (n, (action, has_starts, samples)) in (0..).zip(steps) {
            match action {
                0 => {
                    store.engine.seal().unwrap();
                    flush::flush_oldest(&store.shared).unwrap();
                }
                1 => drop(store.keeper.tidy().unwrap()),
                2 => store = open(&disk),
                _ => {
                    let name = |at| ["a", "b", "c"][at];
                    let samples: Vec<_> = samples
                        .iter()
                        .map(|&(at, day, ms, start)| {
                            (name(at), NOW_MS - day * 86_400_000 - ms, f64::from(n), start * 1_000)
                        })
                        .collect();
                    let part = part(&store, &samples, has_starts);
                    store.engine.commit(vec![part]).unwrap();
                    for (name, ms, value, start_ns) in samples {
                        let start_ns = if has_starts { start_ns } else { 0 };
                        want.entry((name.to_owned(), ms)).or_insert((value.to_bits(), start_ns));
                    }
                }
            }
            prop_assert_eq!(&read(&store), &want);
        }
    }
}

#[test]
fn samples_without_a_start_cost_no_byte_more() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let part = store.samples("heart", &[("up", NOW_MS, 1.0), ("up", NOW_MS + 1, 1.0)]);
    store.engine.commit(vec![part]).unwrap();
    let frames = disk.read(&wal::path(1)).unwrap();

    store.engine.seal().unwrap();
    flush::flush_oldest(&store.shared).unwrap();

    // As they were written before there were start times.
    let mut old = Vec::new();
    wal::payload::push_samples(
        &mut old,
        &commons("heart"),
        &[0, 0],
        &[NOW_MS, NOW_MS + 1],
        &[1.0; 2],
    );
    assert!(frames.windows(old.len()).any(|window| window == old));
    assert!(
        matches!(wal::payload::decode(&old), Ok((_, Payload::Samples(.., starts))) if starts.is_empty())
    );
    let [file] = &store.storage.snapshot(&ReadScope::All).files(Signal::Metrics)[..] else {
        panic!("one file")
    };
    let bytes = disk.read(&file.path).unwrap();
    let mut reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 10).unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert!(batch.column_by_name(crate::model::metric::START_TIME).is_none());
}
