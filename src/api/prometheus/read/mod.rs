//! `/api/v1/read`, remote read: raw samples for another Prometheus, in both of its forms.
//!
//! A request is protobuf in snappy and names which forms it takes. The first is one message with all
//! samples; the second is a stream of frames (`length varint | crc32c u32 big-endian | message`),
//! each a series with its samples in chunks as Prometheus keeps them (`xor`, `histogram`). The end of a
//! series is a number in both, of histograms too. Neither has a place for what an answer lacks, so its
//! head says that.
//! Source: prometheus/prometheus `prompb/remote.proto`, `storage/remote/{codec,chunked}.go`.

mod bits;
mod chunks;
mod histogram;
mod messages;
#[cfg(test)]
mod tests;
mod xor;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::CONTENT_ENCODING;
use http::{HeaderValue, StatusCode};
use prost::Message as _;

use super::super::Api;
use super::super::ask::Listed;
use super::super::error::{ApiError, answer, partial};
use super::super::received::Whole;
use crate::base::Kind;
use crate::base::varint::push_varint;
use crate::model::{
    Grant, Labels, MatchOp, Matcher, REGEX_PROGRAM_BYTES_MAX, SeriesData, check_label_regex,
};
use crate::query::SampleQuery;
use chunks::{chunks_of, histograms_of, message_of};
use messages::{
    Chunk, ChunkedReadResponse, ChunkedSeries, Label, LabelMatcher, QueryResult, ReadRequest,
    ReadResponse, Sample, TimeSeries,
};

/// The largest request, uncompressed.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// The most queries in one request.
const QUERIES_MAX: usize = 64;
/// The longest text of a matcher, and the most matchers in a query.
const MATCHER_BYTES_MAX: usize = 16 << 10;
const MATCHERS_MAX: usize = 64;
/// The most regular expressions in a request, as in a query, and the longest: each may compile to a
/// megabyte, and is compiled before the question has a turn.
const REGEXES_MAX: usize = 64;
const REGEX_BYTES_MAX: usize = 4 << 10;
/// A sample as a message: 18 bytes. In a chunk it has two or so; noise has more.
const SAMPLE_BYTES: usize = 18;
const STREAMED_SAMPLE_BYTES: usize = 4;
/// The longest frame of a stream, as in Prometheus.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// `STREAMED_XOR_CHUNKS` among the forms that a request takes.
const STREAMED: i32 = 1;
const STREAM_TYPE: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

pub(super) async fn read(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    Whole(body): Whole,
) -> Result<Response, ApiError> {
    // Patterns are no work for a thread that answers others meanwhile.
    let asked = tokio::task::spawn_blocking(move || asked_of(&body)).await;
    let panicked = |_| ApiError::new(Kind::Internal, "reading the request panicked");
    let Asked { queries, is_streamed } = asked.map_err(panicked)??;
    let sample_bytes = if is_streamed { STREAMED_SAMPLE_BYTES } else { SAMPLE_BYTES };
    let Listed { list, warnings } = api.ask.samples(&grant, queries, sample_bytes).await?;
    // Millions of samples are no work for a thread that answers others meanwhile.
    let written = tokio::task::spawn_blocking(move || match is_streamed {
        true => Ok(answer(StatusCode::OK, STREAM_TYPE, Body::from(frames_of(&list)))),
        false => plain(&list),
    });
    let written = written.await;
    let response =
        written.map_err(|_| ApiError::new(Kind::Internal, "writing the samples panicked"))??;
    Ok(partial(response, &warnings))
}

/// Writes all samples as one message.
fn plain(found: &[Vec<SeriesData>]) -> Result<Response, ApiError> {
    let message = ReadResponse { results: found.iter().map(|all| result_of(all)).collect() };
    let compressed =
        snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).map_err(|error| {
            ApiError::new(Kind::TooLarge, format!("the answer is too long: {error}"))
        })?;
    let mut response = answer(StatusCode::OK, "application/x-protobuf", Body::from(compressed));
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}

/// A request that makes sense.
#[derive(Debug)]
pub(in crate::api) struct Asked {
    queries: Vec<SampleQuery>,
    is_streamed: bool,
}

fn bad(what: impl Into<String>) -> ApiError {
    ApiError::new(Kind::BadInput, what)
}

/// Reads a request.
pub(in crate::api) fn asked_of(body: &[u8]) -> Result<Asked, ApiError> {
    let n_bytes = snap::raw::decompress_len(body).map_err(|error| bad(error.to_string()))?;
    if n_bytes > REQUEST_BYTES_MAX {
        let what = format!("the request has {n_bytes} bytes of at most {REQUEST_BYTES_MAX}");
        return Err(ApiError::new(Kind::TooLarge, what));
    }
    let bytes =
        snap::raw::Decoder::new().decompress_vec(body).map_err(|error| bad(error.to_string()))?;
    let request = ReadRequest::decode(bytes.as_slice()).map_err(|error| bad(error.to_string()))?;
    if request.queries.len() > QUERIES_MAX {
        let n = request.queries.len();
        return Err(bad(format!("the request has {n} queries of at most {QUERIES_MAX}")));
    }
    let matchers = request.queries.iter().flat_map(|query| &query.matchers);
    let n_regexes = matchers.filter(|matcher| matcher.r#type >= 2).count();
    if n_regexes > REGEXES_MAX {
        return Err(bad(format!(
            "the request has {n_regexes} regular expressions of at most {REGEXES_MAX}"
        )));
    }
    // The first form of the list that is known; none named is the plain one.
    let is_streamed = request.accepted_response_types.iter().find(|form| (0..=1).contains(*form))
        == Some(&STREAMED);
    let queries = request.queries.iter().map(|query| {
        if query.matchers.len() > MATCHERS_MAX {
            let n = query.matchers.len();
            return Err(bad(format!("a query has {n} matchers of at most {MATCHERS_MAX}")));
        }
        Ok(SampleQuery {
            matchers: query.matchers.iter().map(matcher_of).collect::<Result<_, _>>()?,
            start_ms: query.start_timestamp_ms,
            end_ms: query.end_timestamp_ms,
        })
    });
    Ok(Asked { queries: queries.collect::<Result<_, _>>()?, is_streamed })
}

fn matcher_of(matcher: &LabelMatcher) -> Result<Matcher, ApiError> {
    let op = match matcher.r#type {
        0 => MatchOp::Eq,
        1 => MatchOp::Ne,
        2 => MatchOp::Re,
        3 => MatchOp::Nre,
        other => return Err(bad(format!("{other} is no type of a matcher"))),
    };
    let n_bytes = matcher.name.len() + matcher.value.len();
    if n_bytes > MATCHER_BYTES_MAX {
        return Err(bad(format!("a matcher has {n_bytes} bytes of at most {MATCHER_BYTES_MAX}")));
    }
    let value = &matcher.value;
    if matches!(op, MatchOp::Re | MatchOp::Nre) {
        if value.len() > REGEX_BYTES_MAX {
            let (n, max) = (value.len(), REGEX_BYTES_MAX);
            return Err(bad(format!("a regular expression has {n} bytes of at most {max}")));
        }
        let checked = check_label_regex(value, REGEX_PROGRAM_BYTES_MAX);
        checked.map_err(|error| bad(error.to_string()))?;
    }
    Matcher::new(&matcher.name, op, value).map_err(|error| bad(error.to_string()))
}

fn labels_of(labels: &Labels) -> Vec<Label> {
    let label = |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
    labels.iter().map(label).collect()
}

fn result_of(found: &[SeriesData]) -> QueryResult {
    let series = found.iter().map(|one| {
        let samples = one.timestamps_ms.iter().zip(&one.values);
        let samples =
            samples.map(|(timestamp, value)| Sample { value: *value, timestamp: *timestamp });
        TimeSeries {
            labels: labels_of(&one.labels),
            samples: samples.collect(),
            histograms: histograms_of(one).into_iter().map(message_of).collect(),
        }
    });
    // Histograms without a form are all that some series have.
    let series = series.filter(|one| !one.samples.is_empty() || !one.histograms.is_empty());
    QueryResult { timeseries: series.collect() }
}

fn frames_of(results: &[Vec<SeriesData>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (query_index, found) in (0..).zip(results) {
        for one in found {
            let labels = labels_of(&one.labels);
            let mut chunks: Vec<Chunk> = Vec::new();
            let mut n_bytes = 0;
            for chunk in chunks_of(one) {
                // A series that does not fit one frame goes on in the next.
                if n_bytes > 0 && n_bytes + chunk.data.len() > FRAME_BYTES_MAX / 2 {
                    push_frame(&mut out, query_index, &labels, std::mem::take(&mut chunks));
                    n_bytes = 0;
                }
                n_bytes += chunk.data.len();
                chunks.push(chunk);
            }
            if !chunks.is_empty() {
                push_frame(&mut out, query_index, &labels, chunks);
            }
        }
    }
    out
}

fn push_frame(out: &mut Vec<u8>, query_index: i64, labels: &[Label], chunks: Vec<Chunk>) {
    let series = ChunkedSeries { labels: labels.to_vec(), chunks };
    let message = ChunkedReadResponse { chunked_series: vec![series], query_index };
    let bytes = message.encode_to_vec();
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    out.extend_from_slice(&bytes);
}
