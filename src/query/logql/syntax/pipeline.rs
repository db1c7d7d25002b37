//! Pipelines: what stands behind a selector.

use super::ast::{
    CompareOp, Conversion, Extraction, FormatSource, LabelFilter, LabelFormat, LineFilter, LineOp,
    LinePattern, NameOrMatcher, Quantity, Stage, Unwrap,
};
use super::lexer::Tok;
use super::parser::{Parsed, Parser};
use crate::model::MatchOp;

const AFTER_PIPE: &str = "json or logfmt or regexp or pattern or unpack or label_format or \
                          line_format or drop or keep or decolorize or unwrap or IDENTIFIER";

impl Parser<'_> {
    /// All stages that follow.
    pub(super) fn stages(&mut self) -> Parsed<Vec<Stage>> {
        let mut stages = Vec::new();
        while let Some(stage) = self.stage()? {
            self.level()?;
            stages.push(stage);
        }
        Ok(stages)
    }

    fn stage(&mut self) -> Parsed<Option<Stage>> {
        let op = match self.peek() {
            Tok::Symbol("|=") => LineOp::Contains,
            Tok::Symbol("!=") => LineOp::ContainsNot,
            Tok::Symbol("|~") => LineOp::Matches,
            Tok::Symbol("!~") => LineOp::MatchesNot,
            Tok::Symbol("|>") => LineOp::Pattern,
            Tok::Symbol("!>") => LineOp::PatternNot,
            Tok::Symbol("|") => {
                self.next();
                return self.piped().map(Some);
            }
            _ => return Ok(None),
        };
        self.next();
        self.line_filter(op).map(|filter| Some(Stage::Line(filter)))
    }

    /// `"a" or "b" or ip("c")`
    fn line_filter(&mut self, op: LineOp) -> Parsed<LineFilter> {
        let mut any_of = vec![self.line_pattern(op)?];
        while self.is_word("or") {
            self.next();
            self.level()?;
            any_of.push(self.line_pattern(op)?);
        }
        Ok(LineFilter { op, any_of })
    }

    fn line_pattern(&mut self, op: LineOp) -> Parsed<LinePattern> {
        let takes_ip = matches!(op, LineOp::Contains | LineOp::ContainsNot);
        if takes_ip && self.is_ip() {
            let text = self.ip()?;
            return Ok(LinePattern { text, is_ip: true });
        }
        let text = match self.peek() {
            Tok::Text(_) => self.string()?,
            _ if takes_ip => return Err(self.unexpected("STRING or ip")),
            _ => return Err(self.unexpected("STRING")),
        };
        if matches!(op, LineOp::Matches | LineOp::MatchesNot) {
            self.check_regex(&text)?;
        }
        Ok(LinePattern { text, is_ip: false })
    }

    fn is_ip(&self) -> bool {
        self.is_word("ip") && *self.peek_at(1) == Tok::Symbol("(")
    }

    fn ip(&mut self) -> Parsed<String> {
        self.next();
        self.expect_symbol("(")?;
        let text = self.string()?;
        self.expect_symbol(")")?;
        Ok(text)
    }

    /// What follows a `|`.
    fn piped(&mut self) -> Parsed<Stage> {
        let word = match self.peek() {
            Tok::Word(word) => word.to_lowercase(),
            Tok::Symbol("(") => return Ok(Stage::Filter(self.label_filter()?)),
            _ => return Err(self.unexpected(AFTER_PIPE)),
        };
        // `| json="x"` compares a label of that name.
        let is_compared = matches!(
            self.peek_at(1),
            Tok::Symbol("=" | "==" | "!=" | "=~" | "!~" | "<" | "<=" | ">" | ">=")
        ) && !matches!(
            (word.as_str(), self.peek_at(1), self.peek_at(2)),
            // A line filter behind a parser: `| json != "x"`.
            ("json" | "logfmt" | "unpack" | "decolorize", Tok::Symbol("!=" | "!~"), Tok::Text(_))
        );
        if is_compared {
            return Ok(Stage::Filter(self.label_filter()?));
        }
        match word.as_str() {
            "json" => self.next(),
            "logfmt" => return self.logfmt(),
            "unpack" => {
                self.next();
                return Ok(Stage::Unpack);
            }
            "decolorize" => {
                self.next();
                return Ok(Stage::Decolorize);
            }
            "regexp" => {
                self.next();
                let regex = self.string()?;
                self.check_regex(&regex)?;
                return Ok(Stage::Regexp(regex));
            }
            "pattern" => {
                self.next();
                return Ok(Stage::Pattern(self.string()?));
            }
            "line_format" => {
                self.next();
                return Ok(Stage::LineFormat(self.string()?));
            }
            "label_format" => return self.label_formats(),
            "drop" | "keep" => return self.drop_or_keep(word == "drop"),
            "unwrap" => return self.unwrap(),
            _ => return Ok(Stage::Filter(self.label_filter()?)),
        };
        Ok(Stage::Json(self.extractions()?))
    }

    fn logfmt(&mut self) -> Parsed<Stage> {
        self.next();
        let (mut is_strict, mut keeps_empty) = (false, false);
        while let Tok::Flag(flag) = *self.peek() {
            is_strict |= flag == "--strict";
            keeps_empty |= flag == "--keep-empty";
            self.next();
        }
        Ok(Stage::Logfmt { is_strict, keeps_empty, extractions: self.extractions()? })
    }

    /// `a="b", c`
    fn extractions(&mut self) -> Parsed<Vec<Extraction>> {
        let mut found = Vec::new();
        if !matches!(self.peek(), Tok::Word(_)) {
            return Ok(found);
        }
        loop {
            self.level()?;
            let name = self.name()?;
            let path = if self.take_symbol("=") { self.string()? } else { name.clone() };
            found.push(Extraction { name, path });
            if !self.take_symbol(",") {
                return Ok(found);
            }
        }
    }

    fn label_formats(&mut self) -> Parsed<Stage> {
        self.next();
        let mut formats: Vec<LabelFormat> = Vec::new();
        loop {
            self.level()?;
            let target = self.name()?;
            if target == "__error__" {
                return Err(self.wrong("__error__ cannot be formatted"));
            }
            if formats.iter().any(|earlier| earlier.target == target) {
                return Err(self.wrong(format!(
                    "multiple label name '{target}' not allowed in a single format operation"
                )));
            }
            self.expect_symbol("=")?;
            let source = match self.peek() {
                Tok::Text(_) => FormatSource::Template(self.string()?),
                Tok::Word(_) => FormatSource::Rename(self.name()?),
                _ => return Err(self.unexpected("STRING or IDENTIFIER")),
            };
            formats.push(LabelFormat { target, source });
            if !self.take_symbol(",") {
                return Ok(Stage::LabelFormat(formats));
            }
        }
    }

    fn drop_or_keep(&mut self, is_drop: bool) -> Parsed<Stage> {
        self.next();
        let mut named = Vec::new();
        loop {
            self.level()?;
            let name = self.name()?;
            let is_matcher = matches!(self.peek(), Tok::Symbol("=" | "!=" | "=~" | "!~"))
                && matches!(self.peek_at(1), Tok::Text(_));
            named.push(if is_matcher {
                NameOrMatcher::Matcher(self.matcher_of(name)?)
            } else {
                NameOrMatcher::Name(name)
            });
            if !self.take_symbol(",") {
                break;
            }
        }
        Ok(if is_drop { Stage::Drop(named) } else { Stage::Keep(named) })
    }

    fn unwrap(&mut self) -> Parsed<Stage> {
        self.next();
        let conversion = match self.peek() {
            Tok::Word(word) if *self.peek_at(1) == Tok::Symbol("(") => {
                match word.to_lowercase().as_str() {
                    "duration" | "duration_seconds" => Conversion::Duration,
                    "bytes" => Conversion::Bytes,
                    _ => {
                        return Err(self.unexpected("bytes or duration or duration_seconds"));
                    }
                }
            }
            _ => Conversion::None,
        };
        if conversion == Conversion::None {
            return Ok(Stage::Unwrap(Unwrap { label: self.name()?, conversion }));
        }
        self.next();
        self.expect_symbol("(")?;
        let label = self.name()?;
        self.expect_symbol(")")?;
        Ok(Stage::Unwrap(Unwrap { label, conversion }))
    }

    /// `a="b" or c > 5 and d < 1s`: `or` binds weaker than `and`.
    fn label_filter(&mut self) -> Parsed<LabelFilter> {
        let mut left = self.label_filters()?;
        while self.take_word("or") {
            self.level()?;
            let right = self.label_filters()?;
            left = LabelFilter::Or(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn label_filters(&mut self) -> Parsed<LabelFilter> {
        let mut left = self.label_conditions()?;
        while self.take_word("and") {
            self.level()?;
            let right = self.label_conditions()?;
            left = LabelFilter::And(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    /// `a="b", c > 5 or d < 1s`: a condition, and whatever follows a comma or stands beside it. Both are an
    /// `and` with all that is behind them, as Loki's grammar resolves it.
    fn label_conditions(&mut self) -> Parsed<LabelFilter> {
        let left = self.label_condition()?;
        let is_operator =
            |word: &str| ["and", "or"].iter().any(|known| word.eq_ignore_ascii_case(known));
        let is_followed = self.take_symbol(",")
            || self.is_symbol("(")
            || matches!(self.peek(), Tok::Word(word) if !is_operator(word));
        if !is_followed {
            return Ok(left);
        }
        self.level()?;
        let right = self.label_filter()?;
        Ok(LabelFilter::And(Box::new(left), Box::new(right)))
    }

    fn label_condition(&mut self) -> Parsed<LabelFilter> {
        if self.take_symbol("(") {
            let inner = self.label_filter()?;
            self.expect_symbol(")")?;
            return Ok(inner);
        }
        let name = self.name()?;
        let op = match *self.peek() {
            Tok::Symbol(symbol) => symbol,
            _ => return Err(self.unexpected(COMPARISONS)),
        };
        let compare = match op {
            "=" | "==" => Some(CompareOp::Eq),
            "!=" => Some(CompareOp::Ne),
            "<" => Some(CompareOp::Lt),
            "<=" => Some(CompareOp::Le),
            ">" => Some(CompareOp::Gt),
            ">=" => Some(CompareOp::Ge),
            "=~" | "!~" => None,
            _ => return Err(self.unexpected(COMPARISONS)),
        };
        let takes_text = matches!(op, "=" | "!=" | "=~" | "!~");
        self.next();
        if takes_text && matches!(self.peek(), Tok::Text(_)) {
            let op = match op {
                "=" => MatchOp::Eq,
                "!=" => MatchOp::Ne,
                "=~" => MatchOp::Re,
                _ => MatchOp::Nre,
            };
            let value = self.string()?;
            return Ok(LabelFilter::Text(self.matcher(&name, op, &value)?));
        }
        let Some(compare) = compare else { return Err(self.unexpected("STRING")) };
        if takes_text && self.is_ip() {
            let pattern = self.ip()?;
            return Ok(LabelFilter::Ip { name, is_negation: op == "!=", pattern });
        }
        let value = self.quantity(takes_text)?;
        Ok(LabelFilter::Number { name, op: compare, value })
    }

    fn quantity(&mut self, takes_text: bool) -> Parsed<Quantity> {
        let is_negative = self.take_symbol("-");
        let sign = if is_negative { -1.0 } else { 1.0 };
        let value = match *self.peek() {
            Tok::Number(number) => Quantity::Number(sign * number),
            Tok::Duration(ns) => Quantity::Duration(if is_negative { -ns } else { ns }),
            Tok::Bytes(n_bytes) if !is_negative => Quantity::Bytes(n_bytes),
            _ if takes_text => {
                return Err(self.unexpected("BYTES or STRING or ip or NUMBER or DURATION"));
            }
            _ => return Err(self.unexpected("BYTES or NUMBER or DURATION")),
        };
        self.next();
        Ok(value)
    }
}

const COMPARISONS: &str = "= or == or != or =~ or !~ or > or >= or < or <=";
