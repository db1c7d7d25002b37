//! What must hold of any bytes on a worker's pipes: a worker that has lost its mind costs its
//! question and nothing else.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::HeadSource;
use super::conversation::converse;
use super::frame::{Frame, skip_prelude};
use super::protocol::{Hello, Kind, decode_rows};
use crate::model::Signal;
use crate::query::sql::{Failure, HeadRange, Limits, PromqlRequest, Question};
use crate::storage::{HeadBatch, HeadFilter};

#[derive(Debug)]
struct NoHead;

impl HeadSource for NoHead {
    fn rows(&self, _: Signal, _: HeadFilter) -> Box<dyn Iterator<Item = HeadBatch> + Send> {
        Box::new(std::iter::empty())
    }

    fn metric_ranges(&self) -> Vec<HeadRange> {
        Vec::new()
    }

    fn promql(&self, _: &PromqlRequest) -> Result<Vec<RecordBatch>, Failure> {
        Ok(Vec::new())
    }
}

fn question() -> Question {
    Question {
        sql: "SELECT 1".to_owned(),
        params: Vec::new(),
        files: Vec::new(),
        data_dir: "/nowhere".into(),
        may_explain: false,
        limits: Limits {
            memory_bytes: 0,
            rows_max: 1,
            result_bytes_max: 1,
            n_partitions: 1,
            cpu_secs_max: 1,
        },
    }
}

/// Bytes as both sides of the pipe read them.
pub fn worker_frames(bytes: &[u8]) {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
        runtime.expect("a runtime without a socket")
    });
    RUNTIME.block_on(async {
        let head: Arc<dyn HeadSource> = Arc::new(NoHead);
        let (mut from_worker, mut to_worker) = (bytes, Vec::new());
        drop(converse(&mut to_worker, &mut from_worker, &question(), &head).await);
        let mut noisy = bytes;
        drop(skip_prelude(&mut noisy).await);
    });
    let mut input = bytes;
    while let Ok(frame) = Frame::read(&mut input) {
        match frame.kind {
            Kind::Hello => drop(frame.parse::<Hello>()),
            Kind::Question => drop(frame.parse::<Question>()),
            Kind::PromqlOpen => drop(frame.parse::<PromqlRequest>()),
            Kind::HeadFailed => drop(frame.parse::<Failure>()),
            Kind::HeadRanges => drop(frame.parse::<Vec<HeadRange>>()),
            Kind::HeadRows => drop(decode_rows(&frame.payload)),
            _ => {}
        }
        let mut out = Vec::new();
        frame.write(&mut out).expect("what was read can be written");
        let again = Frame::read(&mut out.as_slice()).expect("and read");
        assert_eq!((again.kind, again.id, &again.payload), (frame.kind, frame.id, &frame.payload));
    }
    drop(decode_rows(&Bytes::copy_from_slice(bytes)));
}
