//! Text to tokens, within the limits on both: one walk of the text, no recursion.
//!
//! A `{` changes what a word is (every one is a label's name), a `[` what a letter may be (only
//! `step`, `range`, `min_of` and `max_of`). What cannot be read ends the tokens with [`Kind::Error`], so
//! that a mistake before it is reported first.

use super::super::error::{KEY_DEPTH, KEY_TEXT, KEY_TOKENS, PromqlError};
use super::super::limits::ParseLimits;
use super::ast::{BinaryOp, Op, Span};
use super::item::{Edge, Item, Kind, extreme_of, kind_of_word};
use super::quoting::quoted;

/// The tokens of a text, the last one [`Kind::Eof`] or [`Kind::Error`].
#[derive(Debug)]
pub(super) struct Lexed {
    pub(super) items: Vec<Item>,
    /// What is wrong at a [`Kind::Error`].
    pub(super) error: String,
}

/// Splits a text, or fails because it is over a limit.
pub(super) fn lex(text: &str, limits: &ParseLimits) -> Result<Lexed, PromqlError> {
    if text.len() > limits.text_bytes_max {
        return Err(over("bytes of text", text.len(), limits.text_bytes_max, KEY_TEXT));
    }
    let mut lexer = Lexer {
        text,
        pos: 0,
        items: Vec::new(),
        n_parens: 0,
        in_braces: false,
        in_brackets: false,
        had_colon: false,
    };
    loop {
        lexer.skip_blank();
        let start = lexer.pos;
        let (kind, error) = match lexer.token() {
            Ok(kind) => (kind, String::new()),
            Err(error) => (Kind::Error, error),
        };
        lexer.items.push(Item { kind, span: Span { start, end: lexer.pos } });
        let n_items = lexer.items.len() - 1;
        if n_items > limits.tokens_max {
            return Err(over("tokens", n_items, limits.tokens_max, KEY_TOKENS));
        }
        let depth = lexer.n_parens + usize::from(lexer.in_braces) + usize::from(lexer.in_brackets);
        if depth > limits.depth_max {
            return Err(over("levels of nesting", depth, limits.depth_max, KEY_DEPTH));
        }
        if matches!(kind, Kind::Eof | Kind::Error) {
            return Ok(Lexed { items: lexer.items, error });
        }
    }
}

pub(super) fn over(what: &'static str, n: usize, max: usize, key: &'static str) -> PromqlError {
    PromqlError::Limit { what, n: n as u64, max: max as u64, key }
}

struct Lexer<'t> {
    text: &'t str,
    pos: usize,
    items: Vec<Item>,
    n_parens: usize,
    in_braces: bool,
    in_brackets: bool,
    had_colon: bool,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.pos..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.pos += wanted.len_utf8();
        }
        is_there
    }

    fn skip_blank(&mut self) {
        while let Some(c) = self.peek() {
            if c == '#' {
                let rest = &self.text[self.pos..];
                self.pos += rest.find(['\n', '\r']).unwrap_or(rest.len());
            } else if matches!(c, ' ' | '\t' | '\n' | '\r') {
                self.pos += 1;
            } else {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<Kind, String> {
        if self.in_braces { self.in_braces() } else { self.statement() }
    }

    fn in_braces(&mut self) -> Result<Kind, String> {
        let Some(c) = self.next() else {
            return Err("unexpected end of input inside braces".to_owned());
        };
        match c {
            ',' => Ok(Kind::Comma),
            '"' | '\'' => self.string(c),
            '`' => self.raw_string(),
            '=' if self.accept('~') => Ok(Kind::Matches),
            '=' => Ok(Kind::Assign),
            '!' => match self.next() {
                Some('~') => Ok(Kind::Misses),
                Some('=') => Ok(Kind::Op(BinaryOp::Number(Op::Ne))),
                other => Err(format!(
                    "unexpected character after '!' inside braces: {}",
                    quoted_char(other)
                )),
            },
            '{' => Err("unexpected left brace '{'".to_owned()),
            '}' => {
                self.in_braces = false;
                Ok(Kind::RightBrace)
            }
            c if is_alpha(c) => {
                self.take_while(is_alphanumeric);
                Ok(Kind::Name)
            }
            c => Err(format!("unexpected character inside braces: {c:?}")),
        }
    }

    fn statement(&mut self) -> Result<Kind, String> {
        let Some(c) = self.next() else { return self.end() };
        match c {
            ',' => Ok(Kind::Comma),
            '@' => Ok(Kind::At),
            '"' | '\'' => self.string(c),
            '`' => self.raw_string(),
            '(' => {
                self.n_parens += 1;
                Ok(Kind::LeftParen)
            }
            ')' if self.n_parens == 0 => Err("unexpected right parenthesis ')'".to_owned()),
            ')' => {
                self.n_parens -= 1;
                Ok(Kind::RightParen)
            }
            '{' => {
                self.in_braces = true;
                Ok(Kind::LeftBrace)
            }
            '[' if self.in_brackets => Err("unexpected left bracket '['".to_owned()),
            '[' => {
                (self.in_brackets, self.had_colon) = (true, false);
                Ok(Kind::LeftBracket)
            }
            ']' if !self.in_brackets => Err("unexpected right bracket ']'".to_owned()),
            ']' => {
                self.in_brackets = false;
                Ok(Kind::RightBracket)
            }
            c if c.is_ascii_digit() => self.number(),
            '.' if self.peek().is_some_and(|c| c.is_ascii_digit()) => self.number(),
            c if is_alpha(c) || c == ':' => self.word(c),
            c => self.operator(c),
        }
    }

    fn end(&self) -> Result<Kind, String> {
        if self.n_parens > 0 {
            return Err("unclosed left parenthesis".to_owned());
        }
        if self.in_brackets {
            return Err("unclosed left bracket".to_owned());
        }
        Ok(Kind::Eof)
    }

    fn operator(&mut self, first: char) -> Result<Kind, String> {
        let op = match first {
            '+' => Op::Add,
            '-' => Op::Sub,
            '*' => Op::Mul,
            '/' => Op::Div,
            '%' => Op::Mod,
            '^' => Op::Pow,
            '<' if self.accept('=') => Op::Le,
            '<' if self.accept('/') => Op::TrimUpper,
            '<' => Op::Lt,
            '>' if self.accept('=') => Op::Ge,
            '>' if self.accept('/') => Op::TrimLower,
            '>' => Op::Gt,
            '=' if self.accept('=') => Op::Eq,
            '=' if self.peek() == Some('~') => {
                return Err("unexpected character after '=': '~'".to_owned());
            }
            '=' => return Ok(Kind::Assign),
            '!' if self.accept('=') => Op::Ne,
            '!' => {
                let what = quoted_char(self.peek());
                return Err(format!("unexpected character after '!': {what}"));
            }
            c => return Err(format!("unexpected character: {c:?}")),
        };
        Ok(Kind::Op(BinaryOp::Number(op)))
    }

    fn word(&mut self, first: char) -> Result<Kind, String> {
        let start = self.pos - first.len_utf8();
        if !self.in_brackets {
            self.take_while(|c| is_alphanumeric(c) || c == ':');
            return Ok(kind_of_word(&self.text[start..self.pos]));
        }
        if first == ':' {
            if std::mem::replace(&mut self.had_colon, true) {
                return Err("unexpected colon ':'".to_owned());
            }
            return Ok(Kind::Colon);
        }
        self.take_while(is_alphanumeric);
        let kind = kind_of_word(&self.text[start..self.pos]);
        let is_of_durations = match kind {
            Kind::Edge(edge) => matches!(edge, Edge::Step | Edge::Range),
            _ => extreme_of(&self.text[start..self.pos]).is_some(),
        };
        if is_of_durations {
            return Ok(kind);
        }
        self.pos = start;
        Err(format!("unexpected character: {first:?}, expected ':'"))
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&is_part) {
            self.next();
        }
    }

    /// Reads a number or a duration whose first character has been taken.
    fn number(&mut self) -> Result<Kind, String> {
        let start = self.pos - 1;
        let len = number_len(&self.text.as_bytes()[start..]);
        self.pos = start + len;
        let token = &self.text[start..self.pos];
        if number_of(token).is_ok() {
            return Ok(Kind::Number);
        }
        if looks_like_duration(token) {
            return Ok(Kind::Duration);
        }
        if is_number_shaped(token) {
            return Err(format!(
                "error parsing number: strconv.ParseFloat: parsing {}: value out of range",
                quoted(token)
            ));
        }
        Err(format!("bad number or duration syntax: {}", quoted(token)))
    }

    fn raw_string(&mut self) -> Result<Kind, String> {
        match self.text[self.pos..].find('`') {
            Some(len) => {
                self.pos += len + 1;
                Ok(Kind::Text)
            }
            None => Err("unterminated raw string".to_owned()),
        }
    }

    fn string(&mut self, quote: char) -> Result<Kind, String> {
        while let Some(c) = self.next() {
            match c {
                '\\' if self.next().is_none() => {
                    return Err("escape sequence not terminated".to_owned());
                }
                '\\' => {}
                '\n' => break,
                c if c == quote => return Ok(Kind::Text),
                _ => {}
            }
        }
        Err("unterminated quoted string".to_owned())
    }
}

fn quoted_char(c: Option<char>) -> String {
    c.map_or_else(|| "end of input".to_owned(), |c| format!("{c:?}"))
}

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

fn is_alphanumeric(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

/// Returns the length of the number or duration at the start, exponent sign included.
fn number_len(bytes: &[u8]) -> usize {
    let is_hex = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].eq_ignore_ascii_case(&b'x');
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_';
    let mut len = 0;
    while len < bytes.len() {
        let is_exponent_sign = |sign: u8| {
            (sign == b'+' || sign == b'-')
                && !is_hex
                && len > 0
                && bytes[len - 1].eq_ignore_ascii_case(&b'e')
                && bytes[..len - 1].iter().all(|b| b.is_ascii_digit() || *b == b'.' || *b == b'_')
        };
        if !is_part(bytes[len]) && !is_exponent_sign(bytes[len]) {
            break;
        }
        len += 1;
    }
    len
}

/// Reads a number as Go does: hexadecimal with `0x`, octal with `0`, `_` between digits.
pub(super) fn number_of(token: &str) -> Result<f64, ()> {
    let lower = token.to_ascii_lowercase();
    if matches!(lower.as_str(), "inf" | "nan") {
        return lower.parse().map_err(drop);
    }
    if !is_number_shaped(token) {
        return Err(());
    }
    let digits = lower.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).map(|number| number as f64).map_err(drop);
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
        // `089` is no octal number, and so a decimal one.
        if let Ok(octal) = i64::from_str_radix(&digits, 8) {
            return Ok(octal as f64);
        }
    }
    digits.parse().ok().filter(|number: &f64| number.is_finite()).ok_or(())
}

/// Returns true for what is written like a number, whether or not it fits one.
fn is_number_shaped(token: &str) -> bool {
    let lower = token.to_ascii_lowercase();
    let between_digits = |text: &str| {
        let bytes = text.as_bytes();
        (0..bytes.len()).filter(|idx| bytes[*idx] == b'_').all(|idx| {
            idx > 0
                && bytes[idx - 1].is_ascii_hexdigit()
                && bytes.get(idx + 1).is_some_and(u8::is_ascii_hexdigit)
        })
    };
    if let Some(hex) = lower.strip_prefix("0x") {
        let hex = hex.strip_prefix('_').unwrap_or(hex);
        return !hex.is_empty()
            && between_digits(hex)
            && hex.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_');
    }
    if !between_digits(&lower) {
        return false;
    }
    let plain = lower.replace('_', "");
    let is_part = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-');
    plain.bytes().all(is_part) && plain.parse::<f64>().is_ok()
}

fn looks_like_duration(token: &str) -> bool {
    let is_hex = token.len() > 1 && token[1..].starts_with(['x', 'X']);
    !is_hex
        && token.ends_with(['s', 'm', 'h', 'd', 'w', 'y'])
        && token.bytes().all(|b| b.is_ascii_digit() || b"smhdwy.".contains(&b))
}
