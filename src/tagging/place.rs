//! Which environment and which cluster, once the commons is known.

use std::sync::Arc;

use crate::model::{Commons, Grant, WriteScope};

use super::data::Data;
use super::facts::Facts;

/// Returns the cluster of the credential, else the one that was sent, if it says anything.
pub(super) fn sent_cluster<'a>(
    data: &Data,
    grant: &'a Grant,
    facts: &'a Facts<'_>,
) -> Option<&'a str> {
    match &grant.write {
        WriteScope::Cluster { cluster, .. } => Some(cluster),
        _ => data.places.usable(facts.cluster.as_deref()?),
    }
}

/// Returns the cluster: as known from the credential or the sender, else the commons' only one.
pub(super) fn cluster(data: &Data, commons: &Commons, sent: Option<&str>) -> Option<Arc<str>> {
    sent.map(Arc::from).or_else(|| data.places.cluster_of(commons).cloned())
}

/// Returns the environment, the surest word first: the sender's own, the operator's map, a part of
/// the namespace's name, the chart's `release` (which says production by default), the cluster's.
pub(super) fn env(
    data: &Data,
    commons: &Commons,
    cluster: Option<&str>,
    tenant: Option<&str>,
    facts: &Facts<'_>,
) -> Option<Arc<str>> {
    let (places, envs) = (&data.places, &data.envs);
    let said = |text: Option<&str>| Some(envs.canonical(places.usable(text?)?));
    let namespace = facts.object_namespace();
    let mapped = || {
        let hosts = [
            facts.hostname.as_deref(),
            facts.faro_environment.as_deref(),
            tenant,
            facts.commons.as_deref(),
        ];
        places.entry_of(commons, cluster, namespace, &hosts)?.env.clone()
    };
    said(facts.env.as_deref())
        .or_else(mapped)
        .or_else(|| envs.guess(namespace?))
        .or_else(|| said(facts.release.as_deref()))
        .or_else(|| envs.guess(cluster?))
}
