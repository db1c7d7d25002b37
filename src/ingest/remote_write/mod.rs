//! Prometheus remote write 1.0 and 2.0: `POST /api/v1/write`.
//!
//! The body is walked once (`walk`, `walk2`), its series looked up by the hash of their raw label
//! bytes (`ingest::resolve`), and only those that are not known have their labels read (`series`).
//!
//! ```text
//! content ─> walk  ┐
//!            walk2 ┴─> columns ─> assemble ─> parts: samples, histograms, exemplars
//!                                             metadata: descriptions
//! ```
//!
//! Answers: 204 when everything was stored; 400 with counts and the first reason when some samples
//! were refused, the others being stored; 415, 413 for what cannot be taken; 429 and 503 with
//! `Retry-After` for what passes. A sender drops what gets a 4xx and repeats what gets a 5xx, so
//! bad data is never a 5xx. Each answer to 2.0 tells how much was written of each kind.

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Router, body::Body};
use http::{StatusCode, header};
use tracing::debug;

mod content;
mod columns;
mod histogram;
pub(in crate::ingest) mod metadata;
mod series;
mod walk;
mod walk2;
mod assemble;

#[cfg(any(test, fuzzing))]
#[cfg_attr(
    not(any(test, fuzzing)),
    expect(dead_code, reason = "fuzzing only reads what tests also write")
)]
pub(super) mod proto;
#[cfg(any(test, fuzzing))]
#[cfg_attr(
    not(any(test, fuzzing)),
    expect(dead_code, reason = "fuzzing only reads what tests also write")
)]
pub(super) mod proto2;
#[cfg(test)]
mod tests;

use super::metrics::Ending;
use super::{Batch, Encoded, Encoding, Ingest, IngestError, Lane, Outcome, Permit, Seed, Sender};
use crate::model::{Grant, Signal, WriteScope};
use crate::storage::{Part, family};
use assemble::{Assembled, Dialect, Written, assemble};
use content::Version;
use metadata::News;

pub use columns::Columns;
pub use walk::walk;

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
    let (version, result) = match content::version(request.headers()) {
        Ok(version) => (Some(version), receive(&ingest, grant, version, request).await),
        Err(error) => (None, Err(error)),
    };
    let request_ns = ingest.clock.monotonic_ns().saturating_sub(start_ns);
    let written = result.as_ref().map_or(Written::default(), |(_, written)| *written);
    let lane = lane(version.unwrap_or(Version::V1));
    let mut response = answer(&ingest, lane, result.map(|(outcome, _)| outcome), request_ns);
    if version == Some(Version::V2) {
        tell_written(&mut response, written);
    }
    response
}

fn lane(version: Version) -> Lane {
    match version {
        Version::V1 => Lane::REMOTE_WRITE,
        Version::V2 => Lane::REMOTE_WRITE_2,
    }
}

async fn receive(
    ingest: &Ingest,
    grant: Grant,
    version: Version,
    request: Request,
) -> Result<(Outcome, Written), IngestError> {
    if grant.write == WriteScope::Nothing {
        return Err(IngestError::Forbidden { credential: grant.name.to_string() });
    }
    ingest.rates.check(&grant)?;
    ingest.queue.check()?;
    let (head, body) = request.into_parts();
    let tenant = head.headers.get(TENANT_HEADER).and_then(|value| value.to_str().ok());
    let tenant = tenant.map(str::to_owned);
    let mut push = Push::read(ingest, grant, (version, tenant), body).await?;
    let _turn = ingest.queue.enter()?;
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
    let outcome = ingest.commit(lane(version), batch, || push.decode()).await?;
    for (commons_idx, time_ms) in latest {
        let time_ns = time_ms.saturating_mul(1_000_000);
        ingest.derive.observe_signal(&ingest.store.commons(commons_idx), Signal::Metrics, time_ns);
    }
    Ok((outcome, push.written))
}

/// One request with its body read, and all that decoding needs.
struct Push {
    ingest: Ingest,
    grant: Grant,
    version: Version,
    tenant: Option<String>,
    encoded: Encoded,
    permit: Permit,
    /// What is written once the batch that was decoded last is stored.
    written: Written,
}

impl Push {
    async fn read(
        ingest: &Ingest,
        grant: Grant,
        (version, tenant): (Version, Option<String>),
        body: Body,
    ) -> Result<Self, IngestError> {
        let mut permit = ingest.admit.enter(&grant.name);
        let encoded = ingest.bodies.read(body, &mut permit).await?;
        let (ingest, written) = (ingest.clone(), Written::default());
        Ok(Self { ingest, grant, version, tenant, encoded, permit, written })
    }

    fn decode(&mut self) -> Result<Batch, IngestError> {
        let start_ns = self.ingest.clock.monotonic_ns();
        let Self { ingest, grant, version, tenant, encoded, permit, written } = self;
        let body = ingest.bodies.decompress(Encoding::Snappy, encoded, permit)?;
        let lane = lane(*version);
        ingest.metrics.body(lane, encoded.len(), body.len());
        let sender = Sender { grant, tenant: tenant.as_deref() };
        let batch;
        (batch, *written) = decode_as(*version, ingest, sender, &body)?;
        drop(body);
        // The samples in their columns stay, until they are synced; they are less than the body.
        permit.hold(encoded.len() + batch.n_bytes());
        let decode_ns = ingest.clock.monotonic_ns().saturating_sub(start_ns);
        ingest.metrics.decoded_in(lane, decode_ns);
        Ok(batch)
    }
}

fn decode_as(
    version: Version,
    ingest: &Ingest,
    sender: Sender<'_>,
    body: &[u8],
) -> Result<(Batch, Written), IngestError> {
    match version {
        Version::V1 => decode_1(ingest, sender, body),
        Version::V2 => decode_2(ingest, sender, body),
    }
}

/// Makes parts for storage of a decompressed `WriteRequest`, registering the series it does not
/// know.
pub fn decode(ingest: &Ingest, sender: Sender<'_>, body: &[u8]) -> Result<Batch, IngestError> {
    decode_1(ingest, sender, body).map(|(batch, _)| batch)
}

/// The same of a decompressed `io.prometheus.write.v2.Request`.
#[cfg(any(test, fuzzing))]
pub(super) fn decode_v2(
    ingest: &Ingest,
    sender: Sender<'_>,
    body: &[u8],
) -> Result<Batch, IngestError> {
    decode_2(ingest, sender, body).map(|(batch, _)| batch)
}

fn decode_1(
    ingest: &Ingest,
    sender: Sender<'_>,
    body: &[u8],
) -> Result<(Batch, Written), IngestError> {
    let (seed, limits) = (Seed::new(sender, "prometheus.WriteRequest"), &ingest.limits);
    let mut columns = walk(body, seed, ingest.time_bounds(), limits)?;
    let families = std::mem::take(&mut columns.families);
    let messages = std::mem::take(&mut columns.messages);
    let kinds: Vec<bool> = match columns.histograms.is_empty() {
        true => Vec::new(),
        false => (0..messages.len()).map(|at| !columns.histograms_of(at).is_empty()).collect(),
    };
    let dialect = Dialect {
        describe: &|entry| {
            let mut new = series::describe(messages[entry], limits)?;
            if kinds.get(entry).is_some_and(|is_histogram| *is_histogram) {
                new.meta.kind = crate::model::MetricKind::ExpHistogram;
            }
            Ok(new)
        },
        exemplar_labels: &|exemplar| series::exemplar_labels(exemplar.message, limits),
        tells_of_exemplars: false,
    };
    let Assembled { mut batch, written, .. } = assemble(ingest, sender, columns, &dialect);
    batch.parts.extend(metadata::parts_of_families(ingest, sender, families));
    Ok((batch, written))
}

fn decode_2(
    ingest: &Ingest,
    sender: Sender<'_>,
    body: &[u8],
) -> Result<(Batch, Written), IngestError> {
    let (seed, limits) = (Seed::new(sender, "io.prometheus.write.v2.Request"), &ingest.limits);
    let mut walked = walk2::walk(body, seed, ingest.time_bounds(), limits)?;
    let columns = walked.take_columns();
    let dialect = Dialect {
        describe: &|entry| walked.describe(entry, limits),
        exemplar_labels: &|exemplar| walked.exemplar_labels(exemplar.message, limits),
        tells_of_exemplars: true,
    };
    let Assembled { mut batch, written, series } = assemble(ingest, sender, columns, &dialect);
    let mut news = News::default();
    for (entry, metric, description) in walked.told() {
        if let Some(found) = series[entry] {
            let family = family(metric, description.kind);
            news.add(ingest, &ingest.store.commons(found.commons_idx), family, &description);
        }
    }
    batch.parts.extend(news.into_parts());
    Ok((batch, written))
}

/// Returns the latest sample's time of each commons in a batch, ms since 1970 UTC.
fn latest_ms(batch: &Batch) -> Vec<(u32, i64)> {
    let latest = |part: &Part| match part {
        Part::Samples { commons_idx, timestamps_ms, .. } => {
            Some((*commons_idx, *timestamps_ms.iter().max()?))
        }
        Part::ExpHistograms { commons_idx, points, .. } => {
            Some((*commons_idx, points.iter().map(|(_, ms, _)| *ms).max()?))
        }
        _ => None,
    };
    batch.parts.iter().filter_map(latest).collect()
}

fn answer(
    ingest: &Ingest,
    lane: Lane,
    result: Result<Outcome, IngestError>,
    request_ns: u64,
) -> Response {
    let ending = match &result {
        Ok(outcome) => outcome.ending(),
        Err(error) if error.kind().is_retryable() => Ending::Deferred,
        Err(_) => Ending::Refused,
    };
    ingest.metrics.request(lane, ending, request_ns);
    match result {
        Ok(outcome) => match outcome.message("samples") {
            None => StatusCode::NO_CONTENT.into_response(),
            Some(text) => (StatusCode::BAD_REQUEST, text).into_response(),
        },
        Err(error) => {
            ingest.metrics.refused_request(lane, error.reason());
            debug!(%error, "remote write refused");
            refusal(&error)
        }
    }
}

/// A sender of 2.0 takes an answer without these for one of a server that does not know 2.0.
fn tell_written(response: &mut Response, written: Written) {
    for (name, n) in [
        ("x-prometheus-remote-write-samples-written", written.samples),
        ("x-prometheus-remote-write-histograms-written", written.histograms),
        ("x-prometheus-remote-write-exemplars-written", written.exemplars),
    ] {
        response.headers_mut().insert(header::HeaderName::from_static(name), n.into());
    }
}

fn refusal(error: &IngestError) -> Response {
    let mut response = (error.status(), error.to_string()).into_response();
    if let Some(retry_after_s) = error.retry_after_s() {
        response.headers_mut().insert(header::RETRY_AFTER, retry_after_s.into());
    }
    response
}
