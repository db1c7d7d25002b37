//! The server's side of one question: passes it on, feeds the head's rows, collects the answer.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::frame::{FRAME_BYTES_MAX, Frame};
use super::protocol::{Kind, encode_rows};
use crate::base::shield::shield;
use crate::model::Commons;
use crate::model::{Signal, ipc};
use crate::query::answer::SqlAnswer;
use crate::query::sql::{
    Failure, FailureKind, FileRequest, HeadRange, HeadRequest, PromqlRequest, Question, Truncated,
};
use crate::storage::{HeadBatch, HeadFilter};

/// The head of one snapshot, as the server gives it to a worker.
pub(in crate::query) trait HeadSource: Debug + Send + Sync {
    /// Returns the rows, one batch at a time.
    fn rows(
        &self,
        signal: Signal,
        filter: HeadFilter,
    ) -> Box<dyn Iterator<Item = HeadBatch> + Send>;

    /// Returns the time range of each commons that has samples in the head.
    fn metric_ranges(&self) -> Vec<HeadRange>;

    /// Answers a PromQL question over the same snapshot.
    fn promql(&self, request: &PromqlRequest) -> Result<Vec<RecordBatch>, Failure>;

    /// Returns bytes of a file of the snapshot that the worker's disk has not.
    fn file_bytes(&self, _: &FileRequest) -> Result<Bytes, Failure> {
        let message = "all files are on the disk".to_owned();
        Err(Failure { kind: FailureKind::Internal, message })
    }
}

/// What an answer may take on the pipe beside its rows: the names of its columns, and what frames a
/// batch of 16,384 of them.
const ANSWER_FRAMING_BYTES_MAX: usize = 16 << 20;
/// The most scans of the head that are open at once; a plan opens a few for each table it names.
const SCANS_MAX: usize = 1024;

/// How a conversation ended, with the worker still alive and well.
pub(super) type Outcome = Result<SqlAnswer, Failure>;

/// Puts a question and returns its answer; an error means that the worker died or lost its mind.
pub(super) async fn converse(
    to_worker: &mut (impl AsyncWrite + Unpin),
    from_worker: &mut (impl AsyncRead + Unpin),
    question: &Question,
    head: &Arc<dyn HeadSource>,
) -> io::Result<Outcome> {
    Frame::json(Kind::Question, 0, question)?.send(to_worker).await?;
    let mut scans: HashMap<u32, Scan> = HashMap::new();
    let bytes_max = question.limits.result_bytes_max.saturating_add(ANSWER_FRAMING_BYTES_MAX);
    let mut answer = Collected::new(bytes_max);
    loop {
        let frame = Frame::receive(from_worker, bytes_max.min(FRAME_BYTES_MAX)).await?;
        match frame.kind {
            Kind::HeadOpen | Kind::PromqlOpen => {
                if scans.len() >= SCANS_MAX {
                    return Err(wrong("more scans at once than any plan has"));
                }
                let n_held = scans.values().map(|scan| scan.n_bytes).sum();
                let scan = open(&frame, head, n_held, question.limits.memory_bytes).await?;
                scans.insert(frame.id, scan);
            }
            Kind::HeadNext => {
                // A plan that ended early may leave a task that asks once more after the answer,
                // which is heard by the next question. Numbers of scans are never used again.
                let Some(scan) = scans.remove(&frame.id) else { continue };
                if let Some(scan) = feed(to_worker, frame.id, scan).await? {
                    scans.insert(frame.id, scan);
                }
            }
            Kind::HeadRanges => {
                let head = Arc::clone(head);
                let ranges = blocking(move || head.metric_ranges()).await?;
                Frame::json(Kind::HeadRanges, frame.id, &ranges)?.send(to_worker).await?;
            }
            Kind::FileRead => file_bytes(&frame, head).await?.send(to_worker).await?,
            Kind::Answer => answer.take(&frame)?,
            Kind::Done => {
                let bytes_max = question.limits.result_bytes_max;
                return answer.finish(frame.parse()?, bytes_max).map(Ok);
            }
            Kind::Failed => return Ok(Err(frame.parse()?)),
            Kind::Hello
            | Kind::Question
            | Kind::HeadRows
            | Kind::HeadEnd
            | Kind::HeadFailed
            | Kind::FileBytes
            | Kind::FileFailed
            | Kind::Ready => {
                return Err(wrong("a frame that a worker never sends"));
            }
        }
    }
}

/// Opens what a frame asks for: rows of the head, or of what PromQL answers.
async fn open(
    frame: &Frame,
    head: &Arc<dyn HeadSource>,
    n_held: u64,
    memory_max: u64,
) -> io::Result<Scan> {
    let head = Arc::clone(head);
    match frame.kind {
        Kind::HeadOpen => Scan::open(head, frame.parse()?).await,
        _ => Scan::ask(head, frame.parse()?, n_held, memory_max).await,
    }
}

/// Returns the answer to a frame that asks for bytes of a file; one that an earlier question left behind
/// is told that there is no such file.
async fn file_bytes(frame: &Frame, head: &Arc<dyn HeadSource>) -> io::Result<Frame> {
    let (request, head) = (frame.parse::<FileRequest>()?, Arc::clone(head));
    Ok(match blocking(move || head.file_bytes(&request)).await? {
        Ok(bytes) => Frame::about(Kind::FileBytes, frame.id, bytes),
        Err(failure) => Frame::json(Kind::FileFailed, frame.id, &failure)?,
    })
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)
}

/// A scan of the head, or of PromQL's answer, under way.
struct Scan {
    rows: Box<dyn Iterator<Item = HeadBatch> + Send>,
    /// `None`: all there are.
    columns: Option<Vec<String>>,
    /// Why there are no rows.
    failure: Option<Failure>,
    /// What is held for it.
    n_bytes: u64,
}

impl Scan {
    async fn open(head: Arc<dyn HeadSource>, request: HeadRequest) -> io::Result<Self> {
        let HeadRequest { signal, filter, columns } = request;
        let rows = blocking(move || head.rows(signal, filter)).await?;
        Ok(Self { rows, columns: Some(columns), failure: None, n_bytes: 0 })
    }

    /// Has a PromQL question answered; what all answers of a question hold together is limited.
    async fn ask(
        head: Arc<dyn HeadSource>,
        request: PromqlRequest,
        n_held: u64,
        memory_bytes_max: u64,
    ) -> io::Result<Self> {
        let answer = blocking(move || head.promql(&request)).await?;
        let n_bytes_of = |batches: &Vec<RecordBatch>| {
            batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum::<u64>()
        };
        let n_bytes = answer.as_ref().map_or(0, n_bytes_of);
        let answer = answer.and_then(|batches| {
            if n_held + n_bytes <= memory_bytes_max {
                return Ok(batches);
            }
            let message = "the rows of promql()".to_owned();
            Err(Failure { kind: FailureKind::Memory, message })
        });
        let (batches, failure) = match answer {
            Ok(batches) => (batches, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        // Their commons is a column of theirs.
        let rows = batches.into_iter().map(|batch| HeadBatch { commons: Commons::own(), batch });
        Ok(Self { rows: Box::new(rows), columns: None, failure, n_bytes })
    }

    /// Returns the next batch, ready to be sent, or nothing.
    fn next(&mut self) -> Option<Result<Vec<u8>, ArrowError>> {
        let HeadBatch { commons, batch } = self.rows.find(|rows| rows.batch.num_rows() > 0)?;
        let batch = match &self.columns {
            Some(columns) => select(&batch, columns),
            None => Ok(batch),
        };
        Some(batch.and_then(|batch| encode_rows(&commons, &batch)))
    }
}

/// Sends the scan's next batch; returns the scan unless it has ended.
async fn feed(
    to_worker: &mut (impl AsyncWrite + Unpin),
    id: u32,
    mut scan: Scan,
) -> io::Result<Option<Scan>> {
    if let Some(failure) = &scan.failure {
        Frame::json(Kind::HeadFailed, id, failure)?.send(to_worker).await?;
        return Ok(None);
    }
    let (scan, rows) = blocking(move || {
        let rows = scan.next();
        (scan, rows)
    })
    .await?;
    let Some(rows) = rows else {
        Frame::about(Kind::HeadEnd, id, Vec::new()).send(to_worker).await?;
        return Ok(None);
    };
    Frame::about(Kind::HeadRows, id, rows.map_err(io::Error::other)?).send(to_worker).await?;
    Ok(Some(scan))
}

/// Keeps the columns of these names that the batch has.
fn select(batch: &RecordBatch, names: &[String]) -> Result<RecordBatch, ArrowError> {
    let columns: Vec<usize> =
        names.iter().filter_map(|name| batch.schema_ref().index_of(name).ok()).collect();
    let schema = Arc::new(batch.schema_ref().project(&columns)?);
    let arrays = columns.iter().map(|&idx| Arc::clone(batch.column(idx))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, arrays, &options)
}

/// The answer so far.
struct Collected {
    decoder: StreamDecoder,
    batches: Vec<RecordBatch>,
    /// What may still come.
    bytes_left: usize,
}

impl Collected {
    fn new(bytes_max: usize) -> Self {
        Self { decoder: StreamDecoder::new(), batches: Vec::new(), bytes_left: bytes_max }
    }

    /// Takes a frame, which holds whole messages. Their lengths are compared with what is there
    /// before the decoder believes them.
    fn take(&mut self, frame: &Frame) -> io::Result<()> {
        let left = self.bytes_left.checked_sub(frame.payload.len());
        self.bytes_left = left.ok_or_else(|| wrong("an answer longer than its limit"))?;
        if !ipc::is_whole(&frame.payload) {
            return Err(wrong("a piece of an answer that names what is not in it"));
        }
        let mut buffer = Buffer::from(frame.payload.clone());
        while !buffer.is_empty() {
            let decoder = &mut self.decoder;
            let decoded = shield("arrow-ipc", || decoder.decode(&mut buffer));
            if let Some(batch) = decoded.map_err(io::Error::other)?.map_err(io::Error::other)? {
                self.batches.push(batch);
            }
        }
        Ok(())
    }

    fn finish(self, truncated: Option<Truncated>, bytes_max: usize) -> io::Result<SqlAnswer> {
        let schema = self.decoder.schema().ok_or_else(|| wrong("an answer without columns"))?;
        let batches = self.batches;
        Ok(SqlAnswer { schema, batches, truncated, bytes_max, warnings: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::ipc::writer::StreamWriter;

    use super::*;
    use crate::query::sql::tests::{Fixture, ListedHeads};

    /// An answer of one column as a worker sends it: a frame with the columns, then one a batch.
    fn answer(n_batches: usize, n_rows: i64) -> Vec<Frame> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..n_rows));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).unwrap();
        let mut frames = Vec::new();
        for _ in 0..n_batches {
            frames.push(Frame::new(Kind::Answer, std::mem::take(writer.get_mut())));
            writer.write(&batch).unwrap();
        }
        frames.push(Frame::new(Kind::Answer, std::mem::take(writer.get_mut())));
        frames
    }

    /// Hears a worker that says these frames and nothing more.
    async fn hear(frames: &[Frame]) -> io::Result<Outcome> {
        let mut said = Vec::new();
        for frame in frames {
            frame.write(&mut said).unwrap();
        }
        let mut question = Fixture::new().question("SELECT 1");
        question.limits.result_bytes_max = 1000;
        let head: Arc<dyn HeadSource> = Arc::new(ListedHeads::default());
        converse(&mut Vec::new(), &mut said.as_slice(), &question, &head).await
    }

    #[track_caller]
    fn check_lost_mind(heard: io::Result<Outcome>, want: &str) {
        let error = heard.expect_err("a worker that has lost its mind");
        assert_eq!(error.to_string(), want);
    }

    #[tokio::test]
    async fn an_answer_may_not_be_longer_than_its_limit() {
        let three = answer(3, 1 << 20); // 8 MiB each.
        check_lost_mind(hear(&three[..2]).await, "early eof");
        check_lost_mind(hear(&three).await, "an answer longer than its limit");

        let large = answer(1, 3 << 20);
        let n_bytes = large[1].payload.len() + 5;
        check_lost_mind(
            hear(&large).await,
            &format!("a frame of {n_bytes} bytes: wanted 5 to {}", 1000 + (16 << 20)),
        );
    }

    #[tokio::test]
    async fn lengths_inside_an_answer_are_not_believed() {
        let whole = answer(1, 100);
        let want = "a piece of an answer that names what is not in it";

        for (nth, frame) in whole.iter().enumerate() {
            let mut said = whole[..nth].to_vec();
            said.push(frame.clone());
            // The length of its message: huge, negative, one more than there is.
            let one_more = i32::try_from(frame.payload.len()).unwrap() - 7;
            for length in [i32::MAX, -1, one_more] {
                let mut lie = frame.payload.to_vec();
                lie[4..8].copy_from_slice(&length.to_le_bytes());
                said[nth] = Frame::new(Kind::Answer, lie);
                check_lost_mind(hear(&said).await, want);
            }
            for len in 1..frame.payload.len() {
                said[nth] = Frame::new(Kind::Answer, frame.payload.slice(..len));
                check_lost_mind(hear(&said).await, want);
            }
        }
    }

    #[tokio::test]
    async fn scans_without_end_are_refused() {
        let request = HeadRequest {
            signal: Signal::Logs,
            filter: HeadFilter::default(),
            columns: Vec::new(),
        };
        let open = |id| Frame::json(Kind::HeadOpen, id, &request).unwrap();
        let frames: Vec<Frame> = (0..1025).map(open).collect();

        check_lost_mind(hear(&frames).await, "more scans at once than any plan has");
        check_lost_mind(hear(&frames[..1024]).await, "early eof");
    }

    #[tokio::test]
    async fn what_an_earlier_question_left_behind_is_not_answered() {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        let mut rows = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        rows.finish().unwrap();
        let mut said = Vec::new();
        for frame in [
            Frame::about(Kind::HeadNext, 7, Vec::new()),
            Frame::new(Kind::Answer, rows.into_inner().unwrap()),
            Frame::about(Kind::HeadNext, 8, Vec::new()),
            Frame::json(Kind::Done, 0, &None::<Truncated>).unwrap(),
        ] {
            frame.send(&mut said).await.unwrap();
        }
        let question = Fixture::new().question("SELECT 1");
        let head: Arc<dyn HeadSource> = Arc::new(ListedHeads::default());

        let (mut told, mut from_worker) = (Vec::new(), said.as_slice());
        let answer = converse(&mut told, &mut from_worker, &question, &head).await.unwrap();

        assert_eq!(answer.unwrap().n_rows(), 0);
        let mut told = told.as_slice();
        assert_eq!(Frame::read(&mut told).unwrap().kind, Kind::Question);
        assert!(told.is_empty(), "the worker was told something about a scan that is not");
    }
}
