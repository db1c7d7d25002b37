//! From text to tokens, each with its place.

use super::attribute::{Attribute, INTRINSICS, Intrinsic, Scope, is_name_letter};
use super::error::TraceqlError;
use super::value::{KINDS, STATUSES, Value};
use crate::base::go_text::{push_char, unescape};
use crate::base::units;

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A word that is neither a value nor an attribute: a function.
    Word(String),
    /// An attribute.
    Attribute(Attribute),
    /// A value.
    Value(Value<'static>),
    /// An operator or a bracket.
    Symbol(&'static str),
    /// The end of the text.
    End,
}

impl Token {
    /// Returns the token as an error names it.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(word) => word.clone(),
            Token::Attribute(attribute) => attribute.to_string(),
            Token::Value(value) => value.to_string(),
            Token::Symbol(symbol) => (*symbol).to_owned(),
            Token::End => "end of query".to_owned(),
        }
    }
}

/// A token and where it begins, in bytes.
pub(super) type Placed = (Token, usize);

/// Longest first where one begins with another.
const SYMBOLS: [&str; 38] = [
    "&>>", "&<<", "!>>", "!<<", "&&", "||", "&>", "&<", "&~", "!>", "!<", "!~", "!=", "=~", ">=",
    "<=", ">>", "<<", "=", ">", "<", "~", "+", "-", "*", "/", "%", "^", "!", "|", "{", "}", "(",
    ")", ",", "[", "]", ";",
];

/// Returns the tokens of a text, the end included.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, TraceqlError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_space()?;
        let start = lexer.at;
        let token = lexer.next()?;
        let is_end = token == Token::End;
        tokens.push((token, start));
        if is_end {
            return Ok(tokens);
        }
    }
}

/// Returns an error at a place of a text.
pub(super) fn syntax(text: &str, at: usize, message: impl Into<String>) -> TraceqlError {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    TraceqlError::Syntax { line, column, message: message.into() }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, at: usize, message: impl Into<String>) -> TraceqlError {
        syntax(self.text, at, message)
    }

    /// Goes over spaces, and over comments as Go has them.
    fn skip_space(&mut self) -> Result<(), TraceqlError> {
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            let rest = self.rest();
            let n_bytes = if rest.starts_with("//") {
                rest.find('\n').unwrap_or(rest.len())
            } else if let Some(comment) = rest.strip_prefix("/*") {
                let end = comment.find("*/");
                end.ok_or_else(|| self.error(self.at, "comment not terminated"))? + 4
            } else {
                return Ok(());
            };
            self.at += n_bytes;
        }
    }

    fn take_while(&mut self, is_wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|letter| !is_wanted(letter)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn next(&mut self) -> Result<Token, TraceqlError> {
        let Some(letter) = self.peek() else { return Ok(Token::End) };
        match letter {
            '"' | '`' => self.string().map(|text| Token::Value(Value::Text(text.into()))),
            '0'..='9' => self.number(),
            '.' if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number(),
            '.' => {
                self.at += 1;
                self.name(Scope::Any, false)
            }
            letter if letter.is_alphabetic() || letter == '_' => self.word(),
            _ => self.symbol(),
        }
    }

    fn symbol(&mut self) -> Result<Token, TraceqlError> {
        let found = SYMBOLS.iter().find(|symbol| self.rest().starts_with(**symbol));
        let Some(symbol) = found else {
            let letter = self.peek().unwrap_or(' ');
            return Err(self.error(self.at, format!("syntax error: unexpected {letter:?}")));
        };
        self.at += symbol.len();
        Ok(Token::Symbol(symbol))
    }

    fn word(&mut self) -> Result<Token, TraceqlError> {
        let start = self.at;
        let word = self.take_while(|c| c.is_alphanumeric() || c == '_');
        match self.peek() {
            Some('.') if word == "parent" => return self.of_parent(),
            Some('.') => {
                if let Some((_, scope)) = Scope::NAMED.iter().find(|(name, _)| *name == word) {
                    self.at += 1;
                    return self.name(*scope, false);
                }
            }
            Some(':') => {
                self.at += 1;
                self.take_while(|c| c.is_alphanumeric() || c == '_');
                let whole = &self.text[start..self.at];
                return match intrinsic(whole) {
                    Some(intrinsic) => Ok(Token::Attribute(Attribute::Intrinsic(intrinsic))),
                    None => Err(self.error(start, format!("unknown intrinsic {whole}"))),
                };
            }
            _ => {}
        }
        Ok(self.plain_word(word))
    }

    fn plain_word(&self, word: &str) -> Token {
        let place = |names: &[&str]| {
            names.iter().position(|name| *name == word).and_then(|at| u8::try_from(at).ok())
        };
        if let Some(value) = match word {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "nil" => Some(Value::Nil),
            "minInt" => Some(Value::Int(i64::MIN)),
            "maxInt" => Some(Value::Int(i64::MAX)),
            _ => place(&STATUSES).map(Value::Status).or(place(&KINDS).map(Value::Kind)),
        } {
            return Token::Value(value);
        }
        match intrinsic(word) {
            // An intrinsic before a parenthesis is a function of that name.
            Some(found) => Token::Attribute(Attribute::Intrinsic(found)),
            None => Token::Word(word.to_owned()),
        }
    }

    fn of_parent(&mut self) -> Result<Token, TraceqlError> {
        self.at += 1;
        let scoped = Scope::NAMED.iter().take(2).find_map(|(name, scope)| {
            let after = self.rest().strip_prefix(name)?.strip_prefix('.')?;
            Some((*scope, self.text.len() - after.len()))
        });
        if let Some((scope, after)) = scoped {
            self.at = after;
            return self.name(scope, true);
        }
        self.name(Scope::Any, true)
    }

    /// Reads the name of an attribute, which may have quoted parts.
    fn name(&mut self, scope: Scope, of_parent: bool) -> Result<Token, TraceqlError> {
        let start = self.at;
        let mut name = String::new();
        while let Some(letter) = self.peek() {
            if letter == '"' {
                name.push_str(&self.string()?);
            } else if is_name_letter(letter) {
                name.push(letter);
                self.at += letter.len_utf8();
            } else {
                break;
            }
        }
        if self.at == start {
            return Err(self.error(start, "syntax error: an attribute without a name"));
        }
        Ok(Token::Attribute(Attribute::Named { scope, of_parent, name }))
    }

    fn string(&mut self) -> Result<String, TraceqlError> {
        let start = self.at;
        let quote = self.peek().unwrap_or('"');
        self.at += 1;
        // What escapes say are bytes, several of which may be one letter.
        let mut text = Vec::new();
        let invalid = |this: &Self| this.error(start, "invalid escape");
        loop {
            let Some(letter) = self.peek() else {
                return Err(self.error(start, "literal not terminated"));
            };
            self.at += letter.len_utf8();
            match letter {
                letter if letter == quote => {
                    return String::from_utf8(text).map_err(|_| invalid(self));
                }
                '\n' if quote == '"' => return Err(self.error(start, "literal not terminated")),
                '\\' if quote == '"' => {
                    self.escape(&mut text).ok_or_else(|| invalid(self))?;
                }
                other => push_char(&mut text, other),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Option<()> {
        let mut rest = self.rest();
        unescape(&mut rest, text).ok()?;
        self.at = self.text.len() - rest.len();
        Some(())
    }

    fn number(&mut self) -> Result<Token, TraceqlError> {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        let mut is_whole = true;
        if self.peek() == Some('.') {
            is_whole = false;
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if self.peek().is_some_and(is_duration_letter) {
            self.take_while(|c| is_duration_letter(c) || c.is_ascii_digit() || c == '.');
            let text = &self.text[start..self.at];
            let ns = duration_ns(text);
            let ns = ns.ok_or_else(|| self.error(start, format!("`{text}` is not a duration")))?;
            return Ok(Token::Value(Value::Duration(ns)));
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            is_whole = false;
            self.at += 1;
            self.take_while(|c| c == '+' || c == '-');
            self.take_while(|c| c.is_ascii_digit());
        }
        let text = &self.text[start..self.at];
        let value = match is_whole {
            true => text.parse().ok().map(Value::Int),
            false => text.parse().ok().filter(|n: &f64| n.is_finite()).map(Value::Float),
        };
        value
            .map(Token::Value)
            .ok_or_else(|| self.error(start, format!("`{text}` is not a number that fits")))
    }
}

fn intrinsic(word: &str) -> Option<Intrinsic> {
    INTRINSICS.iter().find(|(name, _)| *name == word).map(|(_, intrinsic)| *intrinsic)
}

fn is_duration_letter(letter: char) -> bool {
    matches!(letter, 'n' | 's' | 'u' | 'm' | 'h' | 'µ' | 'μ' | 'd' | 'w' | 'y')
}

/// Reads `1h30m`, `1.5s`, `100us`: as Prometheus writes durations, and as Go does.
pub(super) fn duration_ns(text: &str) -> Option<i64> {
    if let Ok(ms) = units::parse_duration_ms(text) {
        return ms.checked_mul(1_000_000);
    }
    let (mut rest, mut sum) = (text, 0.0_f64);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        sum += number * units::unit_ns(&rest[..end])?;
        rest = &rest[end..];
    }
    #[expect(clippy::cast_possible_truncation, reason = "compared with the ends of the range")]
    (sum.abs() < 9.2e18).then_some(sum.round() as i64)
}
