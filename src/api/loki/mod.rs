//! The Loki HTTP API; the data source's URL is the server's root.
//!
//! Sources: grafana/loki `docs/sources/reference/loki-http-api.md` and `pkg/loghttp`; what Grafana
//! asks of it is recorded in `tests/cases/grafana/loki.http`. Errors are plain text, as Loki's, with
//! the place of a parse error in it.

mod ask;
mod delete;
mod detected;
mod explore;
mod lists;
mod params;
mod query;
mod render;
mod rules;
mod sessions;
mod sources;
mod status;
mod tail;
mod websocket;

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use axum::response::{IntoResponse, Response};

use super::error::{ApiError, Dialect};
use super::route::{Need, Routes};

pub use ask::{AskLogs, Follow, LogStreams, LogqlFound};
pub use sources::Sources;
pub use tail::Tails;

pub(super) fn add(routes: &mut Routes) {
    let need = Need::Sql;
    routes.form("/loki/api/v1/query", need, query::instant);
    routes.form("/loki/api/v1/query_range", need, query::range);
    routes.form("/loki/api/v1/format_query", need, query::format);
    routes.form("/loki/api/v1/labels", need, explore::label_names);
    routes.form("/loki/api/v1/label", need, explore::label_names);
    routes.form("/loki/api/v1/label/{name}/values", need, explore::label_values);
    routes.form("/loki/api/v1/series", need, explore::series);
    routes.form("/loki/api/v1/index/stats", need, explore::stats);
    routes.form("/loki/api/v1/index/volume", need, explore::volume);
    routes.form("/loki/api/v1/index/volume_range", need, explore::volume_range);
    routes.form("/loki/api/v1/patterns", need, explore::patterns);
    routes.form("/loki/api/v1/detected_labels", need, detected::labels);
    routes.form("/loki/api/v1/detected_fields", need, detected::fields);
    routes.form("/loki/api/v1/detected_field/{name}/values", need, detected::values);
    routes.get("/loki/api/v1/tail", need, tail::tail);
    routes.put("/loki/api/v1/delete", Need::Admin, delete::delete);
    routes.get("/loki/api/v1/delete", Need::Admin, delete::list);
    routes.delete("/loki/api/v1/delete", Need::Admin, delete::cancel);
    routes.get("/loki/api/v1/drilldown-limits", need, status::drilldown_limits);
    routes.get("/loki/api/v1/status/buildinfo", need, status::buildinfo);
    routes.get("/loki/api/v1/rules", need, rules::all);
    routes.get("/loki/api/v1/rules/{namespace}", need, rules::of_namespace);
    routes.get("/loki/api/v1/rules/{namespace}/{group}", need, rules::of_group);
    routes.get("/api/prom/rules", need, rules::all);
    routes.get("/api/prom/rules/{namespace}", need, rules::of_namespace);
    routes.get("/api/prom/rules/{namespace}/{group}", need, rules::of_group);
    routes.get("/prometheus/api/v1/rules", need, rules::rule_groups);
    routes.get("/prometheus/api/v1/alerts", need, rules::alerts);
    routes.get("/ready", Need::Credential, status::ready);
}

/// An error in Loki's dialect.
#[derive(Debug)]
pub(super) struct LokiError(ApiError);

impl<E: Into<ApiError>> From<E> for LokiError {
    fn from(error: E) -> Self {
        LokiError(error.into())
    }
}

impl IntoResponse for LokiError {
    fn into_response(self) -> Response {
        self.0.into_dialect(Dialect::Text)
    }
}

/// What a handler returns.
type Answered = Result<Response, LokiError>;
