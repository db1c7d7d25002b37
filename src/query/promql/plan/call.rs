//! Function calls to plan nodes.

use crate::model::labels::METRIC_NAME;
use crate::model::regexp::RegexpError;
use crate::model::{MatchOp, Matcher, compile_label_regex};

use super::super::error::PromqlError;
use super::super::grid::{Grid, seconds};
use super::super::limits::ParseLimits;
use super::super::parse::ast::{Edges, Node, NodeExpr, Type, When};
use super::super::parse::functions::Function;
use super::super::parse::place::Place;
use super::super::parse::too_long_regex;
use super::build::{text_of, wrong_type};
use super::{
    ElementFn, InfoCall, Planner, RangeCall, RangeFn, RangeOf, RangeSource, Relabel, ScalarNode,
    Selector, SortBy, VectorNode, labels_of_absent,
};

impl Planner<'_> {
    /// Plans a call whose result is a scalar.
    pub(super) fn scalar_call(
        &mut self,
        func: &Function,
        args: &[Node],
        grid: &Grid,
    ) -> Result<ScalarNode, PromqlError> {
        let (query, times) = (self.query, self.times);
        Ok(match func.name {
            "time" => ScalarNode::Time,
            "pi" => ScalarNode::Number(std::f64::consts::PI),
            "start" => ScalarNode::Number(seconds(query.start_ms)),
            "end" => ScalarNode::Number(seconds(query.end_ms())),
            "range" => ScalarNode::Number(seconds(times.range_ms)),
            "step" => ScalarNode::Number(seconds(times.step_ms)),
            "scalar" => ScalarNode::Of(self.boxed(args, 0, grid)?),
            "min_of" => {
                let [left, right] = self.two_scalars(args, grid)?;
                ScalarNode::MinOf(left, right)
            }
            "max_of" => {
                let [left, right] = self.two_scalars(args, grid)?;
                ScalarNode::MaxOf(left, right)
            }
            name => return Err(unsupported(name)),
        })
    }

    fn two_scalars(
        &mut self,
        args: &[Node],
        grid: &Grid,
    ) -> Result<[Box<ScalarNode>; 2], PromqlError> {
        let left = self.scalar(arg(args, 0)?, grid)?;
        let right = self.scalar(arg(args, 1)?, grid)?;
        Ok([Box::new(left), Box::new(right)])
    }

    /// Plans a call whose result is a vector.
    pub(super) fn vector_call(
        &mut self,
        func: &Function,
        args: &[Node],
        place: Place,
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        let name = func.name;
        if let Some(func) = RangeFn::by_name(name) {
            return self.range_call(func, args, grid);
        }
        if let Some(func) = ElementFn::by_name(name) {
            return self.element_call(func, args, grid);
        }
        match name {
            "vector" => Ok(VectorNode::Constant(self.scalar(arg(args, 0)?, grid)?)),
            "sort" | "sort_desc" => {
                let by = SortBy::Value { is_descending: name == "sort_desc" };
                Ok(VectorNode::Sort { by, place, inner: self.boxed(args, 0, grid)? })
            }
            "sort_by_label" | "sort_by_label_desc" => {
                let names = texts(args, 1)?;
                let by = SortBy::Labels { names, is_descending: name == "sort_by_label_desc" };
                Ok(VectorNode::Sort { by, place, inner: self.boxed(args, 0, grid)? })
            }
            "label_replace" => {
                let how = replace_of(args, &self.limits.parse)?;
                Ok(VectorNode::Relabel { how, inner: self.boxed(args, 0, grid)? })
            }
            "label_join" => {
                let how = join_of(args)?;
                Ok(VectorNode::Relabel { how, inner: self.boxed(args, 0, grid)? })
            }
            "absent" => {
                let labels = labels_of_absent(selected_by(arg(args, 0)?));
                Ok(VectorNode::Absent { labels, inner: self.boxed(args, 0, grid)? })
            }
            "absent_over_time" => {
                let inner = arg(args, 0)?;
                let labels = labels_of_absent(selected_by(inner));
                Ok(VectorNode::AbsentOverTime { labels, source: self.range(inner, grid)? })
            }
            "info" => self.info(args, grid),
            "start_timestamp" => self.sample_start(arg(args, 0)?, grid),
            _ => self.histogram_call(name, args, grid),
        }
    }

    fn sample_start(&mut self, vector: &Node, grid: &Grid) -> Result<VectorNode, PromqlError> {
        let bare = vector.inside();
        let NodeExpr::Selector(selector) = &bare.expr else { return Ok(VectorNode::Nothing) };
        let selector = self.selector(bare, selector, grid, self.lookback_ms)?;
        self.fetches[selector.fetch_idx].has_starts = true;
        Ok(VectorNode::SampleStart(selector))
    }

    fn histogram_call(
        &mut self,
        name: &str,
        args: &[Node],
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        match name {
            "histogram_quantile" => {
                let (quantile, inner) = (arg(args, 0)?, arg(args, 1)?);
                self.histogram_quantiles(None, std::slice::from_ref(quantile), inner, grid)
            }
            "histogram_quantiles" => {
                let (inner, label) = (arg(args, 0)?, text_of(arg(args, 1)?)?);
                self.histogram_quantiles(Some(label), &args[2..], inner, grid)
            }
            "histogram_fraction" => Ok(VectorNode::HistogramFraction {
                lower: self.scalar(arg(args, 0)?, grid)?,
                upper: self.scalar(arg(args, 1)?, grid)?,
                place: self.place(arg(args, 2)?),
                inner: self.boxed(args, 2, grid)?,
            }),
            _ => Err(unsupported(name)),
        }
    }

    fn histogram_quantiles(
        &mut self,
        label: Option<String>,
        quantiles: &[Node],
        inner: &Node,
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        let quantiles =
            quantiles.iter().map(|node| Ok((self.scalar(node, grid)?, self.place(node))));
        let quantiles = quantiles.collect::<Result<_, PromqlError>>()?;
        let (place, inner) = (self.place(inner), Box::new(self.vector(inner, grid)?));
        Ok(VectorNode::HistogramQuantile { label, quantiles, place, inner })
    }

    fn boxed(
        &mut self,
        args: &[Node],
        idx: usize,
        grid: &Grid,
    ) -> Result<Box<VectorNode>, PromqlError> {
        Ok(Box::new(self.vector(arg(args, idx)?, grid)?))
    }

    fn range_call(
        &mut self,
        func: RangeFn,
        args: &[Node],
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        let is_matrix = |node: &&Node| node.ty == Type::Matrix;
        let series = args.iter().find(is_matrix);
        let series = series.ok_or_else(|| PromqlError::parse("a range vector is missing"))?;
        let params = args.iter().filter(|node| !is_matrix(node));
        let param_place = self.place(params.clone().next().unwrap_or(series));
        let params = params.map(|node| self.scalar(node, grid)).collect::<Result<_, _>>()?;
        let place = self.place(series);
        let edges = edges_of(series);
        let source = match edges {
            Edges::Extrapolated => self.range(series, grid)?,
            edges => self.reaching_range(func, edges, series, grid)?,
        };
        Ok(VectorNode::Range(RangeCall { func, params, source, edges, place, param_place }))
    }

    /// Plans a range whose edges are not its samples.
    fn reaching_range(
        &mut self,
        func: RangeFn,
        edges: Edges,
        node: &Node,
        grid: &Grid,
    ) -> Result<RangeSource, PromqlError> {
        use RangeFn::{Changes, Delta, Increase, Rate, Resets};
        let (name, takes, is_taken) = match edges {
            Edges::Smoothed => {
                ("smoothed", "delta, increase, rate", matches!(func, Delta | Increase | Rate))
            }
            _ => (
                "anchored",
                "changes, delta, increase, rate, resets",
                matches!(func, Changes | Delta | Increase | Rate | Resets),
            ),
        };
        let bare = node.inside();
        let NodeExpr::Matrix { selector, range } = &bare.expr else {
            return Err(wrong_type("range vector", node));
        };
        if !is_taken {
            return Err(PromqlError::execution(format!(
                "{name} modifier can only be used with: {takes} - not with {}",
                func.as_str()
            )));
        }
        let range_ms = range.positive_ms(self.times)?;
        let after_ms = if edges == Edges::Smoothed { self.lookback_ms } else { 0 };
        let around = (range_ms.saturating_add(self.lookback_ms), after_ms);
        let selector = self.reaching(bare, selector, grid, around)?;
        let shift = selector.shift;
        Ok(RangeSource { range_ms, shift, of: RangeOf::Selector(selector) })
    }

    fn element_call(
        &mut self,
        func: ElementFn,
        args: &[Node],
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        if args.is_empty() && func.defaults_to_time() {
            let inner = Box::new(VectorNode::Constant(ScalarNode::Time));
            return Ok(VectorNode::Map { func, params: Vec::new(), inner });
        }
        let vector = arg(args, 0)?;
        let bare = vector.inside();
        if let (ElementFn::StepTime, NodeExpr::Selector(selector)) = (func, &bare.expr) {
            let selector = self.selector(bare, selector, grid, self.lookback_ms)?;
            return Ok(VectorNode::SampleTime(selector));
        }
        if vector.ty != Type::Vector {
            return Err(wrong_type("instant vector", vector));
        }
        let inner = Box::new(self.vector(vector, grid)?);
        let params = args[1..].iter();
        let params = params.map(|param| self.scalar(param, grid)).collect::<Result<_, _>>()?;
        Ok(VectorNode::Map { func, params, inner })
    }

    fn info(&mut self, args: &[Node], grid: &Grid) -> Result<VectorNode, PromqlError> {
        let wanted: &[Matcher] = args.get(1).map_or(&[], selected_by);
        let is_name = |matcher: &&Matcher| matcher.name == METRIC_NAME;
        let names = names_of_info(wanted.iter().filter(is_name).cloned().collect());
        let labels: Vec<Matcher> = wanted.iter().filter(|m| !is_name(m)).cloned().collect();
        let inner = self.boxed(args, 0, grid)?;
        // As in Prometheus, the first selector says which time the info series are of.
        let when = first_selector(arg(args, 0)?).cloned().unwrap_or_default();
        let shift = self.shift(&when)?;
        let matchers = names.iter().chain(&labels).cloned().collect();
        let (start_ms, end_ms) = (shift.apply(grid.start_ms), shift.apply(grid.end_ms()));
        let start_ms = start_ms.saturating_sub(self.lookback_ms).saturating_add(1);
        let fetch_idx = self.fetch(matchers, start_ms, end_ms);
        let info = Selector { fetch_idx, is_one_metric: false, shift };
        Ok(VectorNode::Info(InfoCall { inner, info, names, labels }))
    }
}

/// Returns what stands at the edges of a range.
fn edges_of(node: &Node) -> Edges {
    match &node.inside().expr {
        NodeExpr::Matrix { selector, .. } => selector.edges,
        _ => Edges::Extrapolated,
    }
}

/// The info metric when none is named.
const TARGET_INFO: &str = "target_info";
/// The info metrics when some are ruled out and none is named.
const ALL_INFO: &str = ".+_info";

/// Returns the conditions on the names of info metrics, given those that are written.
fn names_of_info(mut names: Vec<Matcher>) -> Vec<Matcher> {
    if names.is_empty() {
        names.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
    } else if names.iter().all(|name| matches!(name.op, MatchOp::Ne | MatchOp::Nre)) {
        // What is left of all metrics would be no info metrics, and the series themselves among them.
        let all = Matcher::new(METRIC_NAME, MatchOp::Re, ALL_INFO);
        names.push(all.expect("it is well-formed"));
    }
    names
}

fn first_selector(node: &Node) -> Option<&When> {
    match &node.expr {
        NodeExpr::Selector(selector) | NodeExpr::Matrix { selector, .. } => Some(&selector.when),
        _ => node.children().into_iter().find_map(first_selector),
    }
}

fn arg(args: &[Node], idx: usize) -> Result<&Node, PromqlError> {
    args.get(idx).ok_or_else(|| PromqlError::parse("an argument is missing"))
}

fn texts(args: &[Node], from: usize) -> Result<Vec<String>, PromqlError> {
    args.iter().skip(from).map(text_of).collect()
}

/// Returns the conditions of a selector, none for anything else.
fn selected_by(node: &Node) -> &[Matcher] {
    match &node.inside().expr {
        NodeExpr::Selector(selector) | NodeExpr::Matrix { selector, .. } => &selector.matchers,
        _ => &[],
    }
}

fn replace_of(args: &[Node], limits: &ParseLimits) -> Result<Relabel, PromqlError> {
    let [target, replacement, source, pattern] = <[String; 4]>::try_from(texts(args, 1)?)
        .map_err(|_| PromqlError::parse("label_replace needs five arguments"))?;
    if target.is_empty() {
        return Err(PromqlError::execution("invalid destination label name in label_replace(): "));
    }
    if pattern.len() > limits.regex_bytes_max {
        return Err(too_long_regex(pattern.len(), limits));
    }
    let regex = compile_label_regex(&pattern, limits.regex_program_bytes_max);
    let regex = regex.map_err(|error| match error {
        RegexpError::TooLarge { max_bytes } => PromqlError::Program { max_bytes },
        RegexpError::Syntax { .. } => PromqlError::execution(format!(
            "invalid regular expression in label_replace(): {pattern}"
        )),
    })?;
    Ok(Relabel::Replace { target, replacement, source, regex })
}

fn join_of(args: &[Node]) -> Result<Relabel, PromqlError> {
    let mut texts = texts(args, 1)?;
    if texts.len() < 2 {
        return Err(PromqlError::parse("label_join needs at least three arguments"));
    }
    let sources = texts.split_off(2);
    if sources.iter().any(String::is_empty) {
        return Err(PromqlError::execution("invalid source label name in label_join(): "));
    }
    let separator = texts.pop().unwrap_or_default();
    let target = texts.pop().unwrap_or_default();
    if target.is_empty() {
        return Err(PromqlError::execution("invalid destination label name in label_join(): "));
    }
    Ok(Relabel::Join { target, separator, sources })
}

fn unsupported(name: &str) -> PromqlError {
    PromqlError::parse(format!("function `{name}` is not supported"))
}
