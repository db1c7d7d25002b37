//! Which functions there are, what they take and what they yield.

use super::ast::Type;

/// A function's signature.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Function {
    pub(in super::super) name: &'static str,
    pub(super) args: &'static [Type],
    /// How many arguments the last one of `args` stands for beyond none: 0 is exactly one, 1 is
    /// at most one, -1 is any number.
    pub(super) variadic: i32,
    pub(super) returns: Type,
    /// True for the functions that Prometheus only has behind its feature flag.
    pub(in super::super) is_experimental: bool,
}

/// Returns the function of that name.
pub(super) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Returns all functions, by name.
pub(super) fn functions() -> &'static [Function] {
    &FUNCTIONS
}

const S: Type = Type::Scalar;
const T: Type = Type::Text;
const V: Type = Type::Vector;
const M: Type = Type::Matrix;

const fn of(name: &'static str, args: &'static [Type], returns: Type) -> Function {
    Function { name, args, variadic: 0, returns, is_experimental: false }
}

const fn variadic(name: &'static str, args: &'static [Type], variadic: i32) -> Function {
    Function { name, args, variadic, returns: V, is_experimental: false }
}

const fn experimental(function: Function) -> Function {
    Function { is_experimental: true, ..function }
}

static FUNCTIONS: [Function; 90] = [
    of("abs", &[V], V),
    of("absent", &[V], V),
    of("absent_over_time", &[M], V),
    of("acos", &[V], V),
    of("acosh", &[V], V),
    of("asin", &[V], V),
    of("asinh", &[V], V),
    of("atan", &[V], V),
    of("atanh", &[V], V),
    of("avg_over_time", &[M], V),
    of("ceil", &[V], V),
    of("changes", &[M], V),
    of("clamp", &[V, S, S], V),
    of("clamp_max", &[V, S], V),
    of("clamp_min", &[V, S], V),
    of("cos", &[V], V),
    of("cosh", &[V], V),
    of("count_over_time", &[M], V),
    variadic("day_of_month", &[V], 1),
    variadic("day_of_week", &[V], 1),
    variadic("day_of_year", &[V], 1),
    variadic("days_in_month", &[V], 1),
    of("deg", &[V], V),
    of("delta", &[M], V),
    of("deriv", &[M], V),
    experimental(of("double_exponential_smoothing", &[M, S, S], V)),
    experimental(of("end", &[], S)),
    of("exp", &[V], V),
    of("first_over_time", &[M], V),
    of("floor", &[V], V),
    of("histogram_avg", &[V], V),
    of("histogram_count", &[V], V),
    of("histogram_fraction", &[S, S, V], V),
    of("histogram_quantile", &[S, V], V),
    experimental(variadic("histogram_quantiles", &[V, T, S, S], 9)),
    of("histogram_stddev", &[V], V),
    of("histogram_stdvar", &[V], V),
    of("histogram_sum", &[V], V),
    variadic("hour", &[V], 1),
    of("idelta", &[M], V),
    of("increase", &[M], V),
    experimental(variadic("info", &[V, V], 1)),
    of("irate", &[M], V),
    variadic("label_join", &[V, T, T, T], -1),
    of("label_replace", &[V, T, T, T, T], V),
    of("last_over_time", &[M], V),
    of("ln", &[V], V),
    of("log10", &[V], V),
    of("log2", &[V], V),
    experimental(of("mad_over_time", &[M], V)),
    experimental(of("max_of", &[S, S], S)),
    of("max_over_time", &[M], V),
    experimental(of("min_of", &[S, S], S)),
    of("min_over_time", &[M], V),
    variadic("minute", &[V], 1),
    variadic("month", &[V], 1),
    of("pi", &[], S),
    of("predict_linear", &[M, S], V),
    of("present_over_time", &[M], V),
    of("quantile_over_time", &[S, M], V),
    of("rad", &[V], V),
    experimental(of("range", &[], S)),
    of("rate", &[M], V),
    of("resets", &[M], V),
    variadic("round", &[V, S], 1),
    of("scalar", &[V], S),
    of("sgn", &[V], V),
    of("sin", &[V], V),
    of("sinh", &[V], V),
    of("sort", &[V], V),
    experimental(variadic("sort_by_label", &[V, T], -1)),
    experimental(variadic("sort_by_label_desc", &[V, T], -1)),
    of("sort_desc", &[V], V),
    of("sqrt", &[V], V),
    experimental(of("start", &[], S)),
    experimental(of("start_timestamp", &[V], V)),
    of("stddev_over_time", &[M], V),
    of("stdvar_over_time", &[M], V),
    experimental(of("step", &[], S)),
    of("sum_over_time", &[M], V),
    of("tan", &[V], V),
    of("tanh", &[V], V),
    of("time", &[], S),
    of("timestamp", &[V], V),
    experimental(of("ts_of_first_over_time", &[M], V)),
    experimental(of("ts_of_last_over_time", &[M], V)),
    experimental(of("ts_of_max_over_time", &[M], V)),
    experimental(of("ts_of_min_over_time", &[M], V)),
    of("vector", &[S], V),
    variadic("year", &[V], 1),
];
