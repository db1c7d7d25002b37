//! What stands after an operand: `[5m]`, `[1h:1m]`, `offset`, `@`, `anchored`, `smoothed`; and the
//! durations in there.

use super::super::grid::to_i64;
use super::ast::{
    At, BinaryOp, Edges, Node, NodeExpr, Op, Selector, Span, Subquery, TIGHTEST, Type, When,
};
use super::grammar::{Parsed, Parser};
use super::item::{Edge, Item, Keyword, Kind, extreme_of};
use super::lengths::{Length, SECONDS_MAX};

const WANTED: &str = "number, duration, step(), or range()";
const NOT_SELECTED: &str = "must be preceded by an instant vector selector or range vector \
                            selector or a subquery";

impl Parser<'_> {
    /// Reads `[range]` or `[range:step]`.
    pub(super) fn bracket(&mut self, node: Node, level: usize) -> Parsed<Node> {
        let open = self.expect(Kind::LeftBracket, "", "")?;
        let range = self.positive_length("subquery or range selector", level)?;
        if self.accept(Kind::RightBracket) {
            return self.matrix(node, range, open);
        }
        self.expect(Kind::Colon, "subquery or range", "\":\" or \"]\"")?;
        let step = match self.kind() {
            Kind::RightBracket => None,
            _ => Some(self.positive_length("subquery selector", level)?),
        };
        self.expect(Kind::RightBracket, "subquery selector", "\"]\"")?;
        let span = Span { start: node.span.start, end: self.last_closing };
        let subquery = Subquery { inner: node, range, step, when: When::default() };
        self.node(NodeExpr::Subquery(Box::new(subquery)), Type::Matrix, span)
    }

    fn matrix(&mut self, node: Node, range: Length, open: Item) -> Parsed<Node> {
        let brackets = Span { start: open.span.start, end: self.last_closing };
        let span = Span { start: node.span.start, end: self.last_closing };
        let NodeExpr::Selector(selector) = node.expr else {
            return Err(self.error(brackets, "ranges only allowed for vector selectors"));
        };
        if selector.when.offset.is_some() {
            return Err(self.error(brackets, "no offset modifiers allowed before range"));
        }
        if selector.when.at.is_some() {
            return Err(self.error(brackets, "no @ modifiers allowed before range"));
        }
        self.node(NodeExpr::Matrix { selector, range }, Type::Matrix, span)
    }

    pub(super) fn offset(&mut self, mut node: Node, level: usize) -> Parsed<Node> {
        self.take();
        let length = self.offset_length(level)?;
        let (span, end) = (node.span, self.last_closing);
        let Some(when) = when_of(&mut node) else {
            return Err(self.error(span, format!("offset modifier {NOT_SELECTED}")));
        };
        if when.offset.is_some() {
            return Err(self.error(span, "offset may not be set multiple times"));
        }
        // An offset of zero is none.
        when.offset = (length.constant_ms() != Some(0)).then_some(length);
        node.span.end = end;
        Ok(node)
    }

    pub(super) fn at_modifier(&mut self, mut node: Node) -> Parsed<Node> {
        self.take();
        let span = node.span;
        let at = match self.kind() {
            Kind::Edge(edge @ (Edge::Start | Edge::End)) => {
                self.take();
                self.expect(Kind::LeftParen, "@", "\"(\"")?;
                self.expect(Kind::RightParen, "@", "\")\"")?;
                if edge == Edge::Start { At::Start } else { At::End }
            }
            _ => At::Ms(self.timestamp_ms(span)?),
        };
        let end = self.last_closing;
        let Some(when) = when_of(&mut node) else {
            return Err(self.error(span, format!("@ modifier {NOT_SELECTED}")));
        };
        if when.at.is_some() {
            return Err(self.error(span, "@ <timestamp> may not be set multiple times"));
        }
        when.at = Some(at);
        node.span.end = end;
        Ok(node)
    }

    fn timestamp_ms(&mut self, span: Span) -> Parsed<i64> {
        let seconds = self.signed_number("@", "timestamp")?;
        // The bounds of i64, as numbers.
        if !seconds.is_finite() || seconds.abs() >= 9_223_372_036_854_775_808.0 {
            let what = format!("timestamp out of bounds for @ modifier: {seconds:.6}");
            return Err(self.error(span, what));
        }
        Ok(to_i64((seconds * 1000.0).round()))
    }

    pub(super) fn edges(&mut self, mut node: Node) -> Parsed<Node> {
        let item = self.take();
        let (edges, name) = match item.kind {
            Kind::Keyword(Keyword::Anchored) => (Edges::Anchored, "anchored"),
            _ => (Edges::Smoothed, "smoothed"),
        };
        let set = match &mut node.expr {
            NodeExpr::Selector(selector) | NodeExpr::Matrix { selector, .. } => {
                set_edges(selector, edges)
            }
            NodeExpr::Subquery(_) => Err("is not supported for subqueries"),
            _ => Err("must stand after a selector"),
        };
        match set {
            Ok(()) => {
                node.span.end = item.span.end;
                Ok(node)
            }
            Err("") => {
                let what = "anchored and smoothed modifiers cannot be used together";
                Err(self.error(node.span, what))
            }
            Err(why) => Err(self.error(node.span, format!("{name} modifier {why}"))),
        }
    }

    fn positive_length(&mut self, context: &str, level: usize) -> Parsed<Length> {
        let start = self.item().span;
        if !self.begins_length() {
            return Err(self.unexpected(context, WANTED));
        }
        let length = self.length(1, level)?;
        if length.literal().is_some_and(|(seconds, _)| seconds <= 0.0) {
            return Err(self.error(start, "duration must be greater than 0"));
        }
        Ok(length)
    }

    fn begins_length(&self) -> bool {
        match self.kind() {
            Kind::Number | Kind::Duration | Kind::LeftParen => true,
            Kind::Edge(edge) => matches!(edge, Edge::Step | Edge::Range),
            Kind::Op(BinaryOp::Number(op)) => matches!(op, Op::Add | Op::Sub),
            _ => self.extreme().is_some(),
        }
    }

    /// Returns whether the token is `max_of` and not `min_of`, if it is one of them.
    fn extreme(&self) -> Option<bool> {
        match self.kind() {
            Kind::Name | Kind::Aggregator(_) => extreme_of(self.text_of(self.item())),
            _ => None,
        }
    }

    /// Reads the duration after `offset`: one operand, so that `x offset 1m * 2` is a product.
    fn offset_length(&mut self, level: usize) -> Parsed<Length> {
        if !self.begins_length() {
            return Err(self.unexpected("offset", WANTED));
        }
        let is_minus = self.signs(level)?.unwrap_or(false);
        Ok(negated(is_minus, self.length_operand(level)?))
    }

    /// Reads a duration whose operators bind at least as tight as `tightness`.
    fn length(&mut self, tightness: u8, level: usize) -> Parsed<Length> {
        self.check_level(level)?;
        let mut n_operators = 0;
        // A sign binds looser than `^` and tighter than the rest.
        let mut left = match self.signs(level)? {
            None => self.length_operand(level)?,
            Some(is_minus) => negated(is_minus, self.length(TIGHTEST, level + 1)?),
        };
        while let Kind::Op(BinaryOp::Number(op)) = self.kind() {
            let binds = BinaryOp::Number(op).precedence();
            if binds < tightness || op.is_comparison() || op.is_trim() || op == Op::Atan2 {
                break;
            }
            n_operators += 1;
            self.check_level(level + n_operators)?;
            let place = self.take().span;
            let right = self.length(if op == Op::Pow { binds } else { binds + 1 }, level + 1)?;
            let is_zero = matches!(right, Length::Number { seconds: 0.0, .. });
            match op {
                Op::Div if is_zero => return Err(self.error(place, "division by zero")),
                Op::Mod if is_zero => return Err(self.error(place, "modulo by zero")),
                _ => left = Length::Binary(op, Box::new(left), Box::new(right)),
            }
        }
        Ok(left)
    }

    /// Reads signs; returns whether they make a minus, or `None` when there are none.
    fn signs(&mut self, level: usize) -> Parsed<Option<bool>> {
        let (mut is_minus, mut n_signs) = (None, 0);
        while let Kind::Op(BinaryOp::Number(op @ (Op::Add | Op::Sub))) = self.kind() {
            self.take();
            is_minus = Some(is_minus.unwrap_or(false) ^ (op == Op::Sub));
            n_signs += 1;
            self.check_level(level + n_signs)?;
        }
        Ok(is_minus)
    }

    /// Reads what stands behind `min_of` or `max_of`.
    fn extreme_operand(&mut self, is_max: bool, level: usize) -> Parsed<Length> {
        self.take();
        self.expect(Kind::LeftParen, "duration", "\"(\"")?;
        let left = Box::new(self.length(1, level + 1)?);
        self.expect(Kind::Comma, "duration", "\",\"")?;
        let right = Box::new(self.length(1, level + 1)?);
        self.expect(Kind::RightParen, "duration", "\")\"")?;
        Ok(Length::Extreme { is_max, left, right })
    }

    fn length_operand(&mut self, level: usize) -> Parsed<Length> {
        if let Some(is_max) = self.extreme() {
            return self.extreme_operand(is_max, level);
        }
        let item = self.item();
        match item.kind {
            Kind::Number | Kind::Duration => {
                self.take();
                let seconds = self.seconds_of(item)?;
                if seconds.is_nan() || seconds > SECONDS_MAX {
                    return Err(self.error(item.span, "duration out of range"));
                }
                Ok(Length::Number { seconds, is_duration: item.kind == Kind::Duration })
            }
            Kind::Edge(edge @ (Edge::Step | Edge::Range)) => {
                self.take();
                self.expect(Kind::LeftParen, "duration", "\"(\"")?;
                self.expect(Kind::RightParen, "duration", "\")\"")?;
                Ok(if edge == Edge::Step { Length::Step } else { Length::Range })
            }
            Kind::LeftParen => {
                self.take();
                let inner = self.length(1, level + 1)?;
                self.expect(Kind::RightParen, "duration", "\")\"")?;
                Ok(Length::Wrapped(Box::new(inner)))
            }
            _ => Err(self.unexpected("duration", WANTED)),
        }
    }
}

fn negated(is_minus: bool, inner: Length) -> Length {
    match inner {
        inner if !is_minus => inner,
        Length::Number { seconds, is_duration } => {
            Length::Number { seconds: -seconds, is_duration }
        }
        inner => Length::Negate(Box::new(inner)),
    }
}

/// Returns where a node's `offset` and `@` are kept, when it can have them.
fn when_of(node: &mut Node) -> Option<&mut When> {
    match &mut node.expr {
        NodeExpr::Selector(selector) | NodeExpr::Matrix { selector, .. } => {
            Some(&mut selector.when)
        }
        NodeExpr::Subquery(subquery) => Some(&mut subquery.when),
        _ => None,
    }
}

/// An empty error stands for two modifiers that exclude each other.
fn set_edges(selector: &mut Selector, edges: Edges) -> Result<(), &'static str> {
    if selector.edges != Edges::Extrapolated && selector.edges != edges {
        return Err("");
    }
    selector.edges = edges;
    Ok(())
}
