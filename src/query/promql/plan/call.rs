//! Function calls to plan nodes.

use promql_parser::parser::value::ValueType;
use promql_parser::parser::{self as ast, Call};

use super::super::error::PromqlError;
use super::super::grid::{Grid, seconds};
use super::super::guard::too_long_regex;
use super::super::limits::ParseLimits;
use super::super::parse::matchers_of;
use super::build::{text_of, wrong_type};
use super::{
    ElementFn, Planner, RangeCall, RangeFn, Relabel, ScalarNode, SortBy, VectorNode,
    labels_of_absent,
};

impl Planner<'_> {
    /// Plans a call whose result is a scalar.
    pub(super) fn scalar_call(
        &mut self,
        call: &Call,
        grid: &Grid,
    ) -> Result<ScalarNode, PromqlError> {
        let query = self.query;
        Ok(match call.func.name {
            "time" => ScalarNode::Time,
            "pi" => ScalarNode::Number(std::f64::consts::PI),
            "start" => ScalarNode::Number(seconds(query.start_ms)),
            "end" => ScalarNode::Number(seconds(query.end_ms())),
            "range" => ScalarNode::Number(seconds(query.end_ms().saturating_sub(query.start_ms))),
            "step" if query.n == 1 => ScalarNode::Number(0.0),
            "step" => ScalarNode::Number(seconds(query.step_ms)),
            "scalar" => ScalarNode::Of(Box::new(self.vector(arg(call, 0)?, grid)?)),
            "min_of" => {
                let [left, right] = self.two_scalars(call, grid)?;
                ScalarNode::MinOf(left, right)
            }
            "max_of" => {
                let [left, right] = self.two_scalars(call, grid)?;
                ScalarNode::MaxOf(left, right)
            }
            name => return Err(unsupported(name)),
        })
    }

    fn two_scalars(
        &mut self,
        call: &Call,
        grid: &Grid,
    ) -> Result<[Box<ScalarNode>; 2], PromqlError> {
        let left = self.scalar(arg(call, 0)?, grid)?;
        let right = self.scalar(arg(call, 1)?, grid)?;
        Ok([Box::new(left), Box::new(right)])
    }

    /// Plans a call whose result is a vector.
    pub(super) fn vector_call(
        &mut self,
        call: &Call,
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        let name = call.func.name;
        if let Some(func) = RangeFn::by_name(name) {
            return self.range_call(func, call, grid);
        }
        if let Some(func) = ElementFn::by_name(name) {
            return self.element_call(func, call, grid);
        }
        match name {
            "vector" => Ok(VectorNode::Constant(self.scalar(arg(call, 0)?, grid)?)),
            "sort" | "sort_desc" => {
                let by = SortBy::Value { is_descending: name == "sort_desc" };
                Ok(VectorNode::Sort { by, inner: self.boxed(call, 0, grid)? })
            }
            "sort_by_label" | "sort_by_label_desc" => {
                let names = texts(call, 1)?;
                let by = SortBy::Labels { names, is_descending: name == "sort_by_label_desc" };
                Ok(VectorNode::Sort { by, inner: self.boxed(call, 0, grid)? })
            }
            "label_replace" | "label_join" => {
                let how = if name == "label_join" {
                    join_of(call)?
                } else {
                    replace_of(call, &self.limits.parse)?
                };
                Ok(VectorNode::Relabel { how, inner: self.boxed(call, 0, grid)? })
            }
            "absent" => {
                let inner = arg(call, 0)?;
                let labels = match strip_parens(inner) {
                    ast::Expr::VectorSelector(selector) => matchers_of(selector)?,
                    _ => Vec::new(),
                };
                let labels = labels_of_absent(&labels);
                Ok(VectorNode::Absent { labels, inner: Box::new(self.vector(inner, grid)?) })
            }
            "absent_over_time" => {
                let inner = arg(call, 0)?;
                let labels = match strip_parens(inner) {
                    ast::Expr::MatrixSelector(matrix) => matchers_of(&matrix.vs)?,
                    _ => Vec::new(),
                };
                let labels = labels_of_absent(&labels);
                Ok(VectorNode::AbsentOverTime { labels, source: self.range(inner, grid)? })
            }
            "histogram_quantile" => Ok(VectorNode::HistogramQuantile {
                quantile: self.scalar(arg(call, 0)?, grid)?,
                inner: self.boxed(call, 1, grid)?,
            }),
            "histogram_fraction" => Ok(VectorNode::HistogramFraction {
                lower: self.scalar(arg(call, 0)?, grid)?,
                upper: self.scalar(arg(call, 1)?, grid)?,
                inner: self.boxed(call, 2, grid)?,
            }),
            _ => Err(unsupported(name)),
        }
    }

    fn boxed(
        &mut self,
        call: &Call,
        idx: usize,
        grid: &Grid,
    ) -> Result<Box<VectorNode>, PromqlError> {
        Ok(Box::new(self.vector(arg(call, idx)?, grid)?))
    }

    fn range_call(
        &mut self,
        func: RangeFn,
        call: &Call,
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        let mut params = Vec::new();
        let mut source = None;
        for arg in &call.args.args {
            match arg.value_type() {
                ValueType::Matrix => source = Some(self.range(arg, grid)?),
                _ => params.push(self.scalar(arg, grid)?),
            }
        }
        let source = source.ok_or_else(|| {
            PromqlError::parse(format!(
                "expected type matrix in call to function '{}'",
                call.func.name
            ))
        })?;
        Ok(VectorNode::Range(RangeCall { func, params, source }))
    }

    fn element_call(
        &mut self,
        func: ElementFn,
        call: &Call,
        grid: &Grid,
    ) -> Result<VectorNode, PromqlError> {
        if call.args.args.is_empty() && func.defaults_to_time() {
            let inner = Box::new(VectorNode::Constant(ScalarNode::Time));
            return Ok(VectorNode::Map { func, params: Vec::new(), inner });
        }
        let vector = arg(call, 0)?;
        if let (ElementFn::StepTime, ast::Expr::VectorSelector(selector)) =
            (func, strip_parens(vector))
        {
            let selector = self.selector(selector, grid, self.lookback_ms)?;
            return Ok(VectorNode::SampleTime(selector));
        }
        if vector.value_type() != ValueType::Vector {
            return Err(wrong_type("vector", vector));
        }
        let inner = Box::new(self.vector(vector, grid)?);
        let params = call.args.args[1..].iter();
        let params = params.map(|param| self.scalar(param, grid)).collect::<Result<_, _>>()?;
        Ok(VectorNode::Map { func, params, inner })
    }
}

fn arg(call: &Call, idx: usize) -> Result<&ast::Expr, PromqlError> {
    call.args.args.get(idx).map(|arg| &**arg).ok_or_else(|| {
        PromqlError::parse(format!("missing argument in call to function '{}'", call.func.name))
    })
}

fn texts(call: &Call, from: usize) -> Result<Vec<String>, PromqlError> {
    call.args.args.iter().skip(from).map(|arg| text_of(arg)).collect()
}

fn strip_parens(expr: &ast::Expr) -> &ast::Expr {
    let mut expr = expr;
    while let ast::Expr::Paren(paren) = expr {
        expr = &paren.expr;
    }
    expr
}

fn replace_of(call: &Call, limits: &ParseLimits) -> Result<Relabel, PromqlError> {
    let [target, replacement, source, pattern] = <[String; 4]>::try_from(texts(call, 1)?)
        .map_err(|_| PromqlError::parse("label_replace needs five arguments"))?;
    if target.is_empty() {
        return Err(PromqlError::execution("invalid destination label name in label_replace(): "));
    }
    if pattern.len() > limits.regex_bytes_max {
        return Err(too_long_regex(pattern.len(), limits));
    }
    let regex = regex::RegexBuilder::new(&format!("^(?s:{pattern})$"))
        .size_limit(limits.regex_program_bytes_max)
        .build()
        .map_err(|_| {
            PromqlError::execution(format!(
                "invalid regular expression in label_replace(): {pattern}"
            ))
        })?;
    Ok(Relabel::Replace { target, replacement, source, regex })
}

fn join_of(call: &Call) -> Result<Relabel, PromqlError> {
    let mut texts = texts(call, 1)?;
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
    let why = match name {
        "histogram_avg" | "histogram_count" | "histogram_sum" | "histogram_stddev"
        | "histogram_stdvar" => " (it works on native histograms, which PromQL does not read here)",
        "start_timestamp" => " (start timestamps are not stored)",
        _ => "",
    };
    PromqlError::parse(format!("function `{name}` is not supported{why}"))
}
