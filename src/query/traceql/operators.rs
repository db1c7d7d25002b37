//! The operators of TraceQL: how each is written, and what it does to two values.

use std::cmp::Ordering;

/// How two spansets make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpansetOp {
    /// `&&`: the spans of both, when both have some.
    And,
    /// `||`: the spans of both.
    Or,
    /// By their place in the trace.
    Related(Relation, Form),
}

/// Where a span on the right stands, seen from one on the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `>`: below it, at once.
    Child,
    /// `>>`: below it.
    Descendant,
    /// `<`: above it, at once.
    Parent,
    /// `<<`: above it.
    Ancestor,
    /// `~`: beside it.
    Sibling,
}

/// Which spans are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Those on the right that stand so to one on the left.
    Plain,
    /// `!`: those on the right that stand so to none on the left.
    Negated,
    /// `&`: those on both sides that stand so to one on the other.
    Union,
}

/// Every spanset operator as it is written, longest first where one begins with another.
pub(super) const SPANSET_OPS: [(&str, SpansetOp); 17] = {
    use Form::{Negated, Plain, Union};
    use Relation::{Ancestor, Child, Descendant, Parent, Sibling};
    use SpansetOp::{And, Or, Related};
    [
        ("&>>", Related(Descendant, Union)),
        ("&<<", Related(Ancestor, Union)),
        ("!>>", Related(Descendant, Negated)),
        ("!<<", Related(Ancestor, Negated)),
        ("&>", Related(Child, Union)),
        ("&<", Related(Parent, Union)),
        ("&~", Related(Sibling, Union)),
        ("!>", Related(Child, Negated)),
        ("!<", Related(Parent, Negated)),
        ("!~", Related(Sibling, Negated)),
        (">>", Related(Descendant, Plain)),
        ("<<", Related(Ancestor, Plain)),
        (">", Related(Child, Plain)),
        ("<", Related(Parent, Plain)),
        ("~", Related(Sibling, Plain)),
        ("&&", And),
        ("||", Or),
    ]
};

/// `&&` and `||`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logic {
    /// Both.
    And,
    /// Either.
    Or,
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Compare {
    /// All of them as they are written.
    pub(super) const ALL: [(&'static str, Compare); 6] = [
        ("=", Compare::Equal),
        ("!=", Compare::NotEqual),
        ("<", Compare::Less),
        ("<=", Compare::LessEqual),
        (">", Compare::Greater),
        (">=", Compare::GreaterEqual),
    ];

    /// Returns the comparison with its sides exchanged.
    pub(super) fn turned(self) -> Self {
        match self {
            Compare::Less => Compare::Greater,
            Compare::LessEqual => Compare::GreaterEqual,
            Compare::Greater => Compare::Less,
            Compare::GreaterEqual => Compare::LessEqual,
            other => other,
        }
    }

    pub(super) fn is_equality(self) -> bool {
        matches!(self, Compare::Equal | Compare::NotEqual)
    }

    /// Returns true when two values in this order compare so; what has no order is only unequal.
    pub(super) fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Compare::Equal => order == Some(Ordering::Equal),
            Compare::NotEqual => order != Some(Ordering::Equal),
            Compare::Less => order == Some(Ordering::Less),
            Compare::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Compare::Greater => order == Some(Ordering::Greater),
            Compare::GreaterEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// An arithmetic operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
}

impl Arithmetic {
    /// All of them as they are written.
    pub(super) const ALL: [(&'static str, Arithmetic); 6] = [
        ("+", Arithmetic::Add),
        ("-", Arithmetic::Subtract),
        ("*", Arithmetic::Multiply),
        ("/", Arithmetic::Divide),
        ("%", Arithmetic::Modulo),
        ("^", Arithmetic::Power),
    ];

    /// Returns how it is written.
    pub(super) fn symbol(self) -> &'static str {
        symbol(&Self::ALL, self)
    }

    /// Returns the result, in doubles.
    pub(super) fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide => a / b,
            Arithmetic::Modulo => a % b,
            Arithmetic::Power => a.powf(b),
        }
    }
}

/// How the values of spans become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    Count,
    Min,
    Max,
    Sum,
    Avg,
}

impl Aggregate {
    /// All of them by their names.
    pub(super) const ALL: [(&'static str, Aggregate); 5] = [
        ("count", Aggregate::Count),
        ("min", Aggregate::Min),
        ("max", Aggregate::Max),
        ("sum", Aggregate::Sum),
        ("avg", Aggregate::Avg),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// Returns how an operator is written.
pub(super) fn symbol<T: PartialEq + Copy>(all: &[(&'static str, T)], wanted: T) -> &'static str {
    all.iter().find(|(_, op)| *op == wanted).map_or("?", |(text, _)| text)
}
