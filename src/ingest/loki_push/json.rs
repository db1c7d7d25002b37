//! Loki's JSON: `{"streams":[{"stream":{…},"values":[["<ns>","<line>",{…}?],…]}]}`.
//!
//! The labels of a stream may stand after its values, so a stream is read twice: once for the
//! labels, skipping over the values, then for the values.

use std::borrow::Cow;

use super::entries::{Collect, Entry, Stream};
use super::labels::LABELS_MAX;
use crate::ingest::IngestError;
use crate::ingest::records::{Context, Decoded, JsonError, Next, Parser};

/// Why reading stops.
enum Fault {
    Json(JsonError),
    Ingest(IngestError),
}

impl From<JsonError> for Fault {
    fn from(error: JsonError) -> Self {
        Fault::Json(error)
    }
}

/// Reads a push in JSON.
pub(super) fn decode(ctx: &Context<'_>, body: &[u8]) -> Result<Decoded, IngestError> {
    let invalid =
        |what: String| IngestError::Invalid(format!("couldn't parse push request: {what}"));
    let text = std::str::from_utf8(body)
        .map_err(|error| invalid(format!("not UTF-8 from byte {}", error.valid_up_to())))?;
    let mut collect = Collect::new(ctx);
    match read_push(&mut collect, text) {
        Ok(()) => Ok(collect.finish()),
        Err(Fault::Json(error)) => Err(invalid(error.to_string())),
        Err(Fault::Ingest(error)) => Err(error),
    }
}

fn read_push(collect: &mut Collect<'_>, text: &str) -> Result<(), Fault> {
    let mut parser = Parser::new(text);
    let mut fault = None;
    let read = parser.object(|parser, name| {
        if name != "streams" {
            return parser.skip();
        }
        parser.array(|parser, _| {
            let labels = read_labels(&mut parser.clone(), collect.labels_max())?;
            match collect.stream(&label_text(&labels), labels) {
                Ok(stream) => {
                    let read = read_values(parser, collect, &stream, &mut fault);
                    collect.end_stream(&stream);
                    read
                }
                Err(error) => Err(stop(parser, &mut fault, error)),
            }
        })
    });
    match (read.and_then(|()| parser.end()), fault) {
        (_, Some(error)) => Err(Fault::Ingest(error)),
        (read, None) => Ok(read?),
    }
}

/// Keeps the real error, and ends the walk with another that nobody sees.
fn stop(parser: &Parser<'_>, fault: &mut Option<IngestError>, error: IngestError) -> JsonError {
    *fault = Some(error);
    parser.error("stopped")
}

/// Reads the labels of a stream, of which one more than `n_max` are enough to refuse it.
fn read_labels(parser: &mut Parser<'_>, n_max: usize) -> Result<Vec<(String, String)>, JsonError> {
    let mut labels = Vec::new();
    parser.object(|parser, name| match name {
        "stream" => {
            labels.clear();
            parser.object(|parser, name| {
                if labels.len() > n_max {
                    return parser.string().map(drop);
                }
                let value = parser.string()?.into_owned();
                if labels.len() == LABELS_MAX {
                    let what = "there are more than 1024 labels (limits.labels_per_series)";
                    return Err(parser.error(what));
                }
                labels.retain(|(earlier, _)| earlier != name);
                labels.push((name.to_owned(), value));
                Ok(())
            })
        }
        _ => parser.skip(),
    })?;
    Ok(labels)
}

/// Writes labels as the protobuf form has them, for messages.
fn label_text(labels: &[(String, String)]) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn read_values(
    parser: &mut Parser<'_>,
    collect: &mut Collect<'_>,
    stream: &Stream,
    fault: &mut Option<IngestError>,
) -> Result<(), JsonError> {
    let mut metadata = Vec::new();
    let metadata_max = collect.metadata_max();
    parser.object(|parser, name| match name {
        "values" => parser.array(|parser, _| {
            metadata.clear();
            let (time_ns, line) = read_value(parser, &mut metadata, metadata_max)?;
            let entry = Entry { time_ns, line, metadata: &metadata };
            collect.entry(stream, &entry).map_err(|error| stop(parser, fault, error))
        }),
        _ => parser.skip(),
    })
}

/// Reads `["<ns>", "<line>", {…}?]`.
fn read_value<'a>(
    parser: &mut Parser<'a>,
    metadata: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>,
    metadata_max: usize,
) -> Result<(i64, Cow<'a, str>), JsonError> {
    let (mut time_ns, mut line) = (None, None);
    parser.array(|parser, idx| {
        match idx {
            0 => time_ns = Some(read_time(parser)?),
            1 => line = Some(parser.string()?),
            2 if parser.take_null() => {}
            2 => read_metadata(parser, metadata, metadata_max)?,
            _ => return Err(parser.error("an entry has at most a time, a line and metadata")),
        }
        Ok(())
    })?;
    match (time_ns, line) {
        (Some(time_ns), Some(line)) => Ok((time_ns, line)),
        _ => Err(parser.error("an entry has at least a time and a line")),
    }
}

/// Reads ns since 1970 UTC, which Loki wants as a string and some senders write as a number.
fn read_time(parser: &mut Parser<'_>) -> Result<i64, JsonError> {
    let text = match parser.peek()? {
        Next::String => parser.string()?,
        _ => parser.number()?.into(),
    };
    text.parse().map_err(|_| parser.error("a time is written in whole nanoseconds since 1970"))
}

/// Keeps one pair more than `metadata_max`, which is enough to refuse the entry.
fn read_metadata<'a>(
    parser: &mut Parser<'a>,
    metadata: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>,
    metadata_max: usize,
) -> Result<(), JsonError> {
    parser.object(|parser, name| {
        let value = match parser.peek()? {
            Next::String => parser.string()?,
            Next::Number => parser.number()?.into(),
            Next::Bool => if parser.bool()? { "true" } else { "false" }.into(),
            _ => return Err(parser.error("structured metadata is text")),
        };
        if metadata.len() <= metadata_max {
            metadata.push((Cow::Owned(name.to_owned()), value));
        }
        Ok(())
    })
}
