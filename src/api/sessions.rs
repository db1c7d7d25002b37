//! Questions answered by the query room: each gets a session of its own, taken with its grant.

use std::sync::Arc;

use async_trait::async_trait;

use super::ask::{Ask, AskError, AskOptions, Listed, Selection};
use crate::model::{Grant, Labels, SeriesMeta};
use crate::query::promql::Answer;
use crate::query::{self, Engine, Options, Param, QueryError, Session, SqlAnswer};
use crate::storage::Storage;

/// Answers from a store.
#[derive(Debug, Clone)]
pub struct Sessions {
    storage: Storage,
    engine: Arc<Engine>,
}

impl Sessions {
    /// Returns an [`Ask`] over a store.
    pub fn new(storage: Storage, engine: Arc<Engine>) -> Self {
        Self { storage, engine }
    }

    fn session(&self, grant: &Grant) -> Session {
        Session::new(grant.clone(), &self.storage, &self.engine)
    }

    fn selection(&self, wanted: &Selection) -> Result<query::Selection, AskError> {
        let sets = wanted.selectors.iter().map(|text| self.engine.selector(text));
        Ok(query::Selection {
            matcher_sets: sets.collect::<Result<_, _>>().map_err(refused)?,
            start_ms: wanted.start_ms,
            end_ms: wanted.end_ms,
            limit: None, // The handler cuts, because it also says so.
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn refused(error: QueryError) -> AskError {
    AskError::of(error.kind(), &error)
}

fn options_of(options: AskOptions) -> Options {
    Options { timeout: options.timeout, lookback_ms: options.lookback_ms }
}

#[async_trait]
impl Ask for Sessions {
    async fn instant(
        &self,
        grant: &Grant,
        query: &str,
        time_ms: i64,
        options: AskOptions,
    ) -> Result<Answer, AskError> {
        let session = self.session(grant);
        session.promql_instant(query, time_ms, options_of(options)).await.map_err(refused)
    }

    async fn range(
        &self,
        grant: &Grant,
        query: &str,
        times: (i64, i64, i64),
        options: AskOptions,
    ) -> Result<Answer, AskError> {
        let session = self.session(grant);
        session.promql_range(query, times, options_of(options)).await.map_err(refused)
    }

    async fn series(&self, grant: &Grant, wanted: &Selection) -> Result<Listed<Labels>, AskError> {
        let (wanted, session) = (self.selection(wanted)?, self.session(grant));
        let list = session.series(wanted).await.map_err(refused)?;
        Ok(Listed { list, warnings: session.warnings() })
    }

    async fn label_names(
        &self,
        grant: &Grant,
        wanted: &Selection,
    ) -> Result<Listed<String>, AskError> {
        let (wanted, session) = (self.selection(wanted)?, self.session(grant));
        let list = session.label_names(wanted).await.map_err(refused)?;
        Ok(Listed { list, warnings: session.warnings() })
    }

    async fn label_values(
        &self,
        grant: &Grant,
        name: &str,
        wanted: &Selection,
    ) -> Result<Listed<String>, AskError> {
        let (wanted, session) = (self.selection(wanted)?, self.session(grant));
        let list = session.label_values(name, wanted).await.map_err(refused)?;
        Ok(Listed { list, warnings: session.warnings() })
    }

    async fn metadata(&self, grant: &Grant) -> Result<Vec<(String, SeriesMeta)>, AskError> {
        self.session(grant).metadata().await.map_err(refused)
    }

    async fn sql(
        &self,
        grant: &Grant,
        query: &str,
        parameters: Vec<Param>,
        options: AskOptions,
    ) -> Result<SqlAnswer, AskError> {
        self.session(grant).sql(query, parameters, options_of(options)).await.map_err(refused)
    }
}
