//! The Tempo HTTP API; the data source's URL is `<root>/tempo`.
//!
//! Facts: grafana/tempo `docs/sources/tempo/api_docs`, `pkg/api/http.go`, `pkg/tempopb/tempo.proto`;
//! what Grafana asks of it is recorded in `tests/cases/grafana/tempo.http`. Tempo's JSON is that of
//! protobuf: zeros are left out, 64-bit numbers are strings, bytes (ids among them) are base64.

mod any_value;
mod error;
mod otlp;
mod otlp_json;
mod params;
mod status;
mod traces;

use super::route::{Need, Routes};

pub(super) fn add(routes: &mut Routes) {
    routes.get("/tempo/api/echo", Need::Credential, status::echo);
    routes.get("/tempo/ready", Need::Credential, status::ready);
    routes.get("/tempo/status", Need::Credential, status::status);
    routes.get("/tempo/api/status/buildinfo", Need::Credential, status::buildinfo);
    routes.get("/tempo/api/overrides", Need::Credential, status::overrides);
    routes.get("/tempo/api/traces/{id}", Need::Sql, traces::v1);
    routes.get("/tempo/api/v2/traces/{id}", Need::Sql, traces::v2);
}
