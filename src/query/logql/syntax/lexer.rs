//! Text to tokens, each with its place.
//!
//! Words are not sorted into keywords and names here: `json` is a parser behind a `|` and a label's
//! name in a selector, and only the parser knows where it stands.

use super::super::error::ParseError;
use super::super::units::{parse_bytes, parse_duration_ns};
use crate::base::go_text::{push_char, unescape};
use crate::base::units;

/// A token and the byte at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Tok,
    pub(super) start: usize,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tok {
    /// A name or a keyword.
    Word(String),
    /// A quoted text, its escapes undone.
    Text(String),
    Number(f64),
    /// ns
    Duration(i64),
    /// Bytes, and the text as written.
    Bytes(u64),
    /// `[5m]`, in ms.
    Range(i64),
    /// `--strict`, `--keep-empty`
    Flag(&'static str),
    Symbol(&'static str),
    End,
}

impl Tok {
    /// Returns how Loki's parser calls the token.
    pub(super) fn called(&self) -> String {
        match self {
            Tok::Word(word) if is_keyword(word) => word.to_lowercase(),
            Tok::Word(_) => "IDENTIFIER".to_owned(),
            Tok::Text(_) => "STRING".to_owned(),
            Tok::Number(_) => "NUMBER".to_owned(),
            Tok::Duration(_) => "DURATION".to_owned(),
            Tok::Bytes(_) => "BYTES".to_owned(),
            Tok::Range(_) => "RANGE".to_owned(),
            Tok::Flag(_) => "PARSER_FLAG".to_owned(),
            Tok::Symbol(symbol) => (*symbol).to_owned(),
            Tok::End => "$end".to_owned(),
        }
    }
}

const KEYWORDS: [&str; 28] = [
    "by",
    "without",
    "bool",
    "offset",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "or",
    "and",
    "unless",
    "unwrap",
    "json",
    "regexp",
    "logfmt",
    "unpack",
    "pattern",
    "label_format",
    "line_format",
    "ip",
    "decolorize",
    "drop",
    "keep",
    "vector",
    "label_replace",
    "duration",
    "bytes",
    "duration_seconds",
];

fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// The longer ones first, so that `|=` is not `|`.
const SYMBOLS: [&str; 28] = [
    "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "|", "=", ">", "<", "{", "}", "(",
    ")", ",", ".", "+", "-", "*", "/", "%", "^", "]", ":",
];

const FLAGS: [&str; 2] = ["--keep-empty", "--strict"];

/// Takes a text apart; the last token is [`Tok::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut found = Vec::new();
    loop {
        let token = lexer.next()?;
        let is_end = token.kind == Tok::End;
        found.push(token);
        if is_end {
            return Ok(found);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError::at(self.text, at, message)
    }

    fn next(&mut self) -> Result<Token, ParseError> {
        self.skip();
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok(Token { kind: Tok::End, start });
        };
        let kind = match first {
            '"' | '`' => Tok::Text(self.quoted(first)?),
            '[' => self.range()?,
            '0'..='9' => self.number()?,
            '.' if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            c if c.is_alphabetic() || c == '_' => self.word(),
            _ => self.symbol(first)?,
        };
        Ok(Token { kind, start })
    }

    /// Skips space and comments.
    fn skip(&mut self) {
        loop {
            self.at = self.text.len() - self.rest().trim_start().len();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn word(&mut self) -> Tok {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let n_bytes = self.rest().find(|c| !is_part(c)).unwrap_or(self.rest().len());
        let word = &self.rest()[..n_bytes];
        self.at += n_bytes;
        Tok::Word(word.to_owned())
    }

    fn symbol(&mut self, first: char) -> Result<Tok, ParseError> {
        if let Some(flag) = FLAGS.into_iter().find(|flag| self.rest().starts_with(flag)) {
            self.at += flag.len();
            return Ok(Tok::Flag(flag));
        }
        let Some(symbol) = SYMBOLS.into_iter().find(|symbol| self.rest().starts_with(symbol))
        else {
            let message = format!("syntax error: unexpected character {first:?}");
            return Err(self.error(self.at, message));
        };
        self.at += symbol.len();
        Ok(Tok::Symbol(symbol))
    }

    /// A number, a duration (`1h30m`) or a size (`10KB`): the longest of them that is there.
    fn number(&mut self) -> Result<Tok, ParseError> {
        let start = self.at;
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == 'µ';
        let mut run = &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())];
        // `1e-5`: the sign belongs to the exponent.
        if run.ends_with(['e', 'E']) && rest[run.len()..].starts_with(['-', '+']) {
            let tail = &rest[run.len() + 1..];
            let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
            if digits > 0 {
                run = &rest[..run.len() + 1 + digits];
            }
        }
        self.at += run.len();
        if let Some(number) = parse_number(run) {
            return Ok(Tok::Number(number));
        }
        if let Some(ns) = parse_duration_ns(run) {
            return Ok(Tok::Duration(ns));
        }
        if let Some(n_bytes) = parse_bytes(run) {
            return Ok(Tok::Bytes(n_bytes));
        }
        // What is left is the number alone; the letters behind it are another token.
        let digits = run.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(run.len());
        self.at -= run.len() - digits;
        match run[..digits].parse() {
            Ok(number) => Ok(Tok::Number(number)),
            Err(_) => Err(self.error(start, format!("{:?} is not a number", &run[..digits]))),
        }
    }

    fn range(&mut self) -> Result<Tok, ParseError> {
        let start = self.at;
        let Some(end) = self.rest().find(']') else {
            return Err(self.error(start, "missing closing ']' in duration"));
        };
        let text = &self.rest()[1..end];
        self.at += end + 1;
        // As Loki reads it: Prometheus' way, and else Go's, which has fractions.
        let in_ms = |text| parse_duration_ns(text).map(|ns| ns / 1_000_000);
        let ms = units::parse_duration_ms(text.trim()).ok().or_else(|| in_ms(text.trim()));
        let ms = ms.filter(|ms| *ms > 0);
        match ms {
            Some(ms) => Ok(Tok::Range(ms)),
            None => {
                let message = format!("not a valid duration string: {text:?}");
                Err(self.error(start, message))
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let start = self.at;
        self.at += 1;
        if quote == '`' {
            let end = self.rest().find('`');
            let end = end.ok_or_else(|| self.error(start, "literal not terminated"))?;
            let text = self.rest()[..end].replace('\r', "");
            self.at += end + 1;
            return Ok(text);
        }
        let mut text = Vec::new();
        loop {
            let next = self.rest().chars().next();
            let c = next.filter(|c| *c != '\n');
            let c = c.ok_or_else(|| self.error(start, "literal not terminated"))?;
            self.at += c.len_utf8();
            match c {
                '"' => break,
                '\\' => self.escape(&mut text)?,
                plain => push_char(&mut text, plain),
            }
        }
        String::from_utf8(text).map_err(|_| self.error(start, "invalid UTF-8 rune"))
    }

    /// Undoes one escape of Go's string literals.
    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), ParseError> {
        let mut rest = self.rest();
        let undone = unescape(&mut rest, text);
        undone.map_err(|_| self.error(self.at - 1, "invalid char escape"))?;
        self.at = self.text.len() - rest.len();
        Ok(())
    }
}

fn parse_number(run: &str) -> Option<f64> {
    if let Some(hex) = run.strip_prefix("0x").or_else(|| run.strip_prefix("0X")) {
        return u32::from_str_radix(hex, 16).ok().map(f64::from);
    }
    // Rust reads `inf` and `nan` as numbers; a run begins with a digit or a dot, so neither is met.
    run.parse().ok()
}
