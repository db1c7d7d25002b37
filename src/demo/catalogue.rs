//! The fictional commons: where they live, what they run, what is asked of them.
//!
//! Host names are in reserved domains, the shapes are real: two commons in one cluster, a staging
//! twin beside its production, a namespace called `default`, a blue/green migration half done.

/// One commons in one namespace.
#[derive(Debug)]
pub(super) struct Site {
    /// The value of the pods' label `hostname`.
    pub(super) hostname: &'static str,
    pub(super) cluster: &'static str,
    pub(super) namespace: &'static str,
    /// The namespace it is migrating away from, which still gets some of the traffic.
    pub(super) old_namespace: Option<&'static str>,
    pub(super) project: &'static str,
    /// The chart's pod label `release`.
    pub(super) release: &'static str,
    /// Requests a second on an average day.
    pub(super) requests_per_s: f64,
    pub(super) services: &'static [&'static str],
    /// Identity providers and their shares of the logins.
    pub(super) idps: &'static [(&'static str, f64)],
    /// Services that are asked more, or less, than elsewhere.
    pub(super) favours: &'static [(&'static str, f64)],
    pub(super) has_fence_metrics: bool,
    pub(super) has_traces: bool,
}

impl Site {
    pub(super) fn runs(&self, service: &str) -> bool {
        self.services.contains(&service)
    }

    /// Returns how much a service is asked here, 1 being usual.
    pub(super) fn favour(&self, service: &str) -> f64 {
        let own = self.favours.iter().find(|(name, _)| *name == service);
        own.map_or(1.0, |(_, factor)| *factor)
    }

    pub(super) fn is_staging(&self) -> bool {
        self.release != "production"
    }
}

const CORE_AND_EXPLORER: &[&str] = &[
    "revproxy",
    "portal",
    "fence",
    "presigned-url-fence",
    "arborist",
    "indexd",
    "sheepdog",
    "peregrine",
    "guppy",
    "metadata",
    "audit",
    "requestor",
    "wts",
    "manifestservice",
    "hatchery",
    "ambassador",
    "sower",
    "ssjdispatcher",
    "gen3-user-data-library",
    "etl",
];
const WITHOUT_WORKSPACES: &[&str] = &[
    "revproxy",
    "portal",
    "fence",
    "presigned-url-fence",
    "arborist",
    "indexd",
    "sheepdog",
    "peregrine",
    "guppy",
    "metadata",
    "audit",
    "requestor",
    "wts",
    "manifestservice",
    "sower",
    "ssjdispatcher",
    "frontend-framework",
    "gen3-user-data-library",
    "dashboard",
    "etl",
];
const IMAGES: &[&str] = &[
    "revproxy",
    "portal",
    "fence",
    "presigned-url-fence",
    "arborist",
    "indexd",
    "sheepdog",
    "peregrine",
    "guppy",
    "metadata",
    "audit",
    "requestor",
    "wts",
    "manifestservice",
    "hatchery",
    "ambassador",
    "dicom-server",
    "ohif-viewer",
    "ssjdispatcher",
    "etl",
];
const STAGING: &[&str] =
    &["revproxy", "portal", "fence", "arborist", "indexd", "guppy", "metadata", "dicom-server"];
const HUB: &[&str] = &[
    "revproxy",
    "frontend-framework",
    "fence",
    "presigned-url-fence",
    "arborist",
    "indexd",
    "sheepdog",
    "peregrine",
    "metadata",
    "audit",
    "requestor",
    "wts",
    "manifestservice",
    "hatchery",
    "ambassador",
    "gen3-user-data-library",
    "gen3-discovery-ai",
    "gen3-embeddings",
    "gen3-analysis",
    "cedar",
];
const GENOMES: &[&str] = &[
    "revproxy",
    "portal",
    "fence",
    "presigned-url-fence",
    "arborist",
    "indexd",
    "sheepdog",
    "peregrine",
    "guppy",
    "metadata",
    "audit",
    "requestor",
    "wts",
    "manifestservice",
    "hatchery",
    "ambassador",
    "sower",
    "ssjdispatcher",
    "gen3-workflow",
    "gen3-user-data-library",
    "funnel",
    "etl",
];

/// Every sender of the demo.
pub(super) const SITES: [Site; 6] = [
    Site {
        hostname: "heart.commons.example",
        cluster: "shared-east",
        namespace: "hearthelm",
        old_namespace: None,
        project: "shared",
        release: "production",
        requests_per_s: 10.0,
        services: CORE_AND_EXPLORER,
        idps: &[("ras", 0.6), ("google", 0.4)],
        favours: &[("login", 2.0)],
        has_fence_metrics: true,
        has_traces: true,
    },
    Site {
        hostname: "canine.commons.example",
        cluster: "shared-east",
        namespace: "canineprod",
        old_namespace: None,
        project: "shared",
        release: "production",
        requests_per_s: 4.0,
        services: WITHOUT_WORKSPACES,
        idps: &[("google", 0.8), ("orcid", 0.2)],
        favours: &[],
        has_fence_metrics: true,
        has_traces: false,
    },
    Site {
        hostname: "imaging.commons.example",
        cluster: "imagingprod",
        namespace: "imagingprod-helm",
        old_namespace: None,
        project: "imaging",
        release: "production",
        requests_per_s: 8.0,
        services: IMAGES,
        idps: &[("google", 0.5), ("orcid", 0.3), ("fence", 0.2)],
        favours: &[("dicom-server", 3.0), ("guppy", 2.0)],
        has_fence_metrics: false,
        has_traces: false,
    },
    Site {
        hostname: "staging.imaging.commons.example",
        cluster: "imagingprod",
        namespace: "imagingstaging-helm",
        old_namespace: None,
        project: "imaging",
        release: "staging",
        requests_per_s: 4.0,
        services: STAGING,
        idps: &[("google", 1.0)],
        favours: &[("guppy", 4.0)],
        has_fence_metrics: false,
        has_traces: false,
    },
    Site {
        hostname: "hub.mesh.example",
        cluster: "hubprod",
        namespace: "default",
        old_namespace: None,
        project: "hub",
        release: "production",
        requests_per_s: 8.0,
        services: HUB,
        idps: &[("google", 0.6), ("orcid", 0.4)],
        favours: &[("metadata", 8.0), ("sheepdog", 0.1), ("presigned-url-fence", 0.3)],
        has_fence_metrics: false,
        has_traces: true,
    },
    Site {
        hostname: "genome.data.example",
        cluster: "genomeprod",
        namespace: "genomeprod-helm",
        old_namespace: Some("default"),
        project: "genome",
        release: "production",
        requests_per_s: 20.0,
        services: GENOMES,
        idps: &[("ras", 0.4), ("google", 0.3), ("orcid", 0.15), ("shib", 0.15)],
        favours: &[("presigned-url-fence", 3.0), ("indexd", 2.0)],
        has_fence_metrics: true,
        has_traces: false,
    },
];

/// The Alloys: one in each cluster.
pub(super) const CLUSTERS: [&str; 4] = ["shared-east", "imagingprod", "hubprod", "genomeprod"];

/// Services of two replicas; the others have one.
pub(super) fn n_replicas(service: &str) -> usize {
    match service {
        "revproxy" | "fence" | "presigned-url-fence" | "arborist" | "indexd" | "portal" => 2,
        // A CronJob, not a Deployment.
        "etl" => 0,
        _ => 1,
    }
}

/// Returns the Deployment of a service.
pub(super) fn deployment(service: &str) -> String {
    match service {
        "sower" | "ssjdispatcher" => service.to_owned(),
        "funnel" => "funnel-server".to_owned(),
        _ => format!("{service}-deployment"),
    }
}
