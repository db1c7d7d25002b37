//! The Tempo HTTP API; the data source's URL is `<root>/tempo`.
//!
//! Facts: grafana/tempo `docs/sources/tempo/api_docs`, `pkg/api/http.go`, `pkg/tempopb/tempo.proto`;
//! what Grafana asks of it is recorded in `tests/cases/grafana/tempo.http`. Tempo's JSON is that of
//! protobuf: zeros are left out, 64-bit numbers are strings, bytes (ids among them) are base64.

pub(in crate::api) mod any_value;
mod convert;
mod error;
mod otlp;
mod otlp_json;
mod params;
mod proto;
mod questions;
mod search;
mod status;
mod streaming;
mod traces;
mod write;

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use super::error::PARTIAL;
use super::route::{Need, Routes};

pub(super) fn add(routes: &mut Routes) {
    routes.get("/tempo/api/echo", Need::Credential, status::echo);
    routes.get("/tempo/ready", Need::Credential, status::ready);
    routes.get("/tempo/status", Need::Credential, status::status);
    routes.get("/tempo/api/status/buildinfo", Need::Credential, status::buildinfo);
    routes.get("/tempo/api/overrides", Need::Credential, status::overrides);
    routes.get("/tempo/api/traces/{id}", Need::Sql, traces::v1);
    routes.get("/tempo/api/v2/traces/{id}", Need::Sql, traces::v2);
    routes.get("/tempo/api/search", Need::Sql, search::search);
    routes.get("/tempo/api/search/tags", Need::Sql, search::tags);
    routes.get("/tempo/api/v2/search/tags", Need::Sql, search::tags_v2);
    routes.get("/tempo/api/search/tag/{tag}/values", Need::Sql, search::tag_values);
    routes.get("/tempo/api/v2/search/tag/{tag}/values", Need::Sql, search::tag_values_v2);
    routes.get("/tempo/api/metrics/query_range", Need::Sql, search::query_range);
    routes.get("/tempo/api/metrics/query", Need::Sql, search::query);
    // A gRPC client has only a host and a port: the path is the service's.
    routes.post("/tempopb.StreamingQuerier/Search", Need::Sql, streaming::search);
    routes.post("/tempopb.StreamingQuerier/SearchTags", Need::Sql, streaming::tags);
    routes.post("/tempopb.StreamingQuerier/SearchTagsV2", Need::Sql, streaming::tags_v2);
    routes.post("/tempopb.StreamingQuerier/SearchTagValues", Need::Sql, streaming::tag_values);
    routes.post("/tempopb.StreamingQuerier/SearchTagValuesV2", Need::Sql, streaming::tag_values_v2);
    routes.post("/tempopb.StreamingQuerier/MetricsQueryRange", Need::Sql, streaming::query_range);
    routes.post(
        "/tempopb.StreamingQuerier/MetricsQueryInstant",
        Need::Sql,
        streaming::query_instant,
    );
}
