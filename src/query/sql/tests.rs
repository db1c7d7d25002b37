//! Questions against files in a folder and a head in memory.
//!
//! `tests/cases/sql/*.txt` holds the questions: a block is a query, a line `----`, and the answer as
//! CSV, or `error: ` and a part of the message. The data is `Fixture::standard`.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, Float64Array, RecordBatch, StringDictionaryBuilder, TimestampMillisecondArray,
    UInt64Array, new_null_array,
};
use datafusion::arrow::datatypes::{Int32Type, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::parquet::arrow::ArrowWriter;
use futures::stream::{self, BoxStream, StreamExt};
use proptest::prelude::*;

use super::*;
use crate::base::ManualClock;
use crate::model::{
    Commons, Labels, LogRow, LogsBuilder, SeriesData, Signal, SpanRow, SpansBuilder, Tags, decimal,
    metric,
};
use crate::query::answer::SqlAnswer;
use crate::query::promql::{self, Budget};
use crate::storage::{DeletedRows, FileEntry, Live, ReadError, SeriesRequest};

/// 2026-01-02T00:00:00Z
pub(crate) const START_MS: i64 = 1_767_312_000_000;

/// One sample: ms after the start, metric, job, value.
pub(crate) type SampleRow = (i64, &'static str, &'static str, f64);

/// A data directory and a head, without a store.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) files: Vec<FileEntry>,
    pub(crate) heads: Arc<ListedHeads>,
}

/// A head that is a list.
#[derive(Debug, Default, Clone)]
pub(crate) struct ListedHeads(pub(crate) Vec<(Signal, HeadRows)>);

#[async_trait]
impl Heads for ListedHeads {
    fn read(&self, request: HeadRequest) -> BoxStream<'static, Result<HeadRows>> {
        let rows = self.0.iter().filter(|(signal, (commons, _))| {
            *signal == request.signal
                && request.filter.commons.as_ref().is_none_or(|wanted| wanted == commons)
        });
        let rows: Vec<_> = rows
            .map(|(_, (commons, batch))| {
                let columns: Vec<usize> = (request.columns.iter())
                    .map(|name| batch.schema().index_of(name).unwrap())
                    .collect();
                Ok((commons.clone(), batch.project(&columns).unwrap()))
            })
            .collect();
        stream::iter(rows).boxed()
    }

    async fn metric_ranges(&self) -> Result<Vec<HeadRange>> {
        Ok(self.ranges())
    }

    fn promql(&self, request: PromqlRequest) -> BoxStream<'static, Result<RecordBatch>> {
        let rows =
            promql(&request).map_err(|failure| DataFusionError::External(Asked(failure).into()));
        match rows {
            Ok(batches) => stream::iter(batches.into_iter().map(Ok)).boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }
}

/// Series of one commons, a sample each 15 s.
struct SomeSeries;

impl promql::SeriesSource for SomeSeries {
    fn select(
        &self,
        request: &SeriesRequest<'_>,
    ) -> std::result::Result<Vec<SeriesData>, ReadError> {
        let one = |service: &str, per_step: f64| SeriesData {
            labels: Labels::from_pairs([
                ("__name__", "requests_total"),
                ("commons", "heart.example"),
                ("service", service),
                ("job", "node"),
            ]),
            timestamps_ms: (0..5).map(|n| START_MS + n * 15_000).collect(),
            values: (0..5).map(|n| f64::from(n) * per_step).collect(),
            ..SeriesData::default()
        };
        let all = [one("fence", 15.0), one("indexd", 30.0)];
        let is_wanted = |series: &SeriesData| {
            let value = |name: &str| series.labels.get(name).unwrap_or("").to_owned();
            request.matchers.iter().all(|matcher| matcher.matches(&value(&matcher.name)))
        };
        Ok(all.into_iter().filter(is_wanted).collect())
    }
}

/// Answers as the server does, but over [`SomeSeries`].
pub(crate) fn promql(request: &PromqlRequest) -> std::result::Result<Vec<RecordBatch>, Failure> {
    let budget = Budget::new(ManualClock::at_ms(START_MS), std::time::Duration::from_secs(60));
    let engine = promql::Engine {
        lookback_ms: 300_000,
        subquery_step_ms: 60_000,
        ..promql::Engine::default()
    };
    let PromqlRequest { query, start_ms, end_ms, step_ms } = request;
    let answer = promql::parse(query, &budget.limits.parse)
        .and_then(|expr| engine.range(&SomeSeries, &expr, *start_ms, *end_ms, *step_ms, &budget));
    promql_rows(answer.map_err(|error| promql_failure(&error))?)
}

impl ListedHeads {
    pub(crate) fn ranges(&self) -> Vec<HeadRange> {
        let metrics = self.0.iter().filter(|(signal, _)| *signal == Signal::Metrics);
        let ranges = metrics.map(|(_, (commons, batch))| {
            let (min_ns, max_ns) = time_range(Signal::Metrics, batch);
            HeadRange { commons: commons.clone(), min_ns, max_ns }
        });
        ranges.collect()
    }
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, files: Vec::new(), heads: Arc::default() }
    }

    /// Two commons; metrics in two files and the head with one sample stored twice, logs and spans
    /// in a file and the head.
    pub(crate) fn standard() -> Self {
        let mut fixture = Self::new();
        let (heart, lung) = (commons("heart.example"), commons("lung.example"));
        fixture.file(
            &heart,
            1,
            Signal::Metrics,
            samples(&[(0, "up", "node", 1.0), (15_000, "up", "node", 1.0), (0, "up", "api", 1.0)]),
        );
        fixture.file(
            &heart,
            2,
            Signal::Metrics,
            samples(&[(15_000, "up", "node", 0.0), (30_000, "up", "node", 0.5)]),
        );
        fixture.file(&lung, 2, Signal::Metrics, samples(&[(0, "queue", "node", 7.0)]));
        fixture.head(
            &heart,
            Signal::Metrics,
            samples(&[(30_000, "up", "node", 9.0), (45_000, "up", "node", 0.25)]),
        );
        fixture.file(
            &heart,
            3,
            Signal::Logs,
            logs(&[(1_000, "GET /a", "GET", 200, "t1"), (2_000, "GET /b", "GET", 500, "t2")]),
        );
        fixture.head(&heart, Signal::Logs, logs(&[(3_000, "POST /c", "POST", 500, "t3")]));
        fixture.file(&heart, 4, Signal::Spans, spans(&[(900, 40, "GET /b", "t2")]));
        fixture.head(&lung, Signal::Spans, spans(&[(5_000, 10, "job", "t9")]));
        fixture
    }

    pub(crate) fn file(
        &mut self,
        commons: &Commons,
        generation: u64,
        signal: Signal,
        batch: RecordBatch,
    ) {
        let n = self.files.len();
        let path = format!(
            "parquet/{signal}/commons={commons}/date=2026-01-02/{generation:016x}-{n}.parquet"
        );
        let place = self.dir.path().join(&path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        let batch = without_exp(signal, &batch);
        let (min_ns, max_ns) = time_range(signal, &batch);
        // Every other file is one of before values were decimals.
        let batch = match signal {
            Signal::Metrics if n.is_multiple_of(2) => {
                decimal::to_file(&batch, &decimal::file_schema(batch.schema_ref()))
            }
            _ => batch,
        };
        let out = std::fs::File::create(&place).unwrap();
        let mut writer = ArrowWriter::try_new(out, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self.files.push(FileEntry {
            path,
            signal,
            commons: commons.clone(),
            day: 20_455,
            n_rows: batch.num_rows() as u64,
            size_bytes: std::fs::metadata(&place).unwrap().len(),
            min_ns,
            max_ns,
            has_exp: false,
            seal: None,
            deletions: Vec::new(),
            live: Live::default(),
        });
    }

    pub(crate) fn head(&mut self, commons: &Commons, signal: Signal, batch: RecordBatch) {
        Arc::make_mut(&mut self.heads).0.push((signal, (commons.clone(), batch)));
    }

    pub(crate) fn question(&self, sql: &str) -> Question {
        Question {
            sql: sql.to_owned(),
            params: Vec::new(),
            files: self.files.clone(),
            data_dir: self.dir.path().to_owned(),
            may_explain: false,
            limits: Limits {
                memory_bytes: 64 << 20,
                rows_max: 1_000,
                result_bytes_max: 1 << 20,
                n_partitions: 2,
                cpu_secs_max: 60,
            },
        }
    }

    fn ask(&self, sql: &str) -> std::result::Result<SqlAnswer, Failure> {
        self.put(self.question(sql))
    }

    fn put(&self, question: Question) -> std::result::Result<SqlAnswer, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(16 << 20)
            .build()
            .unwrap();
        let heads = Arc::clone(&self.heads) as Arc<dyn Heads>;
        runtime.block_on(async move {
            let task = async move {
                let mut sink = Collect::default();
                let truncated = run(question, heads, &mut sink).await?;
                let schema = sink.schema.expect("the schema comes first");
                let (batches, bytes_max) = (sink.batches, usize::MAX);
                Ok(SqlAnswer { schema, batches, truncated, bytes_max, warnings: Vec::new() })
            };
            #[expect(clippy::disallowed_methods, reason = "planning wants the large stack")]
            tokio::spawn(task).await.unwrap()
        })
    }
}

#[derive(Debug, Default)]
struct Collect {
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
}

impl Sink for Collect {
    async fn schema(&mut self, schema: &SchemaRef) -> Result<()> {
        self.schema = Some(Arc::clone(schema));
        Ok(())
    }

    async fn rows(&mut self, batch: RecordBatch) -> Result<usize> {
        let n_bytes = batch.get_array_memory_size();
        self.batches.push(batch);
        Ok(n_bytes)
    }
}

pub(crate) fn commons(name: &str) -> Commons {
    Commons::new(name).unwrap()
}

fn tags() -> Tags {
    Tags { service: Some(Arc::from("fence")), env: Some(Arc::from("prod")), ..Tags::unassigned() }
}

/// Rows in the order files have: by metric, labels, timestamp.
pub(crate) fn samples(rows: &[SampleRow]) -> RecordBatch {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| (a.1, a.2, a.0).partial_cmp(&(b.1, b.2, b.0)).unwrap());
    let labels = |row: &SampleRow| crate::model::json::object([("job", row.2)]);
    let series_id =
        |row: &SampleRow| Labels::from_pairs([("__name__", row.1), ("job", row.2)]).series_id();
    let times = rows.iter().map(|row| START_MS + row.0);
    let n_rows = rows.len();
    let schema = metric::exp_schema();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "timestamp" => Arc::new(
                TimestampMillisecondArray::from_iter_values(times.clone()).with_timezone("UTC"),
            ),
            "metric" => dictionary(rows.iter().map(|row| row.1.to_owned())),
            "labels" => dictionary(rows.iter().map(labels)),
            "kind" => dictionary(rows.iter().map(|_| "gauge".to_owned())),
            "service" => dictionary(rows.iter().map(|_| "fence".to_owned())),
            "value" => Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.3))),
            "series_id" => Arc::new(UInt64Array::from_iter_values(rows.iter().map(series_id))),
            _ => new_null_array(field.data_type(), n_rows),
        }
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

fn dictionary(texts: impl Iterator<Item = String>) -> ArrayRef {
    let mut builder = StringDictionaryBuilder::<Int32Type>::new();
    texts.for_each(|text| builder.append_value(text));
    Arc::new(builder.finish())
}

fn without_exp(signal: Signal, batch: &RecordBatch) -> RecordBatch {
    match signal {
        Signal::Metrics => {
            let kept: Vec<usize> = (0..metric::schema().fields().len()).collect();
            batch.project(&kept).unwrap()
        }
        _ => batch.clone(),
    }
}

/// ms after the start, body, method, status, trace.
pub(crate) fn logs(rows: &[(i64, &str, &str, u16, &str)]) -> RecordBatch {
    let mut builder = LogsBuilder::new();
    for (after_ms, body, method, status, trace_id) in rows {
        let attributes = format!(
            r#"{{"http.method":"{method}","http.status_code":{status},"request_id":"of-{trace_id}"}}"#
        );
        builder.push(
            &tags(),
            &LogRow {
                timestamp_ns: (START_MS + after_ms) * 1_000_000 + 1,
                severity_number: if *status >= 500 { 17 } else { 9 },
                body,
                attributes: &attributes,
                resource: r#"{"k8s.pod.name":"fence-1"}"#,
                trace_id,
                ..LogRow::default()
            },
        );
    }
    builder.finish()
}

/// ms after the start, duration in ms, name, trace.
fn spans(rows: &[(i64, i64, &str, &str)]) -> RecordBatch {
    let mut builder = SpansBuilder::new();
    for (after_ms, duration_ms, name, trace_id) in rows {
        let start_ns = (START_MS + after_ms) * 1_000_000;
        builder.push(
            &tags(),
            &SpanRow {
                start_ns,
                end_ns: start_ns + duration_ms * 1_000_000,
                trace_id,
                span_id: "s1",
                name,
                kind: 2,
                attributes: &format!(r#"{{"request_id":"of-{trace_id}"}}"#),
                resource: "{}",
                events: r#"[{"name":"retry","attributes":{"n":1}}]"#,
                links: "[]",
                ..SpanRow::default()
            },
        );
    }
    builder.finish()
}

fn time_range(signal: Signal, batch: &RecordBatch) -> (i64, i64) {
    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::compute::cast;
    use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};
    let times = batch.column_by_name(super::filter::time_column(signal)).unwrap();
    let times =
        cast(times, &DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))).unwrap();
    let times = times.as_primitive::<TimestampNanosecondType>().values();
    (*times.iter().min().unwrap(), *times.iter().max().unwrap())
}

#[test]
fn the_cases_hold() {
    let fixture = Fixture::standard();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/sql");
    let (mut n_cases, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for block in text.split("\n\n").map(str::trim).filter(|block| block.contains("----")) {
            let (query, want) = block.split_once("----").unwrap();
            let query: Vec<_> = query.lines().filter(|line| !line.starts_with('#')).collect();
            wrong.extend(mismatch(&fixture, query.join("\n").trim(), want.trim()));
            n_cases += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {n_cases}:\n\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(n_cases > 60, "{n_cases} cases found");
}

/// Returns what is wrong with a case, or nothing.
fn mismatch(fixture: &Fixture, query: &str, want: &str) -> Option<String> {
    let found = match fixture.ask(query) {
        Ok(answer) => answer.to_csv().unwrap().replace("\r\n", "\n").trim().to_owned(),
        Err(failure) => format!("error: {}", failure.message),
    };
    let holds = match want.strip_prefix("error:") {
        Some(part) => found.starts_with("error: ") && found.contains(part.trim()),
        None => found == want,
    };
    (!holds).then(|| format!("{query}\nwanted:\n{want}\nfound:\n{found}"))
}

/// Holds every sample of a run of writes, some of them retried, in the order they were stored.
fn stored_twice(
    sources: &[Vec<(i64, u8)>],
) -> (Fixture, std::collections::BTreeMap<(i64, u8), f64>) {
    const JOBS: [&str; 3] = ["a", "b", "c"];
    let mut fixture = Fixture::new();
    let heart = commons("heart.example");
    let mut first = std::collections::BTreeMap::new();
    let mut value = 0.0;
    for (idx, keys) in sources.iter().enumerate() {
        let mut keys = keys.clone();
        keys.sort_unstable();
        keys.dedup();
        let rows: Vec<SampleRow> = keys
            .iter()
            .map(|&(step, job)| {
                value += 1.0;
                first.entry((step, job)).or_insert(value);
                (step * 1_000, "up", JOBS[usize::from(job)], value)
            })
            .collect();
        match (rows.is_empty(), idx + 1 == sources.len()) {
            (true, _) => {}
            (false, true) => fixture.head(&heart, Signal::Metrics, samples(&rows)),
            (false, false) => fixture.file(&heart, idx as u64 + 1, Signal::Metrics, samples(&rows)),
        }
    }
    (fixture, first)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    // A failing case prints its sources, and proptest keeps its seed.
    #[test]
    fn every_sample_is_seen_once_and_the_first_wins(
        sources in prop::collection::vec(prop::collection::vec((0_i64..12, 0_u8..3), 0..12), 1..5),
        from in 0_i64..12,
    ) {
        let (fixture, first) = stored_twice(&sources);

        let answer = fixture.ask(&format!(
            "SELECT (to_unixtime(timestamp) - {}) AS step, labels['job'] AS job, value FROM metrics \
             WHERE timestamp >= to_timestamp_millis({}) ORDER BY timestamp, job",
            START_MS / 1_000,
            START_MS + from * 1_000,
        ));

        let mut want = "step,job,value\r\n".to_owned();
        for ((step, job), value) in first.range((from, 0)..) {
            want += &format!("{step},{},{value:?}\r\n", ["a", "b", "c"][usize::from(*job)]);
        }
        prop_assert_eq!(answer.unwrap().to_csv().unwrap(), want);
    }
}

#[test]
fn names_of_foreign_commons_never_appear() {
    const CANARY: &str = "canary";
    let mut fixture = Fixture::standard();
    let foreign = commons("canary.example");
    fixture.file(&foreign, 9, Signal::Metrics, samples(&[(0, "canary_metric", "canary", 1.0)]));
    fixture.file(&foreign, 9, Signal::Logs, logs(&[(0, "canary body", "CANARY", 500, "canary")]));
    // What the session does: only files in the caller's scope reach the question.
    let in_scope: Vec<_> =
        fixture.files.iter().filter(|file| file.commons != foreign).cloned().collect();

    for sql in [
        "SELECT * FROM metrics",
        "SELECT * FROM logs",
        "SELECT * FROM metrics WHERE commons = 'canary.example'",
        "SELECT * FROM logs WHERE 1 / (severity_number - 17) = 0",
        "SELECT CAST(body AS INT) FROM logs",
        "EXPLAIN SELECT * FROM metrics",
        "EXPLAIN ANALYZE SELECT * FROM logs",
        "EXPLAIN VERBOSE SELECT * FROM metrics WHERE value > 0",
        "SELECT * FROM metrics WHERE labels['job'] IN (SELECT attributes['http.method'] FROM logs)",
    ] {
        let mut question = fixture.question(sql);
        question.files = in_scope.clone();
        question.may_explain = true;

        let said = match fixture.put(question) {
            Ok(answer) => answer.to_json().unwrap(),
            Err(failure) => failure.message,
        };

        // What the caller wrote may come back; what is stored may not.
        let said = said.replace("canary.example", "").to_lowercase();
        assert!(!said.contains(CANARY), "{sql}: {said}");
    }
}

#[test]
fn a_file_in_another_commons_folder_stops_the_query() {
    let mut fixture = Fixture::standard();
    fixture.files[0].commons = commons("lung.example");

    let failure = fixture.ask("SELECT count(*) FROM metrics").unwrap_err();

    assert_eq!(failure.kind, FailureKind::Internal);
}

#[test]
fn a_file_that_is_not_on_the_list_does_not_exist() {
    let fixture = Fixture::standard();
    let store = super::table::store(
        fixture.dir.path(),
        &fixture.files[..1],
        Arc::clone(&fixture.heads) as _,
    );

    let outside = object_store::path::Path::parse(&fixture.files[1].path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(object_store::ObjectStoreExt::get(&store.unwrap(), &outside));

    assert!(matches!(found, Err(object_store::Error::NotFound { .. })));
}

#[test]
fn parameters_are_values_and_never_text_of_the_query() {
    let fixture = Fixture::standard();
    let mut question = fixture.question(
        "SELECT body FROM logs WHERE severity_number >= $1 AND attributes['http.method'] = $2 \
         AND timestamp < $3 AND body <> $4",
    );
    question.params = vec![
        Param::Int(17),
        Param::Text("POST".to_owned()),
        Param::Text("2026-01-03T00:00:00Z".to_owned()),
        Param::Text("' OR 1=1 --".to_owned()),
    ];

    let answer = fixture.put(question).unwrap();

    assert_eq!(answer.to_csv().unwrap(), "body\r\nPOST /c\r\n");
}

#[test]
fn json_says_which_kind_of_value_a_parameter_is() {
    let params: Vec<Param> = serde_json::from_str(r#"[null,true,1,1.0,"1"]"#).unwrap();

    let want =
        [Param::Null, Param::Bool(true), Param::Int(1), Param::Float(1.0), Param::Text("1".into())];
    assert_eq!(params, want);
}

#[test]
fn conditions_reach_the_files() {
    let fixture = Fixture::standard();
    let mut question = fixture.question(
        "EXPLAIN SELECT value FROM metrics WHERE metric = 'queue' AND commons = 'lung.example'",
    );
    question.may_explain = true;

    let plan = fixture.put(question).unwrap().to_csv().unwrap();

    assert!(plan.contains("pruning_predicate=metric_null_count"), "{plan}");
    assert!(!plan.contains("heart.example"), "files of other commons are not opened: {plan}");
}

#[test]
fn deleted_rows_are_in_no_answer() {
    let mut fixture = Fixture::standard();
    let heart = commons("heart.example");
    let ask = |fixture: &Fixture, sql: &str| -> Vec<String> {
        let csv = fixture.ask(sql).unwrap().to_csv().unwrap();
        csv.lines().skip(1).map(str::to_owned).collect()
    };
    let questions = [
        "SELECT count(*) AS n FROM metrics WHERE commons = 'heart.example'",
        "SELECT timestamp, metric, value FROM metrics ORDER BY 1, 2, 3",
        "SELECT body FROM logs ORDER BY 1",
        "SELECT count(*) AS n FROM logs WHERE body LIKE 'GET%'",
        "SELECT count(*) AS n FROM spans",
    ];
    let whole: Vec<_> = questions.iter().map(|sql| ask(&fixture, sql)).collect();
    let mut delete = |signal, generation: &str, rows: std::ops::Range<usize>| {
        let mut deleted = DeletedRows::default();
        assert!(deleted.push(rows));
        let is_it = |f: &&mut FileEntry| {
            f.signal == signal && f.commons == heart && f.path.contains(generation)
        };
        let file = fixture.files.iter_mut().find(is_it).unwrap();
        *file = file.with_deletion(1, Arc::new(deleted));
    };
    // Of `up{job="node"}` in the first file, and of both lines.
    delete(Signal::Metrics, "0001-", 1..3);
    delete(Signal::Logs, "0003-", 0..1);
    delete(Signal::Spans, "0004-", 0..1);

    let left: Vec<_> = questions.iter().map(|sql| ask(&fixture, sql)).collect();

    assert!(left.iter().zip(&whole).all(|(left, whole)| left != whole), "{left:?}");
    assert_eq!(left[2], ["GET /b", "POST /c"]);
    assert_eq!((&left[3][0][..], &left[4][0][..]), ("1", "1"));
    // What the second file says of the deleted time is the first that is said now.
    let is_second = |row: &&String| row.contains("00:00:15") && row.ends_with("up,0.0");
    assert_eq!(left[1].iter().filter(is_second).count(), 1, "{:?}", left[1]);
}
