//! Arithmetic between functions over time, each with its pipeline in parentheses.

use super::super::ast::{Arithmetic, Math};
use super::super::error::TraceqlError;
use super::{Item, Parser};

impl Parser<'_> {
    /// Goes on after an operand with operators that bind at least so tightly.
    pub(super) fn math_rest(&mut self, mut lhs: Math, least: u8) -> Result<Math, TraceqlError> {
        while let Some((op, binding)) = self.arithmetic(least) {
            if matches!(op, Arithmetic::Modulo | Arithmetic::Power) {
                return Err(self.unexpected("one of + - * / between metrics before this"));
            }
            self.level()?;
            let Item::Math(rhs) = self.primary()? else {
                return Err(self.unexpected("a function over time in parentheses before this"));
            };
            let rhs = self.nested(|parser| parser.math_rest(rhs, binding + 1))?;
            let (left, rhs, seconds) = (Box::new(lhs), Box::new(rhs), Vec::new());
            lhs = Math::Operation { op, lhs: left, rhs, seconds };
        }
        Ok(lhs)
    }
}
