//! What a session really brings, held against what was judged: an upgrade of DataFusion that adds a
//! function, a table function, a planner or a rule fails here until somebody has looked at it.
//!
//! Functions are judged one by one in `functions`; statements, operators and expressions in
//! `statements` and `plan`, where the compiler keeps the lists whole. The rest is listed below.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};

use super::context::{Parts, session};
use super::functions;
use super::heads::Heads;
use super::tests::Fixture;

/// Makes plans typed and functions whole; none reads anything.
const ANALYZER_RULES: &[&str] = &["resolve_grouping_function", "type_coercion"];

/// Each makes a plan cheaper and reads nothing.
const OPTIMIZER_RULES: &[&str] = &[
    "common_sub_expression_eliminate",
    "decorrelate_lateral_join",
    "decorrelate_predicate_subquery",
    "eliminate_cross_join",
    "eliminate_duplicated_expr",
    "eliminate_filter",
    "eliminate_group_by_constant",
    "eliminate_join",
    "eliminate_limit",
    "eliminate_outer_join",
    "extract_equijoin_predicate",
    "extract_leaf_expressions",
    "filter_null_join_keys",
    "optimize_projections",
    "optimize_unions",
    "propagate_empty_relation",
    "push_down_filter",
    "push_down_leaf_projections",
    "push_down_limit",
    "replace_distinct_aggregate",
    "rewrite_set_comparison",
    "scalar_subquery_to_join",
    "simplify_expressions",
    "single_distinct_aggregation_to_group_by",
    "unions_to_filter",
];

/// Each changes how a plan runs, not what it reads.
const PHYSICAL_RULES: &[&str] = &[
    "CombinePartialFinalAggregate",
    "EnsureCooperative",
    "EnsureRequirements",
    "FilterPushdown",
    "FilterPushdown(Post)",
    "HashJoinBuffering",
    "LimitAggregation",
    "LimitPushPastWindows",
    "LimitPushdown",
    "LimitedDistinctAggregation",
    "OptimizeAggregateOrder",
    "OutputRequirements",
    "ProjectionPushdown",
    "PushdownSort",
    "SanityCheckPlan",
    "TopKRepartition",
    "WindowTopN",
    "aggregate_statistics",
    "join_selection",
];

/// Turns syntax into calls of functions, which are judged one by one; ours is `JsonAccess`.
const EXPRESSION_PLANNERS: &[&str] = &[
    "AggregateFunctionPlanner",
    "CoreFunctionPlanner",
    "DatetimeFunctionPlanner",
    "FieldAccessPlanner",
    "JsonAccess",
    "NestedFunctionPlanner",
    "UnicodeFunctionPlanner",
    "WindowFunctionPlanner",
];

/// What the server makes of the caller's own samples, within `query.memory`.
const TABLE_FUNCTIONS: &[&str] = &["promql"];

/// Rows out of nothing.
const TABLE_FUNCTIONS_REFUSED: &[&str] = &["generate_series", "range"];

fn ours() -> SessionState {
    let fixture = Fixture::standard();
    session(Parts {
        store: Arc::new(
            super::table::store(
                fixture.dir.path(),
                &fixture.files,
                Arc::clone(&fixture.heads) as _,
            )
            .unwrap(),
        ),
        files: &fixture.files,
        heads: Arc::clone(&fixture.heads) as Arc<dyn Heads>,
        memory_bytes: 1 << 20,
        n_partitions: 1,
    })
    .unwrap()
}

#[track_caller]
fn check<'a>(brought: impl IntoIterator<Item = &'a str>, judged: &[&'a str]) {
    let brought: BTreeSet<&str> = brought.into_iter().collect();
    let judged: BTreeSet<&str> = judged.iter().copied().collect();

    let nobody_judged: Vec<_> = brought.difference(&judged).collect();
    let gone: Vec<_> = judged.difference(&brought).collect();
    assert!(nobody_judged.is_empty() && gone.is_empty(), "new: {nobody_judged:?}, gone: {gone:?}");
}

#[test]
fn a_session_has_the_functions_that_are_allowed_and_no_other() {
    let state = ours();

    let scalar: BTreeSet<_> = state.scalar_functions().values().map(|f| f.name()).collect();
    let aggregate: BTreeSet<_> = state.aggregate_functions().values().map(|f| f.name()).collect();
    let window: BTreeSet<_> = state.window_functions().values().map(|f| f.name()).collect();

    let all: BTreeSet<_> = scalar.iter().chain(&aggregate).chain(&window).copied().collect();
    let refused: Vec<_> = all.iter().filter(|name| !functions::is_allowed(name)).collect();
    let missing: Vec<_> = functions::allowed().filter(|name| !all.contains(name)).collect();
    assert_eq!((refused, missing), (Vec::new(), Vec::new()));
    assert!(state.higher_order_functions().is_empty(), "lambdas are not offered");
    check(state.table_functions().keys().map(String::as_str), TABLE_FUNCTIONS);
}

#[test]
fn every_name_that_the_library_registers_was_judged() {
    // Aliases too: a session finds a function by any of its names.
    let theirs = SessionStateBuilder::new_with_default_features().build();
    let by_name = (theirs.scalar_functions().iter().map(|(name, f)| (name, f.name())))
        .chain(theirs.aggregate_functions().iter().map(|(name, f)| (name, f.name())))
        .chain(theirs.window_functions().iter().map(|(name, f)| (name, f.name())))
        .chain(theirs.higher_order_functions().iter().map(|(name, f)| (name, f.name())));

    let strange: Vec<_> =
        by_name.filter(|(_, f)| functions::is_allowed(f) == functions::is_denied(f)).collect();

    assert_eq!(strange, Vec::new(), "put each on exactly one list in `functions`");
    check(theirs.table_functions().keys().map(String::as_str), TABLE_FUNCTIONS_REFUSED);
}

#[test]
fn every_rule_was_judged() {
    let state = ours();

    check(state.analyzer().rules.iter().map(|rule| rule.name()), ANALYZER_RULES);
    check(state.optimizers().iter().map(|rule| rule.name()), OPTIMIZER_RULES);
    check(state.physical_optimizers().iter().map(|rule| rule.name()), PHYSICAL_RULES);
}

#[test]
fn every_planner_was_judged() {
    let state = ours();
    let shown: Vec<String> =
        state.expr_planners().iter().map(|planner| format!("{planner:?}")).collect();
    let names = shown.iter().map(|text| text.split([' ', '{', '(']).next().unwrap_or_default());

    check(names, EXPRESSION_PLANNERS);
    assert!(state.relation_planners().is_empty(), "nothing stands in a FROM but tables");
    assert!(state.table_factories().is_empty(), "no table can be made");
    assert!(state.function_factory().is_none(), "no function can be made");
    assert_eq!(SessionStateDefaults::default_expr_planners().len() + 1, EXPRESSION_PLANNERS.len());
}

#[test]
fn a_session_knows_our_tables_and_no_file_format() {
    let state = ours();

    let catalogs = state.catalog_list().catalog_names();
    assert_eq!(catalogs, ["commonwatch"]);
    let schema = state.catalog_list().catalog("commonwatch").unwrap().schema("public").unwrap();
    check(
        schema.table_names().iter().map(String::as_str),
        &["logs", "metrics", "spans", "exemplars", "points"],
    );
    for format in ["csv", "json", "parquet", "arrow", "avro"] {
        assert!(state.get_file_format_factory(format).is_none(), "{format}");
    }
    let options = state.config_options();
    assert!(!options.catalog.information_schema && !options.execution.enable_recursive_ctes);
}
