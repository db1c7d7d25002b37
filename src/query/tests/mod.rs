//! Sessions over a real store, in a folder, with real processes for SQL.

mod quick;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;

use super::*;
use crate::base::clock::SharedClock;
use crate::base::units::HumanSize;
use crate::base::{Kind, ManualClock};
use crate::model::{Commons, Grant, Labels, ReadScope, Role, SeriesMeta};
use crate::query::promql::Value;
use crate::query::sql::tests::{START_MS, commons, logs};
use crate::query::worker::tests::test_worker;
use crate::storage::{self, Opened, Part, Progress, RealDisk, Storage};

struct World {
    storage: Storage,
    engine: Arc<Engine>,
    registry: Registry,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: SharedClock = ManualClock::at_ms(START_MS + 120_000);
        let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
        let mut registry = Registry::default();
        let Opened { storage, writer, flusher, .. } = Storage::open(
            disk,
            Arc::clone(&clock),
            storage::Config::default(),
            storage::Metrics::register(&mut registry),
            &Progress::default(),
        )
        .unwrap();
        // Both end when the store is dropped.
        let runtime = tokio::runtime::Handle::current();
        let writer_runtime = runtime.clone();
        std::thread::spawn(move || writer.run(&writer_runtime));
        std::thread::spawn(move || flusher.run(&runtime));
        let engine = Engine::new(EngineParts {
            config,
            promql: promql::Config::default(),
            data_dir: dir.path().to_owned(),
            clock,
            metrics: Metrics::register(&mut registry),
            worker: test_worker(),
        });
        Self { storage, engine, registry, _dir: dir }
    }

    /// Returns what the room counts about itself under a name, as `/metrics` shows it.
    fn counted(&self, name: &str) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    /// Stores one sample of `up`; `after_ms` counts from the start.
    async fn sample(&self, commons: &Commons, job: &str, after_ms: i64, value: f64) {
        let labels = [("__name__", "up"), ("commons", commons.as_str()), ("job", job)];
        let labels = Labels::from_pairs(labels);
        let epoch = self.storage.lookup(&[], &mut Vec::new());
        let series = self
            .storage
            .register(u128::from(labels.series_id()), commons, &labels, &SeriesMeta::default())
            .unwrap();
        let part = Part::Samples {
            commons_idx: series.commons_idx,
            epoch,
            series_idx: vec![series.series_idx],
            timestamps_ms: vec![START_MS + after_ms],
            values: vec![value],
            starts_ns: Vec::new(),
        };
        self.storage.append(vec![part]).await.unwrap();
    }

    async fn log(&self, commons: &Commons, body: &str) {
        let batch = logs(&[(0, body, "GET", 200, "t1")]);
        let part = Part::Logs { commons: commons.clone(), batch };
        self.storage.append(vec![part]).await.unwrap();
    }

    async fn flush(&self) {
        assert!(self.storage.flush(Duration::from_secs(30)).await);
    }

    fn session(&self, role: Role, read: ReadScope) -> Session {
        let grant = Grant { role, read, ..Grant::open() };
        Session::new(grant, &self.storage, &self.engine)
    }

    async fn csv(&self, sql: &str) -> String {
        let session = self.session(Role::Admin, ReadScope::All);
        let answer = session.sql(sql, Vec::new(), Options::default()).await.unwrap();
        answer.to_csv().unwrap().replace("\r\n", "\n")
    }
}

fn every_series() -> Selection {
    Selection { selectors: Vec::new(), start_ms: START_MS, end_ms: START_MS + 600_000, limit: None }
}

#[tokio::test]
async fn a_retried_sample_is_seen_once_wherever_it_lies() {
    let world = World::new();
    let heart = commons("heart.example");
    for (after_ms, value) in [(0, 1.0), (15_000, 2.0)] {
        world.sample(&heart, "a", after_ms, value).await;
    }
    world.flush().await;
    for (after_ms, value) in [(15_000, 99.0), (30_000, 3.0)] {
        world.sample(&heart, "a", after_ms, value).await;
    }

    let sql = "SELECT value FROM metrics ORDER BY timestamp";
    let in_file_and_head = world.csv(sql).await;
    world.flush().await;
    let in_two_files = world.csv(sql).await;

    assert_eq!(in_file_and_head, "value\n1.0\n2.0\n3.0\n");
    assert_eq!(in_two_files, in_file_and_head);
}

#[tokio::test]
async fn logs_are_read_from_the_head_and_from_files() {
    let world = World::new();
    let heart = commons("heart.example");
    world.log(&heart, "old").await;
    world.flush().await;
    world.log(&heart, "new").await;

    let found = world.csv("SELECT body, commons, service FROM logs ORDER BY body").await;

    assert_eq!(found, "body,commons,service\nnew,heart.example,fence\nold,heart.example,fence\n");
}

#[tokio::test]
async fn a_viewer_reads_metrics_and_nothing_else() {
    let world = World::new();
    world.sample(&commons("heart.example"), "a", 0, 1.0).await;
    let viewer = world.session(Role::Viewer, ReadScope::All);

    let metrics = viewer.promql_instant("up", START_MS, Options::default()).await.unwrap();
    let sql = viewer.sql("SELECT 1", Vec::new(), Options::default()).await.unwrap_err();

    assert!(matches!(metrics.value, Value::Vector(samples) if samples.len() == 1));
    assert_eq!(sql.kind(), Kind::Forbidden);
    assert!(sql.to_string().contains("a viewer may not read"), "{sql}");
}

#[tokio::test]
async fn no_dialect_shows_what_is_outside_the_scope() {
    let world = World::new();
    let (heart, lung) = (commons("heart.example"), commons("lung.example"));
    for (commons, job) in [(&heart, "a"), (&lung, "canary")] {
        world.sample(commons, job, 0, 1.0).await;
        world.log(commons, job).await;
        world.flush().await;
        world.sample(commons, job, 15_000, 2.0).await;
        world.log(commons, job).await;
    }
    let session = world.session(Role::Developer, ReadScope::Only(BTreeSet::from([heart])));
    let mut said = String::new();

    let promql = "SELECT * FROM promql('up', 1767312000, 1767312030, 15)";
    let fault = "SELECT * FROM promql('label_replace(up, \"a\", \"$1\", \"b\", \"(\")', 1767312000, 1767312030, 15)";
    for sql in [
        "SELECT * FROM metrics",
        "SELECT * FROM logs",
        "SELECT CAST(body AS INT) FROM logs",
        promql,
        fault,
    ] {
        match session.sql(sql, Vec::new(), Options::default()).await {
            Ok(answer) => said += &answer.to_json().unwrap(),
            Err(error) => said += &error.to_string(),
        }
    }
    let range = (START_MS, START_MS + 30_000, 15_000);
    said += &format!("{:?}", session.promql_range("up", range, Options::default()).await.unwrap());
    said += &format!("{:?}", session.series(every_series()).await.unwrap());
    said += &format!("{:?}", session.label_values("job", every_series()).await.unwrap());
    said += &format!("{:?}", session.label_names(every_series()).await.unwrap());
    said += &format!("{:?}", session.metadata().await.unwrap());

    assert!(said.contains("heart.example"), "{said}");
    assert!(!said.contains("canary") && !said.contains("lung"), "{said}");
}

#[tokio::test]
async fn sql_asks_promql_of_the_same_moment_and_scope() {
    let world = World::new();
    let (heart, lung) = (commons("heart.example"), commons("lung.example"));
    for (commons, value) in [(&heart, 1.0), (&lung, 7.0)] {
        world.sample(commons, "a", 0, value).await;
        world.log(commons, "a line").await;
        world.flush().await;
        world.sample(commons, "a", 30_000, 2.0 * value).await;
    }
    let sql = "SELECT l.commons, l.body, p.value, p.labels['job'] AS job FROM logs l JOIN \
               promql('max_over_time(up[1m])', 1767312030, 1767312030, 15) p ON p.commons = l.commons \
               ORDER BY 1";
    let ask = async |read| {
        let session = world.session(Role::Developer, read);
        session.sql(sql, Vec::new(), Options::default()).await.unwrap().to_csv().unwrap()
    };

    let all = ask(ReadScope::All).await;
    let one = ask(ReadScope::Only(BTreeSet::from([lung]))).await;

    let heart = "heart.example,a line,2.0,a\r\n";
    let lung = "lung.example,a line,14.0,a\r\n";
    assert_eq!(all, format!("commons,body,value,job\r\n{heart}{lung}"));
    assert_eq!(one, format!("commons,body,value,job\r\n{lung}"));
}

#[tokio::test]
async fn what_promql_holds_for_sql_is_limited() {
    let config = Config { memory: HumanSize(64 << 10), ..Config::default() };
    let world = World::with(config);
    world.sample(&commons("heart.example"), "a", 0, 1.0).await;
    let session = world.session(Role::Developer, ReadScope::All);
    let sql = "SELECT count(*) FROM promql('vector(1)', 1767312000, 1767322000, 1)";

    let refusal = session.sql(sql, Vec::new(), Options::default()).await.unwrap_err();

    assert!(refusal.to_string().contains("query.memory"), "{refusal}");
}

#[tokio::test]
async fn nothing_at_all_is_a_scope_too() {
    let world = World::new();
    world.sample(&commons("heart.example"), "a", 0, 1.0).await;
    let session = world.session(Role::Admin, ReadScope::Nothing);

    let answer = session.sql("SELECT count(*) AS n FROM metrics", Vec::new(), Options::default());

    assert_eq!(answer.await.unwrap().to_csv().unwrap(), "n\r\n0\r\n");
}

#[tokio::test]
async fn series_can_be_selected_by_several_sets() {
    let world = World::new();
    let heart = commons("heart.example");
    for job in ["a", "b", "c"] {
        world.sample(&heart, job, 0, 1.0).await;
    }
    let session = world.session(Role::Viewer, ReadScope::All);
    let one = |job| format!("up{{job=\"{job}\"}}");

    let wanted = Selection { selectors: vec![one("c"), one("a")], ..every_series() };
    let found = session.label_values("job", wanted.clone()).await.unwrap();
    let first = session.series(Selection { limit: Some(1), ..wanted }).await.unwrap();

    assert_eq!(found, ["a", "c"]);
    assert_eq!(first.len(), 1);
}

#[tokio::test]
async fn menus_and_counts_see_more_series_than_a_question_may_read() {
    let config = Config { series_max: 3, ..Config::default() };
    let world = World::with(config);
    for (commons, jobs) in [("heart.example", ["a", "b", "c"]), ("lung.example", ["a", "d", "e"])] {
        for job in jobs {
            world.sample(&self::commons(commons), job, 0, 1.0).await;
        }
    }
    world.flush().await;
    world.sample(&commons("lung.example"), "e", 15_000, 2.0).await;
    let session = world.session(Role::Viewer, ReadScope::All);
    let up = || Selection { selectors: vec!["up".to_owned()], ..every_series() };
    let counted = CardinalityQuery {
        selectors: Vec::new(),
        ranges: vec![(START_MS, START_MS + 60_000), (START_MS + 10_000, START_MS + 60_000)],
        labels: None,
        top: 1,
    };

    let refusal = session.series(every_series()).await.unwrap_err().to_string();
    assert!(refusal.contains("query.series_max"), "{refusal}");
    for wanted in [up(), every_series()] {
        let jobs = session.label_values("job", wanted.clone()).await.unwrap();
        let names = session.label_names(wanted).await.unwrap();
        assert_eq!(jobs, ["a", "b", "c", "d", "e"]);
        assert_eq!(names, ["__name__", "commons", "job"]);
    }
    let counted = session.cardinality(counted).await.unwrap();
    let job = counted.label("job").unwrap();
    assert_eq!((counted.n_series, job.n_values), ([6, 1], [5, 1]));
    assert_eq!(job.top, [("a".to_owned(), [2, 0])]);
}

#[tokio::test]
async fn samples_are_refused_when_their_answer_would_be_too_long() {
    let world = World::with(Config { result_bytes_max: HumanSize(1_000), ..Config::default() });
    for after_ms in 0..50 {
        world.sample(&commons("heart.example"), "a", after_ms, 1.0).await;
    }
    let session = world.session(Role::Viewer, ReadScope::All);
    let query = SampleQuery {
        matchers: vec![crate::model::Matcher::equal("__name__", "up")],
        start_ms: START_MS,
        end_ms: START_MS + 60_000,
    };

    let small = session.samples(vec![query.clone()], 4).await.unwrap();
    let large = session.samples(vec![query.clone()], 18).await.unwrap();
    let twice = session.samples(vec![query.clone(), query], 18).await.unwrap_err().to_string();

    assert_eq!((small[0][0].values.len(), large[0][0].values.len()), (50, 50));
    assert!(twice.contains("query.result_bytes_max"), "{twice}");
}

#[tokio::test]
async fn series_are_refused_when_more_are_wanted_than_are_listed() {
    let world = World::with(Config { series_max: 3, ..Config::default() });
    for (commons, jobs) in [("heart.example", ["a", "b"]), ("lung.example", ["c", "d"])] {
        for job in jobs {
            world.sample(&self::commons(commons), job, 0, 1.0).await;
        }
    }
    world.sample(&commons("lung.example"), "e", 0, 1.0).await;
    let session = world.session(Role::Viewer, ReadScope::All);
    let ask = async |limit| session.series(Selection { limit, ..every_series() }).await;

    // The fourth tells that there are more.
    for limit in 1..=4 {
        let found = ask(Some(limit)).await.unwrap();
        assert_eq!(found.len(), limit);
        assert!(found.is_sorted() && found.iter().all(|labels| labels.metric() == "up"));
    }
    for limit in [Some(5), None] {
        let refusal = ask(limit).await.unwrap_err().to_string();
        assert!(refusal.contains("query.series_max"), "{refusal}");
    }
}

#[tokio::test]
async fn what_they_look_at_is_bounded_by_memory() {
    // Room for six names of series, and a commons of seven.
    let world = World::with(Config { memory: HumanSize(1_000), ..Config::default() });
    for job in 0..7 {
        world.sample(&commons("heart.example"), &job.to_string(), 0, 1.0).await;
    }
    let session = world.session(Role::Viewer, ReadScope::All);
    let up = Selection { selectors: vec!["up".to_owned()], ..every_series() };

    let refusal = session.label_names(up).await.unwrap_err().to_string();

    assert!(refusal.contains("more than 6 series (query.memory)"), "{refusal}");
}

#[tokio::test]
async fn a_menu_is_no_longer_than_an_answer_may_be() {
    let world = World::with(Config { result_bytes_max: HumanSize(100), ..Config::default() });
    for job in 0..7 {
        world.sample(&commons("heart.example"), &job.to_string(), 0, 1.0).await;
    }
    let session = world.session(Role::Viewer, ReadScope::All);

    let refusal = session.label_values("job", every_series()).await.unwrap_err().to_string();
    let some = Selection { limit: Some(3), ..every_series() };
    let some = session.label_values("job", some).await.unwrap();

    assert!(refusal.contains("query.result_bytes_max"), "{refusal}");
    assert_eq!(some, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_selector_is_read_and_other_expressions_are_not() {
    let world = World::new();
    let session = world.session(Role::Viewer, ReadScope::All);
    let read = |text: &str| session.matchers(vec![text.to_owned()]);

    assert_eq!(read(r#"up{job="a"}"#).await.unwrap()[0].len(), 2);
    for text in ["up + up", "1", "up{"] {
        assert_eq!(read(text).await.unwrap_err().kind(), Kind::BadInput, "{text}");
    }
}

#[tokio::test]
async fn wrong_promql_is_the_askers_mistake() {
    let world = World::new();
    let session = world.session(Role::Viewer, ReadScope::All);

    let refusal = session.promql_instant("up{", START_MS, Options::default()).await.unwrap_err();

    assert_eq!(refusal.kind(), Kind::BadInput);
}

#[tokio::test]
async fn what_a_limit_refuses_before_it_has_a_turn_is_counted_too() {
    let small = HumanSize(100);
    let config = Config { logql_text_max: small, promql_text_max: small, ..Config::default() };
    let world = World::with(config);
    let grant = Grant::open();
    let session = world.session(Role::Admin, ReadScope::All);
    let deletions = Deletions::new(&grant, &world.storage, &world.engine).unwrap();
    let long = "x".repeat(200);

    let tail = session.follow(&format!("{{app=\"{long}\"}}"), 0).unwrap_err().to_string();
    let doomed = Doomed::Series(vec![long]);
    let deletion = deletions.delete(doomed, (0, 1)).await.unwrap_err().to_string();

    assert!(tail.contains("query.logql_text_max"), "{tail}");
    assert!(deletion.contains("query.promql_text_max"), "{deletion}");
    let mut counted = world.counted("commonwatch_query_limited_total");
    counted.sort();
    assert_eq!(
        counted,
        [
            "commonwatch_query_limited_total{limit=\"query.logql_text_max\"} 1",
            "commonwatch_query_limited_total{limit=\"query.promql_text_max\"} 1",
        ]
    );
}
