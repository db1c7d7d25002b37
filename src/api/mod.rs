//! Questions over HTTP, in the dialects people speak.
//!
//! The one idea: every route is a line of a table that says what its caller must be allowed to do,
//! so a route without such a line cannot exist (`route`). Handlers parse the request, hand it with
//! the caller's `Grant` to an [`Ask`], and write the answer in the dialect's JSON; what each
//! commons a caller may see is not decided here but in `query::session`.
//!
//! When you add a route, also touch: `tests/cases/roles.txt` (a test fails until it has its line),
//! and `tests/cases/grafana/` when Grafana calls it.

mod alert_history;
mod alertmanager;
mod ask;
mod asked;
mod backup;
mod bounded;
mod deletions;
mod error;
mod guard;
mod inventory;
mod json;
mod loki;
mod number;
mod ops;
mod overrides;
mod params;
mod points;
mod prometheus;
mod readiness;
mod received;
mod route;
mod runbooks;
mod sessions;
mod sql;
mod tempo;
mod time;
mod timed_body;
mod unread;

pub mod fixture;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use prometheus_client::registry::Registry;
use tower_http::compression::CompressionLayer;

use crate::base::clock::SharedClock;
use crate::base::units::HumanSize;
use crate::notify;

pub(crate) use alert_history::to_keep;
pub use alert_history::{Change, Kept, KeptAlert};
pub use ask::{Ask, AskError, AskOptions, RuleViews, Selection};
pub(crate) use asked::{GIVES_LINES, answer_question, label_of_attribute, samples, sql_params};
pub use backup::BackUp;
pub use deletions::Deleting;
pub use error::{ApiError, Dialect};
pub use guard::{HeadLimits, RefusedRequests, guard, limits, refuse_other_methods};
pub use json::push_answer;
pub use loki::{AskLogs, Follow, LogStreams, LogqlFound, Sources, Tails};
pub use number::push_sample_value;
pub use ops::early_router;
pub use readiness::{Readiness, ReadinessState};
pub use route::Need;
pub use sessions::Sessions;
pub use unread::Unread;

/// The most bytes of a question's body.
const QUESTION_BYTES_MAX: usize = 1 << 20;

/// Reloads configuration and rules, or says why the old ones stay in force.
#[async_trait::async_trait]
pub trait Reload: Send + Sync + std::fmt::Debug {
    /// Reloads; on `Err` nothing has changed.
    async fn reload(&self) -> Result<(), String>;

    /// Returns how the last one went.
    fn last(&self) -> LastReload;
}

/// Since when the configuration in force is that, and whether a newer one was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastReload {
    /// When it was read at the start or by a reload, ms since 1970 UTC.
    pub in_force_since_ms: i64,
    /// When the last reload was refused, ms since 1970 UTC; none when it was not.
    pub refused_ms: Option<i64>,
}

/// Returns the table of all routes.
fn routes() -> route::Routes {
    let mut routes = route::Routes::default();
    ops::add(&mut routes);
    prometheus::add(&mut routes);
    loki::add(&mut routes);
    sql::add(&mut routes);
    tempo::add(&mut routes);
    alertmanager::add(&mut routes);
    alert_history::add(&mut routes);
    inventory::add(&mut routes);
    runbooks::add(&mut routes);
    overrides::add(&mut routes);
    deletions::add(&mut routes);
    backup::add(&mut routes);
    routes
}

/// What the handlers need of the rest of the server.
#[derive(Debug, Clone)]
pub struct Api {
    /// Answers questions.
    pub ask: Arc<dyn Ask>,
    /// Answers questions about logs.
    pub logs: Arc<dyn AskLogs>,
    /// Deletes what is stored.
    pub deleting: Arc<dyn Deleting>,
    /// Takes snapshots.
    pub backup: Arc<dyn BackUp>,
    /// Places for live tails.
    pub tails: Tails,
    /// Counts what asks about logs.
    pub sources: Sources,
    /// Shows rules and alerts.
    pub rules: Arc<dyn RuleViews>,
    /// Knows what fires, and whom it is told to.
    pub notifier: notify::Handle,
    /// What was told, and why not.
    pub ledger: notify::Ledger,
    /// What was kept of alerts.
    pub kept: Arc<dyn Kept>,
    /// What is expected to report.
    pub inventory: Arc<parking_lot::Mutex<crate::inventory::Inventory>>,
    /// Reloads the configuration.
    pub reload: Arc<dyn Reload>,
    /// Knows whether the log has been replayed.
    pub readiness: Readiness,
    /// What answers may hold until they are read.
    pub unread: Unread,
    /// How long a list may be that no question is needed for (`query.result_bytes_max`).
    pub result_bytes_max: HumanSize,
    /// Our own metrics.
    pub registry: Arc<Registry>,
    /// The clock.
    pub clock: SharedClock,
    /// The effective configuration as TOML, secrets masked.
    pub shown_config: Arc<str>,
    /// How long data is kept, as text.
    pub retention: Arc<str>,
    /// When the server started, ms since 1970 UTC.
    pub started_ms: i64,
}

impl Api {
    /// Returns the router of all questions, without authentication: wrap it, together with the
    /// routers of `ingest`, in [`refuse_other_methods`] and [`guard`].
    pub fn router(self) -> Router {
        routes()
            .into_router()
            .layer(DefaultBodyLimit::max(QUESTION_BYTES_MAX))
            .layer(from_fn_with_state(self.unread.clone(), unread::count))
            .layer(CompressionLayer::new())
            .fallback(error::not_found)
            .with_state(self)
    }
}
