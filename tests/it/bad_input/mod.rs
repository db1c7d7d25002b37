//! Bad input is refused with a reason in the words of the endpoint, counted, and harms nothing else.
//!
//! `ingest` and `questions` are tables of hostile requests; this file sends them, one after the
//! other, to one server, and after each asks whether an honest sender was served as before.

mod ingest;
mod questions;

use std::collections::BTreeMap;

use crate::support::http::Response;
use crate::support::http::gzip;
use crate::support::wait::now_ms;
use crate::support::{Caller, Request, Setup, otlp, remote_write};

/// One hostile request.
struct Case {
    name: &'static str,
    request: Request,
    port: Port,
    /// The statuses that are right; a 200 only where the protocol has partial success.
    statuses: &'static [u16],
    /// What the answer must say, in any case.
    says: &'static str,
    dialect: Dialect,
}

/// Which listener gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Http,
    Otlp,
}

/// How the endpoint's clients expect to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Readable text, or JSON; senders show it in their own log.
    Text,
    /// `{"status":"error","errorType":…,"error":…}`
    Prometheus,
    /// JSON with `message`, or text.
    Loki,
    /// `google.rpc.Status` in protobuf.
    OtlpProtobuf,
    /// `google.rpc.Status` in JSON.
    OtlpJson,
    /// 200 with the number of refused items and a message, in protobuf.
    PartialSuccess,
    /// Any JSON object.
    Json,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// `Export…ServiceResponse`, of any signal: they differ in the name of field 1 only.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportAnswer {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `Export…PartialSuccess`.
#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    n_rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

#[test]
fn hostile_requests_are_refused_counted_and_harm_nothing() {
    let server = Setup::new("bad-input").config("[tagging]\nenabled = false\n").start();
    let caller = server.caller();
    let mut honest = Honest { start_ms: now_ms() - 600_000, n_sent: 0 };
    let mut wrong = Vec::new();

    for case in ingest::cases().into_iter().chain(questions::cases()) {
        let refused_before = n_refused(&caller);
        let answer = send(&caller, &case);
        let counted = case.is_ingest() && n_refused(&caller) <= refused_before;

        if let Err(reason) = judge(&case, &answer) {
            wrong.push(format!("{}: {reason} ({} {})", case.name, answer.status, shown(&answer)));
        } else if counted {
            wrong.push(format!("{}: no counter with a reason went up", case.name));
        }
        honest.send(&caller);
        wrong.extend(unbalanced(&caller).map(|sums| format!("after {}: {sums}", case.name)));
    }

    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    honest.check(&caller);
}

#[test]
fn hostile_grpc_calls_are_refused_and_harm_nothing() {
    let server = Setup::new("bad-grpc").start();
    let caller = server.caller();
    let logs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    // gRPC's numbers: 3 invalid argument, 8 resource exhausted, 12 unimplemented, 13 internal.
    let call = |name: &str, method: &str, message: &[u8], encoding, codes: &[u32]| {
        let refused_before = n_refused(&caller);
        let answer = otlp::call(&caller.otlp_grpc, method, message, encoding);
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(answer.code.is_some_and(|code| codes.contains(&code)), "{name}: {answer:?}");
        assert!(!answer.message.is_empty(), "{name}: no reason given: {answer:?}");
        let is_counted = n_refused(&caller) > refused_before;
        assert!(is_counted || method != logs, "{name}: no counter with a reason went up");
    };

    call("garbage", logs, b"\xff\xff\xff\xff", None, &[3]);
    call("truncated", logs, &[10, 200, 1, 0], None, &[3]);
    call("a bomb", logs, &gzip(&vec![0; 80 << 20]), Some("gzip"), &[8]);
    call("not gzip", logs, b"not gzip", Some("gzip"), &[3, 13]);
    call("unknown compression", logs, b"x", Some("br"), &[12]);
    call("unknown method", &logs.replace("Export", "Import"), b"", None, &[12]);

    let empty = otlp::call(&caller.otlp_grpc, logs, b"", None).unwrap();
    assert_eq!(
        (empty.code, empty.body.len()),
        (Some(0), 5),
        "an empty request is right: {empty:?}"
    );
    assert_eq!(unbalanced(&caller), None);
}

impl Case {
    fn is_ingest(&self) -> bool {
        let path = self.request.path.as_str();
        path == "/api/v1/write" || path == "/loki/api/v1/push" || path.starts_with("/v1/")
    }
}

#[track_caller]
fn send(caller: &Caller, case: &Case) -> Response {
    let address = match case.port {
        Port::Http => &caller.http,
        Port::Otlp => &caller.otlp_http,
    };
    crate::support::http::send(address, &case.request)
        .unwrap_or_else(|error| panic!("{}: no answer: {error}", case.name))
}

fn judge(case: &Case, answer: &Response) -> Result<(), String> {
    if !case.statuses.contains(&answer.status) {
        return Err(format!("wanted one of {:?}", case.statuses));
    }
    let message = message(case.dialect, answer)?;
    if message.is_empty() {
        return Err("no reason given".to_owned());
    }
    if !message.to_lowercase().contains(case.says) {
        return Err(format!("does not say `{}`", case.says));
    }
    Ok(())
}

/// Returns the reason that an answer gives, in the words of its dialect.
pub(crate) fn message(dialect: Dialect, answer: &Response) -> Result<String, String> {
    let json = || serde_json::from_slice::<serde_json::Value>(&answer.body);
    let field = |name: &str| match json() {
        Ok(body) => Ok(body[name].as_str().unwrap_or_default().to_owned()),
        Err(error) => Err(format!("not JSON: {error}")),
    };
    match dialect {
        Dialect::Text => Ok(answer.text()),
        Dialect::Loki => Ok(field("message").unwrap_or_else(|_| answer.text())),
        Dialect::Json => json().map(|body| body.to_string()).map_err(|e| format!("not JSON: {e}")),
        Dialect::OtlpJson => field("message"),
        Dialect::Prometheus => {
            if field("status")? != "error" || field("errorType")?.is_empty() {
                return Err("not an error in Prometheus' shape".to_owned());
            }
            field("error")
        }
        Dialect::OtlpProtobuf => {
            let status = <RpcStatus as prost::Message>::decode(answer.body.as_slice());
            status.map(|status| status.message).map_err(|e| format!("not a google.rpc.Status: {e}"))
        }
        Dialect::PartialSuccess => {
            let export = <ExportAnswer as prost::Message>::decode(answer.body.as_slice());
            let partial = export.map_err(|e| e.to_string())?.partial_success.unwrap_or_default();
            if partial.n_rejected == 0 {
                Err("nothing was refused".into())
            } else {
                Ok(partial.error_message)
            }
        }
    }
}

/// Someone who does everything right while others do not.
struct Honest {
    start_ms: i64,
    n_sent: u32,
}

impl Honest {
    #[track_caller]
    fn send(&mut self, caller: &Caller) {
        let at_ms = self.start_ms + i64::from(self.n_sent) * 1_000;
        let sample = (at_ms, f64::from(self.n_sent));
        let series = remote_write::series(&[("__name__", "honest"), ("job", "a")], &[sample]);
        let answer = caller.send(remote_write::write(vec![series]));
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
        self.n_sent += 1;
    }

    #[track_caller]
    fn check(&self, caller: &Caller) {
        let rows =
            caller.sql("SELECT value FROM metrics WHERE metric = 'honest' ORDER BY timestamp");
        let values: Vec<f64> = rows.iter().map(|row| row["value"].as_f64().unwrap()).collect();
        let wanted: Vec<f64> = (0..self.n_sent).map(f64::from).collect();
        assert_eq!(values, wanted);
    }
}

/// Returns how many items and requests were refused so far, as far as a reason was counted.
#[track_caller]
fn n_refused(caller: &Caller) -> f64 {
    let metrics = caller.own_metrics();
    let refused = metrics.iter().filter(|metric| {
        metric.name.starts_with("commonwatch_ingest_refused_")
            && metric.labels.contains_key("reason")
    });
    refused.map(|metric| metric.value).sum()
}

/// Checks *received = stored + refused by reason* for each signal and protocol; returns the sums
/// that do not agree.
#[track_caller]
pub(crate) fn unbalanced(caller: &Caller) -> Option<String> {
    let mut sums: BTreeMap<(String, String), [f64; 3]> = BTreeMap::new();
    for metric in caller.own_metrics() {
        let column = match metric.name.as_str() {
            "commonwatch_ingest_received_items_total" => 0,
            "commonwatch_ingest_stored_items_total" => 1,
            "commonwatch_ingest_refused_items_total" => 2,
            _ => continue,
        };
        let label = |name: &str| metric.labels.get(name).cloned().unwrap_or_default();
        sums.entry((label("signal"), label("protocol"))).or_default()[column] += metric.value;
    }
    assert!(!sums.is_empty(), "the three counters are not on /metrics");
    let wrong: Vec<String> = sums
        .iter()
        .filter(|(_, [received, stored, refused])| received != &(stored + refused))
        .map(|(key, [received, stored, refused])| {
            format!("{key:?}: received {received}, stored {stored}, refused {refused}")
        })
        .collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

fn shown(answer: &Response) -> String {
    answer.text().chars().take(200).collect()
}
