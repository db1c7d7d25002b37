//! The engines as the API and the notifier know them.

use std::sync::Arc;

use async_trait::async_trait;

use crate::api::{Ask, AskError, AskOptions, RuleViews, Selection};
use crate::model::{Grant, Labels, ReadScope, Role, SeriesMeta};
use crate::notify;
use crate::query::promql::Answer;
use crate::query::{self, Param, QueryError, Session, SqlAnswer};
use crate::rules::{AlertsView, RuleSet, RulesFilter, RulesView};
use crate::storage::{StateStore, Storage};

/// Answers questions: a session a question, with the caller's grant.
#[derive(Debug)]
pub(super) struct Questions {
    pub(super) storage: Storage,
    pub(super) engine: Arc<query::Engine>,
}

impl Questions {
    fn session(&self, grant: &Grant) -> Session {
        Session::new(grant.clone(), &self.storage, &self.engine)
    }

    fn wanted(&self, wanted: &Selection) -> Result<query::Selection, AskError> {
        let sets = wanted.selectors.iter().map(|text| self.engine.selector(text));
        Ok(query::Selection {
            matcher_sets: sets.collect::<Result<_, _>>().map_err(asked)?,
            start_ms: wanted.start_ms,
            end_ms: wanted.end_ms,
            limit: None,
        })
    }
}

fn asked(error: QueryError) -> AskError {
    AskError::of(error.kind(), &error)
}

fn options(options: AskOptions) -> query::Options {
    query::Options { timeout: options.timeout, lookback_ms: options.lookback_ms }
}

#[async_trait]
impl Ask for Questions {
    async fn instant(
        &self,
        grant: &Grant,
        query: &str,
        time_ms: i64,
        given: AskOptions,
    ) -> Result<Answer, AskError> {
        self.session(grant).promql_instant(query, time_ms, options(given)).await.map_err(asked)
    }

    async fn range(
        &self,
        grant: &Grant,
        query: &str,
        range: (i64, i64, i64),
        given: AskOptions,
    ) -> Result<Answer, AskError> {
        self.session(grant).promql_range(query, range, options(given)).await.map_err(asked)
    }

    async fn series(&self, grant: &Grant, wanted: &Selection) -> Result<Vec<Labels>, AskError> {
        self.session(grant).series(self.wanted(wanted)?).await.map_err(asked)
    }

    async fn label_names(
        &self,
        grant: &Grant,
        wanted: &Selection,
    ) -> Result<Vec<String>, AskError> {
        self.session(grant).label_names(self.wanted(wanted)?).await.map_err(asked)
    }

    async fn label_values(
        &self,
        grant: &Grant,
        name: &str,
        wanted: &Selection,
    ) -> Result<Vec<String>, AskError> {
        self.session(grant).label_values(name, self.wanted(wanted)?).await.map_err(asked)
    }

    async fn metadata(&self, grant: &Grant) -> Result<Vec<(String, SeriesMeta)>, AskError> {
        self.session(grant).metadata().await.map_err(asked)
    }

    async fn sql(
        &self,
        grant: &Grant,
        query: &str,
        params: Vec<Param>,
        given: AskOptions,
    ) -> Result<SqlAnswer, AskError> {
        self.session(grant).sql(query, params, options(given)).await.map_err(asked)
    }
}

/// Rules and alerts as a caller may see them: those about other commons are left out.
#[derive(Debug)]
pub(super) struct ShownRules(pub(super) Arc<RuleSet>);

fn is_visible(grant: &Grant, labels: &Labels) -> bool {
    match (&grant.read, labels.get("commons")) {
        (ReadScope::All, _) => true,
        (ReadScope::Nothing, _) | (_, None) => false,
        (ReadScope::Only(set), Some(commons)) => set.iter().any(|c| c.as_str() == commons),
    }
}

#[async_trait]
impl RuleViews for ShownRules {
    async fn rules(&self, grant: &Grant, filter: &RulesFilter) -> RulesView {
        self.0.rules_view(filter, &|labels| is_visible(grant, labels))
    }

    async fn alerts(&self, grant: &Grant) -> AlertsView {
        self.0.alerts_view(&|labels| is_visible(grant, labels))
    }
}

/// Who the rules are when they ask.
pub(super) fn rules_grant() -> Grant {
    Grant { name: Arc::from("rules"), role: Role::Admin, ..Grant::open() }
}

/// The notifier's memory in the state database.
#[derive(Debug)]
pub(super) struct NotifyStore(pub(super) Arc<StateStore>);

/// The table of the state database.
const SUBJECT: &str = "notify";

impl NotifyStore {
    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&StateStore) -> Result<T, crate::storage::StateError> + Send + 'static,
    ) -> Result<T, String> {
        let state = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || act(&state)).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl notify::Store for NotifyStore {
    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), String> {
        let key = key.to_owned();
        self.blocking(move |state| state.put(SUBJECT, &key, &value)).await
    }

    async fn delete(&self, key: &str) -> Result<(), String> {
        let key = key.to_owned();
        self.blocking(move |state| state.delete(SUBJECT, &key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let all = self.blocking(|state| state.list(SUBJECT)).await?;
        Ok(all.into_iter().filter(|(key, _)| key.starts_with(prefix)).collect())
    }
}
