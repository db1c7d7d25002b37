//! The pods of a commons and the labels that Alloy puts on what they say.
//!
//! Alloy copies every pod label, so a stream carries what the charts set, and lacks what they do
//! not: the presigned-URL deployment has no `hostname`, a job's pod says `app: gen3job`.

use std::sync::Arc;

use super::catalogue::{CLUSTERS, Site, n_replicas};

/// Label names and values, sorted by name.
pub(super) type LabelList = Vec<(&'static str, String)>;

/// One pod with one container.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) service: &'static str,
    pub(super) namespace: &'static str,
    pub(super) name: String,
    pub(super) container: String,
    /// The labels of its log stream, as Loki's push writes them.
    pub(super) stream: Arc<str>,
}

impl Pod {
    /// Returns the labels a scraped sample of the pod carries.
    pub(super) fn labels(&self, site: &Site) -> LabelList {
        pod_labels(site, self.namespace, self.service, &self.name, &self.container)
    }
}

/// The pods of a site, in both of its namespaces.
#[derive(Debug)]
pub(super) struct Pods(Vec<Pod>);

impl Pods {
    pub(super) fn new(site: &'static Site) -> Self {
        let mut pods = Vec::new();
        for namespace in std::iter::once(site.namespace).chain(site.old_namespace) {
            for &service in site.services {
                // The old namespace is kept running with one pod of each.
                let n = if namespace == site.namespace { n_replicas(service) } else { 1 };
                let n = if service == "etl" { 0 } else { n };
                pods.extend((0..n).map(|replica| pod(site, namespace, service, replica)));
            }
        }
        Self(pods)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Pod> {
        self.0.iter()
    }

    /// Returns one of a service's pods; `pick` chooses among replicas.
    pub(super) fn of(&self, namespace: &str, service: &str, pick: u64) -> Option<&Pod> {
        let of_service =
            || self.0.iter().filter(|pod| pod.namespace == namespace && pod.service == service);
        let n = u64::try_from(of_service().count()).unwrap_or(0);
        let idx = usize::try_from(pick.checked_rem(n)?).unwrap_or(0);
        of_service().nth(idx)
    }
}

fn pod(site: &'static Site, namespace: &'static str, service: &'static str, replica: usize) -> Pod {
    // Names as Kubernetes makes them, and the same at every start.
    let hash =
        xxhash_rust::xxh3::xxh3_64(format!("{}/{namespace}/{service}", site.cluster).as_bytes());
    let name =
        format!("{service}-deployment-{:09x}-{}", hash & 0xf_ffff_ffff, suffix(hash, replica));
    let container = container(service);
    let labels = pod_labels(site, namespace, service, &name, &container);
    Pod { service, namespace, name, container, stream: stream(&labels) }
}

fn suffix(hash: u64, replica: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let salt =
        hash.wrapping_add(u64::try_from(replica).unwrap_or(0)).wrapping_mul(0x2545_f491_4f6c_dd1d);
    let letter = |i: u32| LETTERS[usize::try_from((salt >> (8 * i)) % 27).unwrap_or(0)];
    (0..5).map(|i| char::from(letter(i))).collect()
}

fn container(service: &str) -> String {
    match service {
        "presigned-url-fence" => "presigned-url-fence".to_owned(),
        other => other.to_owned(),
    }
}

fn pod_labels(
    site: &Site,
    namespace: &str,
    service: &str,
    pod: &str,
    container: &str,
) -> LabelList {
    let mut labels = vec![
        ("app", service.to_owned()),
        ("cluster", site.cluster.to_owned()),
        ("container", container.to_owned()),
        ("namespace", namespace.to_owned()),
        ("pod", pod.to_owned()),
        ("project", site.project.to_owned()),
    ];
    if service != "presigned-url-fence" {
        labels.push(("app_kubernetes_io_name", service.to_owned()));
        labels.push(("app_kubernetes_io_instance", site.namespace.to_owned()));
        labels.push(("hostname", site.hostname.to_owned()));
        labels.push(("release", site.release.to_owned()));
        labels.push(("netnolimit", "yes".to_owned()));
    }
    labels.sort();
    labels
}

/// Returns the labels of a job's pod; the chart sets nothing but `app`.
pub(super) fn job_stream(site: &Site, job: &str, stamp: i64, container: &str) -> Arc<str> {
    let labels = vec![
        ("app", "gen3job".to_owned()),
        ("cluster", site.cluster.to_owned()),
        ("container", container.to_owned()),
        ("job_name", format!("{job}-{stamp}")),
        ("namespace", site.namespace.to_owned()),
        ("pod", format!("{job}-{stamp}-{}", suffix(stamp.unsigned_abs(), 0))),
        ("project", site.project.to_owned()),
    ];
    stream(&labels)
}

/// Writes labels as Loki's push does.
pub(super) fn stream(labels: &[(&'static str, String)]) -> Arc<str> {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    Arc::from(format!("{{{}}}", pairs.join(", ")))
}

/// Returns the place of a site's Alloy.
pub(super) fn cluster_idx(site: &Site) -> usize {
    CLUSTERS
        .iter()
        .position(|cluster| *cluster == site.cluster)
        .expect("every site is in a cluster")
}
