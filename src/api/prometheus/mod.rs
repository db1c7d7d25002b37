//! The Prometheus HTTP API; the data source's URL is the server's root.
//!
//! Sources: prometheus/prometheus `docs/querying/api.md` and `web/api/v1/api.go`; what Grafana asks
//! of it is recorded in `tests/cases/grafana/prometheus.http`.

mod cardinality;
pub(super) mod escape;
mod federate;
mod query;
pub(super) mod read;
pub(super) mod rules;
mod select;
mod status;

use super::route::{Need, Routes};

pub(super) fn add(routes: &mut Routes) {
    let need = Need::Metrics;
    routes.form("/api/v1/query", need, query::instant);
    routes.form("/api/v1/query_range", need, query::range);
    routes.form("/api/v1/query_exemplars", need, query::exemplars);
    routes.form("/api/v1/format_query", need, query::format);
    routes.form("/api/v1/parse_query", need, query::parse);
    routes.form("/api/v1/series", need, select::series);
    routes.form("/api/v1/labels", need, select::label_names);
    routes.get("/api/v1/label/{name}/values", need, select::label_values);
    routes.get("/api/v1/metadata", need, select::metadata);
    routes.get("/api/v1/rules", need, rules::rules);
    routes.get("/api/v1/alerts", need, rules::alerts);
    routes.get("/api/v1/scrape_pools", need, status::scrape_pools);
    routes.get("/api/v1/targets", need, status::targets);
    routes.get("/api/v1/targets/metadata", need, status::empty_list);
    routes.get("/api/v1/alertmanagers", need, status::alertmanagers);
    routes.get("/api/v1/status/buildinfo", need, status::buildinfo);
    routes.get("/api/v1/status/flags", need, status::flags);
    routes.get("/api/v1/status/runtimeinfo", need, status::runtimeinfo);
    routes.get("/api/v1/status/tsdb", need, cardinality::tsdb);
    routes.get("/api/v1/status/walreplay", need, status::walreplay);
    routes.get("/api/v1/notifications", need, status::notifications);
    routes.get("/api/v1/features", need, status::features);
    routes.form("/api/v1/cardinality/label_names", need, cardinality::label_names);
    routes.form("/api/v1/cardinality/label_values", need, cardinality::label_values);
    routes.form("/api/v1/cardinality/active_series", need, cardinality::active_series);
    routes.post("/api/v1/read", need, read::read);
    routes.get("/federate", need, federate::federate);
    routes.get("/api/v1/status/config", Need::Admin, status::config);
}

/// The end of an open range: in 2255, the last ms whose ns fit into 64 bits.
const FOREVER_MS: i64 = 9_000_000_000_000;

/// What Prometheus says when `limit` cut an answer.
const TRUNCATED: &str = "results truncated due to limit";

/// Cuts a list to the limit; returns the warnings that go with it.
fn truncate<T>(list: &mut Vec<T>, limit: Option<usize>) -> Vec<String> {
    match limit {
        Some(limit) if list.len() > limit => {
            list.truncate(limit);
            vec![TRUNCATED.to_owned()]
        }
        _ => Vec::new(),
    }
}
