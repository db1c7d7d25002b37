//! `attributes['http.method']`: one value of a JSON text column.
//!
//! Attributes, resources and label sets are stored as JSON text. The planner's hook turns a
//! subscript on any text column into `json_get(column, key)`: strings come back bare, everything
//! else as its JSON text, and what is absent, null or not JSON as null. Dictionary columns are
//! taken apart once for each distinct value that a batch really uses.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, StringArray, StringBuilder, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{DFSchema, Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, GetFieldAccess, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit,
};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Returns the function `json_get(text, key)`; an integer key counts array elements from 1.
pub(super) fn json_get() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(JsonGet {
        signature: Signature::any(2, Volatility::Immutable),
    }))
}

/// Turns `text[key]` into `json_get(text, key)` and leaves lists, maps and structs alone.
#[derive(Debug)]
pub(super) struct JsonAccess {
    /// The function to call.
    pub(super) function: Arc<ScalarUDF>,
}

impl ExprPlanner for JsonAccess {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        if !is_text(&access.expr.get_type(schema)?) {
            return Ok(PlannerResult::Original(access));
        }
        let key = match access.field_access {
            GetFieldAccess::NamedStructField { name } => lit(name),
            GetFieldAccess::ListIndex { key } => *key,
            GetFieldAccess::ListRange { .. } => {
                return plan_err!("JSON text has no ranges: ask for ['key'] or [index]");
            }
        };
        Ok(PlannerResult::Planned(self.function.call(vec![access.expr, key])))
    }
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonGet {
    signature: Signature,
}

impl ScalarUDFImpl for JsonGet {
    fn name(&self) -> &str {
        "json_get"
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        match args {
            [text, key] => Ok(format!("{}[{}]", text.schema_name(), key.schema_name())),
            _ => plan_err!("json_get takes a text and a key"),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match arg_types {
            [text, _] if is_text(text) || text.is_null() => Ok(DataType::Utf8),
            [other, _] => plan_err!("json_get reads JSON text, not {other}"),
            _ => plan_err!("json_get takes a text and a key"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text, ColumnarValue::Scalar(key)] = args.args.as_slice() else {
            return exec_err!("the key of json_get must be a constant");
        };
        let Some(key) = Key::of(key)? else {
            return Ok(ColumnarValue::Scalar(ScalarValue::Utf8(None)));
        };
        match text {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(get_all(array, &key)?)),
            ColumnarValue::Scalar(scalar) => {
                let found = get_all(&scalar.to_array()?, &key)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?))
            }
        }
    }
}

/// What to look for.
enum Key<'a> {
    Name(&'a str),
    /// Counted from 0.
    Index(usize),
}

impl<'a> Key<'a> {
    fn of(scalar: &'a ScalarValue) -> Result<Option<Self>> {
        if scalar.is_null() {
            return Ok(None);
        }
        if let Some(name) = scalar.try_as_str() {
            return Ok(name.map(Key::Name));
        }
        match scalar.cast_to(&DataType::Int64)? {
            ScalarValue::Int64(Some(position)) => {
                let index = position.checked_sub(1).and_then(|idx| usize::try_from(idx).ok());
                Ok(index.map(Key::Index))
            }
            _ => exec_err!("a key of json_get is a text or a number"),
        }
    }
}

fn get_all(array: &ArrayRef, key: &Key<'_>) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(index, _) if **index == DataType::Int32 => {
            let dictionary = array.as_dictionary::<Int32Type>();
            let values = cast(dictionary.values(), &DataType::Utf8)?;
            Ok(Arc::new(get_of_dictionary(dictionary.keys().iter(), values.as_string(), key)))
        }
        DataType::Null => Ok(new_null_array(&DataType::Utf8, array.len())),
        DataType::Utf8 => Ok(Arc::new(get_of_texts(array.as_string(), key))),
        _ => Ok(Arc::new(get_of_texts(cast(array, &DataType::Utf8)?.as_string(), key))),
    }
}

fn get_of_texts(texts: &StringArray, key: &Key<'_>) -> StringArray {
    texts.iter().map(|text| text.and_then(|text| get(text, key))).collect()
}

fn get_of_dictionary(
    keys: impl Iterator<Item = Option<i32>>,
    values: &StringArray,
    key: &Key<'_>,
) -> StringArray {
    // A batch of 8,192 rows sorted by series uses a few of the dictionary's values, so each is
    // looked at when it is first met.
    let mut known: Vec<Option<Option<Cow<'_, str>>>> = vec![None; values.len()];
    let mut out = StringBuilder::new();
    for index in keys {
        let index = index.and_then(|index| usize::try_from(index).ok());
        let Some(index) = index.filter(|&index| values.is_valid(index)) else {
            out.append_null();
            continue;
        };
        let found = known[index].get_or_insert_with(|| get(values.value(index), key));
        out.append_option(found.as_deref());
    }
    out.finish()
}

/// Returns the value under the key, or `None` when it is absent, null or the text is not JSON.
fn get<'a>(text: &'a str, key: &Key<'_>) -> Option<Cow<'a, str>> {
    let raw = Lookup(key).deserialize(&mut serde_json::Deserializer::from_str(text)).ok()??.get();
    match raw.as_bytes().first()? {
        b'"' => serde_json::from_str::<BorrowedText<'_>>(raw).ok().map(|text| text.0),
        b'n' => None,
        _ => Some(Cow::Borrowed(raw)),
    }
}

#[derive(serde::Deserialize)]
struct BorrowedText<'a>(#[serde(borrow)] Cow<'a, str>);

/// Walks an object or array and keeps the value under the key as it is written.
struct Lookup<'k>(&'k Key<'k>);

impl<'de> DeserializeSeed<'de> for Lookup<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lookup<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON object or array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Key::Name(name) = self.0 else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(IsName(name))? {
            if is_it && found.is_none() {
                found = Some(map.next_value::<&RawValue>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let wanted = if let Key::Index(index) = self.0 { Some(*index) } else { None };
        let mut found = None;
        for index in 0.. {
            if Some(index) == wanted {
                found = list.next_element::<&RawValue>()?;
            } else if list.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

/// Compares a key without keeping it.
struct IsName<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// What the fuzz targets call.
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing {
    use super::{Key, get};

    /// Looks a key up by name and by place; what is found stands in the text.
    pub(in crate::query::sql) fn get_any(key: &str, text: &str) {
        let reference = serde_json::from_str::<serde_json::Value>(text).ok();
        let found = get(text, &Key::Name(key));
        if let Some(serde_json::Value::Object(object)) = &reference {
            // Of two equal names `serde_json` keeps the last, and we the first.
            let is_there = object.get(key).is_some();
            assert!(is_there || found.is_none(), "{key} in {text}");
        }
        let place = key.len();
        let found = get(text, &Key::Index(place));
        if let Some(serde_json::Value::Array(list)) = &reference {
            let want = list.get(place).filter(|value| !value.is_null());
            assert_eq!(found.is_some(), want.is_some(), "{place} in {text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::DictionaryArray;

    use super::*;

    #[track_caller]
    fn check(text: &str, key: &str, want: Option<&str>) {
        assert_eq!(get(text, &Key::Name(key)).as_deref(), want, "{text} {key}");
    }

    #[test]
    fn strings_come_bare_and_the_rest_as_json() {
        let text = r#"{"a":"x","b.c":1.5,"d":[1,"2"],"e":{"f":null},"g":true,"h":"q\"\u00e9\n"}"#;
        check(text, "a", Some("x"));
        check(text, "b.c", Some("1.5"));
        check(text, "d", Some(r#"[1,"2"]"#));
        check(text, "e", Some(r#"{"f":null}"#));
        check(text, "g", Some("true"));
        check(text, "h", Some("q\"é\n"));
    }

    #[test]
    fn what_is_not_there_is_null() {
        check(r#"{"a":null}"#, "a", None);
        check(r#"{"a":1}"#, "b", None);
        check(r#"{"b":{"a":1}}"#, "a", None);
        check("[1]", "a", None);
        check("\"a\"", "a", None);
        check("", "a", None);
        check(r#"{"a":1"#, "a", None);
    }

    #[test]
    fn keys_written_with_escapes_are_found() {
        check(r#"{"\u0061\"":7}"#, "a\"", Some("7"));
    }

    #[test]
    fn array_elements_count_from_one() {
        let text = r#"["a",{"b":2},3]"#;
        let at = |position: i64| {
            let scalar = ScalarValue::Int64(Some(position));
            let key = Key::of(&scalar).unwrap()?;
            get(text, &key).map(Cow::into_owned)
        };

        assert_eq!(at(1).as_deref(), Some("a"));
        assert_eq!(at(2).as_deref(), Some(r#"{"b":2}"#));
        assert_eq!((at(0), at(4), at(-1), at(i64::MIN)), (None, None, None, None));
    }

    #[test]
    fn dictionaries_and_plain_columns_agree() {
        let texts = [Some(r#"{"a":"1"}"#), None, Some("{}"), Some(r#"{"a":"1"}"#)];
        let plain: ArrayRef = Arc::new(StringArray::from_iter(texts));
        let dictionary: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::from_iter(texts));

        let key = Key::Name("a");

        assert_eq!(&get_all(&plain, &key).unwrap(), &get_all(&dictionary, &key).unwrap());
        assert_eq!(get_all(&plain, &key).unwrap().null_count(), 2);
    }
}
