//! The second gate: a logical plan, walked before anything optimises or runs it.
//!
//! An allow-list, and whole: operators and expressions are matched without `_`, so that what a new
//! version of DataFusion learns does not compile until somebody has judged it. Only reading operators, only our tables, only functions on the list, in subqueries
//! too. A name of `WITH` is planned anew wherever it is used, so a short text can make an enormous
//! plan; nodes are counted and the walk ends at the limit.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, Result, plan_err};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::functions;
use super::promql::PromqlTable;
use super::table::ScopedTable;
use super::tokens::JOINS_MAX;

/// The most operators in a plan, expressions not counted.
const NODES_MAX: usize = 2_000;
/// The most reads of a table in one plan.
const SCANS_MAX: usize = 128;

/// Returns why the plan is not run, or nothing.
pub(super) fn check(plan: &LogicalPlan, may_explain: bool) -> Result<()> {
    let mut counts = Counts::default();
    plan.apply_with_subqueries(|node| {
        check_node(node, may_explain)?;
        check_nesting(node)?;
        counts.add(node)?;
        node.apply_expressions(|expr| expr.apply(check_expression))
    })?;
    Ok(())
}

#[derive(Debug, Default)]
struct Counts {
    n_nodes: usize,
    n_joins: usize,
    n_scans: usize,
}

impl Counts {
    fn add(&mut self, node: &LogicalPlan) -> Result<()> {
        self.n_nodes += 1;
        self.n_joins += usize::from(matches!(node, LogicalPlan::Join(_)));
        self.n_scans += usize::from(matches!(node, LogicalPlan::TableScan(_)));
        for (what, n, max) in [
            ("steps", self.n_nodes, NODES_MAX),
            ("joins", self.n_joins, JOINS_MAX),
            ("reads of tables", self.n_scans, SCANS_MAX),
        ] {
            if n > max {
                return plan_err!("the query's plan has more than the {max} {what} it may have");
            }
        }
        Ok(())
    }
}

fn check_node(node: &LogicalPlan, may_explain: bool) -> Result<()> {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_) => Ok(()),
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source)?;
            let provider = provider.as_ref() as &dyn std::any::Any;
            if provider.is::<ScopedTable>() || provider.is::<PromqlTable>() {
                Ok(())
            } else {
                plan_err!(
                    "`{}` is not one of the tables metrics, logs, spans, exemplars and points",
                    scan.table_name
                )
            }
        }
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) if may_explain => Ok(()),
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => {
            plan_err!("EXPLAIN is for administrators: it shows where data lies")
        }
        LogicalPlan::Repartition(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::RecursiveQuery(_) => {
            plan_err!("only queries are answered, not {}", first_word(node))
        }
    }
}

/// Refuses nested selects that DataFusion 55.2 would take for one: it drops a projection that
/// equals the one below it, so `SELECT v + 1 AS v FROM (SELECT v + 1 AS v FROM (…))` would add 1
/// once (apache/datafusion#24686, fixed later). It takes a select that computes a column from one
/// of the same name in a nameless sub-select; with a name for the sub-select the two differ.
fn check_nesting(node: &LogicalPlan) -> Result<()> {
    let LogicalPlan::Projection(outer) = node else { return Ok(()) };
    if outer.expr.iter().all(is_column) {
        return Ok(());
    }
    let mut below = outer.input.as_ref();
    loop {
        if let LogicalPlan::Projection(inner) = below
            && names(&inner.schema).eq(names(&outer.schema))
            && let Some(name) = inner.expr.iter().find_map(computed_from_itself)
        {
            return plan_err!(
                "two nested SELECTs compute `{name}` from `{name}`: give the inner one a name, as in \
                 FROM (SELECT …) AS inner_rows"
            );
        }
        match (below, below.inputs().as_slice()) {
            // A name, or groups: what is above and what is below can no longer be equal.
            (LogicalPlan::SubqueryAlias(_) | LogicalPlan::Aggregate(_), _) => return Ok(()),
            (_, [input]) => below = input,
            _ => return Ok(()),
        }
    }
}

fn names(schema: &DFSchema) -> impl Iterator<Item = &String> {
    schema.fields().iter().map(|field| field.name())
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_))
}

/// Returns the name of an expression that reads a column of its own name and no table's.
fn computed_from_itself(expr: &Expr) -> Option<String> {
    let name = expr.schema_name().to_string();
    let reads_itself =
        expr.column_refs().iter().any(|column| column.relation.is_none() && column.name == name);
    (reads_itself && !is_column(expr)).then_some(name)
}

fn check_expression(expr: &Expr) -> Result<TreeNodeRecursion> {
    let name = match expr {
        Expr::ScalarFunction(call) => call.func.name(),
        Expr::AggregateFunction(call) => call.func.name(),
        Expr::WindowFunction(call) => call.fun.name(),
        Expr::ScalarVariable(..) => return plan_err!("variables are not offered"),
        Expr::HigherOrderFunction(_) | Expr::Lambda(_) | Expr::LambdaVariable(_) => {
            return plan_err!("lambdas are not offered");
        }
        Expr::Alias(_)
        | Expr::Column(_)
        | Expr::Literal(..)
        | Expr::BinaryExpr(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::InList(_)
        | Expr::Exists(_)
        | Expr::InSubquery(_)
        | Expr::SetComparison(_)
        | Expr::ScalarSubquery(_)
        | Expr::GroupingSet(_)
        | Expr::Placeholder(_)
        | Expr::OuterReferenceColumn(..)
        | Expr::Unnest(_) => return Ok(TreeNodeRecursion::Continue),
        #[expect(deprecated, reason = "named so that the list is whole")]
        Expr::Wildcard { .. } => return Ok(TreeNodeRecursion::Continue),
    };
    if functions::is_allowed(name) {
        Ok(TreeNodeRecursion::Continue)
    } else {
        Err(not_offered(name))
    }
}

fn not_offered(name: &str) -> DataFusionError {
    DataFusionError::Plan(format!("the function `{name}` is not offered"))
}

fn first_word(plan: &LogicalPlan) -> String {
    let text = plan.display().to_string();
    text.split([':', ' ', '(']).next().unwrap_or_default().to_owned()
}
