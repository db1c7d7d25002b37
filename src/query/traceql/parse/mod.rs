//! From tokens to a query: descent by hand, precedences as Tempo's grammar has them.
//!
//! ```text
//! lowest   |   then && ||   then = != < <= > >= =~ !~ and the spanset relations
//!          then + -   then ! and unary -   then * / %   then ^ (from the right)
//! ```
//! `&&` and `||` bind alike, from the left, which is Tempo's choice: `a || b && c` is
//! `(a || b) && c`. What a parenthesis holds is known only when it is closed, so everything in a
//! pipeline is read as an [`Item`] first. Spansets and pipelines are read here, what stands between
//! braces in `fields`, aggregates in `scalars`, functions over time in `metrics`, arithmetic between
//! those in `math`.

mod fields;
mod math;
mod metrics;
mod scalars;

use std::cell::Cell;

use super::ast::{
    Compare, Math, Metrics, Query, SPANSET_OPS, Scalar, ScalarFilter, Spanset, SpansetOp, Stage,
};
use super::attribute::Attribute;
use super::check;
use super::error::TraceqlError;
use super::lex::{Placed, Token, syntax, tokens};
use super::limits::Limits;
use super::value::Value;

/// The most levels of the tree, in multiples of the deepest nesting: an operator is a level too.
const LEVELS_PER_DEPTH: usize = 4;

/// Reads a query.
pub fn parse(text: &str, limits: &Limits) -> Result<Query, TraceqlError> {
    let (n, max) = (text.len(), limits.text_bytes_max);
    if n > max {
        let key = "query.traceql_text_max";
        return Err(TraceqlError::Limit { what: "bytes of text", n, max, key });
    }
    let (tokens, n_regexes) = (tokens(text)?, Cell::new(0));
    let mut parser = Parser { text, tokens, at: 0, limits, depth: 0, n_levels: 0, n_regexes };
    let parsed = parser.pipeline()?;
    let hints = parser.hints()?;
    parser.expect_end()?;
    let query = match parsed.end {
        End::Stages => Query { stages: parsed.stages, metrics: None, math: None, hints },
        End::Metrics(metrics) => {
            Query { stages: parsed.stages, metrics: Some(metrics), math: None, hints }
        }
        // One query is the same with and without parentheses.
        End::Math(Math::Query(only)) => Query { hints, ..*only },
        End::Math(math) => Query { stages: Vec::new(), metrics: None, math: Some(math), hints },
        End::Scalar(_) => {
            return Err(parser.unexpected("a comparison, such as `> 2`, after the aggregate"));
        }
    };
    check::query(&query)?;
    Ok(query)
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Placed>,
    at: usize,
    limits: &'a Limits,
    depth: usize,
    n_levels: usize,
    n_regexes: Cell<usize>,
}

/// A pipeline, and what it ends with.
struct Parsed {
    stages: Vec<Stage>,
    end: End,
}

enum End {
    Stages,
    Scalar(Scalar),
    Metrics(Metrics),
    Math(Math),
}

/// Something between two pipes.
enum Item {
    Spanset(Spanset),
    Scalar(Scalar),
    Filter(ScalarFilter),
    Math(Math),
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let is_it = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        if is_it {
            self.next();
        }
        is_it
    }

    fn expect(&mut self, symbol: &str) -> Result<(), TraceqlError> {
        if self.accept(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn expect_end(&mut self) -> Result<(), TraceqlError> {
        if *self.peek() == Token::End {
            Ok(())
        } else {
            Err(self.unexpected("the end of the query"))
        }
    }

    fn unexpected(&self, wanted: &str) -> TraceqlError {
        let (token, at) = &self.tokens[self.at];
        let shown: String = token.shown().chars().take(80).collect();
        let message = format!("syntax error: unexpected {shown}, expecting {wanted}");
        syntax(self.text, *at, message)
    }

    /// Reads something nested; only so deep.
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, TraceqlError>,
    ) -> Result<T, TraceqlError> {
        self.depth += 1;
        let max = self.limits.depth_max;
        if self.depth > max {
            let (n, key) = (self.depth, "query.traceql_depth_max");
            return Err(TraceqlError::Limit { what: "levels of nesting", n, max, key });
        }
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Counts an operator, which is a level of the tree.
    fn level(&mut self) -> Result<(), TraceqlError> {
        self.n_levels += 1;
        let max = self.limits.depth_max * LEVELS_PER_DEPTH;
        if self.n_levels > max {
            let (n, key) = (self.n_levels, "query.traceql_depth_max (a quarter of this)");
            return Err(TraceqlError::Limit { what: "operators", n, max, key });
        }
        Ok(())
    }

    fn pipeline(&mut self) -> Result<Parsed, TraceqlError> {
        let mut stages = Vec::new();
        loop {
            if let Token::Word(word) = self.peek().clone() {
                if let Some(metrics) = self.metrics(&word)? {
                    return Ok(Parsed { stages, end: End::Metrics(metrics) });
                }
                if let Some(stage) = self.word_stage(&word, stages.is_empty())? {
                    stages.push(stage);
                    if !self.accept("|") {
                        return Ok(Parsed { stages, end: End::Stages });
                    }
                    continue;
                }
            }
            match self.item()? {
                Item::Spanset(spanset) => stages.push(Stage::Spans(spanset)),
                Item::Filter(filter) => stages.push(Stage::Filter(filter)),
                Item::Scalar(scalar) => return Ok(Parsed { stages, end: End::Scalar(scalar) }),
                Item::Math(math) if stages.is_empty() => {
                    let math = math.followed_by(self.second_stages()?);
                    return Ok(Parsed { stages, end: End::Math(math) });
                }
                Item::Math(_) => {
                    return Err(self.unexpected("arithmetic between metrics to stand alone"));
                }
            }
            if !self.accept("|") {
                return Ok(Parsed { stages, end: End::Stages });
            }
        }
    }

    /// Reads `by`, `select` or `coalesce`.
    fn word_stage(&mut self, word: &str, is_first: bool) -> Result<Option<Stage>, TraceqlError> {
        match word {
            "by" => {
                self.next();
                self.expect("(")?;
                let field = self.field()?;
                self.expect(")")?;
                Ok(Some(Stage::By(field)))
            }
            "select" => {
                self.next();
                Ok(Some(Stage::Select(self.attributes()?)))
            }
            "coalesce" if !is_first => {
                self.next();
                self.expect("(")?;
                self.expect(")")?;
                Ok(Some(Stage::Coalesce))
            }
            _ => Ok(None),
        }
    }

    fn attributes(&mut self) -> Result<Vec<Attribute>, TraceqlError> {
        self.expect("(")?;
        let mut attributes = vec![self.attribute()?];
        while self.accept(",") {
            attributes.push(self.attribute()?);
        }
        self.expect(")")?;
        Ok(attributes)
    }

    fn attribute(&mut self) -> Result<Attribute, TraceqlError> {
        if !matches!(self.peek(), Token::Attribute(_)) {
            return Err(self.unexpected("an attribute"));
        }
        match self.next() {
            Token::Attribute(attribute) => Ok(attribute),
            _ => unreachable!("it was looked at just before"),
        }
    }

    /// Reads spansets and scalars with the operators between them.
    fn item(&mut self) -> Result<Item, TraceqlError> {
        let lhs = self.related()?;
        let Item::Spanset(mut lhs) = lhs else { return Ok(lhs) };
        while let Some(op) = self.spanset_op(true) {
            self.level()?;
            let Item::Spanset(rhs) = self.related()? else {
                return Err(self.unexpected("a spanset, `{ … }`"));
            };
            lhs = Spanset::Operation(op, Box::new(lhs), Box::new(rhs));
        }
        Ok(Item::Spanset(lhs))
    }

    fn related(&mut self) -> Result<Item, TraceqlError> {
        match self.primary()? {
            Item::Spanset(mut lhs) => {
                while let Some(op) = self.spanset_op(false) {
                    self.level()?;
                    let Item::Spanset(rhs) = self.primary()? else {
                        return Err(self.unexpected("a spanset, `{ … }`"));
                    };
                    lhs = Spanset::Operation(op, Box::new(lhs), Box::new(rhs));
                }
                Ok(Item::Spanset(lhs))
            }
            Item::Scalar(scalar) => {
                let lhs = self.scalar_rest(scalar, 0)?;
                let Some(op) = self.comparison() else { return Ok(Item::Scalar(lhs)) };
                let rhs = self.scalar()?;
                Ok(Item::Filter(ScalarFilter { op, lhs, rhs }))
            }
            filter @ Item::Filter(_) => Ok(filter),
            Item::Math(math) => self.math_rest(math, 0).map(Item::Math),
        }
    }

    /// Takes `&&` or `||`, or one of the relations.
    fn spanset_op(&mut self, is_logic: bool) -> Option<SpansetOp> {
        let Token::Symbol(symbol) = self.peek() else { return None };
        let op = SPANSET_OPS.iter().find(|(text, _)| text == symbol)?.1;
        if matches!(op, SpansetOp::And | SpansetOp::Or) != is_logic {
            return None;
        }
        self.next();
        Some(op)
    }

    fn comparison(&mut self) -> Option<Compare> {
        let Token::Symbol(symbol) = self.peek() else { return None };
        let op = Compare::ALL.iter().find(|(text, _)| text == symbol)?.1;
        self.next();
        Some(op)
    }

    fn primary(&mut self) -> Result<Item, TraceqlError> {
        if self.accept("{") {
            if self.accept("}") {
                return Ok(Item::Spanset(Spanset::Filter(None)));
            }
            let field = self.field()?;
            self.expect("}")?;
            return Ok(Item::Spanset(Spanset::Filter(Some(field))));
        }
        if !self.accept("(") {
            return self.scalar_leaf().map(Item::Scalar);
        }
        let parsed = self.nested(Self::pipeline)?;
        let item = match (parsed.end, parsed.stages) {
            (End::Metrics(metrics), stages) => {
                let query = Query { stages, metrics: Some(metrics), math: None, hints: Vec::new() };
                Item::Math(Math::Query(Box::new(query)))
            }
            (End::Math(math), _) => Item::Math(math),
            (End::Scalar(scalar), stages) if stages.is_empty() => Item::Scalar(scalar),
            (End::Scalar(scalar), stages) => {
                Item::Scalar(Scalar::Pipeline(stages, Box::new(scalar)))
            }
            (End::Stages, mut stages) => match (stages.len(), stages.pop()) {
                (1, Some(Stage::Spans(spanset))) => Item::Spanset(spanset),
                (_, last) => {
                    stages.extend(last);
                    Item::Spanset(Spanset::Pipeline(stages))
                }
            },
        };
        self.expect(")")?;
        Ok(item)
    }
}

/// How tightly `*` binds.
const TIMES: u8 = 3;

fn negated(value: Value<'static>) -> Value<'static> {
    match value {
        Value::Int(value) => Value::Int(value.wrapping_neg()),
        Value::Float(value) => Value::Float(-value),
        Value::Duration(ns) => Value::Duration(ns.wrapping_neg()),
        other => other,
    }
}
