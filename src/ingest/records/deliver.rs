//! One request, from its body to what is to be answered: admit, read, decode, store, derive, count.

use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, TimestampNanosecondType};
use axum::body::Body;
use tokio::task::JoinHandle;

use super::context::Context;
use super::decoded::{Decoded, LogRuns};
use crate::base::tasks::spawn_joined;
use crate::derive::{Derive, ReadLine};
use crate::ingest::metrics::Ending;
use crate::ingest::pushes::{PushKey, Reading};
use crate::ingest::{Batch, Encoded, Ingest, IngestError, Lane, Outcome, Permit, Sender};
use crate::model::{Commons, Grant, WriteScope};
use crate::storage::{AppendError, Part};

/// How much longer a byte of records takes than a byte of remote write, by which `Decoding`
/// measures: records are copied into columns, and JSON is read a byte at a time.
const BYTE_WEIGHT: usize = 16;

/// A request under way: who sends what, and how its bytes become rows.
#[derive(Debug)]
pub(in crate::ingest) struct Delivery<D> {
    /// The room.
    pub(in crate::ingest) ingest: Ingest,
    /// What the credential allows.
    pub(in crate::ingest) grant: Grant,
    /// The tenant header, if sent.
    pub(in crate::ingest) tenant: Option<String>,
    /// What is counted under.
    pub(in crate::ingest) lane: Lane,
    /// How the body is read.
    pub(in crate::ingest) decode: D,
}

/// Reads the body of one dialect.
pub(in crate::ingest) trait Decode: Send + Sync + 'static {
    /// Makes rows of a body as it came over the wire; also tells its decompressed size.
    fn decode(
        &self,
        ctx: &Context<'_>,
        encoded: &[u8],
        permit: &mut Permit,
    ) -> Result<(usize, Decoded), IngestError>;

    /// Returns how a body is read, when the same bytes read in the same way mean the same rows (where these
    /// have times of their own); `None` when they need not be known again.
    fn reading(&self) -> Option<Reading> {
        None
    }
}

/// Takes a request all the way. The error is the whole request's; what is wrong with single items
/// is in the outcome.
pub(in crate::ingest) async fn deliver<D: Decode>(
    delivery: Delivery<D>,
    body: Body,
) -> Result<Outcome, IngestError> {
    let (ingest, lane) = (delivery.ingest.clone(), delivery.lane);
    let start_ns = ingest.clock.monotonic_ns();
    let result = run(Arc::new(delivery), body).await;
    let ending = match &result {
        Ok((_, ending)) => *ending,
        Err(error) if error.kind().is_retryable() => Ending::Deferred,
        Err(_) => Ending::Refused,
    };
    if let Err(error) = &result {
        ingest.metrics.refused_request(lane, error.reason());
    }
    ingest.metrics.request(lane, ending, ingest.clock.monotonic_ns().saturating_sub(start_ns));
    result.map(|(outcome, _)| outcome)
}

/// Stores a request, unless it was stored before: then its sender hears the same again.
async fn run<D: Decode>(
    delivery: Arc<Delivery<D>>,
    body: Body,
) -> Result<(Outcome, Ending), IngestError> {
    if delivery.grant.write == WriteScope::Nothing {
        return Err(IngestError::Forbidden { credential: delivery.grant.name.to_string() });
    }
    delivery.ingest.rates.check(&delivery.grant)?;
    delivery.ingest.queue.check()?;
    let mut permit = delivery.ingest.admit.enter(&delivery.grant.name);
    let encoded = Arc::new(delivery.ingest.bodies.read(body, &mut permit).await?);
    let turn = delivery.ingest.queue.enter()?;
    let Some(key) = delivery.push_key(&encoded) else {
        return store(&delivery, encoded, permit).await.map(Stored::ended);
    };
    let ingest = &delivery.ingest;
    let under_way = ingest.pushes.begin(key).await;
    if let Some(known) = ingest.pushes.get(key, ingest.clock.monotonic_ns()) {
        return Ok((known, Ending::Repeated));
    }
    // It is done to its end also when the one who waits goes away: what is stored is derived from then,
    // and known when it comes again.
    end_of(spawn_joined(async move {
        let _held = (turn, under_way);
        let stored = store(&delivery, encoded, permit).await?;
        if !stored.times_are_ours {
            let Ingest { pushes, clock, .. } = &delivery.ingest;
            pushes.insert(key, &stored.outcome, clock.monotonic_ns());
        }
        Ok(stored.ended())
    }))
    .await
}

async fn end_of<T>(work: JoinHandle<Result<T, IngestError>>) -> Result<T, IngestError> {
    match work.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            // A panic costs the request it happened in, wherever it ran.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(IngestError::Append(AppendError::Stopping)),
        },
    }
}

impl<D: Decode> Delivery<D> {
    /// Returns what a push is known by when it comes again; other requests are not.
    fn push_key(&self, encoded: &Encoded) -> Option<PushKey> {
        let sender = Sender { grant: &self.grant, tenant: self.tenant.as_deref() };
        self.decode.reading().map(|reading| PushKey::of(&sender, self.lane, reading, encoded))
    }
}

/// What became of a request that was decoded.
struct Stored {
    outcome: Outcome,
    /// See [`Decoded`].
    times_are_ours: bool,
}

impl Stored {
    fn ended(self) -> (Outcome, Ending) {
        let ending = self.outcome.ending();
        (self.outcome, ending)
    }
}

/// Decodes a body, stores its rows and shows them to `derive`.
async fn store<D: Decode>(
    delivery: &Arc<Delivery<D>>,
    encoded: Arc<Encoded>,
    mut permit: Permit,
) -> Result<Stored, IngestError> {
    let n_bytes = encoded.len().saturating_mul(BYTE_WEIGHT);
    let (decoded, mut permit) = delivery
        .ingest
        .decoding
        .run(n_bytes, {
            let (delivery, encoded) = (Arc::clone(delivery), Arc::clone(&encoded));
            move || decode(&delivery, &encoded, &mut permit).map(|decoded| (decoded, permit))
        })
        .await??;
    let times_are_ours = decoded.times_are_ours;
    let (batch, logs, commons) = take_apart(decoded);
    let spans = spans_of(&batch);
    // The rows in their columns stay, until they are synced, and what was read of lines until they
    // are counted.
    let n_lines: usize = logs.iter().map(|runs| runs.lines.len()).sum();
    permit.hold(encoded.len() + batch.n_bytes() + n_lines * size_of::<ReadLine>());
    let ingest = &delivery.ingest;
    let decode_again = || decode(delivery, &encoded, &mut permit).map(|again| take_apart(again).0);
    let outcome = ingest.commit(delivery.lane, batch, decode_again).await?;
    for commons in &commons {
        ingest.derive.observe_signal(commons, delivery.lane.signal, ingest.clock.now_ns());
    }
    if !logs.is_empty() || !spans.is_empty() {
        let derive = ingest.derive.clone();
        let observe_all = move || {
            logs.iter().for_each(|runs| observe(&derive, runs));
            spans.iter().for_each(|(commons, batch)| derive.observe_spans(commons, batch));
        };
        ingest.decoding.run(n_bytes, observe_all).await?;
    }
    Ok(Stored { outcome, times_are_ours })
}

/// Returns the span batches of a request; cloning one copies no rows.
fn spans_of(batch: &Batch) -> Vec<(Commons, RecordBatch)> {
    let spans = batch.parts.iter().filter_map(|part| match part {
        Part::Spans { commons, batch } => Some((commons.clone(), batch.clone())),
        _ => None,
    });
    spans.collect()
}

fn take_apart(decoded: Decoded) -> (Batch, Vec<LogRuns>, Vec<Commons>) {
    let Decoded { parts, n_received, rejected, logs, commons, .. } = decoded;
    (Batch { parts, n_received, rejected }, logs, commons)
}

fn decode<D: Decode>(
    delivery: &Delivery<D>,
    encoded: &Encoded,
    permit: &mut Permit,
) -> Result<Decoded, IngestError> {
    let ingest = &delivery.ingest;
    let start_ns = ingest.clock.monotonic_ns();
    let sender = Sender { grant: &delivery.grant, tenant: delivery.tenant.as_deref() };
    let ctx = Context::new(ingest, sender);
    let (n_decoded_bytes, decoded) = delivery.decode.decode(&ctx, encoded, permit)?;
    let decode_ns = ingest.clock.monotonic_ns().saturating_sub(start_ns);
    ingest.metrics.body(delivery.lane, encoded.len(), n_decoded_bytes);
    ingest.metrics.decoded_in(delivery.lane, decode_ns);
    Ok(decoded)
}

/// Shows stored log records to `derive`.
fn observe(derive: &Derive, logs: &LogRuns) {
    let column = |name| logs.batch.column_by_name(name).expect("the schema of logs has it");
    let times = column("timestamp").as_primitive::<TimestampNanosecondType>();
    let bodies = column("body").as_string::<i32>();
    let resources = column("resource").as_dictionary::<Int32Type>();
    let (resource_of, resources) = (resources.keys(), resources.values().as_string::<i32>());
    let mut row_idx = 0;
    for (origin, n_rows) in &logs.runs {
        for idx in row_idx..row_idx + n_rows {
            let (at_ns, body) = (times.value(idx), bodies.value(idx));
            let resource = resources.value(resource_of.value(idx).unsigned_abs() as usize);
            derive.observe_log(&origin.tags, at_ns, resource, body, &logs.lines[idx]);
        }
        row_idx += n_rows;
    }
}
