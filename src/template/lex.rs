//! Cuts a template into text and the tokens of its actions.

use crate::base::go_text::{BadLiteral, literal, unescape};

/// The smallest pieces of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name: keyword, function, `true`, `nil`.
    Ident(String),
    /// `.Name`, without the dot.
    Field(String),
    /// `$name`, with the dollar.
    Variable(String),
    /// `.` alone.
    Dot,
    /// A string literal, unquoted.
    Text(String),
    /// An integer or character literal.
    Int(i64),
    /// A decimal literal.
    Float(f64),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `|`
    Pipe,
    /// `,`
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// A token with where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    /// Whether white space stands before it: `$x.Name` is one value, `$x .Name` two.
    pub(super) spaced: bool,
}

/// A stretch of text, or the tokens between `{{` and `}}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action { line: usize, tokens: Vec<Placed> },
}

/// A mistake: its line and what it is.
pub(super) type Mistake = (usize, String);

/// Cuts a template into pieces; trim markers and comments are dealt with here.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, Mistake> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let open = rest.find("{{");
        let mut plain = &rest[..open.unwrap_or(rest.len())];
        if trim_next {
            plain = plain.trim_start();
        }
        let Some(open) = open else {
            push_text(&mut pieces, plain);
            return Ok(pieces);
        };
        let mut inside = &rest[open + 2..];
        if let Some(trimmed) = inside.strip_prefix('-').filter(|t| t.starts_with(WHITE)) {
            plain = plain.trim_end();
            inside = trimmed;
        }
        push_text(&mut pieces, plain);
        let line = line_of(text, inside);
        let (piece, after, trims) = action(inside, line)?;
        pieces.extend(piece);
        rest = after;
        trim_next = trims;
    }
}

const WHITE: [char; 4] = [' ', '\t', '\r', '\n'];

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// Returns the line, from 1, on which `rest`, a tail of `text`, begins.
fn line_of(text: &str, rest: &str) -> usize {
    1 + text[..text.len() - rest.len()].matches('\n').count()
}

/// Reads one action: the piece (none for a comment), what follows it, and whether that is trimmed.
fn action(inside: &str, line: usize) -> Result<(Option<Piece>, &str, bool), Mistake> {
    if let Some(comment) = inside.trim_start().strip_prefix("/*") {
        let end = comment.find("*/").ok_or_else(|| (line, "unclosed comment".to_owned()))?;
        let after = &comment[end + 2..];
        let (after, trims) = closing(after)
            .ok_or_else(|| (line, "comment ends before closing delimiter".to_owned()))?;
        return Ok((None, after, trims));
    }
    let mut tokens = Vec::new();
    let mut rest = inside;
    loop {
        if let Some((after, trims)) = closing(rest) {
            return Ok((Some(Piece::Action { line, tokens }), after, trims));
        }
        let trimmed = rest.trim_start_matches(WHITE);
        let spaced = trimmed.len() < rest.len();
        if trimmed.is_empty() {
            return Err((line, "unclosed action".to_owned()));
        }
        let (token, after) = token(trimmed).map_err(|message| (line, message))?;
        tokens.push(Placed { token, spaced });
        rest = after;
    }
}

/// Returns what follows `}}` and whether it is trimmed, when `rest` begins with it.
fn closing(rest: &str) -> Option<(&str, bool)> {
    let trimmed = rest.trim_start_matches(WHITE);
    if let Some(after) = trimmed.strip_prefix("-}}")
        && trimmed.len() < rest.len()
    {
        return Some((after, true));
    }
    trimmed.strip_prefix("}}").map(|after| (after, false))
}

fn token(text: &str) -> Result<(Token, &str), String> {
    for (sign, token) in [
        (":=", Token::Declare),
        ("=", Token::Assign),
        ("|", Token::Pipe),
        (",", Token::Comma),
        ("(", Token::Open),
        (")", Token::Close),
    ] {
        if let Some(after) = text.strip_prefix(sign) {
            return Ok((token, after));
        }
    }
    let first = text.chars().next().unwrap_or(' ');
    let second = text[first.len_utf8()..].chars().next().unwrap_or(' ');
    match first {
        '"' => quoted(text),
        '`' => raw(text),
        '\'' => character(text),
        '$' => {
            let len = 1 + name_len(&text[1..]);
            Ok((Token::Variable(text[..len].to_owned()), &text[len..]))
        }
        '.' if second.is_ascii_digit() => number(text),
        '.' => {
            let len = name_len(&text[1..]);
            let name = &text[1..1 + len];
            let token = if len == 0 { Token::Dot } else { Token::Field(name.to_owned()) };
            Ok((token, &text[1 + len..]))
        }
        '+' | '-' if second.is_ascii_digit() || second == '.' => number(text),
        '0'..='9' => number(text),
        _ if name_len(text) > 0 => {
            let len = name_len(text);
            Ok((Token::Ident(text[..len].to_owned()), &text[len..]))
        }
        other => Err(format!("unexpected {other:?} in command")),
    }
}

fn name_len(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

fn raw(text: &str) -> Result<(Token, &str), String> {
    let end = text[1..].find('`').ok_or("unterminated raw quoted string")?;
    Ok((Token::Text(text[1..=end].to_owned()), &text[end + 2..]))
}

fn quoted(text: &str) -> Result<(Token, &str), String> {
    let (bytes, rest) = literal(&text[1..]).map_err(|error| match error {
        BadLiteral::Open => "unterminated quoted string",
        BadLiteral::Escape(_) => "invalid syntax in quoted string",
    })?;
    // Of Go's it may be any bytes; what comes of a template here is text.
    Ok((Token::Text(String::from_utf8_lossy(&bytes).into_owned()), rest))
}

fn character(text: &str) -> Result<(Token, &str), String> {
    let wrong = || "malformed character constant".to_owned();
    let mut rest = &text[1..];
    let c = rest.chars().next().ok_or_else(wrong)?;
    rest = &rest[c.len_utf8()..];
    let mut code = u32::from(c);
    if c == '\\' {
        let mut bytes = Vec::new();
        unescape(&mut rest, &mut bytes)
            .map_err(|_| "invalid syntax in quoted string".to_owned())?;
        // Digits may say a byte that is no letter by itself.
        let letter = std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next());
        code = letter.map_or_else(|| bytes.first().map_or(0, |byte| u32::from(*byte)), u32::from);
    }
    let rest = rest.strip_prefix('\'').ok_or_else(wrong)?;
    Ok((Token::Int(i64::from(code)), rest))
}

fn number(text: &str) -> Result<(Token, &str), String> {
    let mut len = 0;
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(len) {
        let sign_of_exponent =
            matches!(byte, b'+' | b'-') && (len == 0 || matches!(bytes[len - 1], b'e' | b'E'));
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || sign_of_exponent) {
            break;
        }
        len += 1;
    }
    let (digits, rest) = text.split_at(len);
    let wrong = || format!("bad number syntax: {digits:?}");
    let plain = digits.replace('_', "");
    if let Some(hex) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        let value = i64::from_str_radix(hex, 16).map_err(|_| wrong())?;
        return Ok((Token::Int(value), rest));
    }
    if let Ok(value) = plain.parse::<i64>() {
        return Ok((Token::Int(value), rest));
    }
    let value = plain.parse::<f64>().map_err(|_| wrong())?;
    Ok((Token::Float(value), rest))
}
