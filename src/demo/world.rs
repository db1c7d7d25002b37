//! The simulated world: moved to a time, it returns what was sent until then.
//!
//! It has no clock and no socket; the same seed and the same steps give the same bytes.

use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use super::catalogue::{CLUSTERS, SITES, Site};
use super::counters::Counters;
use super::dice::Dice;
use super::lines::{Streams, Writer};
use super::pods::{Pods, cluster_idx};
use super::scenario::Scenario;
use super::scrape::{Sample, Scrape};
use super::traffic::{Traffic, Trouble};
use super::{Config, ambient, jobs, kube, platform, probes, traces};

/// What one cluster's Alloy collected.
#[derive(Debug, Default)]
pub struct Shipment {
    pub(super) streams: Streams,
    pub(super) samples: Vec<Sample>,
    pub(super) spans: Vec<ResourceSpans>,
}

impl Shipment {
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
        let places = (1..).zip(&SITES).map(place).collect();
        let inference = Dice::new(config.seed, 0);
        Self { config, places, inference, start_ms, now_ms: start_ms }
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
            let trouble = trouble(place.site, &self.config, since_start_ms);
            let shipment = &mut shipments[cluster_idx(place.site)];
            place.live(stretch, trouble, self.config.traces, shipment);
        }
        self.infer(now_ms, &mut shipments);
        self.now_ms = now_ms;
        let every_ms = self.config.metrics_every_ms.max(1);
        let slot = now_ms.div_euclid(every_ms);
        if slot > stretch.0.div_euclid(every_ms) {
            self.scrape(slot * every_ms, since_start_ms, &mut shipments);
        }
        shipments
    }

    /// Returns true when a cluster's Alloy sends nothing at this time.
    pub(super) fn is_silent(&self, cluster: &str) -> bool {
        let since_start_ms = self.now_ms - self.start_ms;
        cluster == "imagingprod"
            && self.config.schedule.is_active(Scenario::SilentShipper, since_start_ms)
    }

    /// The inference services of the hub send a trace now and then.
    fn infer(&mut self, now_ms: i64, shipments: &mut [Shipment]) {
        if !self.config.traces || !self.inference.chance(0.3) {
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
            for place in here() {
                let trouble = trouble(place.site, &self.config, since_start_ms);
                let failing = trouble.is_guppy_down.then_some("guppy");
                kube::scrape_site(place.site, &place.pods, failing, &mut scrape);
                jobs::scrape(place.site, at_ms, &mut scrape);
                platform::scrape_site(place.site, &place.pods, &mut scrape);
                probes::scrape(place.site, &mut scrape);
                place.counters.scrape(place.site, &place.pods, &mut scrape);
            }
            let project = here().next().map_or("", |place| place.site.project);
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
        trouble: Trouble,
        with_traces: bool,
        shipment: &mut Shipment,
    ) {
        let Self { site, pods, traffic, counters, dice } = self;
        for request in traffic.between(stretch, trouble, dice) {
            counters.observe(&request, dice);
            Writer { pods, streams: &mut shipment.streams }.request(&request, dice);
            if with_traces && site.has_traces {
                shipment.spans.extend(traces::of_request(site, &request, dice));
            }
        }
        ambient::write(site, pods, stretch, &mut shipment.streams, dice);
        jobs::write(site, stretch, &mut shipment.streams);
    }
}

fn trouble(site: &Site, config: &Config, since_start_ms: i64) -> Trouble {
    let active = |scenario| config.schedule.is_active(scenario, since_start_ms);
    Trouble {
        is_fence_down: site.cluster == "genomeprod" && active(Scenario::FenceDatabase),
        is_ras_down: site.namespace == "hearthelm" && active(Scenario::RasOutage),
        is_guppy_down: site.is_staging() && active(Scenario::StagingNoise),
    }
}
