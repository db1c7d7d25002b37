//! Tokens to tree, by recursive descent; how deep is counted, so the stack is never in danger.
//!
//! The grammar is that of Prometheus 3. An operator binds by its precedence, all of them to the
//! left but `^`; a sign binds looser than `^` and tighter than `*`. What stands after an operand
//! (`[5m]`, `offset`, `@`) binds tightest of all. An error has the place of the token that was not
//! expected, as Prometheus reports it.

use super::super::error::{KEY_DEPTH, PromqlError};
use super::super::limits::ParseLimits;
use super::ast::{
    Aggregate, Aggregator, Binary, BinaryOp, Card, Matching, Node, NodeExpr, Op, Selector, Span,
    TIGHTEST, Type,
};
use super::functions::function;
use super::item::{Item, Keyword, Kind, describe};
use super::lengths::parse_duration;
use super::lex::{Lexed, lex, number_of, over};
use super::place::Place;
use super::quoting::{quoted, unquote};

/// How many levels of operators there may be for each level of brackets.
const OPERATORS_A_LEVEL: usize = 4;

pub(super) struct Parser<'t> {
    pub(super) text: &'t str,
    lexed: Lexed,
    at: usize,
    /// Where the last token ended that can end an expression.
    pub(super) last_closing: usize,
    pub(super) limits: &'t ParseLimits,
    pub(super) n_regexes: usize,
}

pub(super) type Parsed<T> = Result<T, PromqlError>;

impl<'t> Parser<'t> {
    pub(super) fn new(text: &'t str, limits: &'t ParseLimits) -> Parsed<Self> {
        let lexed = lex(text, limits)?;
        Ok(Self { text, lexed, at: 0, last_closing: 0, limits, n_regexes: 0 })
    }

    /// Reads the whole text.
    pub(super) fn query(mut self) -> Parsed<Node> {
        if self.kind() == Kind::Eof {
            return Err(self.error(Span::default(), "no expression found in input"));
        }
        let node = self.expression(1, 1)?;
        if self.kind() == Kind::Eof { Ok(node) } else { Err(self.unexpected("", "")) }
    }

    // Tokens.

    pub(super) fn item(&self) -> Item {
        self.lexed.items[self.at]
    }

    pub(super) fn kind(&self) -> Kind {
        self.item().kind
    }

    fn kind_after(&self) -> Kind {
        self.lexed.items.get(self.at + 1).map_or(Kind::Eof, |item| item.kind)
    }

    pub(super) fn text_of(&self, item: Item) -> &'t str {
        &self.text[item.span.start..item.span.end]
    }

    /// Takes the token; the last one stays.
    pub(super) fn take(&mut self) -> Item {
        let item = self.item();
        let closes = matches!(
            item.kind,
            Kind::RightBrace
                | Kind::RightParen
                | Kind::RightBracket
                | Kind::Duration
                | Kind::Number
        );
        if closes {
            self.last_closing = item.span.end;
        }
        self.at = (self.at + 1).min(self.lexed.items.len() - 1);
        item
    }

    pub(super) fn accept(&mut self, kind: Kind) -> bool {
        let is_there = self.kind() == kind;
        if is_there {
            self.take();
        }
        is_there
    }

    pub(super) fn expect(&mut self, kind: Kind, context: &str, expected: &str) -> Parsed<Item> {
        if self.kind() == kind { Ok(self.take()) } else { Err(self.unexpected(context, expected)) }
    }

    // Errors.

    pub(super) fn error(&self, span: Span, what: impl std::fmt::Display) -> PromqlError {
        let place = Place::of(self.text, span.start);
        PromqlError::parse(format!("{place}: parse error: {what}"))
    }

    /// Returns the error of a token that nothing can be made of here.
    pub(super) fn unexpected(&self, context: &str, expected: &str) -> PromqlError {
        let item = self.item();
        if item.kind == Kind::Error {
            return self.error(item.span, &self.lexed.error);
        }
        let mut what = format!("unexpected {}", describe(item.kind, self.text_of(item)));
        if !context.is_empty() {
            what.push_str(" in ");
            what.push_str(context);
        }
        if !expected.is_empty() {
            what.push_str(", expected ");
            what.push_str(expected);
        }
        self.error(item.span, what)
    }

    // Nodes.

    pub(super) fn node(&self, expr: NodeExpr, ty: Type, span: Span) -> Parsed<Node> {
        let mut node = Node { expr, ty, span, depth: 0 };
        node.depth = 1 + node.children().iter().map(|child| child.depth).max().unwrap_or(0);
        self.check_level(node.depth)?;
        Ok(node)
    }

    /// Everything that walks the tree does so by recursion, the parser too.
    pub(super) fn check_level(&self, level: usize) -> Parsed<()> {
        let max = self.limits.depth_max.saturating_mul(OPERATORS_A_LEVEL);
        if level > max {
            return Err(over("levels of operators", level, max, KEY_DEPTH));
        }
        Ok(())
    }

    /// Reads operators that bind at least as tight as `tightness`.
    fn expression(&mut self, tightness: u8, level: usize) -> Parsed<Node> {
        self.check_level(level)?;
        let mut left = self.signed(level)?;
        while let Kind::Op(op) = self.kind() {
            let binds = op.precedence();
            if binds < tightness {
                break;
            }
            self.take();
            let (is_bool, matching) = self.modifiers()?;
            let right_first = if op == BinaryOp::Number(Op::Pow) { binds } else { binds + 1 };
            let right = self.expression(right_first, level + 1)?;
            let both_scalars = left.ty == Type::Scalar && right.ty == Type::Scalar;
            let ty = if both_scalars { Type::Scalar } else { Type::Vector };
            let span = left.span.to(right.span);
            let binary = Binary { op, is_bool, left, right, matching };
            left = self.node(NodeExpr::Binary(Box::new(binary)), ty, span)?;
        }
        Ok(left)
    }

    /// Reads an operand with the signs before it.
    fn signed(&mut self, level: usize) -> Parsed<Node> {
        let mut signs = Vec::new();
        while let Kind::Op(BinaryOp::Number(op @ (Op::Add | Op::Sub))) = self.kind() {
            signs.push((op == Op::Sub, self.take().span.start));
        }
        if signs.is_empty() {
            return self.operand(level);
        }
        let mut node = self.expression(TIGHTEST, level + 1)?;
        for (is_minus, start) in signs.into_iter().rev() {
            let span = Span { start, end: node.span.end };
            if let NodeExpr::Number { value, .. } = &mut node.expr {
                *value = if is_minus { -*value } else { *value };
                node.span = span;
                continue;
            }
            let ty = node.ty;
            node = self.node(NodeExpr::Unary { is_minus, inner: Box::new(node) }, ty, span)?;
        }
        Ok(node)
    }

    fn operand(&mut self, level: usize) -> Parsed<Node> {
        let mut node = self.plain_operand(level)?;
        loop {
            node = match self.kind() {
                Kind::LeftBracket => self.bracket(node, level)?,
                Kind::Keyword(Keyword::Offset) => self.offset(node, level)?,
                Kind::Keyword(Keyword::Anchored | Keyword::Smoothed) => self.edges(node)?,
                Kind::At => self.at_modifier(node)?,
                _ => return Ok(node),
            };
        }
    }

    fn plain_operand(&mut self, level: usize) -> Parsed<Node> {
        let is_call = self.kind_after() == Kind::LeftParen;
        match self.kind() {
            Kind::Number | Kind::Duration => self.number_literal(),
            Kind::Text => {
                let item = self.take();
                let value = self.unquoted(item)?;
                self.node(NodeExpr::Text(value), Type::Text, item.span)
            }
            Kind::LeftParen => {
                let open = self.take();
                let inner = self.expression(1, level + 1)?;
                let close = self.expect(Kind::RightParen, "", "")?;
                let (ty, span) = (inner.ty, open.span.to(close.span));
                self.node(NodeExpr::Paren(Box::new(inner)), ty, span)
            }
            Kind::Aggregator(op) if is_call || self.is_before_grouping() => {
                self.aggregation(op, level)
            }
            Kind::Name | Kind::Edge(_) if is_call => self.call(level),
            Kind::LeftBrace => self.selector(),
            kind if kind.can_be_metric() => self.selector(),
            _ => Err(self.unexpected("", "")),
        }
    }

    fn is_before_grouping(&self) -> bool {
        matches!(self.kind_after(), Kind::Keyword(Keyword::By | Keyword::Without))
    }

    fn number_literal(&mut self) -> Parsed<Node> {
        let item = self.take();
        let is_duration = item.kind == Kind::Duration;
        let value = self.seconds_of(item)?;
        self.node(NodeExpr::Number { value, is_duration }, Type::Scalar, item.span)
    }

    /// Returns the number, or the seconds of a duration.
    pub(super) fn seconds_of(&self, item: Item) -> Parsed<f64> {
        let text = self.text_of(item);
        if item.kind == Kind::Duration {
            return parse_duration(text).map_err(|what| self.error(item.span, what));
        }
        number_of(text)
            .map_err(|()| self.error(item.span, format!("error parsing number: {}", quoted(text))))
    }

    pub(super) fn unquoted(&self, item: Item) -> Parsed<String> {
        let literal = self.text_of(item);
        unquote(literal).ok_or_else(|| {
            let what = format!("error unquoting string {}: invalid syntax", quoted(literal));
            self.error(item.span, what)
        })
    }

    fn call(&mut self, level: usize) -> Parsed<Node> {
        let name = self.take();
        let text = self.text_of(name);
        let Some(func) = function(text) else {
            let what = format!("unknown function with name {}", quoted(text));
            return Err(self.error(name.span, what));
        };
        if func.is_experimental {
            self.check_experimental(name.span, format!("function {}", quoted(text)))?;
        }
        let args = self.arguments(level)?;
        let span = Span { start: name.span.start, end: self.last_closing };
        self.node(NodeExpr::Call { func, args }, func.returns, span)
    }

    /// Refuses what is experimental unless it is allowed.
    fn check_experimental(&self, span: Span, what: String) -> Parsed<()> {
        if self.limits.has_experimental {
            return Ok(());
        }
        let what = format!("{what} is not enabled: set `query.promql_experimental` to allow it");
        Err(self.error(span, what))
    }

    fn arguments(&mut self, level: usize) -> Parsed<Vec<Node>> {
        self.expect(Kind::LeftParen, "", "")?;
        let mut args = Vec::new();
        if self.accept(Kind::RightParen) {
            return Ok(args);
        }
        loop {
            args.push(self.expression(1, level + 1)?);
            let comma = self.item();
            if !self.accept(Kind::Comma) {
                break;
            }
            if self.kind() == Kind::RightParen {
                let what = "trailing commas not allowed in function call args";
                return Err(self.error(comma.span, what));
            }
        }
        self.expect(Kind::RightParen, "", "")?;
        Ok(args)
    }

    fn aggregation(&mut self, op: Aggregator, level: usize) -> Parsed<Node> {
        let name = self.take();
        let mut grouping = self.grouping()?;
        if self.kind() != Kind::LeftParen {
            return Err(self.unexpected("aggregation", ""));
        }
        let mut args = self.arguments(level)?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let span = Span { start: name.span.start, end: self.last_closing };
        if args.is_empty() {
            return Err(self.error(span, "no arguments for aggregate expression provided"));
        }
        if op.is_experimental() {
            self.check_experimental(span, format!("{}()", op.as_str()))?;
        }
        let wanted = if op.has_param() { 2 } else { 1 };
        if args.len() != wanted {
            let what = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                args.len()
            );
            return Err(self.error(span, what));
        }
        let inner = args.pop().expect("there are one or two");
        let (is_without, labels) = grouping.unwrap_or_default();
        let aggregate = Aggregate { op, is_without, labels, param: args.pop(), inner };
        self.node(NodeExpr::Aggregate(Box::new(aggregate)), Type::Vector, span)
    }

    /// Reads `by (…)` or `without (…)`, where true is `without`.
    fn grouping(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let is_without = match self.kind() {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.take();
        Ok(Some((is_without, self.label_list()?)))
    }

    fn label_list(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        self.expect(Kind::LeftParen, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        while !self.accept(Kind::RightParen) {
            let item = self.item();
            labels.push(match item.kind {
                Kind::Text => self.unquoted(item)?,
                kind if kind.is_word() => self.text_of(item).to_owned(),
                _ => return Err(self.unexpected(CONTEXT, "label")),
            });
            if labels.last().is_some_and(String::is_empty) {
                return Err(self.error(item.span, "invalid label name for grouping: \"\""));
            }
            self.take();
            if !self.accept(Kind::Comma) && self.kind() != Kind::RightParen {
                return Err(self.unexpected(CONTEXT, "\",\" or \")\""));
            }
        }
        Ok(labels)
    }

    /// Reads what stands between an operator and its right side.
    fn modifiers(&mut self) -> Parsed<(bool, Matching)> {
        let is_bool = self.accept(Kind::Keyword(Keyword::Bool));
        let mut matching = Matching::default();
        let is_listed = match self.kind() {
            Kind::Keyword(Keyword::On) => {
                matching.is_on = true;
                true
            }
            Kind::Keyword(Keyword::Ignoring) => true,
            _ => false,
        };
        if is_listed {
            self.take();
            matching.labels = self.label_list()?;
            matching.card = match self.kind() {
                Kind::Keyword(Keyword::GroupLeft) => Card::ManyToOne,
                Kind::Keyword(Keyword::GroupRight) => Card::OneToMany,
                _ => Card::OneToOne,
            };
            if matching.card != Card::OneToOne {
                self.take();
                if self.kind() == Kind::LeftParen {
                    matching.include = self.label_list()?;
                }
            }
        }
        self.fill_modifiers(&mut matching)?;
        Ok((is_bool, matching))
    }

    fn fill_modifiers(&mut self, matching: &mut Matching) -> Parsed<()> {
        while self.kind_after() == Kind::LeftParen {
            let item = self.item();
            let is_free = (matching.fill_left.is_none(), matching.fill_right.is_none());
            let (left, right) = match item.kind {
                Kind::Keyword(Keyword::Fill) if is_free == (true, true) => (true, true),
                Kind::Keyword(Keyword::FillLeft) if is_free.0 => (true, false),
                Kind::Keyword(Keyword::FillRight) if is_free.1 => (false, true),
                _ => return Ok(()),
            };
            self.take();
            self.check_experimental(item.span, "the binary operator's fill modifier".to_owned())?;
            let value = self.fill_value()?;
            if left {
                matching.fill_left = Some(value);
            }
            if right {
                matching.fill_right = Some(value);
            }
        }
        Ok(())
    }

    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(Kind::LeftParen, "fill modifier", "\"(\"")?;
        let value = self.signed_number("fill modifier", "number")?;
        self.expect(Kind::RightParen, "fill modifier", "\")\"")?;
        Ok(value)
    }

    /// Reads a number with or without a sign.
    pub(super) fn signed_number(&mut self, context: &str, expected: &str) -> Parsed<f64> {
        let sign = match self.kind() {
            Kind::Op(BinaryOp::Number(Op::Sub)) => -1.0,
            _ => 1.0,
        };
        if matches!(self.kind(), Kind::Op(BinaryOp::Number(Op::Sub | Op::Add))) {
            self.take();
        }
        match self.kind() {
            Kind::Number | Kind::Duration => {
                let item = self.take();
                Ok(sign * self.seconds_of(item)?)
            }
            _ => Err(self.unexpected(context, expected)),
        }
    }

    fn selector(&mut self) -> Parsed<Node> {
        let first = self.item();
        let name = match first.kind {
            Kind::LeftBrace => String::new(),
            _ => {
                let item = self.take();
                self.text_of(item).to_owned()
            }
        };
        let mut span = first.span;
        let mut matchers = Vec::new();
        if self.kind() == Kind::LeftBrace {
            matchers = self.matchers()?;
            span.end = self.last_closing;
        }
        let selector = Selector::new(name, matchers);
        self.node(NodeExpr::Selector(selector), Type::Vector, span)
    }
}
