//! One group in force: when it is due, its evaluation, what is seen of it and remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::RwLock;
use tokio::sync::MutexGuard;
use tracing::warn;

use super::def::GroupDef;
use super::group::{Group, Health};
use super::schedule;
use super::set::Context;
use super::state::{self, SavedGroup};
use super::view::GroupView;

/// A group in force.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) def: Arc<GroupDef>,
    offset_ms: i64,
    last_slot_ms: AtomicI64,
    /// By how much the clock has leapt since the group was last locked.
    leapt_ms: AtomicI64,
    group: tokio::sync::Mutex<Group>,
    pub(super) shown: RwLock<Arc<Shown>>,
}

/// What is seen of a group from outside.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) view: GroupView,
    pub(super) saved: SavedGroup,
    pub(super) n_pending: usize,
    pub(super) n_firing: usize,
}

impl Shown {
    pub(super) fn of(group: &Group) -> Arc<Self> {
        let (n_pending, n_firing) = group.count_alerts();
        let (view, saved) = (GroupView::of(group), SavedGroup::of(group));
        Arc::new(Self { view, saved, n_pending, n_firing })
    }
}

impl Member {
    pub(super) fn new(group: Group, now_ms: i64) -> Arc<Self> {
        let def = Arc::clone(&group.def);
        let offset_ms = schedule::offset_ms(&def.file, &def.name, def.interval_ms);
        let last_slot_ms = schedule::slot_ms(now_ms, def.interval_ms, offset_ms);
        Arc::new(Self {
            def,
            offset_ms,
            last_slot_ms: AtomicI64::new(last_slot_ms),
            leapt_ms: AtomicI64::new(0),
            shown: RwLock::new(Shown::of(&group)),
            group: tokio::sync::Mutex::new(group),
        })
    }

    /// Returns the evaluation that is due, and takes it.
    pub(super) fn take_due(&self, context: &Context) -> Option<i64> {
        let last_ms = self.last_slot_ms.load(Ordering::Relaxed);
        let now_ms = context.clock.now_ms();
        let (slot_ms, n_missed) =
            schedule::due(last_ms, now_ms, self.def.interval_ms, self.offset_ms)?;
        self.last_slot_ms.store(slot_ms, Ordering::Relaxed);
        if n_missed > 0 {
            context.metrics.missed.inc_by(n_missed);
            warn!(group = %self.def.name, n_missed, "evaluations were missed");
        }
        Some(slot_ms)
    }

    /// Moves along with a clock that has made a leap: it has missed nothing, and what its alerts wait for
    /// goes on where it was.
    pub(super) fn leap(&self, by_ms: i64) {
        self.leapt_ms.fetch_add(by_ms, Ordering::Relaxed);
        let last_ms = self.last_slot_ms.load(Ordering::Relaxed).saturating_add(by_ms);
        let slot_ms = schedule::slot_ms(last_ms, self.def.interval_ms, self.offset_ms);
        self.last_slot_ms.store(slot_ms, Ordering::Relaxed);
    }

    /// Returns the group where the clock has got to.
    pub(super) async fn lock(&self) -> MutexGuard<'_, Group> {
        let mut group = self.group.lock().await;
        let leapt_ms = self.leapt_ms.swap(0, Ordering::Relaxed);
        if leapt_ms != 0 {
            group.leap(leapt_ms);
        }
        group
    }

    /// Evaluates the group. An alert that changed its state is remembered before it is shown, so that
    /// nobody sees what a restart has forgotten, and shown before people are told, who look at once.
    pub(super) async fn evaluate(&self, context: &Context, slot_ms: i64, holds_on: bool) {
        let mut group = self.lock().await;
        if group.is_retired() {
            return;
        }
        group.hold_on(holds_on);
        let now_ns = || context.clock.monotonic_ns();
        let start_ns = now_ns();
        let mut keeping = Keeping::default();
        for idx in 0..group.rules.len() {
            let rule_start_ns = now_ns();
            let judged = group.judge(idx, context, slot_ms).await;
            keeping.has_changed |= judged.has_changed;
            if keeping.is_due(now_ns()) {
                self.keep(&group, context, &mut keeping).await;
            }
            let error = group.follow(idx, judged, context, slot_ms).await;
            let duration_ns = now_ns().saturating_sub(rule_start_ns);
            group.note(idx, Health { last_ms: Some(slot_ms), duration_ns, error }, context);
        }
        group.last_ms = Some(slot_ms);
        group.duration_ns = now_ns().saturating_sub(start_ns);
        #[expect(clippy::cast_precision_loss, reason = "a duration in ns fits a double")]
        context.metrics.duration.observe(group.duration_ns as f64 / 1e9);
        if keeping.has_changed {
            self.keep(&group, context, &mut keeping).await;
        }
        *self.shown.write() = Shown::of(&group);
    }

    /// Remembers where the alerts stand, and shows it.
    async fn keep(&self, group: &Group, context: &Context, keeping: &mut Keeping) {
        let start_ns = context.clock.monotonic_ns();
        let shown = Shown::of(group);
        let saved = &shown.saved;
        let value =
            (!saved.is_empty()).then(|| state::encode(vec![saved.clone()], context.clock.now_ms()));
        context.world.remember(state::key_of(saved), value).await;
        *self.shown.write() = shown;
        keeping.kept(start_ns, context.clock.monotonic_ns());
    }
}

/// When the state of a group is kept while its rules are evaluated: before the first one tells anybody, and
/// then again when as much time has passed as keeping takes. A storm of alerts is told before it is shown
/// rather than late.
#[derive(Debug, Default)]
struct Keeping {
    has_changed: bool,
    next_ns: u64,
}

impl Keeping {
    fn is_due(&self, now_ns: u64) -> bool {
        self.has_changed && now_ns >= self.next_ns
    }

    fn kept(&mut self, start_ns: u64, end_ns: u64) {
        self.has_changed = false;
        self.next_ns = end_ns.saturating_add(end_ns.saturating_sub(start_ns));
    }
}
