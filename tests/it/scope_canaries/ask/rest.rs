//! What stands beside the query languages: federation, remote read, cardinality, alerts.

use prost::Message;
use rand::Rng as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Question, Rows, any_commons, pick};
use crate::scope_canaries::world::World;
use crate::support::Request;
use crate::support::ask::form;
use crate::support::remote_write::snappy;

pub(super) fn any(world: &World, rng: &mut SmallRng) -> Question {
    let name = pick(rng, &["scoped_total", "other_total"]);
    let matcher = match rng.random_range(0..3) {
        0 => format!("{name}{{commons!=\"{}\"}}", any_commons(world, rng)),
        1 => format!("{name}{{commons=~\".+\"}}"),
        _ => name.clone(),
    };
    let (path, parameters, rows) = match rng.random_range(0..13) {
        0..2 => return remote_read(world, rng, name),
        2 => ("/federate", vec![("match[]", matcher)], None),
        3 => ("/api/v1/cardinality/label_names", vec![("selector", matcher)], None),
        4 => {
            let names = vec![("selector", matcher), ("label_names[]", "secret".to_owned())];
            ("/api/v1/cardinality/label_values", names, None)
        }
        5 => ("/api/v1/cardinality/active_series", vec![("selector", matcher)], Some(Rows::Series)),
        6 => ("/am/api/v2/alerts", Vec::new(), Some(Rows::Notified)),
        7 => ("/am/api/v2/alerts/groups", Vec::new(), None),
        8 => ("/api/v1/admin/alerts/history", Vec::new(), None),
        9 => ("/api/v1/admin/rules/overrides", Vec::new(), None),
        10 => {
            let filter = vec![("filter", "alertname=\"Canary\"".to_owned())];
            ("/api/v1/admin/alerts/explain", filter, None)
        }
        11 => ("/api/v1/admin/alerts/explain", vec![("rule", "Canary".to_owned())], None),
        _ => ("/api/v1/admin/inventory", Vec::new(), None),
    };
    let borrowed: Vec<(&str, &str)> = parameters.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let text = format!("{path} {parameters:?}");
    Question { request: Request::get(format!("{path}?{}", form(&borrowed))), text, rows }
}

/// `prometheus.ReadRequest` with one query.
#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<ReadQuery>,
    /// 0: samples, 1: chunks as a stream.
    #[prost(int32, repeated, tag = "2")]
    accepted_response_types: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadQuery {
    #[prost(int64, tag = "1")]
    start_ms: i64,
    #[prost(int64, tag = "2")]
    end_ms: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<ReadMatcher>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadMatcher {
    /// 0: `=`, 1: `!=`, 2: `=~`, 3: `!~`.
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

fn remote_read(world: &World, rng: &mut SmallRng, name: String) -> Question {
    let whose = world.commons.choose(rng).expect("there are commons").name.clone();
    let metric = ReadMatcher { kind: 0, name: "__name__".to_owned(), value: name };
    let commons =
        ReadMatcher { kind: rng.random_range(0..4), name: "commons".to_owned(), value: whose };
    let mut matchers = vec![metric];
    if rng.random_bool(0.5) {
        matchers.push(commons);
    }
    let text = format!("remote read {matchers:?}");
    let query = ReadQuery {
        start_ms: world.start_ms - 600_000,
        end_ms: world.start_ms + 1_200_000,
        matchers,
    };
    let accepted_response_types = if rng.random_bool(0.5) { vec![1] } else { Vec::new() };
    let message = ReadRequest { queries: vec![query], accepted_response_types };
    let request = Request::post("/api/v1/read", snappy(&message.encode_to_vec()))
        .header("Content-Type", "application/x-protobuf")
        .header("Content-Encoding", "snappy")
        .header("X-Prometheus-Remote-Read-Version", "0.1.0");
    Question { request, text, rows: None }
}
