//! Samples of one round of scraping, with the labels that Alloy gives them.

use super::catalogue::Site;
use super::pods::LabelList;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    /// Sorted by name, as remote write wants them.
    pub(super) labels: LabelList,
    pub(super) at_ms: i64,
    pub(super) value: f64,
}

/// The samples of one round of one cluster.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    pub(super) at_ms: i64,
    pub(super) samples: Vec<Sample>,
}

/// Where a sample comes from: the scrape job and what its target is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) job: &'static str,
    pub(super) instance: &'a str,
    pub(super) cluster: &'static str,
    pub(super) project: &'static str,
}

const KUBE_STATE: &str = "kube-state-metrics.monitoring.svc.cluster.local:8080";

impl Scrape {
    pub(super) fn at(at_ms: i64) -> Self {
        Self { at_ms, samples: Vec::new() }
    }

    /// Adds a series of kube-state-metrics.
    pub(super) fn kube(
        &mut self,
        metric: &'static str,
        site: &Site,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let target = Target {
            job: "kube-state-metrics",
            instance: KUBE_STATE,
            cluster: site.cluster,
            project: site.project,
        };
        self.push(metric, target, labels, value);
    }

    /// Adds a sample of any target.
    pub(super) fn push(
        &mut self,
        metric: &'static str,
        target: Target<'_>,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let own = labels.iter().map(|(name, value)| (*name, (*value).to_owned()));
        self.push_list(metric, target, own.collect(), value);
    }

    /// Adds a sample whose labels are a list already.
    pub(super) fn push_list(
        &mut self,
        metric: &'static str,
        target: Target<'_>,
        mut labels: LabelList,
        value: f64,
    ) {
        // The external labels do not overwrite what is there.
        let outer = [
            ("__name__", metric),
            ("job", target.job),
            ("instance", target.instance),
            ("cluster", target.cluster),
            ("project", target.project),
        ];
        for (name, value) in outer {
            if labels.iter().all(|(known, _)| *known != name) {
                labels.push((name, value.to_owned()));
            }
        }
        labels.sort();
        self.samples.push(Sample { labels, at_ms: self.at_ms, value });
    }
}
