//! Syntax tree to plan: selectors, sub-queries, operators and aggregations.

use std::time::{Duration, SystemTime};

use promql_parser::parser::token::{self, TokenId};
use promql_parser::parser::{
    self as ast, AtModifier, BinModifier, LabelModifier, Offset, VectorMatchCardinality,
};

use crate::base::units::format_duration_ms;
use crate::model::labels::METRIC_NAME;
use crate::model::{MatchOp, Matcher};

use super::super::error::PromqlError;
use super::super::grid::Grid;
use super::super::limits::Limits;
use super::super::parse::matchers_of;
use super::{
    Aggregate, AggregateOp, Card, ElementFn, FetchPlan, FoldOp, Grouping, Matching, Op, PickOp,
    Plan, RangeOf, RangeSource, ScalarNode, Selector, SetOp, Shift, VectorNode, too_many_steps,
};

/// Turns one query into a plan and collects what it has to read.
#[derive(Debug)]
pub(in super::super) struct Planner<'q> {
    /// The steps of the query itself; `@ start()` and `end()` mean these even in a sub-query.
    pub(super) query: Grid,
    pub(super) lookback_ms: i64,
    pub(super) subquery_step_ms: i64,
    pub(super) limits: &'q Limits,
    pub(in super::super) fetches: Vec<FetchPlan>,
}

impl<'q> Planner<'q> {
    pub(in super::super) fn new(
        query: Grid,
        lookback_ms: i64,
        subquery_step_ms: i64,
        limits: &'q Limits,
    ) -> Self {
        Self { query, lookback_ms, subquery_step_ms, limits, fetches: Vec::new() }
    }

    /// Plans the whole query.
    pub(in super::super) fn plan(&mut self, expr: &ast::Expr) -> Result<Plan, PromqlError> {
        let grid = self.query;
        Ok(match expr.value_type() {
            ast::value::ValueType::Scalar => Plan::Scalar(self.scalar(expr, &grid)?),
            ast::value::ValueType::Vector => Plan::Vector(self.vector(expr, &grid)?),
            ast::value::ValueType::Matrix => Plan::Matrix(self.range(expr, &grid)?),
            ast::value::ValueType::String => Plan::Text(text_of(expr)?),
        })
    }

    /// Plans a node that must be a scalar.
    pub(super) fn scalar(
        &mut self,
        expr: &ast::Expr,
        grid: &Grid,
    ) -> Result<ScalarNode, PromqlError> {
        Ok(match expr {
            ast::Expr::NumberLiteral(number) => ScalarNode::Number(number.val),
            ast::Expr::Paren(paren) => self.scalar(&paren.expr, grid)?,
            ast::Expr::Unary(unary) => {
                ScalarNode::Negate(Box::new(self.scalar(&unary.expr, grid)?))
            }
            ast::Expr::Binary(binary) => {
                let left = self.scalar(&binary.lhs, grid)?;
                let right = self.scalar(&binary.rhs, grid)?;
                ScalarNode::Binary(op_of(binary.op.id())?, Box::new(left), Box::new(right))
            }
            ast::Expr::Call(call) => self.scalar_call(call, grid)?,
            other => return Err(wrong_type("scalar", other)),
        })
    }

    /// Plans a node that must be an instant vector.
    pub(super) fn vector(
        &mut self,
        expr: &ast::Expr,
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        match expr {
            ast::Expr::Paren(paren) => self.vector(&paren.expr, grid),
            ast::Expr::VectorSelector(selector) => {
                Ok(VectorNode::Select(self.selector(selector, grid, self.lookback_ms)?))
            }
            ast::Expr::Unary(unary) => Ok(VectorNode::Map {
                func: ElementFn::Negate,
                params: Vec::new(),
                inner: Box::new(self.vector(&unary.expr, grid)?),
            }),
            ast::Expr::Binary(binary) => self.binary(binary, grid),
            ast::Expr::Aggregate(aggregate) => self.aggregate(aggregate, grid),
            ast::Expr::Call(call) => self.vector_call(call, grid),
            other => Err(wrong_type("vector", other)),
        }
    }

    /// Plans a node that must be a range vector.
    pub(super) fn range(
        &mut self,
        expr: &ast::Expr,
        grid: &Grid,
    ) -> Result<RangeSource, PromqlError> {
        match expr {
            ast::Expr::Paren(paren) => self.range(&paren.expr, grid),
            ast::Expr::MatrixSelector(matrix) => {
                let range_ms = range_ms(matrix.range)?;
                let selector = self.selector(&matrix.vs, grid, range_ms)?;
                let shift = selector.shift;
                Ok(RangeSource { range_ms, shift, of: RangeOf::Selector(selector) })
            }
            ast::Expr::Subquery(subquery) => self.subquery(subquery, grid),
            other => Err(wrong_type("matrix", other)),
        }
    }

    fn subquery(
        &mut self,
        subquery: &ast::SubqueryExpr,
        grid: &Grid,
    ) -> Result<RangeSource, PromqlError> {
        let range_ms = range_ms(subquery.range)?;
        let shift = self.shift(subquery.offset.as_ref(), subquery.at.as_ref())?;
        let step_ms = match subquery.step {
            None => self.subquery_step_ms.max(1),
            Some(step) => duration_ms(step)?,
        };
        if step_ms == 0 {
            return Err(PromqlError::parse("the step of a sub-query must be greater than 0"));
        }
        let steps_max = self.limits.subquery_steps_max;
        // The first multiple of the step inside the left-open window.
        let after_ms = shift.apply(grid.start_ms).saturating_sub(range_ms);
        let start_ms = after_ms.div_euclid(step_ms).saturating_add(1).saturating_mul(step_ms);
        let inner_grid = Grid::range(start_ms, shift.apply(grid.end_ms()), step_ms)
            .ok_or_else(|| too_many_steps(usize::MAX, steps_max))?;
        if inner_grid.n > steps_max {
            return Err(too_many_steps(inner_grid.n, steps_max));
        }
        let inner = Box::new(self.vector(&subquery.expr, &inner_grid)?);
        Ok(RangeSource { range_ms, shift, of: RangeOf::Subquery { inner, grid: inner_grid } })
    }

    /// Plans a selector that looks back `window_ms` from every step.
    pub(super) fn selector(
        &mut self,
        selector: &ast::VectorSelector,
        grid: &Grid,
        window_ms: i64,
    ) -> Result<Selector, PromqlError> {
        let shift = self.shift(selector.offset.as_ref(), selector.at.as_ref())?;
        let matchers = matchers_of(selector)?;
        let is_one_metric = matchers
            .iter()
            .any(|m| m.name == METRIC_NAME && m.op == MatchOp::Eq && !m.value.is_empty());
        // The window is left-open: a sample exactly `window_ms` old is out.
        let start_ms = shift.apply(grid.start_ms).saturating_sub(window_ms).saturating_add(1);
        let end_ms = shift.apply(grid.end_ms());
        self.check_range(selector, end_ms.saturating_sub(start_ms))?;
        let fetch_idx = self.fetch(matchers, start_ms, end_ms);
        Ok(Selector { fetch_idx, is_one_metric, shift })
    }

    fn check_range(
        &self,
        selector: &ast::VectorSelector,
        range_ms: i64,
    ) -> Result<(), PromqlError> {
        let max_ms = self.limits.range_ms_max;
        if range_ms <= max_ms {
            return Ok(());
        }
        let (selector, range) = (selector.to_string(), format_duration_ms(range_ms));
        Err(PromqlError::Range { selector, range, max: format_duration_ms(max_ms) })
    }

    fn fetch(&mut self, matchers: Vec<Matcher>, start_ms: i64, end_ms: i64) -> usize {
        let shared = self.fetches.iter().position(|fetch| {
            fetch.matchers == matchers && start_ms <= fetch.end_ms && fetch.start_ms <= end_ms
        });
        match shared {
            Some(idx) => {
                let fetch = &mut self.fetches[idx];
                fetch.start_ms = fetch.start_ms.min(start_ms);
                fetch.end_ms = fetch.end_ms.max(end_ms);
                fetch.n_uses += 1;
                idx
            }
            None => {
                self.fetches.push(FetchPlan { matchers, start_ms, end_ms, n_uses: 1 });
                self.fetches.len() - 1
            }
        }
    }

    fn shift(
        &self,
        offset: Option<&Offset>,
        at: Option<&AtModifier>,
    ) -> Result<Shift, PromqlError> {
        let offset_ms = match offset {
            None => 0,
            Some(Offset::Pos(duration)) => duration_ms(*duration)?,
            Some(Offset::Neg(duration)) => -duration_ms(*duration)?,
        };
        let at_ms = match at {
            None => None,
            Some(AtModifier::Start) => Some(self.query.start_ms),
            Some(AtModifier::End) => Some(self.query.end_ms()),
            Some(AtModifier::At(time)) => Some(time_ms(*time)?),
        };
        Ok(Shift { offset_ms, at_ms })
    }

    fn binary(&mut self, binary: &ast::BinaryExpr, grid: &Grid) -> Result<VectorNode, PromqlError> {
        let modifier = binary.modifier.as_ref();
        if modifier.is_some_and(|m| m.fill_values.lhs.is_some() || m.fill_values.rhs.is_some()) {
            return Err(PromqlError::parse(
                "the modifiers fill, fill_left and fill_right are not supported",
            ));
        }
        let is_scalar = |side: &ast::Expr| side.value_type() == ast::value::ValueType::Scalar;
        let is_bool = binary.return_bool();
        if let Some(set_op) = set_op_of(binary.op.id()) {
            return Ok(VectorNode::Set {
                op: set_op,
                matching: matching_of(modifier),
                left: Box::new(self.vector(&binary.lhs, grid)?),
                right: Box::new(self.vector(&binary.rhs, grid)?),
            });
        }
        let op = op_of(binary.op.id())?;
        let scalar_is_left = is_scalar(&binary.lhs);
        if !scalar_is_left && !is_scalar(&binary.rhs) {
            return Ok(VectorNode::VectorVector {
                op,
                is_bool,
                matching: matching_of(modifier),
                left: Box::new(self.vector(&binary.lhs, grid)?),
                right: Box::new(self.vector(&binary.rhs, grid)?),
            });
        }
        let (vector, scalar) =
            if scalar_is_left { (&binary.rhs, &binary.lhs) } else { (&binary.lhs, &binary.rhs) };
        let scalar = self.scalar(scalar, grid)?;
        let vector = Box::new(self.vector(vector, grid)?);
        Ok(VectorNode::VectorScalar { op, is_bool, scalar_is_left, vector, scalar })
    }

    fn aggregate(
        &mut self,
        aggregate: &ast::AggregateExpr,
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        let op = match (aggregate.op.id(), aggregate.param.as_deref()) {
            (token::T_COUNT_VALUES, Some(param)) => AggregateOp::CountValues(text_of(param)?),
            (token::T_QUANTILE, Some(param)) => AggregateOp::Quantile(self.scalar(param, grid)?),
            (id, Some(param)) => AggregateOp::Pick(pick_op_of(id)?, self.scalar(param, grid)?),
            (id, None) => AggregateOp::Fold(fold_op_of(id)?),
        };
        if matches!(&op, AggregateOp::CountValues(label) if label.is_empty()) {
            return Err(PromqlError::parse("invalid label name \"\" in count_values"));
        }
        let inner = Box::new(self.vector(&aggregate.expr, grid)?);
        let grouping = grouping_of(aggregate.modifier.as_ref());
        Ok(VectorNode::Aggregate(Aggregate { op, grouping, inner }))
    }
}

/// Returns a string literal's text.
pub(super) fn text_of(expr: &ast::Expr) -> Result<String, PromqlError> {
    match expr {
        ast::Expr::StringLiteral(text) => Ok(text.val.clone()),
        ast::Expr::Paren(paren) => text_of(&paren.expr),
        other => Err(wrong_type("string", other)),
    }
}

pub(super) fn wrong_type(wanted: &str, got: &ast::Expr) -> PromqlError {
    PromqlError::parse(format!("expected type {wanted}, got {}: `{got}`", got.value_type()))
}

fn range_ms(range: Duration) -> Result<i64, PromqlError> {
    match duration_ms(range)? {
        0 => Err(PromqlError::parse("a range must be greater than 0")),
        ms => Ok(ms),
    }
}

fn duration_ms(duration: Duration) -> Result<i64, PromqlError> {
    i64::try_from(duration.as_millis())
        .map_err(|_| PromqlError::parse(format!("duration {duration:?} is out of range")))
}

fn time_ms(time: SystemTime) -> Result<i64, PromqlError> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => duration_ms(after),
        Err(before) => Ok(-duration_ms(before.duration())?),
    }
}

fn grouping_of(modifier: Option<&LabelModifier>) -> Grouping {
    match modifier {
        None => Grouping { is_by: true, labels: Vec::new() },
        Some(LabelModifier::Include(labels)) => {
            Grouping { is_by: true, labels: labels.labels.clone() }
        }
        Some(LabelModifier::Exclude(labels)) => {
            Grouping { is_by: false, labels: labels.labels.clone() }
        }
    }
}

fn matching_of(modifier: Option<&BinModifier>) -> Matching {
    let grouping = modifier.and_then(|m| m.matching.as_ref());
    let card = match modifier.map(|m| &m.card) {
        Some(VectorMatchCardinality::ManyToOne(labels)) => Card::ManyToOne(labels.labels.clone()),
        Some(VectorMatchCardinality::OneToMany(labels)) => Card::OneToMany(labels.labels.clone()),
        _ => Card::OneToOne,
    };
    Matching {
        is_on: grouping.is_some_and(LabelModifier::is_include),
        labels: grouping.map(|g| g.labels().labels.clone()).unwrap_or_default(),
        card,
    }
}

fn op_of(id: TokenId) -> Result<Op, PromqlError> {
    Ok(match id {
        token::T_ADD => Op::Add,
        token::T_SUB => Op::Sub,
        token::T_MUL => Op::Mul,
        token::T_DIV => Op::Div,
        token::T_MOD => Op::Mod,
        token::T_POW => Op::Pow,
        token::T_ATAN2 => Op::Atan2,
        token::T_EQLC => Op::Eq,
        token::T_NEQ => Op::Ne,
        token::T_LSS => Op::Lt,
        token::T_LTE => Op::Le,
        token::T_GTR => Op::Gt,
        token::T_GTE => Op::Ge,
        _ => return Err(unknown("operator", id)),
    })
}

fn set_op_of(id: TokenId) -> Option<SetOp> {
    match id {
        token::T_LAND => Some(SetOp::And),
        token::T_LOR => Some(SetOp::Or),
        token::T_LUNLESS => Some(SetOp::Unless),
        _ => None,
    }
}

fn fold_op_of(id: TokenId) -> Result<FoldOp, PromqlError> {
    Ok(match id {
        token::T_SUM => FoldOp::Sum,
        token::T_AVG => FoldOp::Avg,
        token::T_MIN => FoldOp::Min,
        token::T_MAX => FoldOp::Max,
        token::T_COUNT => FoldOp::Count,
        token::T_GROUP => FoldOp::Group,
        token::T_STDDEV => FoldOp::Stddev,
        token::T_STDVAR => FoldOp::Stdvar,
        _ => return Err(unknown("aggregation", id)),
    })
}

fn pick_op_of(id: TokenId) -> Result<PickOp, PromqlError> {
    Ok(match id {
        token::T_TOPK => PickOp::Top,
        token::T_BOTTOMK => PickOp::Bottom,
        token::T_LIMITK => PickOp::Limit,
        token::T_LIMIT_RATIO => PickOp::LimitRatio,
        _ => return Err(unknown("aggregation", id)),
    })
}

fn unknown(what: &str, id: TokenId) -> PromqlError {
    PromqlError::parse(format!("{what} `{}` is not supported", token::TokenType::new(id)))
}
