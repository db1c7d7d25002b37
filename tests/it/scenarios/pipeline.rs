//! What the server makes of telemetry, without its ports and its disk: tagged, derived, kept in
//! memory, judged by the shipped rules, on a clock that stands still until it is moved.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use commonwatch::base::{Clock, ManualClock};
use commonwatch::demo::{self, Shipment};
use commonwatch::derive::{self, Derive, FoldedSample, Folding};
use commonwatch::model::{
    AlertEvent, Commons, Grant, Labels, LabelsBuilder, SeriesMeta, Signal, Tags,
};
use commonwatch::query::promql::testing::MemorySource;
use commonwatch::query::promql::{self, Budget, Engine, Expr, ParseLimits, Value};
use commonwatch::rules::{self, AlertState, Context, Defaults, Row, RuleSet};
use commonwatch::tagging::{self, Observed, SeriesDecision, Tagger, demo_commons};
use parking_lot::Mutex;

use crate::support::simulated::START_MS;

/// The server stores what it derives four times a minute.
const COLLECT_MS: i64 = 15_000;
/// Alloy's tenant, which says nothing.
const TENANT: Option<&str> = Some("anonymous");

/// An alert that fires: its labels, the name among them.
pub(super) type Alert = Labels;

/// What was decided on a sender's series.
enum Series {
    Kept(Labels, Commons),
    Folded(Box<Folded>),
    Dropped,
}

struct Folded {
    labels: Labels,
    commons: Commons,
    observed: Option<Observed>,
    key: u128,
}

type Pairs = [(&'static str, String)];

/// The world and the server's parts behind it.
pub(super) struct Pipeline {
    world: demo::World,
    clock: Arc<ManualClock>,
    tagger: Tagging,
    derive: Derive,
    store: Arc<Store>,
    rules: RuleSet,
    /// What a silent cluster keeps, by its place.
    kept: HashMap<&'static str, Vec<Shipment>>,
    runtime: tokio::runtime::Runtime,
}

impl Pipeline {
    pub(super) fn new(config: demo::Config) -> Self {
        let clock = ManualClock::at_ms(START_MS);
        let tagging = tagging::Config { commons: demo_commons(), ..Default::default() };
        let tagger = Arc::new(Tagger::load(&tagging).unwrap());
        let derive = Derive::new(
            derive::Config::default(),
            Arc::clone(&tagger),
            Arc::clone(&clock) as _,
            derive::Metrics::default(),
        );
        let store = Arc::new(Store::default());
        let world: Arc<dyn rules::World> = Arc::clone(&store) as _;
        let context = Context::new(
            &rules::Config::default(),
            "http://watch.example",
            world,
            Arc::clone(&clock) as _,
            rules::Metrics::default(),
        );
        Self {
            world: demo::World::new(config, START_MS),
            rules: RuleSet::new(context, shipped_rules()),
            tagger: Tagging::new(tagger),
            kept: HashMap::new(),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
            clock,
            derive,
            store,
        }
    }

    /// Moves the clock by one step: what was sent until then arrives and the rules look at it.
    pub(super) fn step(&mut self, by: Duration) {
        self.clock.advance(by);
        let now_ms = self.clock.now_ms();
        let shipments = self.world.tick(now_ms);
        for (cluster, shipment) in demo::World::clusters().iter().zip(shipments) {
            let kept = self.kept.entry(*cluster).or_default();
            kept.push(shipment);
            if self.world.is_silent(cluster) {
                continue;
            }
            // What was kept comes last first.
            for shipment in std::mem::take(kept).into_iter().rev() {
                self.tagger.take_lines(&shipment, &self.derive);
                self.tagger.take_samples(&shipment, &self.derive, &self.store);
            }
        }
        self.collect(now_ms);
        self.runtime.block_on(self.rules.evaluate_all(now_ms));
        self.check_rules();
    }

    fn collect(&self, now_ms: i64) {
        let mut source = self.store.source.lock();
        for sample in self.derive.collect() {
            if sample.born {
                source.push(&sample.labels, now_ms - COLLECT_MS, 0.0);
            }
            source.push(&sample.labels, now_ms, sample.value);
        }
    }

    /// A rule that cannot be evaluated fires nothing, and would pass for a quiet one.
    fn check_rules(&self) {
        let view = self.rules.rules_view(&rules::RulesFilter::default(), &|_| true);
        for rule in view.groups.iter().flat_map(|group| &group.rules) {
            assert_eq!(rule.last_error, None, "{}", rule.name);
        }
    }

    /// Returns what fires.
    pub(super) fn firing(&self) -> BTreeSet<Alert> {
        let alerts = self.rules.alerts_view(&|_| true).alerts.into_iter();
        alerts.filter(|alert| alert.state == AlertState::Firing).map(|alert| alert.labels).collect()
    }

    /// Returns the commons that lines and samples were placed in.
    pub(super) fn commons(&self) -> BTreeSet<String> {
        self.tagger.commons.iter().map(|commons| commons.as_str().to_owned()).collect()
    }
}

fn shipped_rules() -> Vec<rules::GroupDef> {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/alerts/*.yml").to_owned();
    let files = rules::read_files(&[files]).unwrap();
    let as_it_is = |_: rules::Dialect, expr: &str| Ok(expr.to_owned());
    rules::parse(&files, Defaults::from(&rules::Config::default()), &as_it_is).unwrap()
}

/// Decides once on each stream and series.
struct Tagging {
    tagger: Arc<Tagger>,
    grant: Grant,
    streams: HashMap<String, (Tags, String)>,
    series: HashMap<Vec<(&'static str, String)>, Series>,
    commons: BTreeSet<Commons>,
}

impl Tagging {
    fn new(tagger: Arc<Tagger>) -> Self {
        let (streams, series) = (HashMap::new(), HashMap::new());
        Self { tagger, grant: Grant::open(), streams, series, commons: BTreeSet::new() }
    }

    fn take_lines(&mut self, shipment: &Shipment, derive: &Derive) {
        for (stream, at_ns, line) in shipment.lines() {
            if !self.streams.contains_key(stream) {
                let decided = self.decide_stream(stream);
                self.streams.insert(stream.to_owned(), decided);
            }
            let (of_stream, app) = &self.streams[stream];
            let of_line = self.tagger.tag_line(&self.grant, of_stream, line);
            let tags = of_line.as_ref().unwrap_or(of_stream);
            let read = derive.read_line(tags, Some(app.as_str()).filter(|a| !a.is_empty()), line);
            derive.observe_log(tags, at_ns, "{}", line, &read);
            derive.observe_signal(&tags.commons, Signal::Logs, at_ns);
            if !self.commons.contains(&tags.commons) {
                self.commons.insert(tags.commons.clone());
            }
        }
    }

    fn decide_stream(&self, stream: &str) -> (Tags, String) {
        let pairs = pairs_of(stream);
        let mut labels = LabelsBuilder::new();
        for (name, value) in &pairs {
            labels.set(name, value);
        }
        let app = pairs.iter().find(|(name, _)| name == "app").map_or("", |(_, app)| app);
        (self.tagger.tag_stream(&self.grant, TENANT, &mut labels), app.to_owned())
    }

    fn take_samples(&mut self, shipment: &Shipment, derive: &Derive, store: &Store) {
        let mut source = store.source.lock();
        for (pairs, at_ms, value) in shipment.samples() {
            if !self.series.contains_key(pairs) {
                let decided = self.decide_series(pairs);
                self.series.insert(pairs.to_vec(), decided);
            }
            let commons = match &self.series[pairs] {
                Series::Kept(labels, commons) => {
                    source.push(labels, at_ms, value);
                    commons
                }
                Series::Folded(folded) => {
                    let Folded { labels, commons, observed, key } = &**folded;
                    let meta = SeriesMeta::default();
                    let series = Folding { labels, meta: &meta, observed: observed.as_ref() };
                    let (wire_id, time_ns) = (*key, at_ms * 1_000_000);
                    let sample = FoldedSample { wire_id, time_ns, value, is_difference: false };
                    derive.fold(commons, &series, sample);
                    commons
                }
                Series::Dropped => continue,
            };
            derive.observe_signal(commons, Signal::Metrics, at_ms * 1_000_000);
            if !self.commons.contains(commons) {
                self.commons.insert(commons.clone());
            }
        }
    }

    fn decide_series(&self, pairs: &Pairs) -> Series {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name, value);
        }
        let key = u128::try_from(self.series.len()).unwrap();
        let (tags, fold) = match self.tagger.tag_series(&self.grant, TENANT, &mut builder) {
            SeriesDecision::Keep(tags) => (tags, None),
            SeriesDecision::Fold(tags, observed) => (tags, Some(observed)),
            SeriesDecision::Drop(_) => return Series::Dropped,
        };
        let labels = tagged(builder, &tags);
        match fold {
            None => Series::Kept(labels, tags.commons),
            Some(observed) => {
                Series::Folded(Box::new(Folded { labels, commons: tags.commons, observed, key }))
            }
        }
    }
}

fn tagged(mut labels: LabelsBuilder, tags: &Tags) -> Labels {
    let commons = (!tags.commons.is_unassigned()).then(|| tags.commons.as_str());
    let service = tags.service.as_deref();
    for (name, value) in [
        ("commons", commons),
        ("service", service),
        ("env", tags.env.as_deref()),
        ("cluster", tags.cluster.as_deref()),
    ] {
        if let Some(value) = value {
            labels.set(name, value);
        }
    }
    labels.build()
}

/// Reads `{a="b", c="d"}`, in which no value holds a quote.
fn pairs_of(stream: &str) -> Vec<(String, String)> {
    let inner = stream.trim_start_matches('{').trim_end_matches('}');
    let pairs = inner.trim_end_matches('"').split("\", ");
    let pair = |text: &str| {
        let (name, value) = text.split_once("=\"").unwrap();
        (name.to_owned(), value.to_owned())
    };
    pairs.map(pair).collect()
}

/// Series in memory, asked by the server's engine.
#[derive(Default)]
struct Store {
    source: Mutex<MemorySource>,
    engine: Engine,
    parsed: Mutex<HashMap<String, Arc<Expr>>>,
}

impl Store {
    fn parse(&self, text: &str) -> Arc<Expr> {
        let mut parsed = self.parsed.lock();
        if let Some(expr) = parsed.get(text) {
            return Arc::clone(expr);
        }
        let expr = Arc::new(promql::parse(text, &ParseLimits::default()).unwrap());
        parsed.insert(text.to_owned(), Arc::clone(&expr));
        expr
    }
}

#[async_trait]
impl rules::World for Store {
    async fn ask(
        &self,
        question: rules::Question<'_>,
        time_ms: i64,
    ) -> Result<rules::Answered, String> {
        let expr = self.parse(question.text);
        let budget =
            Budget::new(Arc::new(commonwatch::base::SystemClock::new()), Duration::from_secs(60));
        let source = self.source.lock();
        let answer = self.engine.instant(&*source, &expr, time_ms, &budget);
        match answer.map_err(|error| error.to_string())?.value {
            Value::Vector(samples) => {
                Ok(samples.into_iter().map(|s| (s.labels, s.value.into())).collect())
            }
            other => Err(format!("not a vector: {other:?}")),
        }
    }

    async fn record(&self, rows: Vec<Row>) -> Result<(), String> {
        let mut source = self.source.lock();
        for (labels, at_ms, point) in rows {
            source.push(&labels, at_ms, point.number().expect("no rule here makes histograms"));
        }
        Ok(())
    }

    async fn fire(&self, _: Vec<AlertEvent>) {}
}
