//! Alertmanager's API, version 2, under `/am`: what Grafana, amtool and karma speak, and where others
//! post alerts of their own.
//!
//! A caller sees the alerts of its commons, and the silences that name one of them by an equality. A
//! silence without one is about every commons, and only those who read all see it or make one.

mod alerts;
mod answer;
mod silences;
mod status;

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;

use std::sync::Arc;

pub(super) use alerts::shown;

use super::route::{Need, Routes};
use crate::model::Grant;
use crate::notify::Sees;
use crate::query::may_see;

pub(super) fn add(routes: &mut Routes) {
    routes.get("/am/metrics", Need::Metrics, status::metrics);
    routes.get("/am/api/v2/status", Need::Metrics, status::status);
    routes.get("/am/api/v2/receivers", Need::Metrics, status::receivers);
    routes.get("/am/api/v2/alerts", Need::Metrics, alerts::list);
    routes.post("/am/api/v2/alerts", Need::Tell, alerts::post);
    routes.get("/am/api/v2/alerts/groups", Need::Metrics, alerts::groups);
    routes.get("/am/api/v2/silences", Need::Metrics, silences::list);
    routes.post("/am/api/v2/silences", Need::Operate, silences::post);
    routes.get("/am/api/v2/silence/{id}", Need::Metrics, silences::get);
    routes.delete("/am/api/v2/silence/{id}", Need::Operate, silences::expire);
}

/// Returns what a caller may see, for the notifier to ask.
fn sees(grant: &Grant) -> Sees {
    let grant = grant.clone();
    Arc::new(move |labels| may_see(&grant, labels))
}
