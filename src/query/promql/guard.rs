//! The lock before the parser: a pass over the query's tokens that costs one walk of the text.
//!
//! `promql-parser` 0.11 panics on a duration that is not finite (`up[1e400]`), overflows the stack
//! on deep nesting and is quadratic on long chains; none of that can be undone once it is called.
//! So the text is measured here first. The pass also hands on a text without comments and with all
//! strings in one form, because the parser refuses a backslash in raw ones (`` `\d+` ``) and panics
//! on some escapes; what the parser then sees has exactly the tokens that were counted.

use crate::model::compile_label_regex;

use super::error::{KEY_DEPTH, KEY_REGEX, KEY_TEXT, KEY_TOKENS, PromqlError};
use super::limits::ParseLimits;
use super::quoting::{push_quoted, unquote};

/// The longest duration, as in Prometheus (its durations are 63-bit nanoseconds).
const DURATION_S_MAX: f64 = 292.0 * 365.0 * 86_400.0;
/// The most regular expressions in a query: each may compile to `query.regex_program_max`.
const REGEXES_MAX: u64 = 64;

/// Checks a query text and returns the text for the parser.
pub(super) fn check(text: &str, limits: &ParseLimits) -> Result<String, PromqlError> {
    if text.len() > limits.text_bytes_max {
        return Err(over("bytes of text", text.len(), limits.text_bytes_max, KEY_TEXT));
    }
    let mut guard = Guard {
        text,
        pos: 0,
        out: String::with_capacity(text.len() + 16),
        limits,
        n_tokens: 0,
        n_regexes: 0,
        open: Vec::new(),
        last: Last::Other,
    };
    guard.run()?;
    Ok(guard.out)
}

fn over(what: &'static str, n: usize, max: usize, key: &'static str) -> PromqlError {
    PromqlError::Limit { what, n: n as u64, max: max as u64, key }
}

/// What the token before said about the next one.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Other,
    /// `=~` or `!~`: a string is a pattern.
    RegexOp,
    /// `[`, `:` in brackets, `offset` and its sign: a number is a duration.
    WantsDuration,
}

struct Guard<'a> {
    text: &'a str,
    pos: usize,
    out: String,
    limits: &'a ParseLimits,
    n_tokens: usize,
    n_regexes: u64,
    /// Open brackets with their positions.
    open: Vec<(char, usize)>,
    last: Last,
}

impl Guard<'_> {
    fn run(&mut self) -> Result<(), PromqlError> {
        while let Some(next) = self.peek() {
            match next {
                '#' => self.skip_comment(),
                c if c.is_whitespace() => self.take(c),
                '"' | '\'' | '`' => self.string(next)?,
                '(' | '[' | '{' => self.opening(next)?,
                ')' | ']' | '}' => self.closing(next)?,
                c if c.is_ascii_digit() => self.number()?,
                '.' if self.peek_at(1).is_some_and(|c| c.is_ascii_digit()) => self.number()?,
                c if is_word(c) && !(c == ':' && self.is_inside('[')) => self.word()?,
                _ => self.operator(next)?,
            }
        }
        match self.open.pop() {
            None => Ok(()),
            Some((bracket, pos)) => {
                Err(self.error_at(pos, &format!("`{bracket}` is never closed")))
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.pos..].chars().next()
    }

    fn peek_at(&self, n: usize) -> Option<char> {
        self.text[self.pos..].chars().nth(n)
    }

    fn is_inside(&self, bracket: char) -> bool {
        self.open.last().is_some_and(|(open, _)| *open == bracket)
    }

    fn take(&mut self, c: char) {
        self.pos += c.len_utf8();
        self.out.push(c);
    }

    fn token(&mut self) -> Result<(), PromqlError> {
        self.n_tokens += 1;
        if self.n_tokens > self.limits.tokens_max {
            return Err(over("tokens", self.n_tokens, self.limits.tokens_max, KEY_TOKENS));
        }
        Ok(())
    }

    fn error_at(&self, pos: usize, what: &str) -> PromqlError {
        let n_chars = self.text[..pos].chars().count() + 1;
        PromqlError::parse(format!("character {n_chars}: {what}"))
    }

    fn skip_comment(&mut self) {
        let rest = &self.text[self.pos..];
        self.pos += rest.find(['\n', '\r']).unwrap_or(rest.len());
        self.out.push(' ');
    }

    fn opening(&mut self, bracket: char) -> Result<(), PromqlError> {
        self.token()?;
        self.open.push((bracket, self.pos));
        if self.open.len() > self.limits.depth_max {
            return Err(over(
                "levels of nesting",
                self.open.len(),
                self.limits.depth_max,
                KEY_DEPTH,
            ));
        }
        self.take(bracket);
        self.last = if bracket == '[' { Last::WantsDuration } else { Last::Other };
        Ok(())
    }

    fn closing(&mut self, bracket: char) -> Result<(), PromqlError> {
        self.token()?;
        let wanted = match bracket {
            ')' => '(',
            ']' => '[',
            _ => '{',
        };
        if self.open.pop().map(|(c, _)| c) != Some(wanted) {
            return Err(self.error_at(self.pos, &format!("unexpected `{bracket}`")));
        }
        self.take(bracket);
        self.last = Last::Other;
        Ok(())
    }

    fn operator(&mut self, first: char) -> Result<(), PromqlError> {
        self.token()?;
        let was = self.last;
        self.take(first);
        self.last = Last::Other;
        match (first, self.peek()) {
            ('=' | '!', Some('~')) => {
                self.take('~');
                self.last = Last::RegexOp;
            }
            ('=' | '!' | '<' | '>', Some('=')) => self.take('='),
            (':', _) => self.last = Last::WantsDuration,
            ('+' | '-', _) => self.last = was,
            _ => {}
        }
        Ok(())
    }

    fn word(&mut self) -> Result<(), PromqlError> {
        self.token()?;
        // Inside braces a name has no colon, just as the parser's lexer splits it, and inside
        // brackets a colon stands between range and step.
        let in_braces = self.is_inside('{');
        let ends_at_colon = in_braces || self.is_inside('[');
        let rest = &self.text[self.pos..];
        let end = rest
            .find(|c: char| !is_word(c) && !c.is_ascii_digit() || (c == ':' && ends_at_colon))
            .unwrap_or(rest.len())
            .max(1);
        let word = &rest[..end];
        if self.last == Last::WantsDuration && ["inf", "nan"].contains(&&*word.to_lowercase()) {
            return Err(self.error_at(self.pos, &format!("`{word}` is not a duration")));
        }
        self.pos += end;
        self.out.push_str(word);
        let is_offset = word.eq_ignore_ascii_case("offset") && !in_braces;
        self.last = if is_offset { Last::WantsDuration } else { Last::Other };
        Ok(())
    }

    fn number(&mut self) -> Result<(), PromqlError> {
        self.token()?;
        let rest = &self.text[self.pos..];
        let token = &rest[..number_len(rest.as_bytes())];
        let as_duration = self.last == Last::WantsDuration;
        match seconds_of(token) {
            Some(seconds) if as_duration || is_duration(token) => {
                if seconds > DURATION_S_MAX {
                    let what = format!("duration `{token}` is out of range (at most 292y)");
                    return Err(self.error_at(self.pos, &what));
                }
            }
            Some(number) if number.is_infinite() => {
                let what = format!("number `{token}` is out of range");
                return Err(self.error_at(self.pos, &what));
            }
            Some(_) => {}
            None => {
                let what = format!("`{token}` is neither a number nor a duration");
                return Err(self.error_at(self.pos, &what));
            }
        }
        // The parser refuses a duration of zero, Prometheus only a range or step of zero.
        let is_zero = is_duration(token) && seconds_of(token) == Some(0.0);
        self.out.push_str(if is_zero { "0" } else { token });
        self.pos += token.len();
        self.last = Last::Other;
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<(), PromqlError> {
        self.token()?;
        let rest = &self.text[self.pos + 1..];
        let Some(len) = string_len(rest, quote) else {
            return Err(self.error_at(self.pos, "the string is never closed"));
        };
        let raw = &self.text[self.pos..self.pos + len + 2];
        let value = unquote(raw)
            .ok_or_else(|| self.error_at(self.pos, &format!("invalid string {raw}")))?;
        if self.last == Last::RegexOp {
            self.regex(&value)?;
        }
        push_quoted(&mut self.out, &value);
        self.pos += raw.len();
        self.last = Last::Other;
        Ok(())
    }

    fn regex(&mut self, pattern: &str) -> Result<(), PromqlError> {
        self.n_regexes += 1;
        if self.n_regexes > REGEXES_MAX {
            let what = format!("more than {REGEXES_MAX} regular expressions in one query");
            return Err(self.error_at(self.pos, &what));
        }
        if pattern.len() > self.limits.regex_bytes_max {
            return Err(too_long_regex(pattern.len(), self.limits));
        }
        // Compiled here under our size limit, so that the parser's own compilation, whose limit is
        // ten times as high, never meets a larger program.
        match compile_label_regex(pattern, self.limits.regex_program_bytes_max) {
            Ok(_) => Ok(()),
            Err(regex::Error::CompiledTooBig(max_bytes)) => Err(PromqlError::Program { max_bytes }),
            Err(error) => {
                let what = format!(
                    "invalid regular expression `{pattern}`: {}",
                    last_line(&error.to_string())
                );
                Err(self.error_at(self.pos, &what))
            }
        }
    }
}

/// Returns the error of a pattern that is longer than one may be; such are generated by mistake.
pub(super) fn too_long_regex(n_bytes: usize, limits: &ParseLimits) -> PromqlError {
    over("bytes in a regular expression", n_bytes, limits.regex_bytes_max, KEY_REGEX)
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ")
}

fn is_word(c: char) -> bool {
    c == '_' || c == ':' || c.is_ascii_alphabetic()
}

/// Returns the length of the number or duration at the start, exponent sign included.
fn number_len(bytes: &[u8]) -> usize {
    let is_hex = bytes.len() > 1 && bytes[0] == b'0' && bytes[1].eq_ignore_ascii_case(&b'x');
    let mut len = 0;
    while len < bytes.len() {
        let byte = bytes[len];
        let is_part = byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_';
        let is_sign = (byte == b'+' || byte == b'-')
            && !is_hex
            && len > 0
            && bytes[len - 1].eq_ignore_ascii_case(&b'e')
            && bytes[..len - 1].iter().all(|b| b.is_ascii_digit() || *b == b'.');
        if !is_part && !is_sign {
            break;
        }
        len += 1;
    }
    len
}

fn is_duration(token: &str) -> bool {
    !token.starts_with("0x")
        && !token.starts_with("0X")
        && token.ends_with(|c: char| c.is_ascii_alphabetic())
}

/// Returns the number, or a duration's seconds; `None` for what is neither.
fn seconds_of(token: &str) -> Option<f64> {
    if let Some(hex) = token.strip_prefix("0x").or_else(|| token.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().map(|n| n as f64);
    }
    if !is_duration(token) {
        return token.parse().ok();
    }
    let mut rest = token;
    let mut total_s = 0.0;
    while !rest.is_empty() {
        let n_digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        // The parser reads each count as u32 and takes a larger one for zero.
        let count: u32 = rest[..n_digits].parse().ok()?;
        rest = &rest[n_digits..];
        let n_letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_s = match &rest[..n_letters] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "w" => 7.0 * 86_400.0,
            "y" => 365.0 * 86_400.0,
            _ => return None,
        };
        rest = &rest[n_letters..];
        total_s += f64::from(count) * unit_s;
    }
    Some(total_s)
}

/// Returns the length of the string's inside, or `None` when it never ends.
fn string_len(rest: &str, quote: char) -> Option<usize> {
    if quote == '`' {
        return rest.find('`');
    }
    let mut chars = rest.char_indices();
    while let Some((idx, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if c == quote => return Some(idx),
            _ => {}
        }
    }
    None
}
