//! Which functions SQL may call: every one that DataFusion brings is judged here by name.
//!
//! What is allowed costs about as much as its input. What is denied makes memory out of nothing
//! outside the pool (`repeat('a', 2^31)` ends the process, measured), reads what is not telemetry,
//! or is of no use here. A test fails when an upgrade brings a function that is on neither list.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateDefaults;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};

use super::json_get::json_get;

/// Our own scalar functions.
const OWN: &[&str] = &["json_get"];

#[rustfmt::skip] // Lists are read as paragraphs.
const SCALAR: &[&str] = &[
    // Numbers.
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "ceil",
    "cos",
    "cosh",
    "cot",
    "degrees",
    "exp",
    "factorial",
    "floor",
    "gcd",
    "isnan",
    "iszero",
    "lcm",
    "ln",
    "log",
    "log10",
    "log2",
    "nanvl",
    "pi",
    "power",
    "radians",
    "random",
    "round",
    "signum",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "trunc",
    // Text.
    "ascii",
    "bit_length",
    "btrim",
    "character_length",
    "chr",
    "concat",
    "concat_ws",
    "contains",
    "decode",
    "encode",
    "ends_with",
    "find_in_set",
    "initcap",
    "left",
    "levenshtein",
    "lower",
    "ltrim",
    "octet_length",
    "overlay",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "replace",
    "reverse",
    "right",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substr_index",
    "to_hex",
    "translate",
    "upper",
    "uuid",
    // Time.
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "from_unixtime",
    "make_date",
    "make_time",
    "now",
    "to_char",
    "to_date",
    "to_local_time",
    "to_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "to_unixtime",
    // Choice and type.
    "arrow_cast",
    "arrow_try_cast",
    "arrow_typeof",
    "coalesce",
    "get_field",
    "greatest",
    "least",
    "named_struct",
    "nullif",
    "nvl",
    "nvl2",
    "struct",
    // Lists: as long as their input, or shorter.
    "array_add",
    "array_any_value",
    "array_append",
    "array_avg",
    "array_compact",
    "array_concat",
    "array_dims",
    "array_distance",
    "array_distinct",
    "array_element",
    "array_except",
    "array_has",
    "array_has_all",
    "array_has_any",
    "array_intersect",
    "array_length",
    "array_max",
    "array_min",
    "array_ndims",
    "array_normalize",
    "array_pop_back",
    "array_pop_front",
    "array_position",
    "array_positions",
    "array_prepend",
    "array_product",
    "array_remove",
    "array_remove_all",
    "array_remove_n",
    "array_replace",
    "array_replace_all",
    "array_replace_n",
    "array_reverse",
    "array_scale",
    "array_slice",
    "array_sort",
    "array_subtract",
    "array_sum",
    "array_to_string",
    "array_union",
    "arrays_zip",
    "cardinality",
    "cosine_distance",
    "empty",
    "flatten",
    "inner_product",
    "make_array",
    "map",
    "map_entries",
    "map_extract",
    "map_keys",
    "map_values",
    "string_to_array",
];

#[rustfmt::skip] // Lists are read as paragraphs.
const AGGREGATE: &[&str] = &[
    "any_value",
    "approx_distinct",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "grouping",
    "last_value",
    "max",
    "median",
    "min",
    "nth_value",
    "percentile_cont",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

#[rustfmt::skip] // Lists are read as paragraphs.
const WINDOW: &[&str] = &[
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
    "row_number",
];

/// What DataFusion has and we do not offer, each with the reason.
#[cfg(test)]
#[rustfmt::skip]
const DENIED: &[(&str, &str)] = &[
    ("array_repeat", "makes a list of any length out of one value, outside the memory pool"),
    ("array_resize", "makes a list of any length out of one value, outside the memory pool"),
    ("generate_series", "makes rows out of nothing"),
    ("range", "makes rows out of nothing"),
    ("repeat", "makes a text of any length, outside the memory pool"),
    ("lpad", "makes a text of any length, outside the memory pool"),
    ("rpad", "makes a text of any length, outside the memory pool"),
    ("regexp_replace", "its replacements multiply: 3.9 GB under a pool of 256 MB, measured"),
    ("string_agg", "one text of everything; panics past 2 GiB, measured"),
    ("array_any_match", "lambdas are not offered"),
    ("array_filter", "lambdas are not offered"),
    ("array_first", "lambdas are not offered"),
    ("array_transform", "lambdas are not offered"),
    ("input_file_name", "where rows lie is not the caller's business"),
    ("file_row_index", "where rows lie is not the caller's business"),
    ("version", "tells an attacker which library to study"),
    ("arrow_field", "about the library, not the data"),
    ("arrow_metadata", "about the library, not the data"),
    ("with_metadata", "about the library, not the data"),
    ("cast_to_type", "CAST does it"),
    ("try_cast_to_type", "TRY_CAST does it"),
    ("union_extract", "no column is a union"),
    ("union_tag", "no column is a union"),
];

static ALLOWED: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| [OWN, SCALAR, AGGREGATE, WINDOW].into_iter().flatten().copied().collect());

/// Returns true when a plan may call the function of this name.
pub(super) fn is_allowed(name: &str) -> bool {
    ALLOWED.contains(name)
}

/// Returns every function that a plan may call.
#[cfg(test)]
pub(super) fn allowed() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().copied()
}

/// Returns true when somebody has decided against the function of this name.
#[cfg(test)]
pub(super) fn is_denied(name: &str) -> bool {
    DENIED.iter().any(|(denied, _)| *denied == name)
}

/// Returns the scalar functions of a session.
pub(super) fn scalar() -> Vec<Arc<ScalarUDF>> {
    let theirs = SessionStateDefaults::default_scalar_functions();
    let mut kept: Vec<_> =
        theirs.into_iter().filter(|function| SCALAR.contains(&function.name())).collect();
    // The name that users of other time-series databases look for first.
    kept.push(Arc::new(date_bin().as_ref().clone().with_aliases(["time_bucket"])));
    kept.push(json_get());
    kept
}

/// Returns the aggregate functions of a session.
pub(super) fn aggregate() -> Vec<Arc<AggregateUDF>> {
    let theirs = SessionStateDefaults::default_aggregate_functions();
    theirs.into_iter().filter(|function| AGGREGATE.contains(&function.name())).collect()
}

/// Returns the window functions of a session.
pub(super) fn window() -> Vec<Arc<WindowUDF>> {
    let theirs = SessionStateDefaults::default_window_functions();
    theirs.into_iter().filter(|function| WINDOW.contains(&function.name())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every function's name, by the list it belongs on.
    fn brought() -> BTreeSet<String> {
        let scalar = SessionStateDefaults::default_scalar_functions();
        let aggregate = SessionStateDefaults::default_aggregate_functions();
        let window = SessionStateDefaults::default_window_functions();
        let higher_order = SessionStateDefaults::default_higher_order_functions();
        (scalar.iter().map(|f| f.name().to_owned()))
            .chain(aggregate.iter().map(|f| f.name().to_owned()))
            .chain(window.iter().map(|f| f.name().to_owned()))
            .chain(higher_order.iter().map(|f| f.name().to_owned()))
            .collect()
    }

    #[test]
    fn every_function_is_judged_once() {
        let denied: BTreeSet<&str> = DENIED.iter().map(|(name, _)| *name).collect();

        let not_judged: Vec<_> = brought()
            .into_iter()
            .filter(|name| is_allowed(name) == denied.contains(name.as_str()))
            .collect();

        assert_eq!(not_judged, Vec::<String>::new(), "put each on exactly one list");
    }

    #[test]
    fn no_list_names_a_function_that_is_gone() {
        let brought = brought();
        let named = [SCALAR, AGGREGATE, WINDOW].into_iter().flatten().copied();

        let gone: Vec<_> = named
            .chain(DENIED.iter().map(|(name, _)| *name))
            .filter(|name| !brought.contains(*name))
            .collect();

        assert_eq!(gone, Vec::<&str>::new());
    }

    #[test]
    fn no_alias_leads_around_the_list() {
        let denied: BTreeSet<&str> = DENIED.iter().map(|(name, _)| *name).collect();

        for function in scalar() {
            for name in function.aliases() {
                assert!(!denied.contains(name.as_str()), "{name}");
            }
        }
    }
}
