//! Syntax tree to plan: numbers, operators and aggregations. What is read is planned in `windows`,
//! functions in `call`.

use super::super::error::PromqlError;
use super::super::grid::Grid;
use super::super::limits::Limits;
use super::super::parse::Expr;
use super::super::parse::ast::{self, BinaryOp, Edges, Node, NodeExpr, Type};
use super::super::parse::lengths::QueryTimes;
use super::super::parse::place::Place;
use super::super::parse::quoting::quoted;
use super::{
    Aggregate, AggregateOp, Card, ElementFn, FetchPlan, FoldOp, Grouping, Matching, PickOp, Plan,
    ScalarNode, VectorNode,
};

/// Turns one query into a plan and collects what it has to read.
#[derive(Debug)]
pub(in super::super) struct Planner<'q> {
    /// The steps of the query itself; `@ start()` and `end()` mean these even in a sub-query.
    pub(super) query: Grid,
    /// What `step()` and `range()` mean.
    pub(super) times: QueryTimes,
    /// The query as it was written.
    text: &'q str,
    pub(super) lookback_ms: i64,
    pub(super) subquery_step_ms: i64,
    pub(super) limits: &'q Limits,
    pub(in super::super) fetches: Vec<FetchPlan>,
}

impl<'q> Planner<'q> {
    pub(in super::super) fn new(
        expr: &'q Expr,
        query: Grid,
        step_ms: i64,
        (lookback_ms, subquery_step_ms): (i64, i64),
        limits: &'q Limits,
    ) -> Self {
        let range_ms = query.end_ms().saturating_sub(query.start_ms);
        let times = QueryTimes { step_ms, range_ms };
        let text = &expr.text;
        Self { query, times, text, lookback_ms, subquery_step_ms, limits, fetches: Vec::new() }
    }

    /// Returns where a node stands in the query.
    pub(super) fn place(&self, node: &Node) -> Place {
        Place::of(self.text, node.span.start)
    }

    /// Plans the whole query.
    pub(in super::super) fn plan(&mut self, node: &Node) -> Result<Plan, PromqlError> {
        let grid = self.query;
        Ok(match node.ty {
            Type::Scalar => Plan::Scalar(self.scalar(node, &grid)?),
            Type::Vector => Plan::Vector(self.vector(node, &grid)?),
            Type::Matrix => Plan::Matrix(self.range(node, &grid)?),
            Type::Text => Plan::Text(text_of(node)?),
        })
    }

    /// Plans a node that must be a scalar.
    pub(super) fn scalar(&mut self, node: &Node, grid: &Grid) -> Result<ScalarNode, PromqlError> {
        Ok(match &node.expr {
            NodeExpr::Number { value, .. } => ScalarNode::Number(*value),
            NodeExpr::Paren(inner) | NodeExpr::Unary { is_minus: false, inner } => {
                self.scalar(inner, grid)?
            }
            NodeExpr::Unary { inner, .. } => {
                ScalarNode::Negate(Box::new(self.scalar(inner, grid)?))
            }
            NodeExpr::Binary(binary) => {
                let op = op_of_scalars(binary.op, node)?;
                let left = self.scalar(&binary.left, grid)?;
                let right = self.scalar(&binary.right, grid)?;
                ScalarNode::Binary(op, Box::new(left), Box::new(right))
            }
            NodeExpr::Call { func, args } => self.scalar_call(func, args, grid)?,
            _ => return Err(wrong_type("scalar", node)),
        })
    }

    /// Plans a node that must be an instant vector.
    pub(super) fn vector(&mut self, node: &Node, grid: &Grid) -> Result<VectorNode, PromqlError> {
        match &node.expr {
            NodeExpr::Paren(inner) | NodeExpr::Unary { is_minus: false, inner } => {
                self.vector(inner, grid)
            }
            NodeExpr::Selector(selector) if selector.edges == Edges::Smoothed => {
                let around = (self.lookback_ms, self.lookback_ms);
                let place = self.place(node);
                Ok(VectorNode::Smoothed(self.reaching(node, selector, grid, around)?, place))
            }
            NodeExpr::Selector(selector) => {
                Ok(VectorNode::Select(self.selector(node, selector, grid, self.lookback_ms)?))
            }
            NodeExpr::Unary { inner, .. } => Ok(VectorNode::Map {
                func: ElementFn::Negate,
                params: Vec::new(),
                inner: Box::new(self.vector(inner, grid)?),
            }),
            NodeExpr::Binary(binary) => self.binary(binary, grid),
            NodeExpr::Aggregate(aggregate) => self.aggregate(aggregate, grid),
            NodeExpr::Call { func, args } => self.vector_call(func, args, self.place(node), grid),
            _ => Err(wrong_type("instant vector", node)),
        }
    }

    fn binary(&mut self, binary: &ast::Binary, grid: &Grid) -> Result<VectorNode, PromqlError> {
        let (left, right) = (&binary.left, &binary.right);
        let is_scalar = |side: &Node| side.ty == Type::Scalar;
        let op = match binary.op {
            BinaryOp::Number(op) => op,
            BinaryOp::Set(op) => {
                return Ok(VectorNode::Set {
                    op,
                    matching: matching_of(&binary.matching),
                    left: Box::new(self.vector(left, grid)?),
                    right: Box::new(self.vector(right, grid)?),
                });
            }
        };
        let (is_bool, scalar_is_left) = (binary.is_bool, is_scalar(left));
        let place = self.place(left);
        if !scalar_is_left && !is_scalar(right) {
            return Ok(VectorNode::VectorVector {
                op,
                is_bool,
                matching: matching_of(&binary.matching),
                left: Box::new(self.vector(left, grid)?),
                right: Box::new(self.vector(right, grid)?),
                place,
            });
        }
        let (vector, scalar) = if scalar_is_left { (right, left) } else { (left, right) };
        let scalar = self.scalar(scalar, grid)?;
        let vector = Box::new(self.vector(vector, grid)?);
        Ok(VectorNode::VectorScalar { op, is_bool, scalar_is_left, vector, scalar, place })
    }

    fn aggregate(
        &mut self,
        aggregate: &ast::Aggregate,
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        let op = self.aggregate_op(aggregate, grid)?;
        let inner = Box::new(self.vector(&aggregate.inner, grid)?);
        let grouping = Grouping { is_by: !aggregate.is_without, labels: aggregate.labels.clone() };
        let place = self.place(&aggregate.inner);
        Ok(VectorNode::Aggregate(Aggregate { op, grouping, inner, place }))
    }

    fn aggregate_op(
        &mut self,
        aggregate: &ast::Aggregate,
        grid: &Grid,
    ) -> Result<AggregateOp, PromqlError> {
        use ast::Aggregator as Of;

        let fold = |op| Ok(AggregateOp::Fold(op));
        let pick = match aggregate.op {
            Of::Sum => return fold(FoldOp::Sum),
            Of::Avg => return fold(FoldOp::Avg),
            Of::Min => return fold(FoldOp::Min),
            Of::Max => return fold(FoldOp::Max),
            Of::Count => return fold(FoldOp::Count),
            Of::Group => return fold(FoldOp::Group),
            Of::Stddev => return fold(FoldOp::Stddev),
            Of::Stdvar => return fold(FoldOp::Stdvar),
            Of::Quantile => None,
            Of::CountValues => {
                let label = text_of(param_of(aggregate)?)?;
                if label.is_empty() {
                    return Err(PromqlError::execution("invalid label name \"\""));
                }
                return Ok(AggregateOp::CountValues(label));
            }
            Of::Topk => Some(PickOp::Top),
            Of::Bottomk => Some(PickOp::Bottom),
            Of::Limitk => Some(PickOp::Limit),
            Of::LimitRatio => Some(PickOp::LimitRatio),
        };
        let param = param_of(aggregate)?;
        let (place, param) = (self.place(param), self.scalar(param, grid)?);
        Ok(match pick {
            None => AggregateOp::Quantile(param, place),
            Some(op) => AggregateOp::Pick(op, param, place),
        })
    }
}

fn param_of(aggregate: &ast::Aggregate) -> Result<&Node, PromqlError> {
    aggregate
        .param
        .as_ref()
        .ok_or_else(|| PromqlError::parse(format!("{} needs a parameter", aggregate.op.as_str())))
}

/// Returns a string literal's text.
pub(super) fn text_of(node: &Node) -> Result<String, PromqlError> {
    match &node.inside().expr {
        NodeExpr::Text(text) => Ok(text.clone()),
        _ => Err(wrong_type("string", node)),
    }
}

/// Returns the operator between two scalars. As in Prometheus, a trim can be written there and is
/// refused when it is asked.
fn op_of_scalars(op: BinaryOp, node: &Node) -> Result<ast::Op, PromqlError> {
    match op {
        BinaryOp::Number(op) if op.is_trim() => {
            let op = quoted(op.as_str());
            Err(PromqlError::execution(format!("operator {op} not allowed for Scalar operations")))
        }
        BinaryOp::Number(op) => Ok(op),
        BinaryOp::Set(_) => Err(wrong_type("scalar", node)),
    }
}

/// The parser has checked the types; this is for what it could not have let through.
pub(super) fn wrong_type(wanted: &str, got: &Node) -> PromqlError {
    PromqlError::parse(format!("expected type {wanted}: `{got}`"))
}

fn matching_of(matching: &ast::Matching) -> Matching {
    let include = || matching.include.clone();
    Matching {
        is_on: matching.is_on,
        labels: matching.labels.clone(),
        card: match matching.card {
            ast::Card::ManyToOne => Card::ManyToOne(include()),
            ast::Card::OneToMany => Card::OneToMany(include()),
            ast::Card::OneToOne | ast::Card::ManyToMany => Card::OneToOne,
        },
        fill_left: matching.fill_left,
        fill_right: matching.fill_right,
    }
}
