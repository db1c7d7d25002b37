//! The worker's side: reads questions, runs them, answers.
//!
//! A thread of its own reads the input, so that the end of the input ends the process even while
//! every other thread is busy in a plan that never pauses.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::frame::{Frame, MAGIC};
use super::protocol::{Hello, Kind, decode_rows};
use super::rlimits;
use crate::query::sql::{
    Asked, Failure, FailureKind, FileRequest, HeadRange, HeadRequest, HeadRows, Heads,
    PromqlRequest, Question, Sink, run,
};
use crate::storage::objects::Unreachable;

/// The stack of every thread that plans or runs; plans recurse, and the gate's limits are set so
/// that this is deep enough.
const STACK_BYTES: usize = 16 << 20;
/// Threads that run a plan's partitions.
const RUN_THREADS: usize = 2;
/// Threads that read files.
const READ_THREADS_MAX: usize = 8;
/// Frames in flight to one scan: one batch is asked for at a time.
const INBOX: usize = 2;

/// Runs this process as a worker until its input ends. Nothing else may have used standard input
/// or output before.
pub fn worker_main() -> ExitCode {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(RUN_THREADS)
            .max_blocking_threads(READ_THREADS_MAX)
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build()?;
        let outcome = runtime.block_on(serve());
        runtime.shutdown_background();
        outcome
    });
    let ended = thread.map(std::thread::JoinHandle::join);
    if matches!(ended, Ok(Ok(Ok(())))) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn serve() -> io::Result<()> {
    let scans = Arc::new(Scans::default());
    io::stdout().write_all(MAGIC)?;
    let mut questions = read_input(Arc::clone(&scans))?;
    while let Some(question) = questions.recv().await {
        rlimits::set_cpu(question.limits.cpu_secs_max)?;
        let heads: Arc<dyn Heads> = Arc::clone(&scans) as Arc<dyn Heads>;
        let mut sink = PipeSink { writer: None };
        let answered = AssertUnwindSafe(run(question, heads, &mut sink)).catch_unwind().await;
        let outcome = answered.unwrap_or_else(|panic| Err(fault(panic.as_ref())));
        scans.forget();
        match outcome {
            Ok(truncated) => {
                sink.finish()?;
                send(&Frame::json(Kind::Done, 0, &truncated)?)?;
            }
            Err(failure) => send(&Frame::json(Kind::Failed, 0, &failure)?)?,
        }
    }
    Ok(())
}

fn fault(panic: &(dyn std::any::Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    Failure {
        kind: FailureKind::Execution,
        message: format!("the SQL engine met a fault in itself on this query: {text}"),
    }
}

/// Starts the thread that reads, and returns the questions it reads.
fn read_input(scans: Arc<Scans>) -> io::Result<mpsc::Receiver<Question>> {
    let (sender, questions) = mpsc::channel(1);
    std::thread::Builder::new().name("input".to_owned()).spawn(move || {
        let mut input = BufReader::new(io::stdin());
        // Whatever ends the input ends the worker: nobody is left to answer.
        while let Ok(frame) = Frame::read(&mut input) {
            if handle(&scans, &frame, &sender).is_err() {
                break;
            }
        }
        std::process::exit(0);
    })?;
    Ok(questions)
}

fn handle(scans: &Scans, frame: &Frame, questions: &mpsc::Sender<Question>) -> io::Result<()> {
    match frame.kind {
        Kind::Hello => {
            rlimits::set_for_life(frame.parse::<Hello>()?.memory_bytes)?;
            send(&Frame::new(Kind::Ready, Vec::new()))
        }
        Kind::Question => questions.blocking_send(frame.parse()?).map_err(io::Error::other),
        _ => {
            scans.pass_on(frame);
            Ok(())
        }
    }
}

/// Sends a frame whole: the lock is held until its last byte.
fn send(frame: &Frame) -> io::Result<()> {
    frame.write(&mut io::stdout().lock())
}

/// The scans of a question, each waiting for its frames.
#[derive(Debug, Default)]
struct Scans {
    last_id: AtomicU32,
    inboxes: Mutex<HashMap<u32, mpsc::Sender<Frame>>>,
    /// Threads that wait for bytes of a file.
    waiting: Mutex<HashMap<u32, SyncSender<Frame>>>,
}

impl Scans {
    fn open(&self) -> (u32, mpsc::Receiver<Frame>) {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, inbox) = mpsc::channel(INBOX);
        self.inboxes.lock().insert(id, sender);
        (id, inbox)
    }

    /// Opens a scan and returns its rows.
    fn scan(
        &self,
        kind: Kind,
        request: &impl serde::Serialize,
    ) -> BoxStream<'static, Result<HeadRows>> {
        let (id, inbox) = self.open();
        let opened = Frame::json(kind, id, request)
            .and_then(|frame| send(&frame))
            .and_then(|()| send(&Frame::about(Kind::HeadNext, id, Vec::new())));
        match opened {
            Ok(()) => stream::unfold(Some(inbox), move |inbox| next_rows(id, inbox)).boxed(),
            Err(error) => stream::once(async { Err(DataFusionError::IoError(error)) }).boxed(),
        }
    }

    /// Asks for bytes of a file and waits for them; the thread that reads the input brings them.
    fn wait_for(&self, request: &FileRequest) -> io::Result<Frame> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, answer) = sync_channel(1);
        self.waiting.lock().insert(id, sender);
        let sent = Frame::json(Kind::FileRead, id, request).and_then(|frame| send(&frame));
        let answer = sent.and_then(|()| answer.recv().map_err(io::Error::other));
        self.waiting.lock().remove(&id);
        answer
    }

    fn pass_on(&self, frame: &Frame) {
        if let Some(waiting) = self.waiting.lock().get(&frame.id) {
            let _ = waiting.try_send(frame.clone());
            return;
        }
        if let Some(inbox) = self.inboxes.lock().get(&frame.id) {
            // At most one frame is under way for a scan, so there is room; a scan that has ended
            // early wants none.
            let _ = inbox.try_send(frame.clone());
        }
    }

    fn forget(&self) {
        self.inboxes.lock().clear();
        self.waiting.lock().clear();
    }
}

#[async_trait]
impl Heads for Scans {
    fn read(&self, request: HeadRequest) -> BoxStream<'static, Result<HeadRows>> {
        self.scan(Kind::HeadOpen, &request)
    }

    async fn metric_ranges(&self) -> Result<Vec<HeadRange>> {
        let (id, mut inbox) = self.open();
        send(&Frame::about(Kind::HeadRanges, id, Vec::new()))?;
        let frame = inbox.recv().await.ok_or_else(gone)?;
        Ok(frame.parse()?)
    }

    fn file_bytes(&self, request: &FileRequest) -> io::Result<Bytes> {
        let frame = self.wait_for(request)?;
        if frame.kind == Kind::FileBytes {
            return Ok(frame.payload);
        }
        let Failure { kind, message } = frame.parse()?;
        Err(match kind {
            FailureKind::Away { .. } => Unreachable(message).into_io(),
            FailureKind::Damaged { .. } => io::Error::new(io::ErrorKind::NotFound, message),
            _ => io::Error::other(message),
        })
    }

    fn promql(&self, request: PromqlRequest) -> BoxStream<'static, Result<RecordBatch>> {
        self.scan(Kind::PromqlOpen, &request).map(|rows| rows.map(|(_, batch)| batch)).boxed()
    }
}

/// Returns the scan's next batch and asks for the one after it.
async fn next_rows(
    id: u32,
    inbox: Option<mpsc::Receiver<Frame>>,
) -> Option<(Result<HeadRows>, Option<mpsc::Receiver<Frame>>)> {
    let mut inbox = inbox?;
    let frame = match inbox.recv().await {
        Some(frame) if frame.kind == Kind::HeadEnd => return None,
        Some(frame) if frame.kind == Kind::HeadFailed => {
            let failure = match frame.parse::<Failure>() {
                Ok(failure) => DataFusionError::External(Asked(failure).into()),
                Err(error) => DataFusionError::IoError(error),
            };
            return Some((Err(failure), None));
        }
        Some(frame) => frame,
        None => return Some((Err(gone()), None)),
    };
    let ask_again = send(&Frame::about(Kind::HeadNext, id, Vec::new()));
    let rows = ask_again
        .map_err(DataFusionError::IoError)
        .and_then(|()| decode_rows(&frame.payload).map_err(DataFusionError::from));
    Some((rows, Some(inbox)))
}

fn gone() -> DataFusionError {
    DataFusionError::External("the server no longer answers".into())
}

/// Writes the answer as one Arrow IPC stream, cut into frames.
struct PipeSink {
    writer: Option<StreamWriter<Vec<u8>>>,
}

impl PipeSink {
    fn flush(&mut self) -> io::Result<usize> {
        let Some(writer) = &mut self.writer else { return Ok(0) };
        let bytes = std::mem::take(writer.get_mut());
        let n_bytes = bytes.len();
        send(&Frame::new(Kind::Answer, bytes))?;
        Ok(n_bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(writer) = &mut self.writer {
            writer.finish().map_err(io::Error::other)?;
        }
        self.flush().map(drop)
    }
}

impl Sink for PipeSink {
    async fn schema(&mut self, schema: &SchemaRef) -> Result<()> {
        self.writer = Some(StreamWriter::try_new(Vec::new(), schema)?);
        self.flush()?;
        Ok(())
    }

    async fn rows(&mut self, batch: RecordBatch) -> Result<usize> {
        if let Some(writer) = &mut self.writer {
            writer.write(&batch)?;
        }
        Ok(self.flush()?)
    }
}
