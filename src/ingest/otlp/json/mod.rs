//! OTLP/JSON becomes OTLP/protobuf, so that one set of walkers reads both.
//!
//! The transcoder knows the messages as tables and writes protobuf as it reads: no tree, no second
//! pass. OTLP's own rules differ from protobuf's JSON: only lowerCamelCase names, ids in hex of
//! either case, enums as integers; 64-bit integers come as strings or as numbers (the JavaScript
//! SDK sends both), doubles also as `"NaN"`, `"Infinity"`, `"-Infinity"`. Unknown fields are
//! skipped.

mod tables;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::base::varint::{push_varint, zigzag};
use crate::ingest::records::{JsonError, Next, Parser};
use crate::model::Signal;

use tables::{Field, Kind, Message};

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LEN: u32 = 2;
const FIXED32: u32 = 5;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Returns the protobuf bytes of the export request that `text` writes in JSON.
pub(super) fn to_protobuf(signal: Signal, text: &[u8]) -> Result<Vec<u8>, JsonError> {
    let message = match signal {
        // Exemplars come with their metrics.
        Signal::Metrics | Signal::Exemplars | Signal::Points => &tables::METRICS,
        Signal::Logs => &tables::LOGS,
        Signal::Spans => &tables::SPANS,
    };
    let text = std::str::from_utf8(text).map_err(|error| {
        Parser::new("").error(format!("not UTF-8 from byte {}", error.valid_up_to()))
    })?;
    let mut parser = Parser::new(text);
    let mut out = Vec::with_capacity(text.len() / 2);
    push_fields(&mut parser, message, &mut out)?;
    parser.end()?;
    Ok(out)
}

fn push_fields(
    parser: &mut Parser<'_>,
    message: &'static Message,
    out: &mut Vec<u8>,
) -> Result<(), JsonError> {
    parser.object(|parser, name| match message.fields.iter().find(|field| field.name == name) {
        _ if parser.take_null() => Ok(()),
        None => parser.skip(),
        Some(field) if field.is_repeated => push_list(parser, field, out),
        Some(field) => push_field(parser, field, out),
    })
}

fn push_list(parser: &mut Parser<'_>, field: &Field, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if let Kind::Fixed64 | Kind::Uint64 | Kind::Double = field.kind {
        push_tag(out, field.number, LEN);
        return push_sized(out, |out| {
            parser.array(|parser, _| push_scalar(parser, &field.kind, out).map(drop))
        });
    }
    parser.array(|parser, _| push_field(parser, field, out))
}

fn push_field(parser: &mut Parser<'_>, field: &Field, out: &mut Vec<u8>) -> Result<(), JsonError> {
    match &field.kind {
        Kind::Message(message) => {
            push_tag(out, field.number, LEN);
            push_sized(out, |out| push_fields(parser, message, out))
        }
        Kind::Text => {
            let text = parser.string()?;
            push_bytes(out, field.number, text.as_bytes());
            Ok(())
        }
        Kind::Base64 => {
            let bytes = base64_bytes(parser)?;
            push_bytes(out, field.number, &bytes);
            Ok(())
        }
        Kind::Hex => {
            let bytes = hex_bytes(parser)?;
            push_bytes(out, field.number, &bytes);
            Ok(())
        }
        scalar => {
            push_tag(out, field.number, wire_type(scalar));
            push_scalar(parser, scalar, out)
        }
    }
}

fn wire_type(kind: &Kind) -> u32 {
    match kind {
        Kind::Fixed64 | Kind::SignedFixed64 | Kind::Double => FIXED64,
        Kind::Fixed32 => FIXED32,
        Kind::Bool | Kind::Enum | Kind::Uint32 | Kind::Sint32 | Kind::Int64 | Kind::Uint64 => {
            VARINT
        }
        Kind::Text | Kind::Base64 | Kind::Hex | Kind::Message(_) => LEN,
    }
}

/// Appends a number without its tag.
fn push_scalar(parser: &mut Parser<'_>, kind: &Kind, out: &mut Vec<u8>) -> Result<(), JsonError> {
    match kind {
        Kind::Bool => push_varint(out, u64::from(parser.bool()?)),
        Kind::Enum => {
            if parser.peek()? == Next::String {
                return Err(parser.error("an enum is written as its number in OTLP/JSON"));
            }
            let number: i32 = integer(parser)?;
            push_varint(out, i64::from(number).cast_unsigned());
        }
        Kind::Uint32 => push_varint(out, u64::from(integer::<u32>(parser)?)),
        Kind::Sint32 => {
            let number: i32 = integer(parser)?;
            push_varint(out, zigzag(i64::from(number)));
        }
        Kind::Int64 => push_varint(out, integer::<i64>(parser)?.cast_unsigned()),
        Kind::Uint64 => push_varint(out, integer(parser)?),
        Kind::Fixed32 => out.extend_from_slice(&integer::<u32>(parser)?.to_le_bytes()),
        Kind::Fixed64 => out.extend_from_slice(&integer::<u64>(parser)?.to_le_bytes()),
        Kind::SignedFixed64 => out.extend_from_slice(&integer::<i64>(parser)?.to_le_bytes()),
        Kind::Double => out.extend_from_slice(&double(parser)?.to_le_bytes()),
        Kind::Text | Kind::Base64 | Kind::Hex | Kind::Message(_) => {
            unreachable!("push_field writes what has a length")
        }
    }
    Ok(())
}

/// Takes an integer, written as a number or as a string of digits.
fn integer<T: TryFrom<i128>>(parser: &mut Parser<'_>) -> Result<T, JsonError> {
    let text = match parser.peek()? {
        Next::String => parser.string()?,
        _ => parser.number()?.into(),
    };
    exact_integer(&text)
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| parser.error(format!("`{}` is not an integer that fits here", cut(&text))))
}

/// Reads `12`, and also `1.2e1`: protobuf's JSON takes any number without a fraction.
fn exact_integer(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse::<i128>() {
        return (!text.starts_with('+')).then_some(number);
    }
    let number: f64 = text.parse().ok()?;
    let is_exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and at most 2^53")]
    is_exact.then_some(number as i128)
}

/// Takes a double, written as a number or as a string, also `"NaN"` and `"±Infinity"`.
fn double(parser: &mut Parser<'_>) -> Result<f64, JsonError> {
    let text = match parser.peek()? {
        Next::String => parser.string()?,
        _ => parser.number()?.into(),
    };
    match &*text {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(f64::INFINITY),
        "-Infinity" => Ok(f64::NEG_INFINITY),
        text if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
            text.parse().map_err(|_| parser.error(format!("`{}` is not a number", cut(text))))
        }
        text => Err(parser.error(format!("`{}` is not a number", cut(text)))),
    }
}

fn base64_bytes(parser: &mut Parser<'_>) -> Result<Vec<u8>, JsonError> {
    let text = parser.string()?;
    BASE64
        .decode(text.as_bytes())
        .or_else(|_| BASE64_URL.decode(text.as_bytes()))
        .map_err(|error| parser.error(format!("not base64: {error}")))
}

fn hex_bytes(parser: &mut Parser<'_>) -> Result<Vec<u8>, JsonError> {
    let text = parser.string()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => Some((digit(high)? << 4) | digit(low)?),
            _ => None,
        })
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| parser.error(format!("`{}` is not an id in hex", cut(&text))))
}

/// Returns the front of a text that goes into an error message.
fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(40).map_or(text.len(), |(idx, _)| idx);
    &text[..end]
}

fn push_tag(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    push_varint(out, u64::from((number << 3) | wire_type));
}

fn push_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    push_tag(out, number, LEN);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends what `write` writes, its length before it. One byte is kept free for the length; what
/// is longer moves up, which costs less than a padded varint that no other encoder would write.
fn push_sized(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    let start = out.len();
    out.push(0);
    write(out)?;
    let len = out.len() - start - 1;
    let mut varint = Vec::with_capacity(5);
    push_varint(&mut varint, len as u64);
    if let [byte] = varint[..] {
        out[start] = byte;
    } else {
        out.splice(start..=start, varint);
    }
    Ok(())
}

/// Writes a random export request in JSON, with every field of the tables now and then.
#[cfg(test)]
pub(super) fn random_json(signal: Signal, rng: &mut rand::rngs::SmallRng) -> String {
    let message = match signal {
        // Exemplars come with their metrics.
        Signal::Metrics | Signal::Exemplars | Signal::Points => &tables::METRICS,
        Signal::Logs => &tables::LOGS,
        Signal::Spans => &tables::SPANS,
    };
    tests::random_message(message, rng, 0).to_string()
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;
    use rand::rngs::SmallRng;
    use serde_json::{Map, Value, json};

    use super::{Field, Kind, Message};

    /// Fields of which a message has one at most.
    const ONE_OF: [&[&str]; 3] = [
        &[
            "stringValue",
            "boolValue",
            "intValue",
            "doubleValue",
            "arrayValue",
            "kvlistValue",
            "bytesValue",
        ],
        &["asDouble", "asInt"],
        &["gauge", "sum", "histogram", "exponentialHistogram", "summary"],
    ];

    pub(super) fn random_message(message: &Message, rng: &mut SmallRng, depth: usize) -> Value {
        let mut object = Map::new();
        let mut taken: Vec<usize> = Vec::new();
        // In a random order of choice, so that no alternative always wins; written in the tables'.
        let first = rng.random_range(0..message.fields.len());
        let mut chosen = vec![false; message.fields.len()];
        for step in 0..message.fields.len() {
            let idx = (first + step) % message.fields.len();
            let field = &message.fields[idx];
            let group = ONE_OF.iter().position(|names| names.contains(&field.name));
            let is_free = group.is_none_or(|group| !taken.contains(&group));
            let is_leaf = !matches!(field.kind, Kind::Message(_));
            if is_free && (depth < 9 || is_leaf) && rng.random_bool(0.7) {
                chosen[idx] = true;
                taken.extend(group);
            }
        }
        for (field, _) in message.fields.iter().zip(chosen).filter(|(_, chosen)| *chosen) {
            object.insert(field.name.to_owned(), random_field(field, rng, depth));
        }
        Value::Object(object)
    }

    fn random_field(field: &Field, rng: &mut SmallRng, depth: usize) -> Value {
        if !field.is_repeated {
            return random_value(&field.kind, rng, depth);
        }
        let n_items = rng.random_range(1..4);
        (0..n_items).map(|_| random_value(&field.kind, rng, depth)).collect()
    }

    /// Never a default, which prost would leave out.
    fn random_value(kind: &Kind, rng: &mut SmallRng, depth: usize) -> Value {
        match kind {
            Kind::Text => json!("é\n".repeat(rng.random_range(1..100))),
            Kind::Base64 => json!("AAH/"),
            Kind::Hex => json!("0aFf".repeat(rng.random_range(1..9))),
            Kind::Bool => json!(true),
            Kind::Enum => json!(rng.random_range(1..3)),
            Kind::Uint32 | Kind::Fixed32 => json!(rng.random_range(1..=u32::MAX)),
            Kind::Sint32 => json!(rng.random_range(i32::MIN..0)),
            Kind::Int64 | Kind::SignedFixed64 => json!(rng.random_range(i64::MIN..0).to_string()),
            Kind::Uint64 | Kind::Fixed64 => json!(rng.random_range(1..=u64::MAX)),
            Kind::Double => json!(rng.random_range(0.001..1e9)),
            Kind::Message(message) => random_message(message, rng, depth + 1),
        }
    }
}
