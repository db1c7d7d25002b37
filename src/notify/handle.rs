//! The notifier as the rest of the server knows it: a cheap handle that asks its task.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::dispatch::{AlertView, AlertsFilter, Dispatcher, GroupView, Held, Silence, SilenceDef};
use super::{NotifyError, Policy};
use crate::model::{AlertEvent, Labels};

/// How many questions and tellings may wait for the notifier.
const INBOX_MAX: usize = 64;

/// Answers the asker, once what was changed is stored.
pub(super) type Reply = Box<dyn FnOnce() + Send>;

type Act = Box<dyn FnOnce(&mut Dispatcher, i64) -> Reply + Send>;

/// What is handed to the notifier's task.
pub(super) enum Command {
    /// Looks at the dispatcher or changes it.
    Act(Act),
    /// Puts another policy in force.
    Replace(Arc<Policy>, oneshot::Sender<()>),
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Command::Act(_) => "Act",
            Command::Replace(..) => "Replace",
        })
    }
}

/// Says which labels a caller may see.
pub type Sees = Arc<dyn Fn(&Labels) -> bool + Send + Sync>;

/// Hands alerts and questions to the notifier's task.
#[derive(Debug, Clone)]
pub struct Handle {
    inbox: mpsc::Sender<Command>,
}

/// The notifier's end of [`Handle::channel`].
#[derive(Debug)]
pub struct Inbox(pub(super) mpsc::Receiver<Command>);

impl Handle {
    /// Returns a handle and what `Notifier::run` takes.
    pub fn channel() -> (Self, Inbox) {
        let (sender, receiver) = mpsc::channel(INBOX_MAX);
        (Self { inbox: sender }, Inbox(receiver))
    }

    async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Dispatcher, i64) -> T + Send + 'static,
    ) -> Result<T, NotifyError> {
        let (answer, asked) = oneshot::channel();
        let act = move |dispatcher: &mut Dispatcher, now_ms: i64| -> Reply {
            let value = act(dispatcher, now_ms);
            // Whoever asked may have gone; what was changed stays changed.
            Box::new(move || drop(answer.send(value)))
        };
        let command = Command::Act(Box::new(act));
        self.inbox.send(command).await.map_err(|_| NotifyError::Stopped)?;
        asked.await.map_err(|_| NotifyError::Stopped)
    }

    /// Hands the rules' alerts over; returns when they are stored.
    pub async fn fire(&self, events: Vec<AlertEvent>) -> Result<(), NotifyError> {
        let held = move |now_ms| events.into_iter().map(move |event| Held::told(event, now_ms));
        self.take(move |now_ms| held(now_ms).collect()).await
    }

    /// Hands alerts over that somebody else told: those without an end count as over after
    /// `resolve_timeout` unless they are told again.
    pub async fn post(&self, alerts: Vec<PostedAlert>) -> Result<(), NotifyError> {
        let act = move |dispatcher: &mut Dispatcher, now_ms: i64| {
            let timeout_ms = dispatcher.policy().resolve_timeout_ms;
            let held = alerts.into_iter().map(|alert| alert.held(now_ms, timeout_ms)).collect();
            accepted(dispatcher.accept(held, now_ms))
        };
        self.act(act).await?
    }

    async fn take(
        &self,
        held: impl FnOnce(i64) -> Vec<Held> + Send + 'static,
    ) -> Result<(), NotifyError> {
        let act = move |dispatcher: &mut Dispatcher, now_ms: i64| {
            accepted(dispatcher.accept(held(now_ms), now_ms))
        };
        self.act(act).await?
    }

    /// Returns the alerts that fire.
    pub async fn alerts(
        &self,
        filter: AlertsFilter,
        sees: Sees,
    ) -> Result<Vec<AlertView>, NotifyError> {
        self.act(move |dispatcher, now_ms| dispatcher.alerts_view(&filter, &*sees, now_ms)).await
    }

    /// Returns the groups with their alerts.
    pub async fn groups(
        &self,
        filter: AlertsFilter,
        sees: Sees,
    ) -> Result<Vec<GroupView>, NotifyError> {
        self.act(move |dispatcher, now_ms| dispatcher.groups_view(&filter, &*sees, now_ms)).await
    }

    /// Returns all silences, by id.
    pub async fn silences(&self) -> Result<Vec<Silence>, NotifyError> {
        self.act(|dispatcher, _| dispatcher.silences_view()).await
    }

    /// Returns for each set of labels whether a silence holds for it now.
    pub async fn silenced(&self, all: Vec<Labels>) -> Result<Vec<bool>, NotifyError> {
        let act = move |dispatcher: &mut Dispatcher, now_ms: i64| {
            all.iter().map(|labels| dispatcher.is_silenced(labels, now_ms)).collect()
        };
        self.act(act).await
    }

    /// Begins a silence, or changes the one of this id; returns its id.
    pub async fn set_silence(
        &self,
        id: Option<String>,
        def: SilenceDef,
    ) -> Result<String, NotifyError> {
        let act = move |dispatcher: &mut Dispatcher, now_ms: i64| {
            dispatcher.set_silence(id.as_deref(), def, now_ms)
        };
        self.act(act).await?
    }

    /// Ends a silence.
    pub async fn expire_silence(&self, id: String) -> Result<(), NotifyError> {
        self.act(move |dispatcher, now_ms| dispatcher.expire_silence(&id, now_ms)).await?
    }

    /// Returns the policy in force.
    pub async fn policy(&self) -> Result<Arc<Policy>, NotifyError> {
        self.act(|dispatcher, _| Arc::clone(dispatcher.policy())).await
    }

    /// Puts another policy in force; returns when it is.
    pub async fn replace_policy(&self, policy: Arc<Policy>) -> Result<(), NotifyError> {
        let (done, replaced) = oneshot::channel();
        let command = Command::Replace(policy, done);
        self.inbox.send(command).await.map_err(|_| NotifyError::Stopped)?;
        replaced.await.map_err(|_| NotifyError::Stopped)
    }
}

fn accepted(n_refused: usize) -> Result<(), NotifyError> {
    match n_refused {
        0 => Ok(()),
        n_refused => Err(NotifyError::TooManyAlerts { n_refused }),
    }
}

/// An alert as somebody outside tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct PostedAlert {
    /// What identifies it.
    pub labels: Labels,
    /// What people read.
    pub annotations: std::collections::BTreeMap<String, String>,
    /// When it began, ms since 1970 UTC; none: when it ends, or now.
    pub starts_at_ms: Option<i64>,
    /// When it ends or ended.
    pub ends_at_ms: Option<i64>,
    /// A link to where it comes from.
    pub generator_url: String,
}

impl PostedAlert {
    fn held(self, now_ms: i64, resolve_timeout_ms: i64) -> Held {
        let ends_at_ms = self.ends_at_ms.unwrap_or(now_ms.saturating_add(resolve_timeout_ms));
        let event = AlertEvent {
            labels: self.labels,
            annotations: self.annotations,
            starts_at_ms: self.starts_at_ms.or(self.ends_at_ms).unwrap_or(now_ms),
            ends_at_ms,
            resolved: ends_at_ms <= now_ms,
            generator_url: self.generator_url,
        };
        let mut held = Held::told(event, now_ms);
        held.times_out = self.ends_at_ms.is_none();
        held
    }
}
