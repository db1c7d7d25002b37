//! Why a whole request was refused, and which status code says so.
//!
//! Three rules from the protocols: bad data is never a 5xx (the sender would repeat it for ever), a
//! passing condition is never a plain 4xx (the sender would drop the data), and every text says
//! which number met which limit.

use http::StatusCode;

use super::wire::WireError;
use crate::base::Kind;
use crate::base::units::{HumanDuration, HumanSize, format_duration_ms};
use crate::model::Commons;
use crate::storage::AppendError;

/// Why a whole request was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IngestError {
    /// The body is larger on the wire than it may be.
    #[error(
        "the body is larger than {max} (limits.body_encoded): send less in one request, or raise the limit"
    )]
    EncodedTooLarge {
        /// The limit.
        max: HumanSize,
    },
    /// The body would be larger after decompression than it may be.
    #[error(
        "the body is larger than {max} once decompressed (limits.body_decoded): send less in one request, or raise the limit"
    )]
    DecodedTooLarge {
        /// The limit.
        max: HumanSize,
    },
    /// The body grows more than any real telemetry does.
    #[error(
        "the body of {encoded_bytes} bytes grows more than {max}-fold when decompressed (limits.body_ratio)"
    )]
    Ratio {
        /// Its size on the wire.
        encoded_bytes: usize,
        /// The limit.
        max: u32,
    },
    /// The body cannot be decompressed.
    #[error("the body is not valid {encoding}: {detail}")]
    Encoding {
        /// What it should be.
        encoding: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// A compression that is not supported here.
    #[error("Content-Encoding `{got}` is not supported here: send {wanted}")]
    UnsupportedEncoding {
        /// What was sent.
        got: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// A content type that is not supported here.
    #[error("Content-Type `{got}` is not supported here: send {wanted}")]
    UnsupportedType {
        /// What was sent.
        got: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// The decompressed body is not the protobuf message it should be.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The decompressed body is not what it should be, otherwise.
    #[error("{0}")]
    Invalid(String),
    /// More items than one request may have.
    #[error(
        "the request has more than {max} items (limits.records_per_request): send less in one request, or raise the limit"
    )]
    TooManyRecords {
        /// The limit.
        max: usize,
    },
    /// More symbols than one request may have.
    #[error(
        "the request has more than {max} symbols (limits.symbols_per_request): send less in one request, or raise the limit"
    )]
    TooManySymbols {
        /// The limit.
        max: usize,
    },
    /// The bytes of the requests under way have reached a limit.
    #[error(
        "requests under way hold {used_bytes} of {max} ({limit}): come back in {retry_after_s} s"
    )]
    Overloaded {
        /// Bytes held.
        used_bytes: usize,
        /// The limit.
        max: HumanSize,
        /// Its key.
        limit: &'static str,
        /// When to come back.
        retry_after_s: u32,
    },
    /// More requests are under way than are answered in time.
    #[error(
        "{n_under_way} requests are under way and {n_answered} were answered in the last {} (limits.answer_within): come back in {retry_after_s} s; more processors or a faster disk let more in",
        format_duration_ms(max.as_ms())
    )]
    Behind {
        /// Requests whose bodies are here and that are not answered.
        n_under_way: usize,
        /// Requests answered within the limit's time.
        n_answered: usize,
        /// The limit.
        max: HumanDuration,
        /// When to come back.
        retry_after_s: u32,
    },
    /// A commons brings more records than it may.
    #[error(
        "commons {commons} sends more than {max_per_s} records a second (limits.records_per_second_per_commons): come back in {retry_after_s} s, or raise the limit"
    )]
    TooFast {
        /// The commons.
        commons: Commons,
        /// The limit.
        max_per_s: u64,
        /// When to come back.
        retry_after_s: u32,
    },
    /// The credential may write nothing.
    #[error("the credential `{credential}` may not write: give it a write scope, or use another")]
    Forbidden {
        /// The credential's name.
        credential: String,
    },
    /// The client went away, or broke off its body.
    #[error("the client broke off: {0}")]
    ClientGone(String),
    /// The client was too slow with its body.
    #[error("the body did not arrive within {} s (limits.body_read): send it again", max.0.as_secs())]
    BodyTimeout {
        /// The limit.
        max: HumanDuration,
    },
    /// Storage did not take the batch.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// When to come back after a fault that says nothing else.
const RETRY_AFTER_S: u32 = 5;

impl IngestError {
    /// Returns what the error asks of the sender.
    pub fn kind(&self) -> Kind {
        match self {
            IngestError::EncodedTooLarge { .. }
            | IngestError::DecodedTooLarge { .. }
            | IngestError::Ratio { .. }
            | IngestError::TooManyRecords { .. }
            | IngestError::TooManySymbols { .. } => Kind::TooLarge,
            IngestError::Encoding { .. }
            | IngestError::UnsupportedEncoding { .. }
            | IngestError::UnsupportedType { .. }
            | IngestError::Wire(_)
            | IngestError::Invalid(_) => Kind::BadInput,
            IngestError::Overloaded { .. }
            | IngestError::Behind { .. }
            | IngestError::TooFast { .. } => Kind::Overloaded,
            IngestError::Forbidden { .. } => Kind::Forbidden,
            IngestError::ClientGone(_) => Kind::Canceled,
            IngestError::Append(AppendError::Overloaded { .. }) => Kind::Overloaded,
            // Not `Timeout`: nothing was stored, and the same request may well succeed.
            IngestError::BodyTimeout { .. } | IngestError::Append(_) => Kind::Unavailable,
        }
    }

    /// Returns the HTTP status of the dialects of this room.
    pub fn status(&self) -> StatusCode {
        if let IngestError::UnsupportedEncoding { .. } | IngestError::UnsupportedType { .. } = self
        {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE;
        }
        match self.kind() {
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            // BadInput; and the client that is gone reads nothing anyway.
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the label value of the counters.
    pub fn reason(&self) -> &'static str {
        match self {
            IngestError::EncodedTooLarge { .. } => "body_encoded",
            IngestError::DecodedTooLarge { .. } => "body_decoded",
            IngestError::Ratio { .. } => "body_ratio",
            IngestError::Encoding { .. } => "encoding",
            IngestError::UnsupportedEncoding { .. } => "unsupported_encoding",
            IngestError::UnsupportedType { .. } => "unsupported_type",
            IngestError::Wire(_) => "protobuf",
            IngestError::Invalid(_) => "invalid",
            IngestError::TooManyRecords { .. } => "records_per_request",
            IngestError::TooManySymbols { .. } => "symbols_per_request",
            IngestError::Overloaded { limit, .. } => limit,
            IngestError::Behind { .. } => "limits.answer_within",
            IngestError::TooFast { .. } => "limits.records_per_second_per_commons",
            IngestError::Forbidden { .. } => "forbidden",
            IngestError::ClientGone(_) => "client_gone",
            IngestError::BodyTimeout { .. } => "body_read",
            IngestError::Append(AppendError::Overloaded { .. }) => "head_hard",
            IngestError::Append(AppendError::DiskFull) => "disk_full",
            IngestError::Append(AppendError::Stopping) => "stopping",
            IngestError::Append(AppendError::SeriesRetired) => "series_retired",
        }
    }

    /// Returns when the same request may succeed, or `None` when it never will.
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            IngestError::Overloaded { retry_after_s, .. }
            | IngestError::Behind { retry_after_s, .. }
            | IngestError::TooFast { retry_after_s, .. }
            | IngestError::Append(AppendError::Overloaded { retry_after_s, .. }) => {
                Some(*retry_after_s)
            }
            _ => self.kind().is_retryable().then_some(RETRY_AFTER_S),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: IngestError, status: u16, retry: bool) {
        assert_eq!(error.status().as_u16(), status, "{error}");
        assert_eq!(error.retry_after_s().is_some(), retry, "{error}");
    }

    #[test]
    fn bad_data_is_never_repeated() {
        let max = HumanSize(1);
        check(IngestError::EncodedTooLarge { max }, 413, false);
        check(IngestError::DecodedTooLarge { max }, 413, false);
        check(IngestError::Ratio { encoded_bytes: 1, max: 64 }, 413, false);
        check(IngestError::TooManyRecords { max: 1 }, 413, false);
        check(IngestError::TooManySymbols { max: 1 }, 413, false);
        check(IngestError::Invalid("x".into()), 400, false);
        check(IngestError::UnsupportedEncoding { got: "br".into(), wanted: "gzip" }, 415, false);
        check(IngestError::Forbidden { credential: "a".into() }, 403, false);
    }

    #[test]
    fn a_passing_condition_says_when_to_come_back() {
        let append = |error| IngestError::Append(error);
        check(append(AppendError::DiskFull), 503, true);
        check(append(AppendError::Stopping), 503, true);
        check(append(AppendError::SeriesRetired), 503, true);
        let full = AppendError::Overloaded { used_bytes: 2, max_bytes: 1, retry_after_s: 3 };
        assert_eq!(append(full.clone()).retry_after_s(), Some(3));
        check(append(full), 429, true);
    }
}
