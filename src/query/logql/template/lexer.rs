//! A template's text to pieces, and the inside of an action to tokens.

/// Plain text or the inside of `{{…}}`, spaces cut as the dashes say.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Action(&'a str),
}

/// A token inside an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tok {
    /// `if`, `eq`, `__line__`
    Word(String),
    /// `.a.b`: its names; `.` has none.
    Field(Vec<String>),
    /// `$x.a`: its name and those behind it.
    Variable(String, Vec<String>),
    Text(String),
    Int(i64),
    Float(f64),
    Open,
    /// `)`, and the names of `.a.b` right behind it.
    Close(Vec<String>),
    Pipe,
    Declare,
    Assign,
    Comma,
}

/// Takes a template apart.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut trims_left = false;
    loop {
        let start = rest.find("{{").unwrap_or(rest.len());
        let mut plain = &rest[..start];
        if trims_left {
            plain = plain.trim_start();
        }
        let Some(behind) = rest.get(start + 2..) else {
            push_text(&mut found, plain);
            return Ok(found);
        };
        let (inside, trims_before) = match behind.strip_prefix("- ") {
            Some(inside) => (inside, true),
            None => (behind, false),
        };
        if trims_before {
            plain = plain.trim_end();
        }
        push_text(&mut found, plain);
        let end = end_of_action(inside).ok_or("unclosed action")?;
        let mut action = &inside[..end];
        trims_left = action.ends_with(" -") || action.trim() == "-";
        if trims_left {
            action = &action[..action.len() - 1];
        }
        let action = action.trim();
        let is_comment = action.starts_with("/*") && action.ends_with("*/");
        if !is_comment {
            found.push(Piece::Action(action));
        }
        rest = &inside[end + 2..];
    }
}

fn push_text<'a>(found: &mut Vec<Piece<'a>>, text: &'a str) {
    if !text.is_empty() {
        found.push(Piece::Text(text));
    }
}

/// Returns where the action's `}}` is, past all quoted texts.
fn end_of_action(text: &str) -> Option<usize> {
    if text.trim_start().starts_with("/*") {
        let comment_end = text.find("*/")?;
        return text[comment_end..].find("}}").map(|at| comment_end + at);
    }
    let mut quote: Option<u8> = None;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(q), b'\\') if q != b'`' => at += 1,
            (Some(q), byte) if q == byte => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'`' | b'\'')) => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, _) => {}
        }
        at += 1;
    }
    None
}

/// Takes the inside of an action apart.
pub(super) fn tokens(action: &str) -> Result<Vec<Tok>, String> {
    let mut found = Vec::new();
    let mut rest = action.trim_start();
    while let Some(c) = rest.chars().next() {
        let (token, n_bytes) = match c {
            '(' => (Tok::Open, 1),
            ')' => {
                let (names, n_bytes) = field_names(&rest[1..]);
                (Tok::Close(names), 1 + n_bytes)
            }
            '|' => (Tok::Pipe, 1),
            ',' => (Tok::Comma, 1),
            ':' if rest.starts_with(":=") => (Tok::Declare, 2),
            '=' => (Tok::Assign, 1),
            '"' | '`' => quoted(rest)?,
            '\'' => character(rest)?,
            '$' => {
                let n_name = 1 + name_len(&rest[1..]);
                let (names, n_fields) = field_names(&rest[n_name..]);
                (Tok::Variable(rest[..n_name].to_owned(), names), n_name + n_fields)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let (names, n_bytes) = field_names(rest);
                (Tok::Field(names), n_bytes.max(1))
            }
            '0'..='9' | '.' | '-' | '+' => number(rest)?,
            c if c.is_alphabetic() || c == '_' => {
                let n_bytes = name_len(rest);
                (Tok::Word(rest[..n_bytes].to_owned()), n_bytes)
            }
            c => return Err(format!("unexpected {c:?} in command")),
        };
        found.push(token);
        rest = rest[n_bytes..].trim_start();
    }
    Ok(found)
}

fn name_len(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// Reads `.a.b`.
fn field_names(text: &str) -> (Vec<String>, usize) {
    let mut names = Vec::new();
    let mut at = 0;
    while let Some(behind) = text[at..].strip_prefix('.') {
        let n_name = name_len(behind);
        if n_name == 0 {
            break;
        }
        names.push(behind[..n_name].to_owned());
        at += 1 + n_name;
    }
    (names, at)
}

fn number(text: &str) -> Result<(Tok, usize), String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let n_sign = usize::from(text.starts_with(['-', '+']));
    let n_rest = text[n_sign..].find(|c| !is_part(c)).unwrap_or(text.len() - n_sign);
    let written = &text[..n_sign + n_rest];
    let wrong = || format!("bad number syntax: {written:?}");
    let digits = written.replace('_', "");
    if let Ok(int) = digits.parse() {
        return Ok((Tok::Int(int), written.len()));
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return Ok((Tok::Int(i64::from_str_radix(hex, 16).map_err(|_| wrong())?), written.len()));
    }
    let float: f64 = digits.parse().map_err(|_| wrong())?;
    if float.is_finite() { Ok((Tok::Float(float), written.len())) } else { Err(wrong()) }
}

fn quoted(text: &str) -> Result<(Tok, usize), String> {
    let quote = text.as_bytes()[0];
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' && quote == b'"' { 2 } else { 1 };
    }
    let inside = text.get(1..at).filter(|_| at < bytes.len());
    let inside = inside.ok_or("unterminated quoted string")?;
    let inside = if quote == b'`' { inside.to_owned() } else { unquote(inside)? };
    Ok((Tok::Text(inside), at + 1))
}

fn character(text: &str) -> Result<(Tok, usize), String> {
    let end = text[1..].char_indices().skip(1).find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    let end = end.ok_or("unterminated character constant")?;
    let inside = unquote(&text[1..end])?;
    let mut chars = inside.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok((Tok::Int(i64::from(u32::from(c))), end + 1)),
        _ => Err(format!("malformed character constant: {}", &text[..=end])),
    }
}

fn unquote(inside: &str) -> Result<String, String> {
    let mut out = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escape = chars.next();
        let n_digits = match escape {
            Some('n') => push(&mut out, '\n'),
            Some('t') => push(&mut out, '\t'),
            Some('r') => push(&mut out, '\r'),
            Some('a') => push(&mut out, '\u{7}'),
            Some('b') => push(&mut out, '\u{8}'),
            Some('f') => push(&mut out, '\u{c}'),
            Some('v') => push(&mut out, '\u{b}'),
            Some(c @ ('\\' | '"' | '\'')) => push(&mut out, c),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => return Err("invalid syntax in a string".to_owned()),
        };
        if n_digits > 0 {
            let digits: String = chars.by_ref().take(n_digits).collect();
            let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            out.push(code.ok_or("invalid syntax in a string")?);
        }
    }
    Ok(out)
}

/// Appends a character that needs no digits.
fn push(out: &mut String, c: char) -> usize {
    out.push(c);
    0
}
