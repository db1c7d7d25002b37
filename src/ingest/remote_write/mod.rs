//! Prometheus remote write 1.0: `POST /api/v1/write`.
//!
//! The body is walked once (`walk`), its series looked up by the hash of their raw label bytes
//! (`ingest::resolve`), and only those that are not known have their labels read (`series`).
//! Answers: 204 when everything was stored; 400 with counts and the first reason when some samples
//! were refused, the others being stored; 415, 413 for what cannot be taken; 429 and 503 with
//! `Retry-After` for what passes. A sender drops what gets a 4xx and repeats what gets a 5xx, so
//! bad data is never a 5xx. Metadata is skipped: a series' kind is `unknown` unless OTLP tells it.

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, body::Body};
use http::{StatusCode, header};
use tracing::debug;

mod content;
mod series;
mod walk;

#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), expect(dead_code, reason = "fuzzing only reads what tests also write"))]
pub(super) mod proto;
#[cfg(test)]
mod tests;

use super::metrics::Ending;
use super::{
    Batch, Encoded, Encoding, Ingest, IngestError, Lane, NotStored, Outcome, Permit, SampleParts,
    Seed, Sender,
};
use crate::model::{Grant, Signal, WriteScope};
use crate::storage::Part;

pub use walk::{Columns, walk};

/// The header that names a tenant, as Cortex, Mimir and Loki have it.
pub const TENANT_HEADER: &str = "x-scope-orgid";

/// Returns the routes; the caller's `Grant` must be in the request's extensions.
pub fn router(ingest: Ingest) -> Router {
    Router::new().route("/api/v1/write", post(write)).with_state(ingest)
}

async fn write(
    State(ingest): State<Ingest>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    let start_ns = ingest.clock.monotonic_ns();
    let result = receive(&ingest, grant, request).await;
    let request_ns = ingest.clock.monotonic_ns().saturating_sub(start_ns);
    answer(&ingest, result, request_ns)
}

async fn receive(ingest: &Ingest, grant: Grant, request: Request) -> Result<Outcome, IngestError> {
    if grant.write == WriteScope::Nothing {
        return Err(IngestError::Forbidden { credential: grant.name.to_string() });
    }
    ingest.rates.check(&grant)?;
    let (head, body) = request.into_parts();
    content::check(&head.headers)?;
    let tenant = head.headers.get(TENANT_HEADER).and_then(|value| value.to_str().ok());
    let mut push = Push::read(ingest, grant, tenant.map(str::to_owned), body).await?;
    // A broken header is decoding's to report.
    let n_bytes = snap::raw::decompress_len(&push.encoded).unwrap_or(0);
    let (mut push, batch) = ingest
        .decoding
        .run(n_bytes, move || {
            let batch = push.decode();
            (push, batch)
        })
        .await?;
    let batch = batch?;
    let latest = latest_ms(&batch);
    let outcome = ingest.commit(Lane::REMOTE_WRITE, batch, || push.decode()).await?;
    for (commons_idx, time_ms) in latest {
        let time_ns = time_ms.saturating_mul(1_000_000);
        ingest.derive.observe_signal(&ingest.store.commons(commons_idx), Signal::Metrics, time_ns);
    }
    Ok(outcome)
}

/// One request with its body read, and all that decoding needs.
struct Push {
    ingest: Ingest,
    grant: Grant,
    tenant: Option<String>,
    encoded: Encoded,
    permit: Permit,
}

impl Push {
    async fn read(
        ingest: &Ingest,
        grant: Grant,
        tenant: Option<String>,
        body: Body,
    ) -> Result<Self, IngestError> {
        let mut permit = ingest.admit.enter(&grant.name);
        let encoded = ingest.bodies.read(body, &mut permit).await?;
        Ok(Self { ingest: ingest.clone(), grant, tenant, encoded, permit })
    }

    fn decode(&mut self) -> Result<Batch, IngestError> {
        let start_ns = self.ingest.clock.monotonic_ns();
        let Self { ingest, grant, tenant, encoded, permit } = self;
        let body = ingest.bodies.decompress(Encoding::Snappy, encoded, permit)?;
        ingest.metrics.body(Lane::REMOTE_WRITE, encoded.len(), body.len());
        let sender = Sender { grant, tenant: tenant.as_deref() };
        let batch = decode(ingest, sender, &body)?;
        drop(body);
        // The samples in their columns stay, until they are synced; they are less than the body.
        permit.hold(encoded.len() + batch.n_bytes());
        let decode_ns = ingest.clock.monotonic_ns().saturating_sub(start_ns);
        ingest.metrics.decoded_in(Lane::REMOTE_WRITE, decode_ns);
        Ok(batch)
    }
}

/// Makes parts for storage of a decompressed `WriteRequest`, registering the series it does not
/// know.
pub fn decode(ingest: &Ingest, sender: Sender<'_>, body: &[u8]) -> Result<Batch, IngestError> {
    let seed = Seed::new(sender, "prometheus.WriteRequest");
    let mut columns = walk(body, seed, ingest.time_bounds(), &ingest.limits)?;
    let mut rejected = std::mem::take(&mut columns.rejected);
    let n_received = n_items(columns.values.len()) + rejected.total();
    let (epoch, series) = ingest.resolve(
        sender,
        &columns.keys,
        |idx| series::describe(columns.messages[idx], &ingest.limits),
        |idx, why| {
            let samples = columns.samples_of(idx);
            let refusal = match why {
                NotStored::Refused(refusal) => refusal,
                NotStored::Folded(folded) => ingest.fold(&folded, &columns.values[samples.clone()]),
            };
            rejected.add_refusal(refusal, n_items(samples.len()));
        },
    );
    let mut parts = SampleParts::with_capacity(columns.values.len());
    parts.looked_up(epoch);
    for (idx, series) in series.into_iter().enumerate() {
        if let Some(series) = series {
            let samples = columns.samples_of(idx);
            let values = &columns.values[samples.clone()];
            parts.push(series, &columns.timestamps_ms[samples], values);
        }
    }
    Ok(Batch { parts: parts.into_parts(), n_received, rejected })
}

fn n_items(len: usize) -> u64 {
    u64::try_from(len).expect("a length fits u64")
}

/// Returns the latest sample's time of each commons in a batch, ms since 1970 UTC.
fn latest_ms(batch: &Batch) -> Vec<(u32, i64)> {
    let latest = |part: &Part| match part {
        Part::Samples { commons_idx, timestamps_ms, .. } => {
            Some((*commons_idx, *timestamps_ms.iter().max()?))
        }
        _ => None,
    };
    batch.parts.iter().filter_map(latest).collect()
}

fn answer(ingest: &Ingest, result: Result<Outcome, IngestError>, request_ns: u64) -> Response {
    let ending = match &result {
        Ok(outcome) => outcome.ending(),
        Err(error) if error.kind().is_retryable() => Ending::Deferred,
        Err(_) => Ending::Refused,
    };
    ingest.metrics.request(Lane::REMOTE_WRITE, ending, request_ns);
    match result {
        Ok(outcome) => match outcome.message("samples") {
            None => StatusCode::NO_CONTENT.into_response(),
            Some(text) => (StatusCode::BAD_REQUEST, text).into_response(),
        },
        Err(error) => {
            ingest.metrics.refused_request(Lane::REMOTE_WRITE, error.reason());
            debug!(%error, "remote write refused");
            refusal(&error)
        }
    }
}

fn refusal(error: &IngestError) -> Response {
    let mut response = (error.status(), error.to_string()).into_response();
    if let Some(retry_after_s) = error.retry_after_s() {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
    }
    response
}
