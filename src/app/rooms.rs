//! The rooms between the store and the sockets, built and started in the order of the data.

use std::sync::Arc;

use axum::Router;
use parking_lot::Mutex;
use prometheus_client::registry::Registry;

use super::answers::{NotifyStore, ShownRules, rules_grant};
use super::inventory;
use super::keep;
use super::kept_alerts::KeptAlerts;
use super::reload::{Reloader, read_rules};
use super::snapshots::Snapshots;
use super::start::AppError;
use super::timers;
use super::world::RuleWorld;
use crate::api::{self, Api, LastReload, Readiness, RuleViews, Sessions};
use crate::auth::Authenticator;
use crate::base::clock::SharedClock;
use crate::base::tasks::Tasks;
use crate::config::Config;
use crate::derive::{self, Derive};
use crate::ingest::{self, Ingest, loki_push, otlp, remote_write};
use crate::inventory::Inventory;
use crate::notify::{self, Notifier};
use crate::query::{self, WorkerCommand};
use crate::rules::{self, RuleSet};
use crate::server::LiveTls;
use crate::storage::{StateMetrics, StateStore, Storage};
use crate::tagging::{self, Tagger};

/// What answers requests and works by the clock.
pub(super) struct Rooms {
    ingest: Ingest,
    questions: Arc<Sessions>,
    engine: Arc<query::Engine>,
    snapshots: Arc<Snapshots>,
    rules: Arc<RuleSet>,
    notifier: notify::Handle,
    ledger: notify::Ledger,
    inventory: Arc<Mutex<Inventory>>,
    state: Arc<StateStore>,
    external_url: String,
    registry: Arc<Registry>,
    unread: api::Unread,
    /// What somebody should look at, for `/-/ready`.
    pub(super) warnings: Vec<String>,
    tails: api::Tails,
    sources: api::Sources,
}

impl Rooms {
    /// Builds the rooms and starts their tasks.
    pub(super) async fn build(
        config: &Config,
        clock: &SharedClock,
        storage: &Storage,
        mut registry: Registry,
        tasks: &Tasks,
    ) -> Result<Self, AppError> {
        let sections = &config.sections;
        let tagging_metrics = tagging::Metrics::register(&mut registry);
        let tagger = Arc::new(Tagger::load(&sections.tagging)?.with_metrics(tagging_metrics));
        let derive_metrics = derive::Metrics::register(&mut registry);
        let derive = Derive::new(
            sections.derive.clone(),
            Arc::clone(&tagger),
            Arc::clone(clock),
            derive_metrics,
        );
        let ingest = ingest(config, clock, storage, &tagger, &derive, &mut registry);
        let engine = engine(config, clock, &mut registry)?;
        let questions = Arc::new(Sessions::new(storage.clone(), Arc::clone(&engine)));
        let state_metrics = StateMetrics::register(&mut registry);
        let state = Arc::new(StateStore::open(&sections.server.data_dir, state_metrics)?);
        let warnings = warnings(&state);
        let snapshots = Arc::new(Snapshots {
            questions: Arc::clone(&questions),
            state: Arc::clone(&state),
            data_dir: sections.server.data_dir.clone(),
            clock: Arc::clone(clock),
        });
        let (notifier, ledger) = notifier(config, clock, &state, &mut registry, tasks).await?;
        let world = RuleWorld {
            ask: Arc::clone(&questions) as Arc<dyn api::Ask>,
            logs: Arc::clone(&questions) as Arc<dyn api::AskLogs>,
            storage: storage.clone(),
            notifier: notifier.clone(),
            grant: rules_grant(),
            external_url: sections.alerting.external_url.trim_end_matches('/').into(),
            state: Arc::clone(&state),
            clock: Arc::clone(clock),
        };
        let (rules, memo) = rules(config, clock, world, &state, &mut registry).await?;
        let unread = api::Unread::register(sections.server.unread_answers_max, &mut registry);
        let tails = api::Tails::new(sections.query.tails_max, &mut registry);
        let sources = api::Sources::register(&mut registry);
        let watched = crate::inventory::Metrics::register(&mut registry);
        let registry = Arc::new(registry);
        let inventory = inventory::open(&sections.inventory, &state, clock.now_ms());
        let external_url = sections.alerting.external_url.clone();
        let rooms = Self {
            ingest,
            questions,
            engine,
            snapshots,
            rules,
            notifier,
            ledger,
            inventory,
            state: Arc::clone(&state),
            external_url,
            registry,
            unread,
            warnings,
            tails,
            sources,
        };
        if sections.inventory.enabled {
            rooms.watch_inventory(clock, &state, tasks, watched);
        }
        rooms.start(clock, storage, derive, (state, memo), tasks);
        Ok(rooms)
    }

    fn start(
        &self,
        clock: &SharedClock,
        storage: &Storage,
        derive: Derive,
        (state, memo): (Arc<StateStore>, rules::Memo),
        tasks: &Tasks,
    ) {
        let stop = || tasks.shutdown();
        let rules = Arc::clone(&self.rules);
        let shutdown = stop();
        tasks.spawn("rules", async move { rules.run(shutdown).await });
        tasks.spawn("return-state", timers::return_state(Arc::clone(&state), stop()));
        let save = timers::save_alerts(Arc::clone(&self.rules), state, memo, stop());
        tasks.spawn("save-alerts", save);
        let registry = Arc::clone(&self.registry);
        let collect = timers::collect(Arc::clone(clock), storage.clone(), derive, registry, stop());
        tasks.spawn("collect", collect);
        let engine = Arc::clone(&self.engine);
        tasks.spawn("warm-sql", async move { engine.warm().await });
    }

    fn watch_inventory(
        &self,
        clock: &SharedClock,
        state: &Arc<StateStore>,
        tasks: &Tasks,
        metrics: crate::inventory::Metrics,
    ) {
        let watch = inventory::Watch {
            inventory: Arc::clone(&self.inventory),
            ask: Arc::clone(&self.questions) as Arc<dyn api::Ask>,
            grant: rules_grant(),
            notifier: self.notifier.clone(),
            state: Arc::clone(state),
            external_url: self.external_url.clone(),
            metrics,
        };
        let (clock, shutdown) = (Arc::clone(clock), tasks.shutdown());
        tasks.spawn("inventory", inventory::watch(watch, clock, shutdown));
    }

    /// Returns what reads the configuration and the rules anew.
    pub(super) fn reloader(
        &self,
        config: &Config,
        authenticator: &Authenticator,
        tls: Option<LiveTls>,
        clock: &SharedClock,
    ) -> Arc<Reloader> {
        let last = LastReload { in_force_since_ms: clock.now_ms(), refused_ms: None };
        Arc::new(Reloader {
            config: config.clone(),
            authenticator: authenticator.clone(),
            tls,
            rules: Arc::clone(&self.rules),
            notifier: self.notifier.clone(),
            clock: Arc::clone(clock),
            last: Mutex::new(last),
        })
    }

    /// Returns the router of everything; authentication stands before it.
    pub(super) fn router(
        &self,
        config: &Config,
        clock: &SharedClock,
        reload: &Arc<Reloader>,
        (readiness, tasks): (Readiness, &Tasks),
    ) -> Router {
        let kept = Arc::new(KeptAlerts::new(Arc::clone(&self.state)));
        let api = self.api(config, clock, reload, (readiness, Arc::clone(&kept)));
        let alerting = &config.sections.alerting;
        let limits = keep::Limits {
            per_minute_max: alerting.explain_per_minute_max,
            alerts_max: alerting.explain_max,
            kept_ms: alerting.history.as_ms(),
        };
        if limits.per_minute_max > 0 {
            let state = Arc::clone(&self.state);
            let keeper = keep::Keeper { api: api.clone(), state, kept, limits };
            tasks.spawn("keep-alerts", keep::keep(keeper, Arc::clone(clock), tasks.shutdown()));
        }
        let ingest = remote_write::router(self.ingest.clone())
            .merge(loki_push::router(self.ingest.clone()))
            .merge(otlp::router(self.ingest.clone()));
        api::refuse_other_methods(api.router().merge(ingest))
    }

    fn api(
        &self,
        config: &Config,
        clock: &SharedClock,
        reload: &Arc<Reloader>,
        (readiness, kept): (Readiness, Arc<KeptAlerts>),
    ) -> Api {
        Api {
            ask: Arc::clone(&self.questions) as Arc<dyn api::Ask>,
            logs: Arc::clone(&self.questions) as Arc<dyn api::AskLogs>,
            deleting: Arc::clone(&self.questions) as Arc<dyn api::Deleting>,
            backup: Arc::clone(&self.snapshots) as Arc<dyn api::BackUp>,
            tails: self.tails.clone(),
            sources: self.sources.clone(),
            rules: Arc::new(ShownRules(Arc::clone(&self.rules))) as Arc<dyn RuleViews>,
            notifier: self.notifier.clone(),
            ledger: self.ledger.clone(),
            kept,
            inventory: Arc::clone(&self.inventory),
            reload: Arc::clone(reload) as Arc<dyn api::Reload>,
            readiness,
            unread: self.unread.clone(),
            result_bytes_max: config.sections.query.result_bytes_max,
            registry: Arc::clone(&self.registry),
            clock: Arc::clone(clock),
            shown_config: config.shown().into(),
            retention: retention_text(config).into(),
            started_ms: clock.now_ms(),
        }
    }
}

fn warnings(state: &StateStore) -> Vec<String> {
    let text = |file: String| {
        format!(
            "{file}: a damaged database of alerts and notifications was set aside; they began anew"
        )
    };
    state.set_aside().into_iter().map(text).collect()
}

fn retention_text(config: &Config) -> String {
    crate::base::units::format_duration_ms(config.sections.storage.retention.as_ms())
}

fn ingest(
    config: &Config,
    clock: &SharedClock,
    storage: &Storage,
    tagger: &Arc<Tagger>,
    derive: &Derive,
    registry: &mut Registry,
) -> Ingest {
    Ingest::new(ingest::Parts {
        store: Arc::new(storage.clone()),
        tagger: Arc::clone(tagger),
        derive: derive.clone(),
        limits: config.sections.limits.clone(),
        retention_ms: config.sections.storage.retention_longest_ms(),
        otlp: config.sections.otlp.clone(),
        metrics: ingest::Metrics::register(registry),
        clock: Arc::clone(clock),
    })
}

fn engine(
    config: &Config,
    clock: &SharedClock,
    registry: &mut Registry,
) -> Result<Arc<query::Engine>, AppError> {
    let sections = &config.sections;
    let worker = WorkerCommand::own().map_err(|error| AppError::Start(error.to_string()))?;
    Ok(query::Engine::new(query::EngineParts {
        config: sections.query.clone(),
        promql: sections.promql.clone(),
        data_dir: sections.server.data_dir.clone(),
        clock: Arc::clone(clock),
        metrics: query::Metrics::register(registry),
        worker,
    }))
}

async fn notifier(
    config: &Config,
    clock: &SharedClock,
    state: &Arc<StateStore>,
    registry: &mut Registry,
    tasks: &Tasks,
) -> Result<(notify::Handle, notify::Ledger), AppError> {
    let is_local = config.allow_private_targets;
    let policy = config.sections.alerting.address_policy(is_local);
    let parts = notify::Parts {
        store: Arc::new(NotifyStore(Arc::clone(state))),
        sender: Arc::new(notify::WebhookSender::new(
            policy,
            config.signer.clone(),
            Arc::clone(clock),
        )),
        clock: Arc::clone(clock),
        metrics: notify::Metrics::register(registry),
    };
    let policy = Arc::clone(&config.policy);
    let notifier = Notifier::open(&config.sections.alerting, policy, parts).await?;
    let ledger = notifier.ledger();
    let (handle, inbox) = notify::Handle::channel();
    let shutdown = tasks.shutdown();
    tasks.spawn("notify", async move { notifier.run(inbox, shutdown).await });
    Ok((handle, ledger))
}

async fn rules(
    config: &Config,
    clock: &SharedClock,
    world: RuleWorld,
    state: &StateStore,
    registry: &mut Registry,
) -> Result<(Arc<RuleSet>, rules::Memo), AppError> {
    let groups = read_rules(config)?;
    let context = rules::Context::new(
        &config.sections.rules,
        &config.sections.alerting.external_url,
        Arc::new(world),
        Arc::clone(clock),
        rules::Metrics::register(registry),
    );
    let rules = Arc::new(RuleSet::new(context, groups));
    let memo = timers::restore_alerts(&rules, state, clock.now_ms()).await;
    Ok((rules, memo))
}
