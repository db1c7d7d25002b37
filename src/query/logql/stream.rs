//! What a stream's labels are.
//!
//! A stream is what its records have in common: commons, service, env, cluster, and the resource.
//! Of a resource that came by Loki push all labels are the stream's. Of an OTLP resource those that
//! Loki would index are, with `_` for the dots; its other attributes go with each record as metadata.

use super::fields::sanitized;
use super::pipeline::pairs_of;
use crate::model::{Commons, Matcher};

/// The labels of a stream, sorted, and what else its resource says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) labels: Vec<(String, String)>,
    pub(super) metadata: Vec<(String, String)>,
    /// True when names in its resource cannot have come by Loki push.
    pub(super) is_of_otlp: bool,
}

/// What the store keeps of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) commons: &'a Commons,
    pub(super) service: &'a str,
    pub(super) env: &'a str,
    pub(super) cluster: &'a str,
    /// A JSON object.
    pub(super) resource: &'a str,
}

/// The label that names a stream's service for Loki's clients.
pub(super) const SERVICE_NAME: &str = "service_name";
/// What a stream is called that says nothing.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Where the name of a service is looked for, in Loki's order.
const SERVICE_NAMES: [&str; 12] = [
    "service",
    "app",
    "application",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// The attributes of an OTLP resource that Loki indexes.
const INDEXED: [&str; 19] = [
    "service.name",
    "service.namespace",
    "service.instance.id",
    "deployment.environment",
    "deployment.environment.name",
    "cloud.region",
    "cloud.availability_zone",
    "k8s.cluster.name",
    "k8s.namespace.name",
    "k8s.container.name",
    "k8s.pod.name",
    "container.name",
    "k8s.replicaset.name",
    "k8s.deployment.name",
    "k8s.statefulset.name",
    "k8s.daemonset.name",
    "k8s.cronjob.name",
    "k8s.job.name",
    "service.version",
];

impl Stream {
    /// Returns the stream of some records.
    pub(super) fn new(parts: &Parts<'_>) -> Self {
        let mut labels: Vec<(String, String)> = Vec::new();
        let mut metadata = Vec::new();
        let commons = if parts.commons.is_unassigned() { "" } else { parts.commons.as_str() };
        let tags = [
            ("commons", commons),
            ("service", parts.service),
            ("env", parts.env),
            ("cluster", parts.cluster),
        ];
        labels.extend(tags.map(|(name, value)| (name.to_owned(), value.to_owned())));
        labels.retain(|(_, value)| !value.is_empty());
        let mut is_of_otlp = false;
        for (name, value) in pairs_of(parts.resource) {
            let clean = sanitized(&name);
            is_of_otlp |= clean != name;
            let is_label = clean == name || INDEXED.contains(&name.as_str());
            let place = if is_label { &mut labels } else { &mut metadata };
            // Of one name, what was decided on the way in stands.
            if !value.is_empty() && !place.iter().any(|(known, _)| *known == clean) {
                place.push((clean.into_owned(), value));
            }
        }
        if !labels.iter().any(|(name, _)| name == SERVICE_NAME) {
            let find = |wanted: &&str| labels.iter().find(|(name, _)| name == wanted);
            let name = SERVICE_NAMES.iter().find_map(find);
            let name = name.map_or(UNKNOWN_SERVICE, |(_, value)| value).to_owned();
            labels.push((SERVICE_NAME.to_owned(), name));
        }
        labels.sort_unstable();
        Self { labels, metadata, is_of_otlp }
    }

    /// Returns the value of a label, empty when there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.labels.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// Returns true when all matchers hold.
    pub(super) fn matches(&self, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|matcher| matcher.matches(self.get(&matcher.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(service: &str, resource: &str) -> Stream {
        let commons = Commons::new("heart").unwrap();
        Stream::new(&Parts { commons: &commons, service, env: "prod", cluster: "", resource })
    }

    #[test]
    fn all_labels_of_a_pushed_stream_are_its_labels() {
        let stream = stream("fence", r#"{"app":"fence","pod":"fence-1"}"#);

        let names: Vec<&str> = stream.labels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["app", "commons", "env", "pod", "service", "service_name"]);
        assert_eq!((stream.get("service_name"), stream.get("none")), ("fence", ""));
        assert!(!stream.is_of_otlp);
    }

    #[test]
    fn an_otlp_resource_is_labels_and_metadata() {
        let stream = stream("", r#"{"service.name":"x","process.pid":7,"k8s.namespace.name":"n"}"#);

        assert_eq!((stream.get("service_name"), stream.get("k8s_namespace_name")), ("x", "n"));
        assert_eq!(stream.metadata, [("process_pid".to_owned(), "7".to_owned())]);
        assert!(stream.is_of_otlp);
    }

    #[test]
    fn what_has_no_name_is_unknown() {
        assert_eq!(stream("", "{}").get("service_name"), "unknown_service");
    }
}
