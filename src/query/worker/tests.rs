//! Questions through real worker processes, the dangerous ones above all.
//!
//! The worker is this test program, started again with one "test" that becomes a worker when the
//! variable says so.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use prometheus_client::registry::Registry;

use super::{HeadSource, Pool, WorkerCommand};
use crate::model::Signal;
use crate::query::answer::SqlAnswer;
use crate::query::error::QueryError;
use crate::query::metrics::Metrics;
use crate::query::sql::tests::{Fixture, ListedHeads};
use crate::query::sql::{Failure, HeadRange, PromqlRequest, Question, Truncated};
use crate::storage::{HeadBatch, HeadFilter};

const ENTRY: &str = "query::worker::tests::query_worker_entry";
const ENTRY_SWITCH: &str = "COMMONWATCH_TEST_QUERY_WORKER";
const DEADLINE: Duration = Duration::from_secs(60);

/// Not a claim: where a worker of these tests begins.
#[test]
fn query_worker_entry() {
    if std::env::var_os(ENTRY_SWITCH).is_some() {
        let _ = super::worker_main();
        std::process::exit(0);
    }
}

/// Returns how to start this test program as a worker.
pub(in crate::query) fn test_worker() -> WorkerCommand {
    WorkerCommand {
        exe: std::env::current_exe().unwrap(),
        args: [ENTRY, "--exact", "--nocapture", "--test-threads=1"].map(Into::into).to_vec(),
        env: vec![(ENTRY_SWITCH.into(), "1".into())],
    }
}

impl HeadSource for ListedHeads {
    fn rows(
        &self,
        signal: Signal,
        filter: HeadFilter,
    ) -> Box<dyn Iterator<Item = HeadBatch> + Send> {
        let rows = self.0.clone().into_iter().filter(move |(its, (commons, _))| {
            *its == signal && filter.commons.as_ref().is_none_or(|wanted| wanted == commons)
        });
        Box::new(rows.map(|(_, (commons, batch))| HeadBatch { commons, batch }))
    }

    fn metric_ranges(&self) -> Vec<HeadRange> {
        self.ranges()
    }

    fn promql(&self, request: &PromqlRequest) -> Result<Vec<RecordBatch>, Failure> {
        crate::query::sql::tests::promql(request)
    }
}

struct Server {
    pool: Arc<Pool>,
    registry: Registry,
    fixture: Fixture,
}

impl Server {
    fn new(memory_bytes: u64) -> Self {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let pool = Pool::new(test_worker(), 1, memory_bytes, metrics);
        Self { pool, registry, fixture: Fixture::standard() }
    }

    async fn ask(&self, sql: &str) -> Result<SqlAnswer, QueryError> {
        self.put(&self.fixture.question(sql), DEADLINE).await
    }

    async fn put(&self, question: &Question, deadline: Duration) -> Result<SqlAnswer, QueryError> {
        let head = Arc::clone(&self.fixture.heads) as Arc<dyn HeadSource>;
        self.pool.ask(question, &head, deadline).await
    }

    /// Asserts that the next question is answered as if nothing had happened.
    #[track_caller]
    fn assert_well(answer: Result<SqlAnswer, QueryError>) {
        assert_eq!(answer.unwrap().to_csv().unwrap(), "n\r\n6\r\n");
    }

    fn metric(&self, wanted: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.contains(wanted)
    }
}

/// A cross join of 6^13 rows in little memory.
fn endless() -> String {
    let mut inner = "SELECT value AS v FROM metrics".to_owned();
    for _ in 0..12 {
        inner = format!("SELECT x.value + y.v AS v FROM metrics x CROSS JOIN ({inner}) y");
    }
    format!("SELECT count(*) FROM ({inner}) WHERE v < -1")
}

const WELL: &str = "SELECT count(*) AS n FROM metrics";

#[tokio::test]
async fn a_worker_answers_one_question_after_the_other() {
    let server = Server::new(2 << 30);

    let rows = server.ask("SELECT body FROM logs ORDER BY timestamp DESC LIMIT 2").await.unwrap();
    let refusal = server.ask("SELECT nothing FROM logs").await.unwrap_err();

    assert_eq!(rows.to_csv().unwrap(), "body\r\nPOST /c\r\nGET /b\r\n");
    assert!(matches!(refusal, QueryError::Refused(_)), "{refusal}");
    Server::assert_well(server.ask(WELL).await);
    assert!(!server.metric("worker_restarts_total{"), "no worker was replaced");
}

#[tokio::test]
async fn head_rows_without_columns_are_counted() {
    let server = Server::new(2 << 30);

    let answer = server.ask("SELECT count(*) AS n FROM logs").await.unwrap();

    assert_eq!(answer.to_csv().unwrap(), "n\r\n3\r\n");
}

#[tokio::test]
async fn a_plan_that_never_pauses_is_ended_at_the_deadline() {
    let server = Server::new(2 << 30);
    let question = server.fixture.question(&endless());
    let refusal = server.put(&question, Duration::from_secs(2)).await.unwrap_err();

    assert!(matches!(refusal, QueryError::Timeout { .. }), "{refusal}");
    assert!(refusal.to_string().contains("query.timeout"), "{refusal}");
    assert!(server.metric(r#"worker_restarts_total{reason="deadline"} 1"#));
    Server::assert_well(server.ask(WELL).await);
}

#[tokio::test]
async fn memory_past_the_limit_ends_the_worker_and_nothing_else() {
    let server = Server::new(256 << 20);
    // Eightfolds a text ten times: gigabytes that the memory pool never hears of.
    let mut text = "SELECT body AS t FROM logs".to_owned();
    for _ in 0..10 {
        text = format!("SELECT concat(t, t, t, t, t, t, t, t) AS t FROM ({text}) AS shorter");
    }
    let sql = format!("SELECT length(t) FROM ({text})");

    let refusal = server.ask(&sql).await.unwrap_err();

    assert!(matches!(refusal, QueryError::WorkerMemory { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("256MiB (query.worker_memory)"), "{refusal}");
    assert!(server.metric(r#"worker_restarts_total{reason="memory"} 1"#));
    Server::assert_well(server.ask(WELL).await);
}

#[tokio::test]
async fn the_memory_pool_refuses_with_its_limits_name() {
    let server = Server::new(2 << 30);
    let mut question = server.fixture.question(
        "SELECT a.body FROM logs a, logs b, logs c, logs d, logs e, logs f, logs g, logs h, logs i, \
         logs j, logs k, logs l, logs m ORDER BY a.timestamp, b.timestamp, c.body",
    );
    question.limits.memory_bytes = 4 << 20;

    let refusal = server.put(&question, DEADLINE).await.unwrap_err();

    assert!(matches!(refusal, QueryError::Memory { .. }), "{refusal:?}");
    assert!(refusal.to_string().contains("query.memory"), "{refusal}");
    Server::assert_well(server.ask(WELL).await);
}

#[tokio::test]
async fn the_largest_plan_that_the_gate_lets_through_does_not_overflow_the_stack() {
    let server = Server::new(2 << 30);
    let additions = format!("SELECT 1{} AS n", "+1".repeat(499));
    let unions =
        format!("SELECT count(*) AS n FROM (SELECT 1{})", " UNION ALL SELECT 1".repeat(64));
    let nested = format!("SELECT {}1{} AS n", "(".repeat(45), ")".repeat(45));

    for (sql, want) in [(additions, "500"), (unions, "65"), (nested, "1")] {
        let answer = server.ask(&sql).await.unwrap();
        assert_eq!(answer.to_csv().unwrap(), format!("n\r\n{want}\r\n"));
    }
    let ors = format!("{WELL} WHERE value > 99{}", " OR value > 99".repeat(240));
    assert_eq!(server.ask(&ors).await.unwrap().to_csv().unwrap(), "n\r\n0\r\n");
}

#[tokio::test]
async fn a_question_that_nobody_waits_for_ends_its_worker() {
    let server = Server::new(2 << 30);
    let question = server.fixture.question(&endless());

    let asked = tokio::time::timeout(
        Duration::from_millis(500),
        server.put(&question, Duration::from_secs(60)),
    );

    assert!(asked.await.is_err(), "the asker went away first");
    assert!(server.metric(r#"worker_restarts_total{reason="canceled"} 1"#));
    Server::assert_well(server.ask(WELL).await);
}

#[tokio::test]
async fn answers_are_cut_off_at_the_row_limit_and_say_so() {
    let server = Server::new(2 << 30);
    let mut question = server.fixture.question("SELECT value FROM metrics");
    question.limits.rows_max = 4;

    let answer = server.put(&question, DEADLINE).await.unwrap();

    assert_eq!((answer.n_rows(), answer.truncated), (4, Some(Truncated::Rows)));
}

#[tokio::test]
async fn an_answer_of_just_the_row_limit_is_whole() {
    let server = Server::new(2 << 30);
    let mut question = server.fixture.question("SELECT value FROM metrics");
    question.limits.rows_max = 6;

    let answer = server.put(&question, DEADLINE).await.unwrap();

    assert_eq!((answer.n_rows(), answer.truncated), (6, None));
}

#[tokio::test]
async fn a_program_that_is_no_worker_is_told_apart() {
    let metrics = Metrics::register(&mut Registry::default());
    let command = WorkerCommand { exe: "/bin/true".into(), args: Vec::new(), env: Vec::new() };
    let pool = Pool::new(command, 1, 1 << 30, metrics);
    let fixture = Fixture::standard();
    let head = Arc::clone(&fixture.heads) as Arc<dyn HeadSource>;

    let refusal = pool.ask(&fixture.question("SELECT 1"), &head, DEADLINE).await.unwrap_err();

    assert!(matches!(refusal, QueryError::Spawn(_)), "{refusal:?}");
}
