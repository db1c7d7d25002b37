//! The syntax tree.

use crate::model::Matcher;

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// Lines.
    Log(LogExpr),
    /// Numbers.
    Metric(MetricExpr),
}

/// A selector and what its lines go through.
#[derive(Debug, Clone, PartialEq)]
pub struct LogExpr {
    /// All must match a stream's labels.
    pub matchers: Vec<Matcher>,
    /// In order.
    pub stages: Vec<Stage>,
}

/// One stage of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// `|= "a" or "b"`
    Line(LineFilter),
    /// `| json a="x.y", b`
    Json(Vec<Extraction>),
    /// `| logfmt --strict --keep-empty a="b"`
    Logfmt {
        /// A malformed pair is an error.
        is_strict: bool,
        /// Keys without a value become labels too.
        keeps_empty: bool,
        /// Only these, when there are any.
        extractions: Vec<Extraction>,
    },
    /// `| regexp "(?P<a>…)"`
    Regexp(String),
    /// `| pattern "<a> - <_>"`
    Pattern(String),
    /// `| unpack`
    Unpack,
    /// `| a="b" and c > 5`
    Filter(LabelFilter),
    /// `| line_format "…"`
    LineFormat(String),
    /// `| label_format a=b, c="{{…}}"`
    LabelFormat(Vec<LabelFormat>),
    /// `| drop a, b="c"`
    Drop(Vec<NameOrMatcher>),
    /// `| keep a, b="c"`
    Keep(Vec<NameOrMatcher>),
    /// `| decolorize`
    Decolorize,
    /// `| unwrap duration(a)`
    Unwrap(Unwrap),
}

/// A condition on the line.
#[derive(Debug, Clone, PartialEq)]
pub struct LineFilter {
    /// How to compare.
    pub op: LineOp,
    /// Any of these (none of these, when the operator is a negation).
    pub any_of: Vec<LinePattern>,
}

/// What a line filter looks for.
#[derive(Debug, Clone, PartialEq)]
pub struct LinePattern {
    /// The text, regular expression, pattern or address.
    pub text: String,
    /// `ip("…")`
    pub is_ip: bool,
}

/// How a line filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOp {
    /// `|=`
    Contains,
    /// `!=`
    ContainsNot,
    /// `|~`
    Matches,
    /// `!~`
    MatchesNot,
    /// `|>`
    Pattern,
    /// `!>`
    PatternNot,
}

impl LineOp {
    /// Returns true for `!=`, `!~` and `!>`.
    pub fn is_negation(self) -> bool {
        matches!(self, LineOp::ContainsNot | LineOp::MatchesNot | LineOp::PatternNot)
    }

    /// Returns the operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            LineOp::Contains => "|=",
            LineOp::ContainsNot => "!=",
            LineOp::Matches => "|~",
            LineOp::MatchesNot => "!~",
            LineOp::Pattern => "|>",
            LineOp::PatternNot => "!>",
        }
    }
}

/// `name="path"`, or `name` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extraction {
    /// The label.
    pub name: String,
    /// Where its value is.
    pub path: String,
}

/// A condition on labels.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelFilter {
    /// `a="b"` and its like.
    Text(Matcher),
    /// `a > 5`, `a <= 1s`, `a == 5KB`
    Number {
        /// The label.
        name: String,
        /// The comparison.
        op: CompareOp,
        /// What with.
        value: Quantity,
    },
    /// `a = ip("10.0.0.0/8")`
    Ip {
        /// The label.
        name: String,
        /// `!=`
        is_negation: bool,
        /// An address, a range or a network.
        pattern: String,
    },
    /// Both.
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// Either.
    Or(Box<LabelFilter>, Box<LabelFilter>),
}

/// A number with its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// Plain.
    Number(f64),
    /// ns
    Duration(i64),
    /// Bytes.
    Bytes(u64),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// `==` or `=`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl CompareOp {
    /// Returns the operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            CompareOp::Eq => "==",
            CompareOp::Ne => "!=",
            CompareOp::Lt => "<",
            CompareOp::Le => "<=",
            CompareOp::Gt => ">",
            CompareOp::Ge => ">=",
        }
    }
}

/// `target=source` or `target="template"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFormat {
    /// The label that is set.
    pub target: String,
    /// What to.
    pub source: FormatSource,
}

/// What a label is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormatSource {
    /// The value of another label, which goes.
    Rename(String),
    /// What a template makes.
    Template(String),
}

/// A label, whatever its value or of one value.
#[derive(Debug, Clone, PartialEq)]
pub enum NameOrMatcher {
    /// `a`
    Name(String),
    /// `a="b"`
    Matcher(Matcher),
}

/// Which label's value is the sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwrap {
    /// The label.
    pub label: String,
    /// How its text becomes a number.
    pub conversion: Conversion,
}

/// How a text becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// As a float.
    None,
    /// `duration(…)`, `duration_seconds(…)`: seconds.
    Duration,
    /// `bytes(…)`
    Bytes,
}

/// A metric query.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricExpr {
    /// `5`
    Number(f64),
    /// `vector(5)`
    Vector(f64),
    /// `rate({…}[5m])`
    Range(Box<RangeAggregation>),
    /// `sum by (a) (…)`
    Aggregate(Box<VectorAggregation>),
    /// `a / b`
    Binary(Box<Binary>),
    /// `label_replace(…)`
    LabelReplace(Box<LabelReplace>),
}

/// A function over the lines of a window.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeAggregation {
    /// The function.
    pub func: RangeFunc,
    /// The first argument of `quantile_over_time`.
    pub param: Option<f64>,
    /// The lines.
    pub lines: LogExpr,
    /// The window, ms.
    pub range_ms: i64,
    /// How much earlier, ms; may be negative.
    pub offset_ms: i64,
    /// `by (…)`, `without (…)`
    pub grouping: Option<Grouping>,
}

/// The functions over windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeFunc {
    /// `rate`
    Rate,
    /// `rate_counter`
    RateCounter,
    /// `count_over_time`
    Count,
    /// `bytes_rate`
    BytesRate,
    /// `bytes_over_time`
    Bytes,
    /// `avg_over_time`
    Avg,
    /// `sum_over_time`
    Sum,
    /// `min_over_time`
    Min,
    /// `max_over_time`
    Max,
    /// `stddev_over_time`
    Stddev,
    /// `stdvar_over_time`
    Stdvar,
    /// `quantile_over_time`
    Quantile,
    /// `first_over_time`
    First,
    /// `last_over_time`
    Last,
    /// `absent_over_time`
    Absent,
}

impl RangeFunc {
    /// Every function, with its name.
    pub const ALL: [(&'static str, RangeFunc); 15] = [
        ("rate", RangeFunc::Rate),
        ("rate_counter", RangeFunc::RateCounter),
        ("count_over_time", RangeFunc::Count),
        ("bytes_rate", RangeFunc::BytesRate),
        ("bytes_over_time", RangeFunc::Bytes),
        ("avg_over_time", RangeFunc::Avg),
        ("sum_over_time", RangeFunc::Sum),
        ("min_over_time", RangeFunc::Min),
        ("max_over_time", RangeFunc::Max),
        ("stddev_over_time", RangeFunc::Stddev),
        ("stdvar_over_time", RangeFunc::Stdvar),
        ("quantile_over_time", RangeFunc::Quantile),
        ("first_over_time", RangeFunc::First),
        ("last_over_time", RangeFunc::Last),
        ("absent_over_time", RangeFunc::Absent),
    ];

    /// Returns the function's name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, func)| *func == self).map_or("", |(name, _)| name)
    }

    /// Returns true when the function needs an `unwrap`.
    pub fn needs_unwrap(self) -> bool {
        !self.takes_lines() && self != RangeFunc::Absent && self != RangeFunc::Rate
    }

    /// Returns true when the function counts lines or bytes and takes no `unwrap`.
    pub fn takes_lines(self) -> bool {
        matches!(self, RangeFunc::Count | RangeFunc::BytesRate | RangeFunc::Bytes)
    }

    /// Returns true when the function may be grouped.
    pub fn takes_grouping(self) -> bool {
        matches!(
            self,
            RangeFunc::Avg
                | RangeFunc::Stddev
                | RangeFunc::Stdvar
                | RangeFunc::Quantile
                | RangeFunc::Max
                | RangeFunc::Min
                | RangeFunc::First
                | RangeFunc::Last
        )
    }
}

/// `by (…)` or `without (…)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// `without`
    pub is_without: bool,
    /// The labels.
    pub labels: Vec<String>,
}

/// An aggregation over series.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorAggregation {
    /// The aggregation.
    pub op: VectorOp,
    /// The first argument of `topk` and its like.
    pub param: Option<f64>,
    /// What over.
    pub inner: MetricExpr,
    /// How it groups.
    pub grouping: Option<Grouping>,
}

/// The aggregations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorOp {
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `count`
    Count,
    /// `stddev`
    Stddev,
    /// `stdvar`
    Stdvar,
    /// `topk`
    Topk,
    /// `approx_topk`, which is exact here.
    ApproxTopk,
    /// `bottomk`
    Bottomk,
    /// `sort`
    Sort,
    /// `sort_desc`
    SortDesc,
}

impl VectorOp {
    /// Every aggregation, with its name.
    pub const ALL: [(&'static str, VectorOp); 12] = [
        ("sum", VectorOp::Sum),
        ("avg", VectorOp::Avg),
        ("min", VectorOp::Min),
        ("max", VectorOp::Max),
        ("count", VectorOp::Count),
        ("stddev", VectorOp::Stddev),
        ("stdvar", VectorOp::Stdvar),
        ("topk", VectorOp::Topk),
        ("approx_topk", VectorOp::ApproxTopk),
        ("bottomk", VectorOp::Bottomk),
        ("sort", VectorOp::Sort),
        ("sort_desc", VectorOp::SortDesc),
    ];

    /// Returns the aggregation's name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, op)| *op == self).map_or("", |(name, _)| name)
    }

    /// Returns true when the aggregation needs a number before its operand.
    pub fn needs_param(self) -> bool {
        matches!(self, VectorOp::Topk | VectorOp::ApproxTopk | VectorOp::Bottomk)
    }

    /// Returns true for `sort` and `sort_desc`.
    pub fn is_sort(self) -> bool {
        matches!(self, VectorOp::Sort | VectorOp::SortDesc)
    }
}

/// An operator between two metric queries.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// `bool`
    pub is_bool: bool,
    /// `on (…)` or `ignoring (…)` with its cardinality, when written.
    pub matching: Option<Matching>,
    /// Left.
    pub left: MetricExpr,
    /// Right.
    pub right: MetricExpr,
}

/// Which series belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matching {
    /// `on`, else `ignoring`.
    pub is_on: bool,
    /// The labels.
    pub labels: Vec<String>,
    /// `group_left (…)`: (`true`, labels), `group_right (…)`: (`false`, labels).
    pub group: Option<(bool, Vec<String>)>,
}

/// The operators, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `unless`
    Unless,
    /// `==` and its like.
    Compare(CompareOp),
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
}

impl BinaryOp {
    /// Returns how strongly the operator binds.
    pub fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            BinaryOp::Compare(_) => 3,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => 5,
            BinaryOp::Pow => 6,
        }
    }

    /// Returns true for `or`, `and` and `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::Or | BinaryOp::And | BinaryOp::Unless)
    }

    /// Returns the operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Or => "or",
            BinaryOp::And => "and",
            BinaryOp::Unless => "unless",
            BinaryOp::Compare(op) => op.as_str(),
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
        }
    }
}

/// `label_replace(inner, "target", "replacement", "source", "regex")`
#[derive(Debug, Clone, PartialEq)]
pub struct LabelReplace {
    /// Whose labels.
    pub inner: MetricExpr,
    /// The label that is set.
    pub target: String,
    /// What to, with `$1`.
    pub replacement: String,
    /// The label that is looked at.
    pub source: String,
    /// What it must match, whole.
    pub regex: String,
}
