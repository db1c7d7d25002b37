//! One hostile exchange, and what is a right answer to it.

use super::send::{Answer, Got};
use crate::bad_input::{Dialect, message};
use crate::support::Request;

/// Which listener gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Http,
    OtlpHttp,
    OtlpGrpc,
}

/// What goes over the wire.
#[derive(Debug, Clone)]
pub(super) enum Wire {
    /// A request that HTTP/1.1 can carry.
    Request(Request),
    /// Bytes just as they are, then an answer of HTTP/1.1 is read.
    Bytes(Vec<u8>),
    /// Bytes just as they are on an HTTP/2 connection that was opened rightly.
    Frames(Vec<u8>),
    /// A gRPC call: method, headers, and the body with whatever prefix it has.
    Call { method: String, headers: Vec<(String, String)>, body: Vec<u8> },
}

/// What is right.
#[derive(Debug, Clone)]
pub(super) enum Want {
    /// A 2xx.
    Taken,
    /// One of these 4xx, with a reason in the endpoint's dialect.
    Refused(&'static [u16], Dialect),
    /// A 2xx, or a 4xx with a reason: bytes that were spoiled by a die may still be right.
    Either(Dialect),
    /// A 4xx of the protocol itself, which has no dialect yet and may have no words.
    Http(&'static [u16]),
    /// An answer below 500, whatever it says.
    Answered,
    /// An answer below 500, or the end of the connection: the bytes are no request.
    AnsweredOrClosed,
    /// One of these gRPC codes; any but 0 has words.
    Grpc(&'static [u32]),
    /// The connection or the stream is ended in HTTP/2's words, or the request answered.
    H2Ended,
}

/// One hostile exchange; its name is `family: mutation`.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) port: Port,
    pub(super) wire: Wire,
    pub(super) want: Want,
}

impl Case {
    pub(super) fn request(
        name: impl Into<String>,
        port: Port,
        request: Request,
        want: Want,
    ) -> Self {
        Self { name: name.into(), port, wire: Wire::Request(request), want }
    }

    pub(super) fn bytes(name: impl Into<String>, bytes: impl Into<Vec<u8>>, want: Want) -> Self {
        Self { name: name.into(), port: Port::Http, wire: Wire::Bytes(bytes.into()), want }
    }

    /// Returns what is wrong with an answer.
    pub(super) fn judge(&self, got: &Got) -> Result<(), String> {
        match (got, &self.want) {
            (Got::Nothing(why), Want::AnsweredOrClosed) if !why.contains("hang") => Ok(()),
            (Got::Nothing(why), _) => Err(format!("no answer: {why}")),
            (Got::Frames(frames), Want::H2Ended) => frames.is_ended(),
            (Got::Http(answer), want) => judge_http(answer, want),
            (Got::Grpc(answer), Want::Grpc(codes)) => {
                let code = answer.code.ok_or_else(|| format!("no grpc-status: {answer:?}"))?;
                if !codes.contains(&code) {
                    return Err(format!("code {code}, wanted one of {codes:?}: {answer:?}"));
                }
                let is_told = code == 0 || !answer.message.is_empty();
                is_told.then_some(()).ok_or_else(|| format!("no reason given: {answer:?}"))
            }
            // A call that is no call of gRPC is answered by HTTP.
            (Got::Grpc(answer), _) => Err(format!("not expected: {answer:?}")),
            (Got::Frames(frames), _) => Err(format!("not expected: {frames:?}")),
        }
    }
}

fn judge_http(answer: &Answer, want: &Want) -> Result<(), String> {
    let status = answer.status;
    let shown = || format!("{status} {}", answer.text().chars().take(160).collect::<String>());
    let wrong = |what: String| Err(format!("{what} ({})", shown()));
    let is_ok = (200..300).contains(&status);
    let is_refused = (400..500).contains(&status);
    let told = |dialect| match message(dialect, answer) {
        Ok(text) if text.is_empty() => wrong("no reason given".to_owned()),
        Ok(_) => Ok(()),
        Err(what) => wrong(what),
    };
    match want {
        Want::Taken if is_ok => Ok(()),
        Want::Refused(statuses, dialect) if statuses.contains(&status) => told(*dialect),
        Want::Either(_) if is_ok => Ok(()),
        Want::Either(dialect) if is_refused => told(*dialect),
        Want::Http(statuses) if statuses.contains(&status) => Ok(()),
        Want::Answered | Want::AnsweredOrClosed if status < 500 => Ok(()),
        _ => wrong(format!("wanted {want:?}")),
    }
}
