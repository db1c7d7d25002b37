//! From what an error asks of its caller to a status and a body, once for all dialects.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::ask::AskError;
use crate::auth::AuthError;
use crate::base::Kind;
use crate::base::units::HumanDuration;
use crate::base::varint::push_varint;
use crate::model::json::push_string;

/// How a client expects to be told of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `{"status":"error","errorType":…,"error":…}`
    Prometheus,
    /// `google.rpc.Status` as JSON.
    OtlpJson,
    /// `google.rpc.Status` as protobuf.
    OtlpProtobuf,
    /// Status 200 and `grpc-status`.
    Grpc,
    /// The message alone.
    Text,
    /// The message as a JSON text.
    Alertmanager,
}

impl Dialect {
    /// Returns the dialect of a request by its path and its content type.
    pub fn of(path: &str, headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        if content_type.starts_with("application/grpc") {
            return Dialect::Grpc;
        }
        let is_otlp = ["/v1/", "/otlp/", "/api/v1/otlp/"].iter().any(|p| path.starts_with(p));
        match (is_otlp, content_type.starts_with("application/json")) {
            (true, true) => Dialect::OtlpJson,
            (true, false) => Dialect::OtlpProtobuf,
            _ if path.starts_with("/am/") => Dialect::Alertmanager,
            _ if ["/loki/", "/api/prom/", "/tempo/"].iter().any(|p| path.starts_with(p))
                || path == "/api/v1/write" =>
            {
                Dialect::Text
            }
            _ => Dialect::Prometheus,
        }
    }
}

/// An error on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// What it asks of the caller.
    pub kind: Kind,
    /// What was wrong and what would be right.
    pub message: String,
    /// When to come back.
    pub retry_after_s: Option<u32>,
}

impl ApiError {
    /// Returns an error of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after_s: None }
    }

    /// Returns an error of a parameter in Prometheus' words.
    pub(crate) fn parameter(name: &str, message: impl std::fmt::Display) -> Self {
        Self::new(Kind::BadInput, format!("invalid parameter \"{name}\": {message}"))
    }

    /// Returns the answer in the given dialect.
    pub fn into_dialect(self, dialect: Dialect) -> Response {
        let mut response = match dialect {
            Dialect::Prometheus => self.json(|out, error| {
                out.push_str("{\"status\":\"error\",\"errorType\":\"");
                out.push_str(error_type(error.kind));
                out.push_str("\",\"error\":");
                push_string(out, &error.message);
                out.push('}');
            }),
            Dialect::OtlpJson => self.json(|out, error| {
                out.push_str(&format!("{{\"code\":{},\"message\":", grpc_code(error.kind)));
                push_string(out, &error.message);
                out.push('}');
            }),
            Dialect::OtlpProtobuf => {
                let body = Body::from(status_protobuf(grpc_code(self.kind), &self.message));
                answer(status_of(self.kind), "application/x-protobuf", body)
            }
            Dialect::Alertmanager => self.json(|out, error| push_string(out, &error.message)),
            Dialect::Grpc => self.grpc(),
            Dialect::Text => {
                let body = Body::from(format!("{}\n", self.message));
                answer(status_of(self.kind), "text/plain; charset=utf-8", body)
            }
        };
        if self.kind == Kind::Unauthenticated {
            let challenge = HeaderValue::from_static("Bearer realm=\"commonwatch\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(retry_after_s) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        response
    }

    fn json(&self, write: impl FnOnce(&mut String, &Self)) -> Response {
        let mut out = String::with_capacity(96 + self.message.len());
        write(&mut out, self);
        answer(status_of(self.kind), "application/json", Body::from(out))
    }

    fn grpc(&self) -> Response {
        let mut response = answer(StatusCode::OK, "application/grpc", Body::empty());
        let headers = response.headers_mut();
        let code = match self.kind {
            // A path that is not known is a method that is not implemented.
            Kind::NotFound => GRPC_UNIMPLEMENTED,
            kind => grpc_code(kind),
        };
        headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(code)));
        let message = percent_encode(&self.message);
        if let Ok(message) = HeaderValue::from_str(&message) {
            headers.insert(GRPC_MESSAGE, message);
        }
        response
    }
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_UNIMPLEMENTED: u8 = 12;

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.into_dialect(Dialect::Prometheus)
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        let retry_after_s = error.kind.is_retryable().then_some(1);
        Self { kind: error.kind, message: error.message, retry_after_s }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let retry_after_s = match error {
            AuthError::TooMany { retry_after_s } => Some(retry_after_s),
            _ => None,
        };
        Self { kind: error.kind(), message: error.to_string(), retry_after_s }
    }
}

/// Answers what no route knows: never a page, because Grafana's probes take a 200 on an unknown path
/// as "supported".
pub(super) async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    let message = format!("there is nothing at {}", uri.path());
    ApiError::new(Kind::NotFound, message).into_dialect(Dialect::of(uri.path(), &headers))
}

/// Answers with a status that no kind of error has; gRPC has its own, and HTTP's is always 200.
fn with_status(error: ApiError, dialect: Dialect, status: StatusCode) -> Response {
    let mut response = error.into_dialect(dialect);
    if dialect != Dialect::Grpc {
        *response.status_mut() = status;
    }
    response
}

/// Answers a request whose head is larger than it may be.
pub(super) fn head_too_large(message: String, dialect: Dialect) -> Response {
    let error = ApiError::new(Kind::TooLarge, message);
    with_status(error, dialect, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

/// Answers a request whose `Accept` names nothing that we write.
pub(super) fn not_acceptable(message: String) -> Response {
    let mut response = ApiError::new(Kind::BadInput, message).into_response();
    *response.status_mut() = StatusCode::NOT_ACCEPTABLE;
    response
}

/// Answers a body that is coded in a way nobody here undoes, and closes its connection: where it
/// ends is a matter of opinion.
pub(super) fn unknown_coding(message: String, dialect: Dialect) -> Response {
    let mut response = ApiError::new(Kind::BadInput, message).into_dialect(dialect);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Answers a request whose body took too long, and closes its connection.
pub(super) fn too_slow(max: HumanDuration, dialect: Dialect) -> Response {
    let message = format!(
        "the body did not arrive within {} s (server.body_timeout): send it again",
        max.0.as_secs()
    );
    let error = ApiError::new(Kind::Timeout, message);
    let mut response = with_status(error, dialect, StatusCode::REQUEST_TIMEOUT);
    if dialect != Dialect::Grpc {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Answers a known path that is asked with the wrong method.
pub(super) async fn method_not_allowed(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let error = ApiError::new(Kind::BadInput, format!("{} does not take {method}", uri.path()));
    with_status(error, Dialect::of(uri.path(), &headers), StatusCode::METHOD_NOT_ALLOWED)
}

/// Returns a response with a content type.
pub(super) fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Says what an answer lacks because it is damaged or away, where its format has no place for that.
pub(super) const PARTIAL: HeaderName = HeaderName::from_static("x-commonwatch-partial");

/// Returns an answer that says in its head what it lacks, if anything.
pub(super) fn partial(answer: Response, warnings: &[String]) -> Response {
    let mut answer = answer;
    if !warnings.is_empty() {
        let lacks = HeaderValue::from_str(&warnings.join("; "));
        // Our own warnings are plain text; should one not be, that there is one still matters.
        let lacks = lacks.unwrap_or(HeaderValue::from_static("partial answer"));
        answer.headers_mut().insert(PARTIAL, lacks);
    }
    answer
}

/// Returns the HTTP status of an error.
pub(super) fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::BadInput => StatusCode::BAD_REQUEST,
        Kind::Execution => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Forbidden => StatusCode::FORBIDDEN,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable | Kind::Timeout => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Canceled => StatusCode::from_u16(499).expect("499 is a status code"),
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Returns Prometheus' word for an error.
fn error_type(kind: Kind) -> &'static str {
    match kind {
        Kind::BadInput | Kind::TooLarge => "bad_data",
        Kind::Execution => "execution",
        Kind::NotFound => "not_found",
        Kind::Unauthenticated => "unauthorized",
        Kind::Forbidden => "forbidden",
        Kind::Overloaded => "too_many_requests",
        Kind::Unavailable => "unavailable",
        Kind::Timeout => "timeout",
        Kind::Canceled => "canceled",
        Kind::Internal => "internal",
    }
}

/// Returns gRPC's number of an error; overload is UNAVAILABLE, which OTLP's senders retry.
fn grpc_code(kind: Kind) -> u8 {
    match kind {
        Kind::Canceled => 1,
        Kind::BadInput => 3,
        Kind::Timeout => 4,
        Kind::NotFound => 5,
        Kind::Forbidden => 7,
        Kind::TooLarge => 8,
        Kind::Execution => 9,
        Kind::Internal => 13,
        Kind::Overloaded | Kind::Unavailable => 14,
        Kind::Unauthenticated => 16,
    }
}

/// Returns `google.rpc.Status { code = 1, message = 2 }`: two fields are not worth a generated type.
fn status_protobuf(code: u8, message: &str) -> Vec<u8> {
    let mut bytes = vec![0x08, code, 0x12];
    push_varint(&mut bytes, message.len() as u64);
    bytes.extend_from_slice(message.as_bytes());
    bytes
}

/// Writes a gRPC message: printable ASCII except `%` as it is, the rest as `%XX`.
fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protobuf_status_has_a_varint_length() {
        assert_eq!(status_protobuf(16, "no"), [0x08, 16, 0x12, 2, b'n', b'o']);
        assert_eq!(status_protobuf(3, &"x".repeat(300))[..5], [0x08, 3, 0x12, 0xac, 0x02]);
    }

    #[test]
    fn grpc_messages_are_ascii() {
        assert_eq!(percent_encode("a%é\n"), "a%25%C3%A9%0A");
    }
}
