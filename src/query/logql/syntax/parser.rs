//! The parser's hands: tokens, complaints, limits, and selectors.

use super::super::error::{KEY_DEPTH, KEY_PROGRAM, KEY_REGEX, KEY_TEXT, LogqlError, ParseError};
use super::ast::{Expr, LogExpr, Stage};
use super::lexer::{Tok, Token, tokens};
use crate::model::regexp::RegexpError;
use crate::model::{MatchOp, Matcher, check_label_regex};

/// What a query's text may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseLimits {
    /// The longest text (`query.logql_text_max`).
    pub text_bytes_max: usize,
    /// The deepest nesting of parentheses (`query.logql_depth_max`); there may be four times as many
    /// operators and stages, because each is a level of the tree or of the work.
    pub depth_max: usize,
    /// The longest regular expression (`query.regex_text_max`).
    pub regex_bytes_max: usize,
    /// The largest compiled one (`query.regex_program_max`).
    pub regex_program_bytes_max: usize,
}

/// The most regular expressions of one query: each may compile to a megabyte.
const REGEXES_MAX: usize = 64;

/// The deepest nesting that a stack of 2 MiB is known to bear.
pub(in super::super) const DEPTH_MAX: usize = 64;

impl Default for ParseLimits {
    fn default() -> Self {
        Self {
            text_bytes_max: 16 << 10,
            depth_max: DEPTH_MAX,
            regex_bytes_max: 4 << 10,
            regex_program_bytes_max: 1 << 20,
        }
    }
}

/// Parses a query.
pub fn parse(text: &str, limits: &ParseLimits) -> Result<Expr, LogqlError> {
    let mut parser = Parser::new(text, limits)?;
    let expr = parser.expr()?;
    parser.end()?;
    Ok(expr)
}

/// Parses a query that must be about lines.
pub fn parse_log(text: &str, limits: &ParseLimits) -> Result<LogExpr, LogqlError> {
    match parse(text, limits)? {
        Expr::Log(log) => Ok(log),
        Expr::Metric(_) => Err(ParseError::whole("only log selector is supported").into()),
    }
}

/// Parses a selector alone; unlike in a query, it may select everything.
pub fn parse_selector(text: &str, limits: &ParseLimits) -> Result<Vec<Matcher>, LogqlError> {
    let mut parser = Parser::new(text, limits)?;
    let matchers = parser.selector()?;
    parser.end()?;
    Ok(matchers)
}

/// Parses the selectors of one request, which share the limits of one query.
pub fn parse_selectors(
    texts: &[String],
    limits: &ParseLimits,
) -> Result<Vec<Vec<Matcher>>, LogqlError> {
    let n_bytes: usize = texts.iter().map(String::len).sum();
    if n_bytes > limits.text_bytes_max {
        return Err(too_many("bytes of text", n_bytes, limits.text_bytes_max, KEY_TEXT));
    }
    let (mut sets, mut n_regexes) = (Vec::with_capacity(texts.len()), 0);
    for text in texts {
        let mut parser = Parser { n_regexes, ..Parser::new(text, limits)? };
        sets.push(parser.selector()?);
        parser.end()?;
        n_regexes = parser.n_regexes;
    }
    Ok(sets)
}

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    limits: &'a ParseLimits,
    n_levels: usize,
    n_regexes: usize,
}

pub(super) type Parsed<T> = Result<T, LogqlError>;

impl<'a> Parser<'a> {
    fn new(text: &'a str, limits: &'a ParseLimits) -> Parsed<Self> {
        if text.len() > limits.text_bytes_max {
            return Err(too_many("bytes of text", text.len(), limits.text_bytes_max, KEY_TEXT));
        }
        let tokens = tokens(text)?;
        let depth = deepest(&tokens);
        if depth > limits.depth_max {
            return Err(too_many("levels of nesting", depth, limits.depth_max, KEY_DEPTH));
        }
        Ok(Self { text, tokens, at: 0, limits, n_levels: 0, n_regexes: 0 })
    }

    pub(super) fn peek(&self) -> &Tok {
        &self.tokens[self.at].kind
    }

    pub(super) fn peek_at(&self, n_ahead: usize) -> &Tok {
        let last = self.tokens.len() - 1;
        &self.tokens[(self.at + n_ahead).min(last)].kind
    }

    pub(super) fn next(&mut self) -> Tok {
        let token = self.peek().clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    /// Goes on as if nothing had been read since `place` was asked.
    pub(super) fn rewind(&mut self, place: usize) {
        self.at = place;
    }

    pub(super) fn place(&self) -> usize {
        self.at
    }

    pub(super) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Tok::Symbol(found) if *found == symbol)
    }

    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        let is_next = self.is_symbol(symbol);
        if is_next {
            self.next();
        }
        is_next
    }

    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Parsed<()> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected(symbol)) }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Tok::Word(found) if found.eq_ignore_ascii_case(word))
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let is_next = self.is_word(word);
        if is_next {
            self.next();
        }
        is_next
    }

    pub(super) fn name(&mut self) -> Parsed<String> {
        match self.peek() {
            Tok::Word(_) => match self.next() {
                Tok::Word(word) => Ok(word),
                _ => unreachable!("it was looked at"),
            },
            _ => Err(self.unexpected("IDENTIFIER")),
        }
    }

    pub(super) fn string(&mut self) -> Parsed<String> {
        match self.peek() {
            Tok::Text(text) => {
                let text = text.clone();
                self.next();
                Ok(text)
            }
            _ => Err(self.unexpected("STRING")),
        }
    }

    /// Returns the complaint about the token that is there, in Loki's words.
    pub(super) fn unexpected(&self, wanted: &str) -> LogqlError {
        let found = self.peek().called();
        let message = match wanted {
            "" => format!("syntax error: unexpected {found}"),
            wanted => format!("syntax error: unexpected {found}, expecting {wanted}"),
        };
        self.wrong(message)
    }

    /// Returns a complaint that points at the token that is there.
    pub(super) fn wrong(&self, message: impl Into<String>) -> LogqlError {
        ParseError::at(self.text, self.tokens[self.at].start, message).into()
    }

    /// Counts one more level of the tree.
    pub(super) fn level(&mut self) -> Parsed<()> {
        self.n_levels += 1;
        let max = self.limits.depth_max.saturating_mul(4);
        if self.n_levels > max {
            return Err(too_many("operators and stages", self.n_levels, max, KEY_DEPTH));
        }
        Ok(())
    }

    fn end(&self) -> Parsed<()> {
        if *self.peek() == Tok::End { Ok(()) } else { Err(self.unexpected("")) }
    }

    fn expr(&mut self) -> Parsed<Expr> {
        if self.begins_with_selector() {
            let log = self.log_expr()?;
            check_selective(&log.matchers)?;
            if log.stages.iter().any(|stage| matches!(stage, Stage::Unwrap(_))) {
                return Err(ParseError::whole("unwrap needs a metric query around it").into());
            }
            return Ok(Expr::Log(log));
        }
        Ok(Expr::Metric(self.metric(0)?))
    }

    /// Returns true when behind any opening parentheses there is a selector.
    pub(super) fn begins_with_selector(&self) -> bool {
        let rest = self.tokens[self.at..].iter();
        let mut rest = rest.skip_while(|token| token.kind == Tok::Symbol("("));
        rest.next().is_some_and(|token| token.kind == Tok::Symbol("{"))
    }

    /// `{a="b"} | …`, perhaps in parentheses.
    pub(super) fn log_expr(&mut self) -> Parsed<LogExpr> {
        if self.take_symbol("(") {
            let mut log = self.log_expr()?;
            self.expect_symbol(")")?;
            log.stages.extend(self.stages()?);
            return Ok(log);
        }
        let matchers = self.selector()?;
        let stages = self.stages()?;
        Ok(LogExpr { matchers, stages })
    }

    /// `{a="b", c=~"d"}`
    pub(super) fn selector(&mut self) -> Parsed<Vec<Matcher>> {
        self.expect_symbol("{")?;
        let mut matchers = Vec::new();
        while !self.take_symbol("}") {
            if !matchers.is_empty() {
                if !self.take_symbol(",") {
                    return Err(self.unexpected("} or ,"));
                }
                if self.take_symbol("}") {
                    break;
                }
            }
            let name = match self.peek() {
                Tok::Word(_) => self.name()?,
                // UTF-8 names, as in PromQL.
                Tok::Text(_) if !matchers.is_empty() || self.is_comparison(1) => self.string()?,
                _ if matchers.is_empty() => return Err(self.unexpected("IDENTIFIER or }")),
                _ => return Err(self.unexpected("IDENTIFIER or }")),
            };
            self.level()?;
            matchers.push(self.matcher_of(name)?);
        }
        Ok(matchers)
    }

    fn is_comparison(&self, n_ahead: usize) -> bool {
        matches!(self.peek_at(n_ahead), Tok::Symbol("=" | "!=" | "=~" | "!~"))
    }

    /// The operator and value behind a label's name.
    pub(super) fn matcher_of(&mut self, name: String) -> Parsed<Matcher> {
        let op = match self.peek() {
            Tok::Symbol("=") => MatchOp::Eq,
            Tok::Symbol("!=") => MatchOp::Ne,
            Tok::Symbol("=~") => MatchOp::Re,
            Tok::Symbol("!~") => MatchOp::Nre,
            _ => return Err(self.unexpected("= or != or =~ or !~")),
        };
        self.next();
        let value = self.string()?;
        self.matcher(&name, op, &value)
    }

    pub(super) fn matcher(&mut self, name: &str, op: MatchOp, value: &str) -> Parsed<Matcher> {
        if matches!(op, MatchOp::Re | MatchOp::Nre) {
            self.check_regex(value)?;
        }
        Matcher::new(name, op, value).map_err(|error| self.wrong(error.to_string()))
    }

    /// Fails when a regular expression is none, larger than one may be, or one too many.
    pub(super) fn check_regex(&mut self, regex: &str) -> Parsed<()> {
        self.n_regexes += 1;
        if self.n_regexes > REGEXES_MAX {
            let what = format!("more than {REGEXES_MAX} regular expressions in one query");
            return Err(self.wrong(what));
        }
        let max = self.limits.regex_bytes_max;
        if regex.len() > max {
            return Err(too_many("bytes of regular expression", regex.len(), max, KEY_REGEX));
        }
        check_label_regex(regex, self.limits.regex_program_bytes_max).map_err(|error| {
            self.wrong(match error {
                RegexpError::TooLarge { .. } => {
                    format!("{error}: raise `{KEY_PROGRAM}` to allow more")
                }
                RegexpError::Syntax { .. } => error.to_string(),
            })
        })
    }
}

/// A query without a condition that says where to look would read everything. What no rule could
/// place has no `commons`, so `{commons=""}` is such a condition here.
pub(super) fn check_selective(matchers: &[Matcher]) -> Parsed<()> {
    let says_where = |matcher: &Matcher| !matcher.matches_empty() || matcher.name == "commons";
    if matchers.iter().any(says_where) {
        return Ok(());
    }
    Err(ParseError::whole(
        "queries require at least one regexp or equality matcher that does not have an \
         empty-compatible value. For instance, app=~\".*\" does not meet this requirement, but \
         app=~\".+\" will",
    )
    .into())
}

fn too_many(what: &'static str, n: usize, max: usize, key: &'static str) -> LogqlError {
    LogqlError::Limit { what, n: n as u64, max: max as u64, key }
}

fn deepest(tokens: &[Token]) -> usize {
    let (mut depth, mut max): (usize, usize) = (0, 0);
    for token in tokens {
        match token.kind {
            Tok::Symbol("(" | "{") => depth += 1,
            Tok::Symbol(")" | "}") => depth = depth.saturating_sub(1),
            _ => {}
        }
        max = max.max(depth);
    }
    max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_too_many<T: std::fmt::Debug>(parsed: Result<T, LogqlError>) {
        let error = parsed.unwrap_err().to_string();
        assert!(error.contains("more than 64 regular expressions in one query"), "{error}");
    }

    #[test]
    fn a_query_has_so_many_regular_expressions_and_so_have_all_selectors_of_a_request() {
        let limits = ParseLimits::default();
        let query = |n: usize| format!("{{a=\"b\"}}{}", " |~ \"x.y\"".repeat(n));
        let selectors = |n: usize| vec!["{a=~\"x.y\", b!~\"z\"}".to_owned(); n];

        assert!(parse(&query(64), &limits).is_ok());
        check_too_many(parse(&query(65), &limits));
        assert_eq!(parse_selectors(&selectors(32), &limits).unwrap().len(), 32);
        check_too_many(parse_selectors(&selectors(33), &limits));
        let long = vec!["{a=\"b\"}".to_owned(); 3_000];
        let error = parse_selectors(&long, &limits).unwrap_err();
        assert_eq!(error.limit(), Some(KEY_TEXT));
    }
}
