//! Lists that nobody needs a question for, written down within a limit.
//!
//! What fires, the rules and the silences are in memory already, but written down they are more: an alert
//! stands in each of its groups with all of its labels. So bytes are counted while they are written, and a
//! list that is longer than an answer may be is refused at that byte, not built. It is written on a thread
//! that answers nobody meanwhile.

use std::io;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::Api;
use super::error::{ApiError, answer};
use crate::base::Kind;

/// The key of how long an answer may be.
const KEY: &str = "query.result_bytes_max";

/// Returns a value as JSON, unless that is longer than an answer may be.
pub(super) async fn json(
    api: &Api,
    value: impl Serialize + Send + 'static,
) -> Result<Response, ApiError> {
    let bytes_max = api.result_bytes_max.bytes();
    let written = tokio::task::spawn_blocking(move || write(&value, bytes_max)).await;
    let panicked = |_| ApiError::new(Kind::Internal, "writing the list panicked");
    match written.map_err(panicked)? {
        Some(bytes) => Ok(answer(StatusCode::OK, "application/json", Body::from(bytes))),
        None => Err(too_long(api)),
    }
}

/// As [`json`], within Prometheus' envelope.
pub(super) async fn success(
    api: &Api,
    data: impl Serialize + Send + 'static,
) -> Result<Response, ApiError> {
    json(api, Success { status: "success", data }).await
}

#[derive(Debug, Serialize)]
struct Success<T> {
    status: &'static str,
    data: T,
}

fn too_long(api: &Api) -> ApiError {
    api.ask.limited(KEY);
    let max = api.result_bytes_max;
    let message = format!(
        "the list has more than {max}, the most that an answer may have: filter it, or raise `{KEY}`"
    );
    ApiError::new(Kind::Execution, message)
}

/// Writes a value as JSON; none when it is longer.
fn write(value: &impl Serialize, bytes_max: usize) -> Option<Vec<u8>> {
    let mut out = Bounded { bytes: Vec::new(), bytes_max };
    match serde_json::to_writer(&mut out, value) {
        Ok(()) => Some(out.bytes),
        Err(error) => {
            assert!(error.is_io(), "views are plain data: {error}");
            None
        }
    }
}

/// Bytes that may only become so many.
struct Bounded {
    bytes: Vec<u8>,
    bytes_max: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.bytes_max - self.bytes.len() {
            return Err(io::Error::other("longer than an answer may be"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_up_to_the_last_byte_and_no_further() {
        let list = ["a\nb", "c"];
        let whole = serde_json::to_vec(&list).unwrap();

        assert_eq!(write(&list, whole.len()), Some(whole.clone()));
        assert_eq!(write(&list, whole.len() - 1), None);
        assert_eq!(write(&list, 0), None);
    }
}
