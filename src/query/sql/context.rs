//! A DataFusion session for one question: our tables, the functions on the list, and nothing else.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::Result;
use datafusion::common::config::Dialect;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use super::functions;
use super::heads::Heads;
use super::json_get::{JsonAccess, json_get};
use super::promql;
use super::store::ReadOnlyStore;
use super::table::{ScopedTable, store_url};
use crate::model::Signal;
use crate::storage::FileEntry;

/// The catalog and the schema; a query may write `metrics` or `commonwatch.public.metrics`.
const CATALOG: &str = "commonwatch";
const SCHEMA: &str = "public";
/// How many of a question's operators an error names when memory runs out.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).expect("3 is not 0");

/// What a session is made from.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// Reads the files.
    pub(super) store: Arc<ReadOnlyStore>,
    /// All files of the question.
    pub(super) files: &'a [FileEntry],
    /// Rows that are not in files.
    pub(super) heads: Arc<dyn Heads>,
    /// The pool of sorts, joins and groups.
    pub(super) memory_bytes: usize,
    /// How many threads a query is spread over.
    pub(super) n_partitions: usize,
}

/// Returns a session over the parts.
pub(super) fn session(parts: Parts<'_>) -> Result<SessionState> {
    let runtime = runtime(&parts)?;
    let mut planners = SessionStateDefaults::default_expr_planners();
    planners.insert(0, Arc::new(JsonAccess { function: json_get() }));
    Ok(SessionStateBuilder::new()
        .with_config(config(parts.n_partitions))
        .with_runtime_env(runtime)
        .with_catalog_list(catalog(&parts)?)
        .with_expr_planners(planners)
        .with_scalar_functions(functions::scalar())
        .with_aggregate_functions(functions::aggregate())
        .with_window_functions(functions::window())
        .with_table_function_list(vec![promql::function(&parts.heads)])
        .build())
}

fn config(n_partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(n_partitions)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(false);
    let options = config.options_mut();
    options.execution.enable_recursive_ctes = false;
    options.execution.time_zone = Some("UTC".to_owned());
    options.execution.parquet.pushdown_filters = true;
    // Text stays what the tables' schemas say, so that answers have one type in every client.
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    // The generic dialect takes `cluster` after a comma for a clause; here it is a column.
    options.sql_parser.dialect = Dialect::PostgreSQL;
    config
}

fn runtime(parts: &Parts<'_>) -> Result<Arc<RuntimeEnv>> {
    let pool = FairSpillPool::new(parts.memory_bytes);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(TrackConsumersPool::new(pool, CONSUMERS_NAMED)))
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
        )
        .build_arc()?;
    let store = Arc::clone(&parts.store);
    runtime.register_object_store(store_url().as_ref(), store);
    Ok(runtime)
}

fn catalog(parts: &Parts<'_>) -> Result<Arc<dyn CatalogProviderList>> {
    let schema = MemorySchemaProvider::new();
    for signal in Signal::ALL {
        let (store, heads) = (Arc::clone(&parts.store), Arc::clone(&parts.heads));
        let table = ScopedTable::try_new(signal, parts.files, store, heads)?;
        schema.register_table(signal.as_str().to_owned(), Arc::new(table))?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    let list = MemoryCatalogProviderList::new();
    list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    Ok(Arc::new(list))
}
