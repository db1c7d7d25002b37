//! The simulated world: moved to a time, it returns what was sent until then.
//!
//! It has no clock and no socket; the same seed and the same steps give the same bytes.

use std::sync::Arc;

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::catalogue::{CLUSTERS, SITES, Site};
use super::counters::Counters;
use super::dice::Dice;
use super::lines::{Streams, Writer};
use super::pods::{Pods, cluster_idx};
use super::scenario::Scenario;
use super::scrape::{Sample, Scrape};
use super::traffic::Traffic;
use super::trouble::Trouble;
use super::{Config, ambient, jobs, kube, platform, probes, traces};

/// What one cluster's Alloy collected.
#[derive(Debug, Default)]
pub struct Shipment {
    pub(super) streams: Streams,
    pub(super) samples: Vec<Sample>,
    pub(super) spans: Vec<ResourceSpans>,
}

impl Shipment {
    /// Returns each line: the labels of its stream as Loki's push writes them, ns since 1970 UTC, text.
    pub fn lines(&self) -> impl Iterator<Item = (&str, i64, &str)> {
        self.streams.iter().flat_map(|(labels, lines)| {
            lines.iter().map(move |(at_ns, line)| (&**labels, *at_ns, line.as_str()))
        })
    }

    /// Returns each sample: its labels, ms since 1970 UTC, its value.
    pub fn samples(&self) -> impl Iterator<Item = (&[(&'static str, String)], i64, f64)> {
        self.samples.iter().map(|sample| (sample.labels.as_slice(), sample.at_ms, sample.value))
    }

    /// Says another cluster in the labels of all lines and samples.
    fn call_cluster(&mut self, name: &str) {
        let now = format!("cluster={name:?}");
        let renamed = |(labels, lines): (Arc<str>, _)| {
            let was = CLUSTERS.map(|cluster| format!("cluster={cluster:?}"));
            let was = was.iter().find(|was| labels.contains(was.as_str()));
            let labels =
                was.map_or(Arc::clone(&labels), |was| Arc::from(labels.replace(was, &now)));
            (labels, lines)
        };
        self.streams = std::mem::take(&mut self.streams).into_iter().map(renamed).collect();
        for sample in &mut self.samples {
            for (_, value) in sample.labels.iter_mut().filter(|(label, _)| *label == "cluster") {
                name.clone_into(value);
            }
        }
    }

    /// Returns the numbers of lines, samples and resources with spans.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.streams.values().map(Vec::len).sum(), self.samples.len(), self.spans.len())
    }
}

#[derive(Debug)]
struct Place {
    site: &'static Site,
    pods: Pods,
    traffic: Traffic,
    counters: Counters,
    dice: Dice,
}

/// Five commons, one of them with a staging twin.
#[derive(Debug)]
pub struct World {
    config: Config,
    places: Vec<Place>,
    inference: Dice,
    start_ms: i64,
    now_ms: i64,
}

impl World {
    /// Returns a world that begins at `start_ms`, ms since 1970 UTC.
    pub fn new(config: Config, start_ms: i64) -> Self {
        let place = |(idx, site): (u64, &'static Site)| Place {
            site,
            pods: Pods::new(site),
            traffic: Traffic::new(site, config.rate),
            counters: Counters::default(),
            dice: Dice::new(config.seed, idx),
        };
        let sends = |site: &Site| {
            config.only.is_empty() || config.only.iter().any(|host| host == site.hostname)
        };
        let sites = (1..).zip(&SITES).filter(|(_, site)| sends(site));
        let places = sites.map(place).collect();
        let inference = Dice::new(config.seed, 0);
        Self { config, places, inference, start_ms, now_ms: start_ms }
    }

    /// Returns the clusters, in the order of what [`World::tick`] returns.
    pub fn clusters() -> &'static [&'static str] {
        &CLUSTERS
    }

    /// Moves the world to `now_ms` and returns what each cluster collected on the way, in the order
    /// of the clusters. A time that is not later gives nothing.
    pub fn tick(&mut self, now_ms: i64) -> Vec<Shipment> {
        let mut shipments: Vec<Shipment> = CLUSTERS.iter().map(|_| Shipment::default()).collect();
        let stretch = (self.now_ms, now_ms);
        if now_ms <= self.now_ms {
            return shipments;
        }
        let since_start_ms = now_ms - self.start_ms;
        for place in &mut self.places {
            let shipment = &mut shipments[cluster_idx(place.site)];
            place.live(stretch, (&self.config, self.start_ms), shipment);
        }
        self.infer(now_ms, &mut shipments);
        self.now_ms = now_ms;
        let every_ms = self.config.metrics_every_ms.max(1);
        let slot = now_ms.div_euclid(every_ms);
        if slot > stretch.0.div_euclid(every_ms) {
            self.scrape(slot * every_ms, since_start_ms, &mut shipments);
        }
        for place in &self.places {
            let trouble = Trouble::at(place.site, &self.config.schedule, since_start_ms);
            if trouble.is(Scenario::UnrenderedLabel) {
                shipments[cluster_idx(place.site)].call_cluster("{{ .Values.cluster }}");
            }
        }
        shipments
    }

    /// Returns true when a cluster's Alloy sends nothing at this time.
    pub fn is_silent(&self, cluster: &str) -> bool {
        let since_start_ms = self.now_ms - self.start_ms;
        cluster == "imagingprod"
            && self.config.schedule.is_active(Scenario::SilentShipper, since_start_ms)
    }

    /// The inference services of the hub send a trace now and then.
    fn infer(&mut self, now_ms: i64, shipments: &mut [Shipment]) {
        let is_there = self.places.iter().any(|place| place.site.cluster == "hubprod");
        if !self.config.traces || !is_there || !self.inference.chance(0.3) {
            return;
        }
        let spans = traces::of_inference(now_ms * 1_000_000, &mut self.inference);
        let hub = CLUSTERS.iter().position(|cluster| *cluster == "hubprod");
        if let Some(shipment) = hub.and_then(|idx| shipments.get_mut(idx)) {
            shipment.spans.extend(spans);
        }
    }

    fn scrape(&self, at_ms: i64, since_start_ms: i64, shipments: &mut [Shipment]) {
        for (cluster, shipment) in CLUSTERS.iter().zip(shipments) {
            let mut scrape = Scrape::at(at_ms);
            let here = || self.places.iter().filter(|place| place.site.cluster == *cluster);
            let Some(first) = here().next() else { continue };
            for place in here() {
                let trouble = Trouble::at(place.site, &self.config.schedule, since_start_ms);
                kube::scrape_site(place.site, &place.pods, trouble.crashing(), &mut scrape);
                let goes_wrong = goes_wrong(place.site, &self.config, self.start_ms);
                jobs::scrape(place.site, at_ms, &goes_wrong, &mut scrape);
                platform::scrape_site(place.site, &place.pods, &mut scrape);
                probes::scrape(place.site, &trouble, &mut scrape);
                let n_bomb = trouble.bomb_series();
                place.counters.scrape(place.site, &place.pods, n_bomb, &mut scrape);
            }
            let project = first.site.project;
            kube::scrape_nodes(cluster, project, &mut scrape);
            platform::scrape_nodes(cluster, project, &mut scrape);
            shipment.samples.append(&mut scrape.samples);
        }
    }
}

impl Place {
    fn live(
        &mut self,
        stretch: (i64, i64),
        (config, start_ms): (&Config, i64),
        shipment: &mut Shipment,
    ) {
        let Self { site, pods, traffic, counters, dice } = self;
        let trouble = Trouble::at(site, &config.schedule, stretch.1 - start_ms);
        for request in traffic.between(stretch, &trouble, dice) {
            counters.observe(&request, dice);
            Writer { pods, streams: &mut shipment.streams }.request(&request, dice);
            if config.traces && site.has_traces {
                shipment.spans.extend(traces::of_request(site, &request, dice));
            }
        }
        ambient::write(site, pods, stretch, &trouble, &mut shipment.streams, dice);
        let goes_wrong = goes_wrong(site, config, start_ms);
        jobs::write(site, stretch, &goes_wrong, &mut shipment.streams);
    }
}

/// Returns which runs of a site's jobs go wrong: those that begin during a scenario.
fn goes_wrong<'a>(
    site: &'a Site,
    config: &'a Config,
    start_ms: i64,
) -> impl Fn(&str, i64) -> bool + 'a {
    move |job, began_ms| Trouble::at(site, &config.schedule, began_ms - start_ms).breaks(job)
}
