//! Numbers of a spanset: aggregates, and arithmetic between them.

use super::super::ast::{Aggregate, Arithmetic, Scalar};
use super::super::error::TraceqlError;
use super::super::lex::Token;
use super::super::value::Value;
use super::{Item, Parser, TIMES, negated};

impl Parser<'_> {
    pub(super) fn scalar(&mut self) -> Result<Scalar, TraceqlError> {
        let first = self.scalar_operand()?;
        self.scalar_rest(first, 0)
    }

    fn scalar_operand(&mut self) -> Result<Scalar, TraceqlError> {
        if matches!(self.peek(), Token::Symbol("(" | "{")) {
            return match self.primary()? {
                Item::Scalar(scalar) => Ok(scalar),
                _ => Err(self.unexpected("a number or an aggregate before this")),
            };
        }
        self.scalar_leaf()
    }

    /// Goes on after an operand with operators that bind at least so tightly.
    pub(super) fn scalar_rest(
        &mut self,
        mut lhs: Scalar,
        least: u8,
    ) -> Result<Scalar, TraceqlError> {
        while let Some((op, binding)) = self.arithmetic(least) {
            self.level()?;
            let rhs = self.scalar_operand()?;
            let rhs = self.nested(|parser| parser.scalar_rest(rhs, next_binding(op, binding)))?;
            lhs = Scalar::Arithmetic(op, Box::new(lhs), Box::new(rhs));
        }
        Ok(lhs)
    }

    pub(super) fn arithmetic(&mut self, least: u8) -> Option<(Arithmetic, u8)> {
        let Token::Symbol(symbol) = self.peek() else { return None };
        let op = Arithmetic::ALL.iter().find(|(text, _)| text == symbol)?.1;
        let binding = binding(op);
        if binding < least {
            return None;
        }
        self.next();
        Some((op, binding))
    }

    pub(super) fn scalar_leaf(&mut self) -> Result<Scalar, TraceqlError> {
        let is_negative = self.accept("-");
        match self.peek().clone() {
            Token::Value(value @ (Value::Int(_) | Value::Float(_) | Value::Duration(_))) => {
                self.next();
                Ok(Scalar::Static(if is_negative { negated(value) } else { value }))
            }
            Token::Word(word) if !is_negative => {
                let found = Aggregate::ALL.iter().find(|(name, _)| *name == word);
                let Some((_, aggregate)) = found else {
                    return Err(self.unexpected("a spanset, `{ … }`, or a function"));
                };
                self.next();
                self.expect("(")?;
                let field = match aggregate {
                    Aggregate::Count => None,
                    _ => Some(self.field()?),
                };
                self.expect(")")?;
                Ok(Scalar::Aggregate(*aggregate, field))
            }
            _ => Err(self.unexpected("a spanset, `{ … }`, or a function")),
        }
    }
}

fn binding(op: Arithmetic) -> u8 {
    match op {
        Arithmetic::Add | Arithmetic::Subtract => 2,
        Arithmetic::Multiply | Arithmetic::Divide | Arithmetic::Modulo => TIMES,
        Arithmetic::Power => 4,
    }
}

/// How tightly what follows must bind to belong to the right side.
fn next_binding(op: Arithmetic, binding: u8) -> u8 {
    if op == Arithmetic::Power { binding } else { binding + 1 }
}
