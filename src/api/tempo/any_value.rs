//! From what columns hold back to OTLP's values, and to the resources and scopes that have them.
//!
//! Attributes are JSON. Whole numbers are ints and those with a point or an exponent doubles, as they were written;
//! which strings are bytes or unwritable doubles says the span's rest, by their places.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use crate::model::json_read::{Json, elements, get, members};
use crate::model::span_rest::ColumnRest;

/// Returns a resource with the attributes of its column.
pub(in crate::api) fn resource_of(attributes: &str, rest: &ColumnRest) -> Resource {
    Resource {
        attributes: Values::new(rest).attributes(attributes),
        dropped_attributes_count: rest.dropped,
        ..Resource::default()
    }
}

/// Returns a scope from its name, its version and its attributes.
pub(in crate::api) fn scope_of(texts: [&str; 3], rest: &ColumnRest) -> InstrumentationScope {
    let [name, version, attributes] = texts;
    InstrumentationScope {
        name: name.to_owned(),
        version: version.to_owned(),
        attributes: Values::new(rest).attributes(attributes),
        dropped_attributes_count: rest.dropped,
    }
}

/// Returns the text of a member of an object; empty where there is none.
pub(in crate::api) fn text_of(object: &str, name: &str) -> String {
    match get(object, name).map(Json::of) {
        Some(Json::Text(text)) => text.into_owned(),
        _ => String::new(),
    }
}

/// Returns the bytes of an id in hex; of an empty one, none.
pub(in crate::api) fn id_bytes(hex: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| {
        std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    hex.as_bytes().chunks(2).map_while(pair).collect()
}

/// Reads the values of one column, counting the strings it meets.
#[derive(Debug)]
pub(in crate::api) struct Values<'r> {
    rest: &'r ColumnRest,
    n_strings: u32,
}

impl<'r> Values<'r> {
    /// Begins at the first string of a column.
    pub(in crate::api) fn new(rest: &'r ColumnRest) -> Self {
        Self { rest, n_strings: 0 }
    }

    /// Returns the attributes in an object.
    pub(in crate::api) fn attributes(&mut self, object: &str) -> Vec<KeyValue> {
        let pairs = members(object).map(|(key, value)| KeyValue {
            key: key.into_owned(),
            value: Some(self.any(value)),
            ..KeyValue::default()
        });
        pairs.collect()
    }

    // As deep as `limits.attribute_depth`, which bounds what comes in.
    fn any(&mut self, raw: &str) -> AnyValue {
        let value = match Json::of(raw) {
            Json::Null => None,
            Json::Bool(value) => Some(Value::BoolValue(value)),
            Json::Number(text) => number(text),
            Json::Text(text) => Some(self.text(&text)),
            Json::Array(array) => {
                let values = elements(array).map(|raw| self.any(raw)).collect();
                Some(Value::ArrayValue(ArrayValue { values }))
            }
            Json::Object(object) => {
                Some(Value::KvlistValue(KeyValueList { values: self.attributes(object) }))
            }
        };
        AnyValue { value }
    }

    fn text(&mut self, text: &str) -> Value {
        let place = self.n_strings;
        self.n_strings += 1;
        // Both lists are in order.
        if self.rest.bytes.binary_search(&place).is_ok()
            && let Ok(bytes) = STANDARD.decode(text)
        {
            return Value::BytesValue(bytes);
        }
        if self.rest.doubles.binary_search(&place).is_ok() {
            return Value::DoubleValue(match text {
                "Infinity" => f64::INFINITY,
                "-Infinity" => f64::NEG_INFINITY,
                _ => f64::NAN,
            });
        }
        Value::StringValue(text.to_owned())
    }
}

fn number(text: &str) -> Option<Value> {
    match text.parse::<i64>() {
        Ok(whole) => Some(Value::IntValue(whole)),
        Err(_) => text.parse().ok().map(Value::DoubleValue),
    }
}
