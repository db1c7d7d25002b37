//! Simulated commons that ship telemetry as a stock Gen3 cluster does, over the real ports.
//!
//! Its one idea: the world is pure. [`World::tick`] moves it to a time and returns what was sent
//! until then, the same for the same seed; everything else is a sender like any other, which knows
//! the server by its addresses only. Nothing here is real: hosts and addresses are from the ranges
//! reserved for documentation, and nobody has these names.
//!
//! ```text
//! catalogue, routes, people     who there is and what is asked
//! scenario, trouble             what goes wrong, where and when, and which alerts it must trip
//! traffic -> lines, counters, traces      a request and what is said about it
//! jobs, kube, platform, probes, ambient      what happens by itself
//! world -> wire -> ship         all of it, encoded, sent
//! ```
//!
//! When you add a scenario, name its alerts in `scenario`; `tests/it/demo.rs` holds them to it. When
//! a dashboard or a rule needs a metric, it must come from here: `tests/it/dashboards.rs`.

mod ambient;
mod catalogue;
mod counters;
mod dice;
mod jobs;
mod kube;
mod lines;
mod people;
mod platform;
mod pods;
mod probes;
mod routes;
mod scenario;
mod scrape;
mod ship;
mod text;
mod traces;
mod traffic;
mod trouble;
mod wire;
mod world;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use scenario::{Expected, Planned, Scenario, Schedule, expected_alerts, expected_pages};
pub use ship::Totals;
pub use world::{Shipment, World};

use crate::base::clock::SharedClock;
use catalogue::CLUSTERS;
use ship::{Outbox, Sender};

/// How much is sent, and what goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The same seed gives the same world.
    pub seed: u64,
    /// Times the usual rate of requests.
    pub rate: f64,
    /// How often metrics are scraped.
    pub metrics_every_ms: i64,
    /// Whether some services send traces.
    pub traces: bool,
    /// What goes wrong.
    pub schedule: Schedule,
    /// The hosts whose services send; when there are none, all do.
    pub only: Vec<String>,
    /// How often the world moves when it runs by itself.
    pub tick_every: Duration,
    /// The most requests that one cluster keeps back.
    pub parcels_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            rate: 1.0,
            metrics_every_ms: 15_000,
            traces: true,
            schedule: Schedule::default(),
            only: Vec::new(),
            tick_every: Duration::from_secs(1),
            parcels_max: 10_000,
        }
    }
}

/// Where the server listens, as `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Loki push and remote write.
    pub http: String,
    /// OTLP over gRPC.
    pub otlp_grpc: String,
}

/// The world, its clock, and the senders of its clusters.
#[derive(Debug)]
pub struct Demo {
    world: World,
    clock: SharedClock,
    sender: Sender,
    outboxes: Vec<Outbox>,
    tick_every: Duration,
}

impl Demo {
    /// Returns a demo that begins at the clock's time.
    pub fn new(config: Config, addresses: Addresses, clock: SharedClock) -> Self {
        let outbox = |cluster: &&'static str| Outbox::new(cluster, config.parcels_max);
        let outboxes = CLUSTERS.iter().map(outbox).collect();
        let tick_every = config.tick_every;
        let world = World::new(config, clock.now_ms());
        Self { world, clock, sender: Sender::new(addresses), outboxes, tick_every }
    }

    /// Moves the world to the clock's time and queues what was sent until then.
    pub fn tick(&mut self) {
        let shipments = self.world.tick(self.clock.now_ms());
        for ((outbox, shipment), cluster) in self.outboxes.iter_mut().zip(shipments).zip(CLUSTERS) {
            outbox.put(wire::encode(shipment), self.world.is_silent(cluster));
        }
    }

    /// Sends what is queued. Returns the longest pause that the server asked for, `None` when
    /// nothing is left but what a silent cluster keeps back.
    pub async fn ship(&mut self) -> Option<Duration> {
        let mut longest = None;
        for outbox in &mut self.outboxes {
            longest = longest.max(outbox.ship(&self.sender).await);
        }
        longest
    }

    /// Returns true when nothing is kept back.
    pub fn is_drained(&self) -> bool {
        self.outboxes.iter().all(Outbox::is_empty)
    }

    /// Returns what became of everything that was sent.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for totals in self.outboxes.iter().map(Outbox::totals) {
            sum.lines += totals.lines;
            sum.samples += totals.samples;
            sum.spans += totals.spans;
            sum.refused += totals.refused;
            sum.dropped += totals.dropped;
        }
        sum
    }

    /// Moves and ships until `shutdown` is cancelled.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = self.tick_every;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            self.tick();
            tokio::select! {
                () = shutdown.cancelled() => return,
                asked = self.ship() => pause = asked.unwrap_or_default().max(self.tick_every),
            }
        }
    }
}
