//! What Kubernetes says of a commons: kube-state-metrics, the kubelet, the nodes, and `up`.
//!
//! The chart annotates every pod for scraping and most serve no metrics, so `up` is 0 for a healthy
//! commons. kube-state-metrics is scraped twice, by name and by its annotation.

use super::catalogue::{Site, deployment, n_replicas};
use super::pods::{Pod, Pods};
use super::scrape::{Scrape, Target};
use super::text::{as_f64, seconds};

const PHASES: [&str; 3] = ["Running", "Pending", "Failed"];
const NODES: usize = 3;
const GIB: f64 = (1_u64 << 30) as f64;

/// Adds the series of a site's Deployments and pods; `failing` is a service that crashes.
pub(super) fn scrape_site(
    site: &'static Site,
    pods: &Pods,
    failing: Option<&str>,
    into: &mut Scrape,
) {
    for namespace in std::iter::once(site.namespace).chain(site.old_namespace) {
        for &service in site.services.iter().filter(|service| n_replicas(service) > 0) {
            let n = if namespace == site.namespace { n_replicas(service) } else { 1 };
            let n = as_f64(u64::try_from(n).unwrap_or(0));
            let n_ready = if failing == Some(service) { 0.0 } else { n };
            scrape_deployment(site, namespace, service, (n, n_ready), into);
        }
    }
    for pod in pods.iter() {
        scrape_pod(site, pod, failing == Some(pod.service), into);
    }
    scrape_scaling(site, into);
}

fn scrape_deployment(
    site: &'static Site,
    namespace: &str,
    service: &str,
    (n, n_ready): (f64, f64),
    into: &mut Scrape,
) {
    let deployment = deployment(service);
    let labels = [("namespace", namespace), ("deployment", deployment.as_str())];
    for job in ["kube-state-metrics", "integrations/autodiscovery_metrics"] {
        let target =
            Target { job, instance: "10.0.9.9:8080", cluster: site.cluster, project: site.project };
        into.push("kube_deployment_spec_replicas", target, &labels, n);
        into.push("kube_deployment_status_replicas_available", target, &labels, n_ready);
    }
    into.kube("kube_deployment_metadata_generation", site, &labels, 7.0);
}

fn scrape_pod(site: &'static Site, pod: &Pod, is_failing: bool, into: &mut Scrape) {
    let labels = [("namespace", pod.namespace), ("pod", pod.name.as_str())];
    for phase in PHASES {
        let is_in = f64::from(u8::from(phase == "Running"));
        into.kube(
            "kube_pod_status_phase",
            site,
            &[labels.as_slice(), &[("phase", phase)]].concat(),
            is_in,
        );
    }
    let container = [labels.as_slice(), &[("container", pod.container.as_str())]].concat();
    let n_restarts = if is_failing { (seconds(into.at_ms) % 3_600.0 / 300.0).floor() } else { 0.0 };
    into.kube("kube_pod_container_status_restarts_total", site, &container, n_restarts);
    if is_failing {
        let reason = [container.as_slice(), &[("reason", "CrashLoopBackOff")]].concat();
        into.kube("kube_pod_container_status_waiting_reason", site, &reason, 1.0);
        let ended = [container.as_slice(), &[("reason", "Error")]].concat();
        into.kube("kube_pod_container_status_last_terminated_reason", site, &ended, 1.0);
    }
    let serves_metrics = site.has_fence_metrics && pod.service == "fence";
    let is_up =
        serves_metrics || matches!(pod.service, "gen3-user-data-library" | "funnel" | "ambassador");
    let target = Target {
        job: "integrations/autodiscovery_metrics",
        instance: "10.0.4.20:80",
        cluster: site.cluster,
        project: site.project,
    };
    into.push_list("up", target, pod.labels(site), f64::from(u8::from(is_up)));
}

fn scrape_scaling(site: &'static Site, into: &mut Scrape) {
    let hpa = [("namespace", site.namespace), ("horizontalpodautoscaler", "fence-hpa")];
    into.kube("kube_horizontalpodautoscaler_spec_max_replicas", site, &hpa, 6.0);
    into.kube("kube_horizontalpodautoscaler_status_current_replicas", site, &hpa, 2.0);
    let claim = [
        ("namespace", site.namespace),
        ("persistentvolumeclaim", "data-gen3-elasticsearch-master-0"),
    ];
    let bound = [claim.as_slice(), &[("phase", "Bound")]].concat();
    into.kube("kube_persistentvolumeclaim_status_phase", site, &bound, 1.0);
    // cert-manager's own, inside the cluster; the site's is on the load balancer.
    let certificate = [("namespace", site.namespace), ("name", "internal-tls")];
    let expiry_s = (seconds(into.at_ms) / 2.6e6).floor() * 2.6e6 + 7.8e6;
    into.kube("certmanager_certificate_expiration_timestamp_seconds", site, &certificate, expiry_s);
    let target = Target {
        job: "integrations/kubernetes/kubelet",
        instance: "ip-10-0-4-1",
        cluster: site.cluster,
        project: site.project,
    };
    into.push("kubelet_volume_stats_capacity_bytes", target, &claim, 100.0 * GIB);
    into.push("kubelet_volume_stats_available_bytes", target, &claim, 61.0 * GIB);
}

/// Adds the series of a cluster's nodes.
pub(super) fn scrape_nodes(cluster: &'static str, project: &'static str, into: &mut Scrape) {
    let at_s = seconds(into.at_ms);
    for idx in 0..NODES {
        let node = format!("ip-10-0-4-{}", idx + 1);
        let target =
            Target { job: "kube-state-metrics", instance: "10.0.9.9:8080", cluster, project };
        for (status, value) in [("true", 1.0), ("false", 0.0), ("unknown", 0.0)] {
            let labels = [("node", node.as_str()), ("condition", "Ready"), ("status", status)];
            into.push("kube_node_status_condition", target, &labels, value);
        }
        let kubelet = Target { job: "integrations/kubernetes/kubelet", instance: &node, ..target };
        into.push("kubelet_running_pods", kubelet, &[], 31.0);
        into.push("kubelet_running_containers", kubelet, &[("container_state", "running")], 44.0);
        let exporter = Target { job: "integrations/node_exporter", instance: &node, ..target };
        scrape_machine(exporter, at_s, into);
    }
}

fn scrape_machine(target: Target<'_>, at_s: f64, into: &mut Scrape) {
    for (mode, share) in [("idle", 0.71), ("user", 0.22), ("system", 0.06), ("iowait", 0.01)] {
        let busy_s = (at_s % 8e6) * share;
        let labels = [("cpu", "0"), ("mode", mode)];
        into.push("node_cpu_seconds_total", target, &labels, busy_s);
    }
    into.push("node_memory_MemTotal_bytes", target, &[], 32.0 * GIB);
    let swing = 2.0 * (at_s / 900.0).sin();
    into.push("node_memory_MemAvailable_bytes", target, &[], (14.0 + swing) * GIB);
    let root = [("device", "/dev/nvme0n1p1"), ("mountpoint", "/")];
    into.push("node_filesystem_size_bytes", target, &root, 200.0 * GIB);
    into.push("node_filesystem_avail_bytes", target, &root, 122.0 * GIB);
    let eth = [("device", "eth0")];
    into.push("node_network_receive_bytes_total", target, &eth, (at_s % 8e6) * 180_000.0);
    into.push("up", target, &[], 1.0);
}
