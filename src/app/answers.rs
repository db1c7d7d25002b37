//! The engines as the API and the notifier know them.

use std::sync::Arc;

use async_trait::async_trait;

use crate::api::RuleViews;
use crate::model::{Grant, Role};
use crate::notify;
use crate::query::may_see;
use crate::rules::{AlertsView, RuleSet, RulesFilter, RulesView};
use crate::storage::{StateError, StateStore};

/// Rules and alerts as a caller may see them: those about other commons are left out.
#[derive(Debug)]
pub(super) struct ShownRules(pub(super) Arc<RuleSet>);

#[async_trait]
impl RuleViews for ShownRules {
    async fn rules(&self, grant: &Grant, filter: &RulesFilter) -> RulesView {
        self.0.rules_view(filter, &|labels| may_see(grant, labels))
    }

    async fn alerts(&self, grant: &Grant) -> AlertsView {
        self.0.alerts_view(&|labels| may_see(grant, labels))
    }
}

/// Who the rules are when they ask.
pub(super) fn rules_grant() -> Grant {
    Grant { name: Arc::from("rules"), role: Role::Admin, ..Grant::open() }
}

/// The notifier's memory in the state database.
#[derive(Debug)]
pub(super) struct NotifyStore(pub(super) Arc<StateStore>);

/// The tables of the state database.
const SUBJECT: &str = "notify";
const LEDGER: &str = "notify-ledger";

impl NotifyStore {
    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&StateStore) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, String> {
        let state = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || act(&state)).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl notify::Store for NotifyStore {
    async fn apply(
        &self,
        changes: Vec<(String, Option<Vec<u8>>)>,
        ledger: Vec<(String, Vec<u8>)>,
    ) -> Result<(), String> {
        let changes = changes.into_iter().map(|(key, value)| (SUBJECT, key, value));
        let ledger = ledger.into_iter().map(|(key, value)| (LEDGER, key, Some(value)));
        let all: Vec<_> = changes.chain(ledger).collect();
        self.blocking(move |state| state.apply(&all)).await
    }

    async fn list(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        self.blocking(|state| state.list(SUBJECT)).await
    }

    async fn ledger(
        &self,
        (start, end): (String, String),
        bounds: (usize, usize),
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        self.blocking(move |state| state.range(LEDGER, &start, &end, bounds)).await
    }

    async fn last_ledger_key(&self) -> Result<Option<String>, String> {
        let last = self.blocking(|state| state.range(LEDGER, "", "g", (1, 1))).await?;
        Ok(last.into_iter().next().map(|(key, _)| key))
    }

    async fn trim_ledger(&self, before: String, n_max: usize) -> Result<(), String> {
        self.blocking(move |state| state.trim(LEDGER, &before, n_max)).await
    }
}
