//! Expressions about one span: what stands between the braces.

use super::super::ast::{Arithmetic, Compare, Field, Logic, Pattern};
use super::super::attribute::{Attribute, Intrinsic};
use super::super::error::TraceqlError;
use super::super::lex::Token;
use super::super::networks::Networks;
use super::super::value::Value;
use super::{Parser, TIMES, negated};
use crate::model::compile_label_regex;
use crate::model::regexp::RegexpError;

/// The most regular expressions of one query: each may compile to a megabyte.
const REGEXES_MAX: usize = 64;

impl Parser<'_> {
    pub(super) fn field(&mut self) -> Result<Field, TraceqlError> {
        self.nested(|parser| parser.field_of(0))
    }

    /// Reads an expression whose operators bind at least so tightly.
    fn field_of(&mut self, least: u8) -> Result<Field, TraceqlError> {
        let mut lhs = self.field_operand()?;
        loop {
            let Token::Symbol(symbol) = *self.peek() else { return Ok(lhs) };
            let (own, from_right) = match field_binding(symbol) {
                Some(binding) if binding >= least => (binding, symbol == "^"),
                _ => return Ok(lhs),
            };
            self.next();
            self.level()?;
            let right = if from_right { own } else { own + 1 };
            let rhs = self.nested(|parser| parser.field_of(right))?;
            lhs = self.joined(symbol, lhs, rhs)?;
        }
    }

    fn joined(&self, symbol: &str, lhs: Field, rhs: Field) -> Result<Field, TraceqlError> {
        if let Some((_, op)) = Compare::ALL.iter().find(|(text, _)| *text == symbol) {
            let (lhs, rhs) = with_whole_ids(lhs, rhs);
            return Ok(Field::Compare(*op, Box::new(lhs), Box::new(rhs)));
        }
        let (a, b) = (Box::new(lhs), Box::new(rhs));
        if let Some((_, op)) = Arithmetic::ALL.iter().find(|(text, _)| *text == symbol) {
            return Ok(Field::Arithmetic(*op, a, b));
        }
        match symbol {
            "&&" => Ok(Field::Logic(Logic::And, a, b)),
            "||" => Ok(Field::Logic(Logic::Or, a, b)),
            _ => {
                let Field::Static(Value::Text(pattern)) = *b else {
                    return Err(self.unexpected("a text before this: a regular expression is one"));
                };
                Ok(Field::Matches(a, self.pattern(&pattern)?, symbol == "!~"))
            }
        }
    }

    fn pattern(&self, pattern: &str) -> Result<Pattern, TraceqlError> {
        self.n_regexes.set(self.n_regexes.get() + 1);
        if self.n_regexes.get() > REGEXES_MAX {
            let what = format!("more than {REGEXES_MAX} regular expressions in one query");
            return Err(TraceqlError::Invalid(what));
        }
        let (n, max) = (pattern.len(), self.limits.regex_bytes_max);
        if n > max {
            let key = "query.regex_text_max";
            return Err(TraceqlError::Limit { what: "bytes of regular expression", n, max, key });
        }
        let regex = compile_label_regex(pattern, self.limits.regex_program_bytes_max);
        let regex = regex.map_err(|error| {
            let how = match error {
                RegexpError::TooLarge { .. } => ": raise `query.regex_program_max` to allow more",
                RegexpError::Syntax { .. } => "",
            };
            TraceqlError::Invalid(format!("invalid regex: {pattern}: {error}{how}"))
        })?;
        Ok(Pattern { text: pattern.to_owned(), regex })
    }

    fn field_operand(&mut self) -> Result<Field, TraceqlError> {
        match self.peek() {
            Token::Symbol("(") => {
                self.next();
                let field = self.field()?;
                self.expect(")")?;
                Ok(field)
            }
            Token::Symbol("-") => {
                self.next();
                self.level()?;
                // A number is itself negative; anything else is negated, with what binds tighter.
                match self.nested(|parser| parser.field_of(TIMES))? {
                    Field::Static(
                        value @ (Value::Int(_) | Value::Float(_) | Value::Duration(_)),
                    ) => Ok(Field::Static(negated(value))),
                    other => Ok(Field::Minus(Box::new(other))),
                }
            }
            Token::Symbol("!") => {
                self.next();
                self.level()?;
                let inner = self.nested(|parser| parser.field_of(TIMES))?;
                Ok(Field::Not(Box::new(inner)))
            }
            Token::Value(_) | Token::Attribute(_) => match self.next() {
                Token::Value(value) => Ok(Field::Static(value)),
                Token::Attribute(attribute) => Ok(Field::Attribute(attribute)),
                _ => unreachable!("it was looked at just before"),
            },
            Token::Word(word) if word == "parent" => {
                // `parent = nil` asks for spans without one.
                self.next();
                Ok(Field::Attribute(Attribute::Intrinsic(Intrinsic::ParentId)))
            }
            Token::Word(word) if word == "cidr" => self.cidr(),
            _ => Err(self.unexpected("a value or an attribute")),
        }
    }

    /// Reads `cidr(field, "10.0.0.0/8", …)`.
    fn cidr(&mut self) -> Result<Field, TraceqlError> {
        self.next();
        self.expect("(")?;
        let field = self.field()?;
        self.expect(",")?;
        let mut networks = Networks::default();
        loop {
            match self.next() {
                Token::Value(Value::Text(text)) => networks.push(&text)?,
                _ => return Err(self.unexpected("a network in quotes before this")),
            }
            if !self.accept(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(Field::Cidr(Box::new(field), networks))
    }
}

fn field_binding(symbol: &str) -> Option<u8> {
    Some(match symbol {
        "&&" | "||" => 0,
        "=" | "!=" | "<" | "<=" | ">" | ">=" | "=~" | "!~" => 1,
        "+" | "-" => 2,
        "*" | "/" | "%" => TIMES,
        "^" => 4,
        _ => return None,
    })
}

/// Writes before an id the zeros that clients leave off, and a search in its answers.
fn with_whole_ids(lhs: Field, rhs: Field) -> (Field, Field) {
    match (id_digits(&lhs), id_digits(&rhs)) {
        (Some(n_digits), _) => (lhs, with_zeros(rhs, n_digits)),
        (_, Some(n_digits)) => (with_zeros(lhs, n_digits), rhs),
        _ => (lhs, rhs),
    }
}

/// Returns how many digits an attribute has that is an id.
fn id_digits(field: &Field) -> Option<usize> {
    let Field::Attribute(Attribute::Intrinsic(intrinsic)) = field else { return None };
    match intrinsic {
        Intrinsic::TraceId | Intrinsic::LinkTraceId => Some(32),
        Intrinsic::SpanId | Intrinsic::ParentId | Intrinsic::LinkSpanId => Some(16),
        _ => None,
    }
}

fn with_zeros(field: Field, n_digits: usize) -> Field {
    let is_id = |text: &str| {
        (1..=n_digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match field {
        Field::Static(Value::Text(text)) if is_id(&text) => {
            let id = format!("{:0>n_digits$}", text.to_ascii_lowercase());
            Field::Static(Value::Text(id.into()))
        }
        other => other,
    }
}
