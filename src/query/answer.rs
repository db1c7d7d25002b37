//! An SQL answer, and the four ways to write it: JSON, NDJSON, CSV and an Arrow IPC stream.
//!
//! JSON is `{"columns":[{"name":…,"type":…}],"rows":[[…]],"truncated":null}`, a row an array in the
//! order of the columns, with `"warnings":[…]` behind it when damaged data had to be left out;
//! `docs/sql.md` lists the types. Times are RFC 3339 in UTC with all digits
//! of their column, numbers are numbers, NaN and the infinities are the texts OTLP's JSON uses, and
//! the JSON columns (`labels`, `attributes`, …) are objects, not texts of objects.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, SecondsFormat};

use super::bounded_text::{self, BoundedText, TIMES_MAX, TooLong};
use super::sql::Truncated;
use crate::model::json;

/// Text columns that hold JSON, by their names in the three tables.
const JSON_COLUMNS: [&str; 5] = ["labels", "attributes", "resource", "events", "links"];

/// The rows of an SQL question.
#[derive(Debug, Clone)]
pub struct SqlAnswer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// The limit that cut rows off, if one did.
    pub truncated: Option<Truncated>,
    /// The most bytes that the rows may have (`query.result_bytes_max`); written down, they may be
    /// several times as many.
    pub bytes_max: usize,
    /// Why this is not all there is, if it is not: what is damaged is left out.
    pub warnings: Vec<String>,
}

impl SqlAnswer {
    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Returns the key of the limit that kept an answer from being written down, if one did.
    pub fn limit_of(error: &ArrowError) -> Option<&'static str> {
        match error {
            ArrowError::ExternalError(cause) if cause.is::<TooLong>() => Some(bounded_text::KEY),
            _ => None,
        }
    }

    fn text(&self, n_bytes: usize) -> BoundedText {
        BoundedText::new(n_bytes, self.bytes_max.saturating_mul(TIMES_MAX))
    }

    /// Returns the answer as one JSON object.
    pub fn to_json(&self) -> Result<String, ArrowError> {
        let mut out = self.text(64 * (1 + self.n_rows()));
        out.push_str("{\"columns\":[");
        for (idx, field) in self.schema.fields().iter().enumerate() {
            out.push_str(if idx == 0 { "{\"name\":" } else { ",{\"name\":" });
            json::push_string(&mut out, field.name());
            out.push_str(",\"type\":");
            json::push_string(&mut out, type_name(field));
            out.push('}');
        }
        out.push_str("],\"rows\":[");
        let mut separator = "[";
        self.each_row(|row| {
            out.push_str(separator);
            separator = ",[";
            for (idx, cell) in row.iter().enumerate() {
                if idx > 0 {
                    out.push(',');
                }
                cell.push_json(&mut out)?;
            }
            out.push(']');
            Ok(())
        })?;
        out.push_str("],\"truncated\":");
        match self.truncated {
            Some(limit) => json::push_string(&mut out, limit.key()),
            None => out.push_str("null"),
        }
        for (idx, warning) in self.warnings.iter().enumerate() {
            out.push_str(if idx == 0 { ",\"warnings\":[" } else { "," });
            json::push_string(&mut out, warning);
        }
        out.push_str(if self.warnings.is_empty() { "}" } else { "]}" });
        Ok(out.into_string())
    }

    /// Returns the answer as one JSON object a line.
    pub fn to_ndjson(&self) -> Result<String, ArrowError> {
        let mut out = self.text(128 * self.n_rows());
        self.each_row(|row| {
            for (idx, cell) in row.iter().enumerate() {
                out.push(if idx == 0 { '{' } else { ',' });
                json::push_string(&mut out, cell.column.name);
                out.push(':');
                cell.push_json(&mut out)?;
            }
            out.push_str("}\n");
            Ok(())
        })?;
        Ok(out.into_string())
    }

    /// Returns the answer as CSV (RFC 4180) with a line of names; null is empty, the empty text is
    /// `""`.
    pub fn to_csv(&self) -> Result<String, ArrowError> {
        let mut out = self.text(64 * (1 + self.n_rows()));
        for (idx, field) in self.schema.fields().iter().enumerate() {
            if idx > 0 {
                out.push(',');
            }
            push_csv(&mut out, field.name());
        }
        out.push_str("\r\n");
        self.each_row(|row| {
            for (idx, cell) in row.iter().enumerate() {
                if idx > 0 {
                    out.push(',');
                }
                cell.push_csv(&mut out)?;
            }
            out.push_str("\r\n");
            Ok(())
        })?;
        Ok(out.into_string())
    }

    /// Returns the answer as an Arrow IPC stream.
    pub fn to_arrow_ipc(&self) -> Result<Vec<u8>, ArrowError> {
        let mut writer = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &self.schema)?;
        for batch in &self.batches {
            writer.write(batch)?;
        }
        writer.into_inner()
    }

    fn each_row(
        &self,
        mut take: impl FnMut(&[Cell<'_>]) -> Result<(), ArrowError>,
    ) -> Result<(), ArrowError> {
        for batch in &self.batches {
            let columns = columns_of(batch)?;
            for row in 0..batch.num_rows() {
                let cells: Vec<_> = columns.iter().map(|column| Cell { column, row }).collect();
                take(&cells)?;
            }
        }
        Ok(())
    }
}

/// Returns a column's type as answers name it.
fn type_name(field: &Field) -> &'static str {
    match field.data_type() {
        DataType::Null => "null",
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "integer",
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => "integer",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double",
        DataType::Decimal128(..) | DataType::Decimal256(..) => "decimal",
        DataType::Timestamp(..) => "timestamp",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => "list",
        DataType::Struct(_) | DataType::Map(..) => "struct",
        _ if JSON_COLUMNS.contains(&field.name().as_str()) => "json",
        _ => "text",
    }
}

/// A column ready to be written row by row.
struct Column<'a> {
    name: &'a str,
    is_json: bool,
    array: ArrayRef,
    formatter: ArrayFormatter<'a>,
}

struct Cell<'a> {
    column: &'a Column<'a>,
    row: usize,
}

static OPTIONS: FormatOptions<'static> = FormatOptions::new().with_display_error(true);

fn columns_of(batch: &RecordBatch) -> Result<Vec<Column<'_>>, ArrowError> {
    let fields = batch.schema_ref().fields();
    let columns = fields.iter().zip(batch.columns()).map(|(field, array)| {
        Ok(Column {
            name: field.name(),
            is_json: type_name(field) == "json",
            array: plain(array)?,
            formatter: ArrayFormatter::try_new(array.as_ref(), &OPTIONS)?,
        })
    });
    columns.collect()
}

/// Resolves dictionaries and the several kinds of text.
fn plain(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, values) => plain(&cast(array, values)?),
        DataType::LargeUtf8 | DataType::Utf8View => cast(array, &DataType::Utf8),
        _ => Ok(Arc::clone(array)),
    }
}

impl Cell<'_> {
    fn push_json(&self, out: &mut BoundedText) -> Result<(), ArrowError> {
        let array = self.column.array.as_ref();
        if array.is_null(self.row) {
            out.push_str("null");
        } else if let Some(text) = self.text() {
            if self.column.is_json && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
                out.push_str(text);
            } else {
                json::push_string(out, text);
            }
        } else if !push_value(out, array, self.row) {
            let mut text = out.another();
            let written = self.column.formatter.value(self.row).write(&mut text);
            text.check()?;
            written?;
            json::push_string(out, &text);
        }
        out.check()
    }

    fn push_csv(&self, out: &mut BoundedText) -> Result<(), ArrowError> {
        if self.column.array.is_null(self.row) {
            return Ok(());
        }
        if let Some(text) = self.text() {
            push_csv(out, text);
            return out.check();
        }
        let mut written = out.another();
        self.push_json(&mut written)?;
        push_csv(out, written.trim_matches('"'));
        out.check()
    }

    fn text(&self) -> Option<&str> {
        self.column.array.as_string_opt::<i32>().map(|texts| texts.value(self.row))
    }
}

fn push_csv(out: &mut String, text: &str) {
    if !text.is_empty() && !text.contains([',', '"', '\r', '\n']) {
        out.push_str(text);
        return;
    }
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

/// Writes a value that is not null as JSON; returns false for the types that have no JSON of ours.
fn push_value(out: &mut BoundedText, array: &dyn Array, row: usize) -> bool {
    if push_number(out, array, row) {
        return true;
    }
    match array.data_type() {
        DataType::Null => out.push_str("null"),
        DataType::Boolean => {
            out.push_str(if array.as_boolean().value(row) { "true" } else { "false" });
        }
        DataType::Timestamp(unit, _) => return push_timestamp(out, array, *unit, row),
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            let Some(date) = DateTime::from_timestamp(days * 86_400, 0) else { return false };
            out.push_str(&format!("\"{}\"", date.date_naive()));
        }
        DataType::List(_) => return push_list(out, &array.as_list::<i32>().value(row)),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            return push_struct(out, fields.iter().zip(columns), row);
        }
        _ => return false,
    }
    true
}

fn push_number(out: &mut BoundedText, array: &dyn Array, row: usize) -> bool {
    macro_rules! whole {
        ($($data_type:ident => $native:ident),*) => {
            match array.data_type() {
                $(DataType::$data_type => {
                    let value = array.as_primitive::<$native>().value(row);
                    out.push_str(itoa::Buffer::new().format(value));
                })*
                DataType::Float64 => {
                    json::push_f64(out, array.as_primitive::<Float64Type>().value(row));
                }
                DataType::Float32 => {
                    json::push_f64(out, f64::from(array.as_primitive::<Float32Type>().value(row)));
                }
                _ => return false,
            }
        };
    }
    whole!(
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
        UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type
    );
    true
}

fn push_timestamp(out: &mut BoundedText, array: &dyn Array, unit: TimeUnit, row: usize) -> bool {
    let (time, digits) = match unit {
        TimeUnit::Second => {
            let time = array.as_primitive::<TimestampSecondType>().value(row);
            (DateTime::from_timestamp(time, 0), SecondsFormat::Secs)
        }
        TimeUnit::Millisecond => {
            let time = array.as_primitive::<TimestampMillisecondType>().value(row);
            (DateTime::from_timestamp_millis(time), SecondsFormat::Millis)
        }
        TimeUnit::Microsecond => {
            let time = array.as_primitive::<TimestampMicrosecondType>().value(row);
            (DateTime::from_timestamp_micros(time), SecondsFormat::Micros)
        }
        TimeUnit::Nanosecond => {
            let time = array.as_primitive::<TimestampNanosecondType>().value(row);
            (Some(DateTime::from_timestamp_nanos(time)), SecondsFormat::Nanos)
        }
    };
    let Some(time) = time else { return false };
    out.push_str(&format!("\"{}\"", time.to_rfc3339_opts(digits, true)));
    true
}

fn push_list(out: &mut BoundedText, items: &ArrayRef) -> bool {
    out.push('[');
    for row in 0..items.len() {
        // Whoever wrote the list looks too, and says it.
        if out.is_full() {
            break;
        }
        if row > 0 {
            out.push(',');
        }
        push_nested(out, items, row);
    }
    out.push(']');
    true
}

fn push_struct<'a>(
    out: &mut BoundedText,
    members: impl Iterator<Item = (&'a Arc<Field>, &'a ArrayRef)>,
    row: usize,
) -> bool {
    out.push('{');
    for (idx, (field, array)) in members.enumerate() {
        if out.is_full() {
            break;
        }
        if idx > 0 {
            out.push(',');
        }
        json::push_string(out, field.name());
        out.push(':');
        push_nested(out, array, row);
    }
    out.push('}');
    true
}

/// Writes a value inside a list or struct; what has no JSON of ours is written as its text.
fn push_nested(out: &mut BoundedText, array: &ArrayRef, row: usize) {
    let Ok(array) = plain(array) else { return out.push_str("null") };
    if array.is_null(row) {
        out.push_str("null");
    } else if let Some(texts) = array.as_string_opt::<i32>() {
        json::push_string(out, texts.value(row));
    } else if !push_value(out, array.as_ref(), row) {
        let mut text = out.another();
        if let Ok(formatter) = ArrayFormatter::try_new(array.as_ref(), &OPTIONS) {
            // What does not fit makes `out` too long as well.
            let _: std::fmt::Result = write!(text, "{}", formatter.value(row));
        }
        json::push_string(out, &text);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        DictionaryArray, Float64Array, ListArray, StringArray, StructArray,
        TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
    };
    use arrow::buffer::OffsetBuffer;

    use super::*;

    fn answer(columns: Vec<(&str, ArrayRef)>) -> SqlAnswer {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .unwrap();
        SqlAnswer {
            schema: batch.schema(),
            batches: vec![batch],
            truncated: None,
            bytes_max: usize::MAX,
            warnings: Vec::new(),
        }
    }

    #[track_caller]
    fn check(name: &str, array: ArrayRef, type_name: &str, want: &str) {
        let json = answer(vec![(name, array)]).to_json().unwrap();
        let want = format!(
            r#"{{"columns":[{{"name":"{name}","type":"{type_name}"}}],"rows":[{want}],"truncated":null}}"#
        );
        assert_eq!(json, want);
        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
    }

    #[test]
    fn a_partial_answer_says_so() {
        let mut partial = answer(vec![("n", Arc::new(UInt64Array::from(vec![1])) as ArrayRef)]);
        partial.warnings = vec!["partial: \"a\"".to_owned(), "b".to_owned()];

        let json = partial.to_json().unwrap();

        assert!(json.ends_with(r#""truncated":null,"warnings":["partial: \"a\"","b"]}"#), "{json}");
    }

    #[test]
    fn times_keep_every_digit() {
        let nanos = TimestampNanosecondArray::from(vec![1_700_000_000_123_456_789]);
        check(
            "t",
            Arc::new(nanos.with_timezone("UTC")),
            "timestamp",
            r#"["2023-11-14T22:13:20.123456789Z"]"#,
        );
        let millis = TimestampMillisecondArray::from(vec![Some(-1), None]);
        check("t", Arc::new(millis), "timestamp", r#"["1969-12-31T23:59:59.999Z"],[null]"#);
    }

    #[test]
    fn numbers_are_numbers() {
        check(
            "n",
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            "integer",
            "[18446744073709551615]",
        );
        let doubles = Float64Array::from(vec![0.5, f64::NAN, f64::NEG_INFINITY]);
        check("n", Arc::new(doubles), "double", r#"[0.5],["NaN"],["-Infinity"]"#);
    }

    #[test]
    fn json_columns_are_objects_while_they_are_json() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![r#"{"a":"b"}"#, "{oops"]));
        check("attributes", Arc::clone(&texts), "json", r#"[{"a":"b"}],["{oops"]"#);
        check("body", texts, "text", r#"["{\"a\":\"b\"}"],["{oops"]"#);
    }

    #[test]
    fn dictionaries_and_lists_are_written_out() {
        let dictionary = DictionaryArray::<Int32Type>::from_iter([Some("x"), None]);
        check("d", Arc::new(dictionary), "text", r#"["x"],[null]"#);
        let list = ListArray::from_iter_primitive::<UInt64Type, _, _>([Some([Some(1), None])]);
        check("l", Arc::new(list), "list", "[[1,null]]");
    }

    #[test]
    fn csv_quotes_what_needs_it_and_tells_null_from_empty() {
        let texts = StringArray::from(vec![Some("a,\"b\""), Some(""), None]);
        let csv = answer(vec![("x", Arc::new(texts.clone())), ("y", Arc::new(texts))]).to_csv();

        assert_eq!(csv.unwrap(), "x,y\r\n\"a,\"\"b\"\"\",\"a,\"\"b\"\"\"\r\n\"\",\"\"\r\n,\r\n");
    }

    #[track_caller]
    fn check_too_long(written: Result<String, ArrowError>) {
        let error = written.unwrap_err();
        assert_eq!(SqlAnswer::limit_of(&error), Some("query.result_bytes_max"), "{error}");
        assert!(error.to_string().contains("query.result_bytes_max"), "{error}");
    }

    #[test]
    fn names_that_are_said_again_and_again_do_not_make_an_answer_endless() {
        let name = "n".repeat(60_000);
        let numbers: ArrayRef = Arc::new(UInt64Array::from(vec![1; 1_000]));
        let column = answer(vec![(name.as_str(), Arc::clone(&numbers))]);
        let column = SqlAnswer { bytes_max: 1 << 20, ..column };
        let member = Arc::new(Field::new(name, DataType::UInt64, true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(member, numbers)]));
        let item = Arc::new(Field::new_list_field(structs.data_type().clone(), true));
        let lengths = OffsetBuffer::from_lengths([structs.len()]);
        let all = ListArray::new(item, lengths, Arc::clone(&structs), None);
        let structs = SqlAnswer { bytes_max: 1 << 20, ..answer(vec![("s", structs)]) };
        let list = SqlAnswer { bytes_max: 1 << 20, ..answer(vec![("l", Arc::new(all))]) };

        assert!(column.to_json().is_ok() && column.to_csv().is_ok(), "a name stands there once");
        check_too_long(column.to_ndjson());
        for long in [structs, list] {
            check_too_long(long.to_json());
            check_too_long(long.to_ndjson());
            check_too_long(long.to_csv());
        }
    }

    #[test]
    fn arrow_streams_are_read_back() {
        let answer = answer(vec![("n", Arc::new(UInt64Array::from(vec![1, 2])))]);

        let bytes = answer.to_arrow_ipc().unwrap();

        let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
        assert_eq!(reader.collect::<Result<Vec<_>, _>>().unwrap(), answer.batches);
    }

    #[test]
    fn an_answer_that_was_cut_off_names_the_limit() {
        let mut answer = answer(vec![("n", Arc::new(UInt64Array::from(vec![1])))]);
        answer.truncated = Some(Truncated::Rows);

        assert!(answer.to_json().unwrap().ends_with(r#""truncated":"query.rows_max"}"#));
        assert_eq!(answer.to_ndjson().unwrap(), "{\"n\":1}\n");
    }
}
