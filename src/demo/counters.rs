//! The counters of the few services that have any, with their faults.
//!
//! fence counts each login twice, for its identity provider and for `all`, with the person in a
//! label; its init container is scraped as a second fence. The user data library puts the response
//! time in a label, so every request is a series of its own. Envoy names a cluster after a mail
//! address.

use std::collections::{BTreeMap, VecDeque};

use super::catalogue::Site;
use super::dice::Dice;
use super::pods::{LabelList, Pods};
use super::routes::Meaning;
use super::scrape::{Scrape, Target};
use super::traffic::Request;

/// So many of the library's one-request series are still exposed.
const LIBRARY_SERIES_MAX: usize = 40;
/// So many people make a difference in fence's counters.
const COUNTED_USERS: u64 = 60;

type Counts = BTreeMap<LabelList, f64>;

/// The counters of one site.
#[derive(Debug, Default)]
pub(super) struct Counters {
    logins: Counts,
    urls: Counts,
    library: VecDeque<LabelList>,
    envoy: Counts,
}

impl Counters {
    /// Takes note of a request.
    pub(super) fn observe(&mut self, request: &Request, dice: &mut Dice) {
        let user = request.visitor.user.unwrap_or(0) % COUNTED_USERS;
        match (request.service, request.meaning) {
            _ if request.status >= 400 => {}
            ("fence", _) if request.callback_of.is_some() => {
                for idp in [request.callback_of.unwrap_or("google"), "all"] {
                    *self.logins.entry(login(user, idp)).or_default() += 1.0;
                }
            }
            (_, Meaning::SignedUrl) => {
                let is_drs = request.path.starts_with("/ga4gh/");
                *self.urls.entry(signed_url(user, is_drs)).or_default() += 1.0;
            }
            ("gen3-user-data-library", _) => {
                self.library.push_back(library_request(user, request));
                if self.library.len() > LIBRARY_SERIES_MAX {
                    self.library.pop_front();
                }
            }
            ("ambassador", _) => {
                let cluster =
                    format!("cluster_h_researcher{:03}-40people-2eexample_s_0", dice.below(8));
                *self.envoy.entry(vec![("envoy_cluster_name", cluster)]).or_default() += 1.0;
            }
            _ => {}
        }
    }

    /// Adds the counters' series.
    /// `n_bomb` more of the library's one-request series are there while a release of it misbehaves.
    pub(super) fn scrape(&self, site: &'static Site, pods: &Pods, n_bomb: u64, into: &mut Scrape) {
        if site.has_fence_metrics {
            self.scrape_fence(site, pods, into);
        }
        let expose = |service: &str, metric, labels: &LabelList, value, into: &mut Scrape| {
            if let Some(pod) = pods.of(site.namespace, service, 0) {
                into.push_list(
                    metric,
                    target(site),
                    [pod.labels(site), labels.clone()].concat(),
                    value,
                );
            }
        };
        for labels in &self.library {
            let metric = "gen3_user_data_library_api_requests_total";
            expose("gen3-user-data-library", metric, labels, 1.0, into);
        }
        for idx in 0..n_bomb {
            let metric = "gen3_user_data_library_api_requests_total";
            expose("gen3-user-data-library", metric, &bomb(idx), 1.0, into);
        }
        for (labels, count) in &self.envoy {
            expose("ambassador", "envoy_cluster_upstream_rq_total", labels, *count, into);
        }
        for (state, count) in [("RUNNING", 3.0), ("QUEUED", 1.0), ("COMPLETE", 120.0)] {
            let labels = vec![("state", state.to_owned())];
            expose("funnel", "funnel_tasks_state_count", &labels, count, into);
        }
    }

    fn scrape_fence(&self, site: &'static Site, pods: &Pods, into: &mut Scrape) {
        let Some(pod) = pods.of(site.namespace, "fence", 0) else { return };
        for container in ["fence", "fence-init"] {
            let mut base = pod.labels(site);
            base.retain(|(name, _)| *name != "container");
            base.push(("container", container.to_owned()));
            for (labels, count) in &self.logins {
                let labels = [base.clone(), labels.clone()].concat();
                into.push_list("gen3_fence_login_total", target(site), labels, *count);
            }
            for (labels, count) in &self.urls {
                let labels = [base.clone(), labels.clone()].concat();
                into.push_list("gen3_fence_presigned_url_total", target(site), labels, *count);
            }
        }
    }
}

fn target(site: &'static Site) -> Target<'static> {
    Target {
        job: "integrations/autodiscovery_metrics",
        instance: "10.0.4.21:80",
        cluster: site.cluster,
        project: site.project,
    }
}

fn login(user: u64, idp: &str) -> LabelList {
    vec![
        ("user_sub", user.to_string()),
        ("idp", idp.to_owned()),
        // Some come from another site that lets people log in through this one.
        ("client_id", if user.is_multiple_of(5) { "mesh-portal" } else { "None" }.to_owned()),
        ("upstream_idp", "None".to_owned()),
        ("shib_idp", "None".to_owned()),
    ]
}

fn signed_url(user: u64, is_drs: bool) -> LabelList {
    vec![
        ("action", "download".to_owned()),
        ("protocol", "s3".to_owned()),
        ("acl", "None".to_owned()),
        ("authz", "['/programs/alpha']".to_owned()),
        ("bucket", "s3://demo-bucket".to_owned()),
        ("user_sub", user.to_string()),
        ("client_id", "Unknown Client".to_owned()),
        ("drs", if is_drs { "True" } else { "False" }.to_owned()),
    ]
}

/// A request whose time makes it a series of its own.
fn bomb(idx: u64) -> LabelList {
    vec![
        ("method", "GET".to_owned()),
        ("path", "/lists".to_owned()),
        ("user_id", (idx % COUNTED_USERS).to_string()),
        ("response_time_seconds", format!("0.{idx:06}1")),
        ("status_code", "200".to_owned()),
    ]
}

fn library_request(user: u64, request: &Request) -> LabelList {
    vec![
        ("method", request.verb.to_owned()),
        ("path", "/lists".to_owned()),
        ("user_id", user.to_string()),
        ("response_time_seconds", format!("{:.6}", request.duration_s)),
        ("status_code", request.status.to_string()),
    ]
}
