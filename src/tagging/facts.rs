//! What a sender says about itself, gathered in one pass from labels or from attributes.
//!
//! The same fact has several names on the wire; the rules ask for the fact and never for a name.

use std::borrow::Cow;

use crate::model::LabelsBuilder;
use crate::model::labels::METRIC_NAME;

type Text<'a> = Option<Cow<'a, str>>;

/// The facts that rules decide on, as sent.
#[derive(Debug, Default)]
pub(super) struct Facts<'a> {
    /// A commons by name (`commons`, `gen3.commons`).
    pub(super) commons: Text<'a>,
    pub(super) cluster: Text<'a>,
    pub(super) namespace: Text<'a>,
    /// What a scraper that does not honour labels makes of the object's own namespace.
    pub(super) exported_namespace: Text<'a>,
    pub(super) project: Text<'a>,
    /// The commons' host (the chart's pod label).
    pub(super) hostname: Text<'a>,
    /// OTLP `host.name`: mostly a machine.
    pub(super) machine: Text<'a>,
    pub(super) app: Text<'a>,
    pub(super) app_name: Text<'a>,
    pub(super) container: Text<'a>,
    pub(super) pod: Text<'a>,
    pub(super) job_name: Text<'a>,
    pub(super) controller: Text<'a>,
    pub(super) deployment: Text<'a>,
    pub(super) cronjob: Text<'a>,
    /// `service.name`: the application names itself.
    pub(super) service_name: Text<'a>,
    /// A label `service`: often the Kubernetes Service that was scraped.
    pub(super) service: Text<'a>,
    pub(super) env: Text<'a>,
    pub(super) release: Text<'a>,
    /// Faro's `app_environment`: the portal's host.
    pub(super) faro_environment: Text<'a>,
    pub(super) faro_namespace: Text<'a>,
    /// The host that the revproxy passed a request to.
    pub(super) upstream: Text<'a>,
    pub(super) metric: Text<'a>,
    pub(super) scrape_job: Text<'a>,
}

/// Whether a name is the fact's own or only stands in for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Own,
    StandIn,
}

impl<'a> Facts<'a> {
    /// Gathers the facts of a series or stream.
    pub(super) fn of_labels(labels: &'a LabelsBuilder) -> Self {
        let mut facts = Self::default();
        for (name, value) in labels.iter() {
            let Some((slot, kind)) = facts.slot(name) else { continue };
            if kind == Name::Own || slot.is_none() {
                *slot = Some(Cow::Borrowed(value));
            }
        }
        facts
    }

    fn slot(&mut self, label: &str) -> Option<(&mut Text<'a>, Name)> {
        use Name::{Own, StandIn};
        Some(match label {
            METRIC_NAME => (&mut self.metric, Own),
            "job" => (&mut self.scrape_job, Own),
            "commons" => (&mut self.commons, Own),
            "gen3_commons" => (&mut self.commons, StandIn),
            "cluster" => (&mut self.cluster, Own),
            "k8s_cluster_name" => (&mut self.cluster, StandIn),
            "namespace" => (&mut self.namespace, Own),
            "k8s_namespace_name" => (&mut self.namespace, StandIn),
            "exported_namespace" => (&mut self.exported_namespace, Own),
            "project" => (&mut self.project, Own),
            "hostname" => (&mut self.hostname, Own),
            "app" => (&mut self.app, Own),
            "app_kubernetes_io_name" => (&mut self.app_name, Own),
            "container" => (&mut self.container, Own),
            "k8s_container_name" => (&mut self.container, StandIn),
            "pod" => (&mut self.pod, Own),
            "k8s_pod_name" => (&mut self.pod, StandIn),
            "job_name" => (&mut self.job_name, Own),
            "batch_kubernetes_io_job_name" | "k8s_job_name" => (&mut self.job_name, StandIn),
            "controller" => (&mut self.controller, Own),
            "deployment" => (&mut self.deployment, Own),
            "k8s_deployment_name" => (&mut self.deployment, StandIn),
            "cronjob" => (&mut self.cronjob, Own),
            "service_name" => (&mut self.service_name, Own),
            "service" => (&mut self.service, Own),
            "env" => (&mut self.env, Own),
            "deployment_environment_name" | "deployment_environment" | "environment" => {
                (&mut self.env, StandIn)
            }
            "release" => (&mut self.release, Own),
            "app_environment" => (&mut self.faro_environment, Own),
            "app_namespace" => (&mut self.faro_namespace, Own),
            "http_upstream" => (&mut self.upstream, Own),
            _ => return None,
        })
    }

    /// Gathers the facts of an OTLP resource; `get` looks an attribute up.
    pub(super) fn of_resource(get: &dyn Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| get(name)).map(Cow::Owned);
        Self {
            commons: first(&["gen3.commons", "commons"]),
            cluster: first(&["k8s.cluster.name", "cluster"]),
            namespace: first(&["k8s.namespace.name", "namespace"]),
            project: first(&["project"]),
            hostname: first(&["hostname", "k8s.pod.labels.hostname", "k8s.pod.label.hostname"]),
            machine: first(&["host.name"]),
            app: first(&["app", "k8s.pod.labels.app", "k8s.pod.label.app"]),
            app_name: first(&["app_kubernetes_io_name", "app.kubernetes.io/name"]),
            container: first(&["k8s.container.name", "container"]),
            pod: first(&["k8s.pod.name", "pod"]),
            job_name: first(&["k8s.job.name", "job_name"]),
            controller: first(&["controller"]),
            deployment: first(&["k8s.deployment.name", "deployment"]),
            cronjob: first(&["k8s.cronjob.name"]),
            service_name: first(&["service.name", "service_name"]),
            service: first(&["service"]),
            env: first(&["deployment.environment.name", "deployment.environment", "env"]),
            release: first(&["release"]),
            faro_environment: first(&["app_environment"]),
            faro_namespace: first(&["app_namespace"]),
            upstream: first(&["http_upstream"]),
            ..Self::default()
        }
    }

    /// Gathers what a line of the portal's browsers or of the revproxy says; `None` for others.
    pub(super) fn of_line(service: &str, body: &'a str) -> Option<Self> {
        let facts = match service {
            "portal" => Self {
                faro_environment: logfmt_value(body, "app_environment=").map(Cow::Borrowed),
                faro_namespace: logfmt_value(body, "app_namespace=").map(Cow::Borrowed),
                ..Self::default()
            },
            "revproxy" => Self {
                upstream: json_value(body, "\"http_upstream\"").map(Cow::Borrowed),
                ..Self::default()
            },
            _ => return None,
        };
        let says_something = facts.faro_environment.is_some()
            || facts.faro_namespace.is_some()
            || facts.upstream.is_some();
        says_something.then_some(facts)
    }

    /// Returns true for kube-state-metrics' series: their labels name the object that is
    /// described, while `app` and the like name kube-state-metrics itself.
    pub(super) fn is_kube_state(&self) -> bool {
        self.metric.as_deref().is_some_and(|metric| metric.starts_with("kube_"))
    }

    /// Returns the namespace of what is described.
    pub(super) fn object_namespace(&self) -> Option<&str> {
        let exported = self.exported_namespace.as_deref().filter(|_| self.is_kube_state());
        exported.or(self.namespace.as_deref())
    }
}

fn logfmt_value<'b>(body: &'b str, key: &str) -> Option<&'b str> {
    let from = memchr::memmem::find(body.as_bytes(), key.as_bytes())? + key.len();
    let rest = &body[from..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(char::is_whitespace).next(),
    }
}

fn json_value<'b>(body: &'b str, key: &str) -> Option<&'b str> {
    let from = memchr::memmem::find(body.as_bytes(), key.as_bytes())? + key.len();
    let rest = body[from..].trim_start().strip_prefix(':')?.trim_start();
    rest.strip_prefix('"')?.split('"').next()
}
