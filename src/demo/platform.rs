//! What some clusters say beyond the stock lists: memory and CPU of containers, what pods ask for,
//! people's workspaces, Elasticsearch's health, nodes that come and go.
//!
//! cAdvisor is commented out in the chart's Alloy, so only clusters whose operators switched it on
//! have containers' memory; here they are those that also switched fence's metrics on.

use super::catalogue::Site;
use super::pods::{Pod, Pods};
use super::scrape::{Scrape, Target};
use super::text::seconds;

const GIB: f64 = (1_u64 << 30) as f64;
/// Workspaces that run in each commons that has any.
const WORKSPACES: [u64; 3] = [3, 17, 42];

/// Adds what is said of one site.
pub(super) fn scrape_site(site: &'static Site, pods: &Pods, into: &mut Scrape) {
    for pod in pods.iter() {
        scrape_pod(site, pod, into);
    }
    if site.runs("hatchery") {
        WORKSPACES.into_iter().for_each(|user| scrape_workspace(site, user, into));
    }
    if site.runs("guppy") {
        let labels = |color| [("namespace", site.namespace), ("color", color)];
        for (color, value) in [("green", 1.0), ("yellow", 0.0), ("red", 0.0)] {
            let target = target(site, "elasticsearch-exporter", "10.0.4.30:9114");
            into.push("elasticsearch_cluster_health_status", target, &labels(color), value);
        }
    }
}

fn scrape_pod(site: &'static Site, pod: &Pod, into: &mut Scrape) {
    let labels = [
        ("namespace", pod.namespace),
        ("pod", pod.name.as_str()),
        ("container", pod.container.as_str()),
    ];
    for (metric, resource, value) in [
        ("kube_pod_container_resource_requests", "cpu", 0.25),
        ("kube_pod_container_resource_requests", "memory", 0.5 * GIB),
        ("kube_pod_container_resource_limits", "memory", 2.0 * GIB),
    ] {
        into.kube(metric, site, &[labels.as_slice(), &[("resource", resource)]].concat(), value);
    }
    if !site.has_fence_metrics {
        return;
    }
    let at_s = seconds(into.at_ms);
    let cadvisor = target(site, "integrations/kubernetes/cadvisor", "ip-10-0-4-1");
    let bytes = (0.6 + 0.1 * (at_s / 700.0).sin()) * GIB;
    into.push("container_memory_working_set_bytes", cadvisor, &labels, bytes);
    into.push("container_cpu_usage_seconds_total", cadvisor, &labels, (at_s % 8e6) * 0.08);
}

/// The pod of a person is named after the escaped mail address, and so is the claim.
fn scrape_workspace(site: &'static Site, user: u64, into: &mut Scrape) {
    let namespace = match site.namespace {
        "default" => "jupyter-pods".to_owned(),
        name => format!("jupyter-pods-{name}"),
    };
    let person = format!("researcher{user:03}-40people-2eexample");
    let (pod, claim) = (format!("hatchery-{person}"), format!("claim-{person}"));
    for (phase, value) in [("Running", 1.0), ("Pending", 0.0), ("Failed", 0.0)] {
        let labels = [("namespace", &*namespace), ("pod", &*pod), ("phase", phase)];
        into.kube("kube_pod_status_phase", site, &labels, value);
    }
    let volume = [("namespace", &*namespace), ("persistentvolumeclaim", &*claim)];
    let kubelet = target(site, "integrations/kubernetes/kubelet", "ip-10-0-4-1");
    into.push("kubelet_volume_stats_capacity_bytes", kubelet, &volume, 10.0 * GIB);
    into.push("kubelet_volume_stats_available_bytes", kubelet, &volume, 7.0 * GIB);
}

/// Adds what a cluster says of its nodes: what they can give, and how they come and go.
pub(super) fn scrape_nodes(cluster: &'static str, project: &'static str, into: &mut Scrape) {
    let kube = Target { job: "kube-state-metrics", instance: "10.0.9.9:8080", cluster, project };
    for node in ["ip-10-0-4-1", "ip-10-0-4-2", "ip-10-0-4-3"] {
        for (resource, value) in [("cpu", 16.0), ("memory", 60.0 * GIB)] {
            let labels = [("node", node), ("resource", resource)];
            into.push("kube_node_status_allocatable", kube, &labels, value);
        }
    }
    let karpenter = Target { job: "karpenter", instance: "10.0.9.12:8080", cluster, project };
    let hours = (seconds(into.at_ms) / 3_600.0).rem_euclid(1e5).floor();
    for (metric, value) in [
        ("karpenter_nodeclaims_created_total", hours),
        ("karpenter_nodeclaims_terminated_total", hours - 1.0),
    ] {
        into.push(metric, karpenter, &[("nodepool", "default")], value.max(0.0));
    }
    let interrupted = [("message_type", "spot_interrupted")];
    into.push(
        "karpenter_interruption_received_messages_total",
        karpenter,
        &interrupted,
        hours / 8.0,
    );
}

fn target(site: &'static Site, job: &'static str, instance: &'static str) -> Target<'static> {
    Target { job, instance, cluster: site.cluster, project: site.project }
}
