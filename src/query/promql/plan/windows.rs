//! What is read: selectors and sub-queries, each from when to when.

use crate::base::units::format_duration_ms;
use crate::model::labels::METRIC_NAME;
use crate::model::{MatchOp, Matcher};

use super::super::error::PromqlError;
use super::super::grid::Grid;
use super::super::parse::ast::{self, At, Edges, Node, NodeExpr, When};
use super::build::wrong_type;
use super::{FetchPlan, Planner, RangeOf, RangeSource, Selector, Shift, too_many_steps};

impl Planner<'_> {
    /// Plans a node that must be a range vector.
    pub(super) fn range(&mut self, node: &Node, grid: &Grid) -> Result<RangeSource, PromqlError> {
        match &node.expr {
            NodeExpr::Paren(inner) => self.range(inner, grid),
            NodeExpr::Matrix { selector, range } => {
                let range_ms = range.positive_ms(self.times)?;
                let selector = self.selector(node, selector, grid, range_ms)?;
                let shift = selector.shift;
                Ok(RangeSource { range_ms, shift, of: RangeOf::Selector(selector) })
            }
            NodeExpr::Subquery(subquery) => self.subquery(subquery, grid),
            _ => Err(wrong_type("range vector", node)),
        }
    }

    fn subquery(
        &mut self,
        subquery: &ast::Subquery,
        grid: &Grid,
    ) -> Result<RangeSource, PromqlError> {
        let range_ms = subquery.range.positive_ms(self.times)?;
        let shift = self.shift(&subquery.when)?;
        let step_ms = match &subquery.step {
            None => self.subquery_step_ms.max(1),
            Some(step) => step.positive_ms(self.times)?,
        };
        let steps_max = self.limits.subquery_steps_max;
        // The first multiple of the step inside the left-open window.
        let after_ms = shift.apply(grid.start_ms).saturating_sub(range_ms);
        let start_ms = after_ms.div_euclid(step_ms).saturating_add(1).saturating_mul(step_ms);
        let inner_grid = Grid::range(start_ms, shift.apply(grid.end_ms()), step_ms)
            .ok_or_else(|| too_many_steps(usize::MAX, steps_max))?;
        if inner_grid.n > steps_max {
            return Err(too_many_steps(inner_grid.n, steps_max));
        }
        let inner = Box::new(self.vector(&subquery.inner, &inner_grid)?);
        Ok(RangeSource { range_ms, shift, of: RangeOf::Subquery { inner, grid: inner_grid } })
    }

    /// Plans a selector that looks back `window_ms` from every step.
    pub(super) fn selector(
        &mut self,
        node: &Node,
        selector: &ast::Selector,
        grid: &Grid,
        window_ms: i64,
    ) -> Result<Selector, PromqlError> {
        if selector.edges != Edges::Extrapolated {
            return Err(PromqlError::parse(format!(
                "`{node}` is not supported: write it without its last word"
            )));
        }
        self.reaching(node, selector, grid, (window_ms, 0))
    }

    /// Plans a selector that reaches this far before every step, and after it.
    pub(super) fn reaching(
        &mut self,
        node: &Node,
        selector: &ast::Selector,
        grid: &Grid,
        (before_ms, after_ms): (i64, i64),
    ) -> Result<Selector, PromqlError> {
        let shift = self.shift(&selector.when)?;
        let matchers = selector.matchers.clone();
        let is_one_metric = matchers
            .iter()
            .any(|m| m.name == METRIC_NAME && m.op == MatchOp::Eq && !m.value.is_empty());
        // The window is left-open: a sample exactly `before_ms` old is out.
        let start_ms = shift.apply(grid.start_ms).saturating_sub(before_ms).saturating_add(1);
        let end_ms = shift.apply(grid.end_ms()).saturating_add(after_ms);
        self.check_range(node, end_ms.saturating_sub(start_ms))?;
        let fetch_idx = self.fetch(matchers, start_ms, end_ms);
        Ok(Selector { fetch_idx, is_one_metric, shift })
    }

    fn check_range(&self, selector: &Node, range_ms: i64) -> Result<(), PromqlError> {
        let max_ms = self.limits.range_ms_max;
        if range_ms <= max_ms {
            return Ok(());
        }
        let (selector, range) = (selector.to_string(), format_duration_ms(range_ms));
        Err(PromqlError::Range { selector, range, max: format_duration_ms(max_ms) })
    }

    pub(super) fn fetch(&mut self, matchers: Vec<Matcher>, start_ms: i64, end_ms: i64) -> usize {
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
                let has_starts = false;
                self.fetches.push(FetchPlan { matchers, start_ms, end_ms, has_starts, n_uses: 1 });
                self.fetches.len() - 1
            }
        }
    }

    pub(super) fn shift(&self, when: &When) -> Result<Shift, PromqlError> {
        let offset_ms = match &when.offset {
            None => 0,
            Some(offset) => offset.ms(self.times)?,
        };
        let at_ms = when.at.map(|at| match at {
            At::Start => self.query.start_ms,
            At::End => self.query.end_ms(),
            At::Ms(ms) => ms,
        });
        Ok(Shift { offset_ms, at_ms })
    }
}
