//! What a well-formed text may still not say: wrong types, wrong numbers of arguments, selectors of
//! everything. The errors are Prometheus', place and words.

use crate::model::labels::METRIC_NAME;

use super::super::error::PromqlError;
use super::ast::{
    Aggregate, Aggregator, Binary, BinaryOp, Card, Node, NodeExpr, Selector, Span, Type,
};
use super::functions::Function;
use super::grammar::Parsed;
use super::place::Place;
use super::quoting::quoted;

/// Checks a tree and settles how set operators match.
pub(super) fn check(text: &str, node: &mut Node) -> Parsed<()> {
    Check { text }.node(node)
}

struct Check<'t> {
    text: &'t str,
}

impl Check<'_> {
    fn error(&self, span: Span, what: impl std::fmt::Display) -> PromqlError {
        PromqlError::parse(format!("{}: parse error: {what}", Place::of(self.text, span.start)))
    }

    fn node(&self, node: &mut Node) -> Parsed<()> {
        let span = node.span;
        match &mut node.expr {
            NodeExpr::Number { .. } | NodeExpr::Text(_) => Ok(()),
            NodeExpr::Paren(inner) => self.node(inner),
            NodeExpr::Selector(selector) | NodeExpr::Matrix { selector, .. } => {
                self.selector(selector, span)
            }
            NodeExpr::Unary { inner, .. } => {
                self.node(inner)?;
                if matches!(inner.ty, Type::Scalar | Type::Vector) {
                    return Ok(());
                }
                let what =
                    "unary expression only allowed on expressions of type scalar or instant vector";
                Err(self.error(span, format!("{what}, got {:?}", inner.ty.documented())))
            }
            NodeExpr::Subquery(subquery) => {
                self.node(&mut subquery.inner)?;
                if subquery.inner.ty == Type::Vector {
                    return Ok(());
                }
                let what = "subquery is only allowed on instant vector";
                Err(self.error(span, format!("{what}, got {} instead", subquery.inner.ty.as_str())))
            }
            NodeExpr::Aggregate(aggregate) => self.aggregate(aggregate),
            NodeExpr::Binary(binary) => self.binary(binary, span),
            NodeExpr::Call { func, args } => self.call(func, args, span),
        }
    }

    fn expect(&self, node: &mut Node, wanted: Type, context: &str) -> Parsed<()> {
        self.node(node)?;
        if node.ty == wanted {
            return Ok(());
        }
        let (wanted, got) = (wanted.documented(), node.ty.documented());
        Err(self.error(node.span, format!("expected type {wanted} in {context}, got {got}")))
    }

    fn aggregate(&self, aggregate: &mut Aggregate) -> Parsed<()> {
        self.expect(&mut aggregate.inner, Type::Vector, "aggregation expression")?;
        let wanted = match aggregate.op {
            Aggregator::CountValues => Type::Text,
            _ => Type::Scalar,
        };
        match &mut aggregate.param {
            Some(param) => self.expect(param, wanted, "aggregation parameter"),
            None => Ok(()),
        }
    }

    fn binary(&self, binary: &mut Binary, span: Span) -> Parsed<()> {
        self.node(&mut binary.left)?;
        self.node(&mut binary.right)?;
        let operator = Span { start: self.operator_start(binary), end: span.end };
        let is_comparison = matches!(binary.op, BinaryOp::Number(op) if op.is_comparison());
        let types = [binary.left.ty, binary.right.ty];
        if binary.is_bool && !is_comparison {
            let what = "bool modifier can only be used on comparison operators";
            return Err(self.error(operator, what));
        }
        if is_comparison && !binary.is_bool && types == [Type::Scalar; 2] {
            return Err(self.error(operator, "comparisons between scalars must use BOOL modifier"));
        }
        let matching = &binary.matching;
        let twice = matching.labels.iter().find(|label| matching.include.contains(label));
        if let Some(label) = twice.filter(|_| matching.is_on) {
            let label = quoted(label);
            let what = format!("label {label} must not occur in ON and GROUP clause at once");
            return Err(self.error(operator, what));
        }
        for side in [&binary.left, &binary.right] {
            if !matches!(side.ty, Type::Scalar | Type::Vector) {
                let what = "binary expression must contain only scalar and instant vector types";
                return Err(self.error(side.span, what));
            }
        }
        if types == [Type::Vector; 2] {
            self.matching(binary, span)
        } else {
            self.without_matching(binary, span)
        }
    }

    fn matching(&self, binary: &mut Binary, span: Span) -> Parsed<()> {
        let BinaryOp::Set(_) = binary.op else { return Ok(()) };
        let matching = &mut binary.matching;
        if matching.card != Card::OneToOne {
            let op = quoted(binary.op.as_str());
            return Err(self.error(span, format!("no grouping allowed for {op} operation")));
        }
        if matching.fill_left.is_some() || matching.fill_right.is_some() {
            let what = "filling in missing series not allowed for set operators";
            return Err(self.error(span, what));
        }
        matching.card = Card::ManyToMany;
        Ok(())
    }

    fn without_matching(&self, binary: &Binary, span: Span) -> Parsed<()> {
        let matching = &binary.matching;
        if !matching.labels.is_empty() {
            let what = "vector matching only allowed between instant vectors";
            return Err(self.error(span, what));
        }
        if matching.fill_left.is_some() || matching.fill_right.is_some() {
            let what = "filling in missing series only allowed between instant vectors";
            return Err(self.error(span, what));
        }
        if let BinaryOp::Set(_) = binary.op {
            let op = quoted(binary.op.as_str());
            let what = format!("set operator {op} not allowed in binary scalar expression");
            return Err(self.error(span, what));
        }
        Ok(())
    }

    /// The first byte after the left side that is not blank.
    fn operator_start(&self, binary: &Binary) -> usize {
        let after = binary.left.span.end.min(self.text.len());
        let rest = &self.text[after..];
        after + (rest.len() - rest.trim_start().len())
    }

    fn call(&self, func: &Function, args: &mut [Node], span: Span) -> Parsed<()> {
        self.arity(func, args.len(), span)?;
        if func.name == "info" && args.len() == 2 {
            // It may select everything: what it describes is selected by the first argument.
            return self.info(func, args);
        }
        for (idx, arg) in args.iter_mut().enumerate() {
            let wanted = func.args[idx.min(func.args.len() - 1)];
            self.argument(func, arg, wanted)?;
        }
        Ok(())
    }

    fn argument(&self, func: &Function, arg: &mut Node, wanted: Type) -> Parsed<()> {
        self.expect(arg, wanted, &format!("call to function {}", quoted(func.name)))
    }

    fn info(&self, func: &Function, args: &mut [Node]) -> Parsed<()> {
        let [inner, labels] = args else { return Ok(()) };
        self.argument(func, inner, Type::Vector)?;
        match &labels.expr {
            NodeExpr::Selector(selector) if selector.name.is_empty() => Ok(()),
            NodeExpr::Selector(_) => {
                let what = "expected label selectors only, got vector selector instead";
                Err(self.error(labels.span, what))
            }
            _ => Err(self.error(labels.span, "expected label selectors only")),
        }
    }

    fn arity(&self, func: &Function, n_args: usize, span: Span) -> Parsed<()> {
        let (wanted, name) = (func.args.len(), quoted(func.name));
        if func.variadic == 0 {
            if wanted == n_args {
                return Ok(());
            }
            let what = format!("expected {wanted} argument(s) in call to {name}, got {n_args}");
            return Err(self.error(span, what));
        }
        let least = wanted - 1;
        if n_args < least {
            let what =
                format!("expected at least {least} argument(s) in call to {name}, got {n_args}");
            return Err(self.error(span, what));
        }
        let most = usize::try_from(func.variadic).ok().map(|more| least + more);
        if let Some(most) = most.filter(|most| n_args > *most) {
            let what =
                format!("expected at most {most} argument(s) in call to {name}, got {n_args}");
            return Err(self.error(span, what));
        }
        Ok(())
    }

    fn selector(&self, selector: &Selector, span: Span) -> Parsed<()> {
        if !selector.name.is_empty() {
            let others = &selector.matchers[..selector.matchers.len() - 1];
            let Some(twice) = others.iter().find(|m| m.name == METRIC_NAME) else {
                return Ok(());
            };
            let (first, second) = (quoted(&selector.name), quoted(&twice.value));
            let what = format!("metric name must not be set twice: {first} or {second}");
            return Err(self.error(span, what));
        }
        if selector.matchers.iter().all(|matcher| matcher.matches_empty()) {
            let what = "vector selector must contain at least one non-empty matcher";
            return Err(self.error(span, what));
        }
        Ok(())
    }
}
