//! What a query's conditions say about the text of log records, so that most of them are not read.
//!
//! As with the times of files, only conditions that every row must meet are looked at, and only
//! those whose texts are written in the query; the rest is checked on the rows. The rows that may
//! meet them are told by the grams beside each row group, before Parquet's own statistics.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{InList, Like};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::filter::column;
use crate::query::logql::of_regex;
use crate::storage::LineNeed;

/// The column of the text.
const BODY: &str = "body";
const TRACE_ID: &str = "trace_id";

/// Returns what the text of a row must be like to be wanted.
pub(super) fn need_of(filters: &[Expr]) -> LineNeed {
    LineNeed::all(filters.iter().map(of_condition))
}

fn of_condition(condition: &Expr) -> LineNeed {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => of_binary(left, *op, right),
        Expr::Like(like) => of_like(like),
        Expr::InList(InList { expr, list, negated: false }) if is_column(expr, BODY) => {
            LineNeed::any(list.iter().map(of_literal))
        }
        Expr::ScalarFunction(call) => match (call.name(), call.args.as_slice()) {
            ("contains" | "starts_with" | "ends_with", [text, part]) if is_column(text, BODY) => {
                of_literal(part)
            }
            // Without flags, which may change what a pattern means.
            ("regexp_like", [text, pattern]) if is_column(text, BODY) => of_pattern(pattern),
            _ => LineNeed::Nothing,
        },
        _ => LineNeed::Nothing,
    }
}

fn of_binary(left: &Expr, op: Operator, right: &Expr) -> LineNeed {
    match op {
        Operator::And => LineNeed::all([of_condition(left), of_condition(right)]),
        Operator::Or => LineNeed::any([of_condition(left), of_condition(right)]),
        Operator::Eq => {
            let (named, other) = if column(left).is_some() { (left, right) } else { (right, left) };
            match column(named) {
                Some(BODY) => of_literal(other),
                // Here only the column counts: what attributes say is another column.
                Some(TRACE_ID) => {
                    literal(other).map_or(LineNeed::Nothing, |id| LineNeed::Trace(id.to_owned()))
                }
                _ => LineNeed::Nothing,
            }
        }
        Operator::RegexMatch if is_column(left, BODY) => of_pattern(right),
        // `strpos(body, 'x') > 0`
        Operator::Gt | Operator::GtEq | Operator::NotEq => of_position(left, op, right),
        _ => LineNeed::Nothing,
    }
}

fn of_position(left: &Expr, op: Operator, right: &Expr) -> LineNeed {
    let (Expr::ScalarFunction(call), Expr::Literal(bound, _)) = (left, right) else {
        return LineNeed::Nothing;
    };
    let least = match op {
        Operator::GtEq => 1,
        _ => 0,
    };
    let is_found = integer(bound).is_some_and(|bound| match op {
        Operator::NotEq => bound == 0,
        _ => bound >= least,
    });
    match (call.name(), call.args.as_slice()) {
        ("strpos", [text, part]) if is_found && is_column(text, BODY) => of_literal(part),
        _ => LineNeed::Nothing,
    }
}

fn integer(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(value) => *value,
        ScalarValue::Int32(value) => value.map(i64::from),
        _ => None,
    }
}

fn is_column(expr: &Expr, name: &str) -> bool {
    column(expr) == Some(name)
}

fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        Expr::Cast(cast) => literal(&cast.expr),
        _ => None,
    }
}

fn of_literal(expr: &Expr) -> LineNeed {
    literal(expr).map_or(LineNeed::Nothing, |text| LineNeed::text(text.as_bytes()))
}

fn of_pattern(expr: &Expr) -> LineNeed {
    literal(expr).map_or(LineNeed::Nothing, of_regex)
}

fn of_like(like: &Like) -> LineNeed {
    let Like { negated: false, expr, pattern, escape_char, case_insensitive } = like else {
        return LineNeed::Nothing;
    };
    let Some(pattern) = literal(pattern).filter(|_| is_column(expr, BODY)) else {
        return LineNeed::Nothing;
    };
    let escape = escape_char.unwrap_or('\\');
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // An escape at the end stands for itself.
            letter if letter == escape => part.push(letters.next().unwrap_or(escape)),
            '%' | '_' => parts.push(std::mem::take(&mut part)),
            // The letters that have a third form, and those that grams do not make small.
            'k' | 'K' | 's' | 'S' if *case_insensitive => parts.push(std::mem::take(&mut part)),
            letter if *case_insensitive && !letter.is_ascii() => {
                parts.push(std::mem::take(&mut part));
            }
            letter => part.push(letter),
        }
    }
    parts.push(part);
    LineNeed::all(parts.iter().map(|part| LineNeed::text(part.as_bytes())))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;
    use datafusion::functions::expr_fn::{contains, regexp_like, strpos};
    use datafusion::logical_expr::{cast, col, lit};

    use super::*;

    const ID: &str = "0d9f3c7ab1e24f6680aa11bb22cc33dd";

    fn text(text: &str) -> LineNeed {
        LineNeed::text(text.as_bytes())
    }

    #[track_caller]
    fn check(condition: Expr, want: LineNeed) {
        assert_eq!(need_of(std::slice::from_ref(&condition)), want, "{condition}");
    }

    #[test]
    fn texts_that_every_row_must_have_are_needed() {
        let all = || LineNeed::all([text("connection reset"), text(ID)]);
        check(col("body").like(lit(format!("%connection reset%{ID}%"))), all());
        check(cast(col("body"), DataType::Utf8View).like(lit(format!("%{ID}%"))), text(ID));
        check(col("body").like(lit(format!("%a_{ID}"))), text(ID));
        check(col("body").like(lit(r"%100\% of the disk%")), text("100% of the disk"));
        // k and s have a third form in Unicode.
        check(
            col("body").ilike(lit("%Disk Offline%")),
            LineNeed::all([text("Di"), text(" Offline")]),
        );
        check(col("body").eq(lit(ID)), text(ID));
        check(lit(ID).eq(col("body")), text(ID));
        check(col("body").in_list(vec![lit(ID)], false), text(ID));
        check(contains(col("body"), lit(ID)), text(ID));
        check(strpos(col("body"), lit(ID)).gt(lit(0_i64)), text(ID));
        check(strpos(col("body"), lit(ID)).not_eq(lit(0_i64)), text(ID));
        check(regexp_like(col("body"), lit(format!("a.*{ID}")), None), text(ID));
        check(col("trace_id").eq(lit(ID)), LineNeed::Trace(ID.to_owned()));
        let both = col("body").like(lit(format!("%{ID}%"))).and(col("service").eq(lit("fence")));
        check(both, text(ID));
        let either = contains(col("body"), lit(ID)).or(contains(col("body"), lit("connection")));
        check(either, LineNeed::any([text(ID), text("connection")]));
    }

    #[test]
    fn what_a_row_may_do_without_is_not_needed() {
        let like = || col("body").like(lit(format!("%{ID}%")));
        check(col("body").not_like(lit(format!("%{ID}%"))), LineNeed::Nothing);
        check(like().or(col("service").eq(lit("fence"))), LineNeed::Nothing);
        check(!like(), LineNeed::Nothing);
        check(col("attributes").like(lit(format!("%{ID}%"))), LineNeed::Nothing);
        check(col("body").not_eq(lit(ID)), LineNeed::Nothing);
        check(strpos(col("body"), lit(ID)).gt_eq(lit(0_i64)), LineNeed::Nothing);
        check(strpos(col("body"), lit(ID)).eq(lit(0_i64)), LineNeed::Nothing);
        check(col("body").like(col("attributes")), LineNeed::Nothing);
        check(col("body").in_list(vec![lit(ID), col("service")], false), LineNeed::Nothing);
        check(col("body").in_list(vec![lit(ID)], true), LineNeed::Nothing);
    }
}
