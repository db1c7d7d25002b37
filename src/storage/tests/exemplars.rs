//! Exemplars and descriptions on their way to files.

use super::*;
use crate::model::exemplar::{Exemplar, ExemplarsBuilder, SeriesExemplars};
use crate::model::{Description, MetricKind};

fn series(job: &str) -> Labels {
    Labels::from_pairs([("__name__", "h"), ("commons", "heart"), ("job", job)])
}

fn exemplar(ms: i64, trace: &str) -> Exemplar {
    let labels = Labels::from_pairs([("trace_id", trace), ("path", "/a\"b")]);
    Exemplar { timestamp_ns: ms * 1_000_000 + 1, value: 0.25, labels }
}

fn part(job: &str, exemplars: &[Exemplar]) -> Part {
    let mut builder = ExemplarsBuilder::default();
    exemplars.iter().for_each(|exemplar| builder.push(&series(job), "rule", exemplar));
    Part::Exemplars { commons: commons("heart"), batch: builder.finish() }
}

fn read(store: &Store, scope: &ReadScope, job: &str, end_ms: i64) -> Vec<SeriesExemplars> {
    read_within(store, scope, (job, end_ms), (100, usize::MAX)).unwrap()
}

fn read_within(
    store: &Store,
    scope: &ReadScope,
    (job, end_ms): (&str, i64),
    (exemplars_max, bytes_max): (usize, usize),
) -> Result<Vec<SeriesExemplars>, ReadError> {
    let selectors = [vec![Matcher::equal("__name__", "h"), Matcher::equal("job", job)]];
    let selectors = &selectors;
    let request = ExemplarRequest { selectors, start_ms: 0, end_ms, exemplars_max, bytes_max };
    store.storage.snapshot(scope).exemplars(&request)
}

#[test]
fn more_exemplars_than_an_answer_may_have_are_refused_with_the_limits_name() {
    let mut store = open(&SimDisk::new());
    let all: Vec<Exemplar> = (0..10).map(|n| exemplar(NOW_MS - n, "t")).collect();
    store.engine.commit(vec![part("a", &all)]).unwrap();
    let read = |n_max, bytes_max| {
        let found = read_within(&store, &ReadScope::All, ("a", NOW_MS), (n_max, bytes_max));
        found.map(|found| found[0].exemplars.len()).map_err(|error| error.to_string())
    };

    assert_eq!(read(10, 10_000), Ok(10));
    for (n_max, bytes_max, limit) in
        [(9, 10_000, "query.samples_max"), (10, 500, "query.result_bytes_max")]
    {
        let refusal = read(n_max, bytes_max).unwrap_err();
        assert!(refusal.contains(limit), "{refusal}");
    }
}

#[test]
fn each_exemplar_is_there_once_through_flush_merge_and_restart() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let (first, second) = (exemplar(NOW_MS - 86_400_000, "t1"), exemplar(NOW_MS, "t2"));
    let want = vec![SeriesExemplars {
        labels: series("a"),
        exemplars: vec![first.clone(), second.clone()],
    }];

    for step in 0..12 {
        let both = part("a", &[second.clone(), first.clone()]);
        store.engine.commit(vec![both, part("b", std::slice::from_ref(&second))]).unwrap();
        match step % 4 {
            0 | 1 => {
                store.engine.seal().unwrap();
                flush::flush_oldest(&store.shared).unwrap();
            }
            2 => drop(store.keeper.tidy().unwrap()),
            _ => store = open(&disk),
        }

        assert_eq!(read(&store, &ReadScope::All, "a", NOW_MS + 1), want, "step {step}");
    }

    assert_eq!(read(&store, &ReadScope::All, "a", NOW_MS - 1)[0].exemplars, [first]);
    assert!(read(&store, &ReadScope::All, "c", NOW_MS).is_empty());
    let canine = ReadScope::Only([commons("canine")].into());
    assert!(read(&store, &canine, "a", NOW_MS).is_empty());
}

#[test]
fn descriptions_survive_a_restart_before_and_after_their_flush() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let description = Description {
        kind: MetricKind::Counter,
        unit: Arc::from("s"),
        help: Arc::from("seconds spent"),
    };
    let described = vec![(Arc::from("a_total"), description.clone())];
    store.engine.commit(vec![Part::Descriptions { commons: commons("heart"), described }]).unwrap();
    let want = vec![("a_total".to_owned(), description)];

    let metadata = |store: &Store, scope| store.storage.snapshot(&scope).metadata();
    assert_eq!(metadata(&store, ReadScope::All), want);
    store = open(&disk);
    assert_eq!(metadata(&store, ReadScope::All), want);
    store.engine.seal().unwrap();
    flush::flush_oldest(&store.shared).unwrap();
    store = open(&disk);
    assert_eq!(metadata(&store, ReadScope::All), want);
    assert!(metadata(&store, ReadScope::Only([commons("canine")].into())).is_empty());

    disk.flip_byte(descriptions::FILE, 20, 1);
    let store = open(&disk);

    assert!(metadata(&store, ReadScope::All).is_empty());
    let is_aside = |(path, _): &(String, _)| path.starts_with("quarantine/parquet%descriptions");
    assert!(disk.files().iter().any(is_aside), "{:?}", disk.files());
}

#[test]
fn parts_of_histograms_and_summaries_are_described_as_one() {
    use crate::storage::snapshot::family;

    assert_eq!(family("h_bucket", MetricKind::Histogram), "h");
    assert_eq!(family("s_sum", MetricKind::Summary), "s");
    assert_eq!(family("s_sum", MetricKind::Counter), "s_sum");
    assert_eq!(family("s", MetricKind::Summary), "s");
}
