//! The words of PromQL: what a token is, and how an error names it.

use super::ast::{Aggregator, BinaryOp, Op, SetOp, Span};
use super::quoting::push_quoted;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Eof,
    /// The rest could not be read; the lexer knows why.
    Error,
    Comma,
    Colon,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    At,
    /// `=`, inside braces
    Assign,
    /// `=~`
    Matches,
    /// `!~`
    Misses,
    Number,
    Duration,
    Text,
    /// A name without a colon.
    Name,
    /// A name with a colon, which only a metric has.
    MetricName,
    Op(BinaryOp),
    Aggregator(Aggregator),
    Keyword(Keyword),
    /// `start end step range`
    Edge(Edge),
}

/// Words that mean something at some places and are names at others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyword {
    Anchored,
    Bool,
    By,
    Fill,
    FillLeft,
    FillRight,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    On,
    Smoothed,
    Without,
}

/// What can be asked of the query's own range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Start,
    End,
    Step,
    Range,
}

/// One token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// Returns whether a word means the longer of two durations and not the shorter, if it means one of them.
/// Before Prometheus 3.13 they were called like the aggregations.
pub(super) fn extreme_of(word: &str) -> Option<bool> {
    let is_any = |words: [&str; 2]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    if is_any(["max_of", "max"]) {
        return Some(true);
    }
    is_any(["min_of", "min"]).then_some(false)
}

/// Returns the meaning of a word outside of braces.
pub(super) fn kind_of_word(word: &str) -> Kind {
    let lower = word.to_ascii_lowercase();
    if let Some(op) = aggregator(&lower) {
        return Kind::Aggregator(op);
    }
    if let Some(keyword) = keyword(&lower) {
        return Kind::Keyword(keyword);
    }
    match lower.as_str() {
        "and" => Kind::Op(BinaryOp::Set(SetOp::And)),
        "or" => Kind::Op(BinaryOp::Set(SetOp::Or)),
        "unless" => Kind::Op(BinaryOp::Set(SetOp::Unless)),
        "atan2" => Kind::Op(BinaryOp::Number(Op::Atan2)),
        "inf" | "nan" => Kind::Number,
        "start" => Kind::Edge(Edge::Start),
        "end" => Kind::Edge(Edge::End),
        "step" => Kind::Edge(Edge::Step),
        "range" => Kind::Edge(Edge::Range),
        _ if word.contains(':') => Kind::MetricName,
        _ => Kind::Name,
    }
}

fn aggregator(word: &str) -> Option<Aggregator> {
    Aggregator::ALL.into_iter().find(|op| op.as_str() == word)
}

fn keyword(word: &str) -> Option<Keyword> {
    Some(match word {
        "anchored" => Keyword::Anchored,
        "bool" => Keyword::Bool,
        "by" => Keyword::By,
        "fill" => Keyword::Fill,
        "fill_left" => Keyword::FillLeft,
        "fill_right" => Keyword::FillRight,
        "group_left" => Keyword::GroupLeft,
        "group_right" => Keyword::GroupRight,
        "ignoring" => Keyword::Ignoring,
        "offset" => Keyword::Offset,
        "on" => Keyword::On,
        "smoothed" => Keyword::Smoothed,
        "without" => Keyword::Without,
        _ => return None,
    })
}

impl Kind {
    /// Returns true for a token that is a word, which can be a label's name.
    pub(super) fn is_word(self) -> bool {
        matches!(
            self,
            Kind::Name
                | Kind::MetricName
                | Kind::Aggregator(_)
                | Kind::Keyword(_)
                | Kind::Edge(_)
                | Kind::Op(BinaryOp::Set(_) | BinaryOp::Number(Op::Atan2))
        )
    }

    /// Returns true for a word that can be a metric's name.
    pub(super) fn can_be_metric(self) -> bool {
        match self {
            Kind::Keyword(keyword) => matches!(
                keyword,
                Keyword::Anchored
                    | Keyword::By
                    | Keyword::Fill
                    | Keyword::FillLeft
                    | Keyword::FillRight
                    | Keyword::Offset
                    | Keyword::Smoothed
                    | Keyword::Without
            ),
            Kind::Op(BinaryOp::Number(_)) => false,
            other => other.is_word(),
        }
    }
}

/// The longest piece of a token that an error shows.
const SHOWN_CHARS_MAX: usize = 10;

/// Returns how an error names a token, as Prometheus does: `identifier "x"`, `<op:+>`, `"("`.
pub(super) fn describe(kind: Kind, text: &str) -> String {
    let prefix = match kind {
        Kind::Eof => return "end of input".to_owned(),
        Kind::Op(_) | Kind::At | Kind::Matches | Kind::Misses => return format!("<op:{text}>"),
        Kind::Aggregator(_) => return format!("<aggr:{text}>"),
        Kind::Keyword(_) => return format!("<{text}>"),
        Kind::Name => "identifier ",
        Kind::MetricName => "metric identifier ",
        Kind::Text => "string ",
        Kind::Number => "number ",
        Kind::Duration => "duration ",
        _ => "",
    };
    let mut out = prefix.to_owned();
    let is_name = matches!(kind, Kind::Name | Kind::MetricName);
    if is_name || text.chars().count() <= SHOWN_CHARS_MAX {
        push_quoted(&mut out, text);
    } else {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        push_quoted(&mut out, &shown);
        out.push_str("...");
    }
    out
}
