//! Log records: from the bytes of an `ExportLogsServiceRequest` into Arrow columns, in one pass.
//!
//! A record's strings are borrowed from the request until the column takes them; only its
//! attributes are written anew, as JSON text. What a collector read line by line from a container is
//! put together again where it is a stack trace ([`OpenRecord`]): such records have no scope and no trace. A record that breaks a limit is counted and left out;
//! bytes that are no protobuf end the request.

use std::borrow::Cow;
use std::sync::Arc;

use super::json_text::{HexId, JsonText, any_value, cut, string_value};
use super::resource::{Resource, ResourceCache};

use crate::ingest::IngestError;
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::records::{Batches, Context, Decoded, OpenRecord, Retagged, RowError, Rules};
use crate::ingest::wire::{Field, Reader, WireError, text_of};
use crate::model::{LogRow, LogsBuilder};

/// Reads the records of an `ExportLogsServiceRequest`.
pub(super) fn decode_logs(
    ctx: &Context<'_>,
    resources: &ResourceCache,
    body: &[u8],
) -> Result<Decoded, IngestError> {
    let mut walk = Walk::new(ctx, resources, body.len());
    let mut request = Reader::new(body);
    while let Some(field) = request.next_field()? {
        if field.number == 1 {
            walk.resource_logs(&field)?;
        }
    }
    Ok(walk.finish())
}

struct Walk<'c> {
    ctx: &'c Context<'c>,
    resources: &'c ResourceCache,
    batches: Batches<LogsBuilder>,
    decoded: Decoded,
    attributes: JsonText,
    body: JsonText,
    retagged: Retagged,
    /// A record that the next ones may belong to.
    open: Option<Stack>,
}

/// A stack trace under way, and what its record says beside its lines.
struct Stack {
    record: OpenRecord,
    resource: Arc<Resource>,
    observed_ns: i64,
    severity_number: i32,
    severity_text: String,
    attributes: String,
    flags: u32,
}

/// What a record says.
struct Said<'r> {
    timestamp_ns: i64,
    observed_ns: i64,
    severity_number: i32,
    severity_text: &'r str,
    body: &'r str,
    attributes: &'r str,
    scope_name: &'r str,
    event_name: &'r str,
    trace_id: &'r str,
    span_id: &'r str,
    flags: u32,
}

impl<'c> Walk<'c> {
    fn new(ctx: &'c Context<'c>, resources: &'c ResourceCache, n_body_bytes: usize) -> Self {
        Self {
            ctx,
            resources,
            batches: Batches::of_body(n_body_bytes),
            decoded: Decoded::default(),
            attributes: JsonText::default(),
            body: JsonText::default(),
            retagged: Retagged::default(),
            open: None,
        }
    }

    fn finish(mut self) -> Decoded {
        self.batches.into_logs(&mut self.decoded);
        self.decoded
    }

    fn resource_logs(&mut self, field: &Field<'_>) -> Result<(), IngestError> {
        self.ctx.count_group(&mut self.decoded)?;
        let resource = self.resources.get(self.ctx, find(field.message()?, 1)?)?;
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            if field.number == 2 {
                self.scope_logs(&field, &resource)?;
            }
        }
        Ok(())
    }

    fn scope_logs(
        &mut self,
        field: &Field<'_>,
        resource: &Result<Arc<Resource>, Refusal>,
    ) -> Result<(), IngestError> {
        self.ctx.count_group(&mut self.decoded)?;
        let scope_name = scope_name(field)?;
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            if field.number != 2 {
                continue;
            }
            self.ctx.count_record(&mut self.decoded)?;
            let outcome = match resource {
                Ok(resource) => self.record(&field, resource, &scope_name),
                Err(refusal) => Err(RowError::Refused(refusal.clone())),
            };
            self.decoded.note(outcome)?;
        }
        self.end_stack();
        Ok(())
    }

    fn record(
        &mut self,
        field: &Field<'_>,
        resource: &Arc<Resource>,
        scope_name: &str,
    ) -> Result<(), RowError> {
        let rules = self.ctx.rules();
        let raw = RawRecord::read(field.message()?, &mut self.attributes, &rules)?;
        let (timestamp_ns, observed_ns) = self.times(&raw)?;
        self.decoded.times_are_ours |= raw.time_ns == 0 && observed_ns == self.ctx.now_ns;
        let body = match raw.body {
            Some(body) => body_text(&body, &mut self.body, &rules)?,
            None => Cow::Borrowed(""),
        };
        let severity_text = text_of(raw.severity_text);
        let event_name = text_of(raw.event_name);
        let (trace_id, span_id) = (HexId::trace(raw.trace_id), HexId::span(raw.span_id));
        let said = Said {
            timestamp_ns,
            observed_ns,
            severity_number: raw.severity_number.clamp(0, 24),
            severity_text: &severity_text,
            body: &body,
            attributes: self.attributes.end(),
            scope_name,
            event_name: &event_name,
            trace_id: trace_id.as_str(),
            span_id: span_id.as_str(),
            flags: raw.flags,
        };
        let Self { ctx, batches, decoded, retagged, open, .. } = self;
        let is_of_a_container =
            scope_name.is_empty() && said.trace_id.is_empty() && said.event_name.is_empty();
        let bytes_max = rules.limits.log_line.bytes();
        if is_of_a_container && open.as_mut().is_some_and(|open| open.take(&said, bytes_max)) {
            return Ok(());
        }
        write_stack(ctx, retagged, batches, decoded, open.take());
        if is_of_a_container {
            *open = Stack::of(&said, resource);
            if open.is_some() {
                return Ok(());
            }
        }
        write(ctx, retagged, batches, decoded, resource, &said)
    }

    /// Ends the stack trace under way: what follows is of another scope.
    fn end_stack(&mut self) {
        let Self { ctx, batches, decoded, retagged, open, .. } = self;
        write_stack(ctx, retagged, batches, decoded, open.take());
    }

    /// Returns when the record happened and when it was seen: what the sender does not know is what
    /// the next one on the way knows, in the end our own clock.
    fn times(&self, raw: &RawRecord<'_>) -> Result<(i64, i64), RowError> {
        let observed_ns = match i64::try_from(raw.observed_ns) {
            Ok(observed_ns) if observed_ns != 0 => observed_ns,
            _ => self.ctx.now_ns,
        };
        let timestamp_ns = match raw.time_ns {
            0 => observed_ns,
            time_ns => i64::try_from(time_ns).unwrap_or(i64::MAX),
        };
        self.ctx.check_time(timestamp_ns).map_err(RowError::Refused)?;
        Ok((timestamp_ns, observed_ns))
    }
}

/// Writes a record.
fn write(
    ctx: &Context<'_>,
    retagged: &mut Retagged,
    batches: &mut Batches<LogsBuilder>,
    decoded: &mut Decoded,
    resource: &Resource,
    said: &Said<'_>,
) -> Result<(), RowError> {
    let origin = retagged.origin(ctx, &resource.origin, said.body)?;
    let read = origin.read_line(&ctx.ingest.derive, said.body);
    let row = LogRow {
        timestamp_ns: said.timestamp_ns,
        observed_ns: said.observed_ns,
        severity_number: said.severity_number,
        severity_text: said.severity_text,
        body: said.body,
        attributes: said.attributes,
        resource: &resource.json,
        scope_name: said.scope_name,
        event_name: said.event_name,
        trace_id: said.trace_id,
        span_id: said.span_id,
        flags: said.flags,
        line: read.fields(said.body),
    };
    decoded.n_built_bytes += row.body.len() + row.attributes.len();
    batches.of(&origin).push(&origin.tags, &row);
    batches.keep(read);
    Ok(())
}

/// Writes a stack trace, or counts why not.
fn write_stack(
    ctx: &Context<'_>,
    retagged: &mut Retagged,
    batches: &mut Batches<LogsBuilder>,
    decoded: &mut Decoded,
    stack: Option<Stack>,
) {
    let Some(stack) = stack else { return };
    let said = Said {
        timestamp_ns: stack.record.time_ns,
        observed_ns: stack.observed_ns,
        severity_number: stack.severity_number,
        severity_text: &stack.severity_text,
        body: &stack.record.text,
        attributes: &stack.attributes,
        scope_name: "",
        event_name: "",
        trace_id: "",
        span_id: "",
        flags: stack.flags,
    };
    let written = write(ctx, retagged, batches, decoded, &stack.resource, &said);
    if let Err(RowError::Refused(refusal)) = written {
        decoded.rejected.add_refusal(refusal, stack.record.n_lines);
    }
}

impl Stack {
    /// Returns what a record begins, if others may belong to it.
    fn of(said: &Said<'_>, resource: &Arc<Resource>) -> Option<Self> {
        Some(Self {
            record: OpenRecord::of(said.timestamp_ns, said.body, &[])?,
            resource: Arc::clone(resource),
            observed_ns: said.observed_ns,
            severity_number: said.severity_number,
            severity_text: said.severity_text.to_owned(),
            attributes: said.attributes.to_owned(),
            flags: said.flags,
        })
    }

    /// Takes a record of the same scope that belongs to it; returns false when it does not.
    fn take(&mut self, said: &Said<'_>, bytes_max: usize) -> bool {
        self.attributes == said.attributes
            && (self.severity_number, &*self.severity_text)
                == (said.severity_number, said.severity_text)
            && self.record.take(said.timestamp_ns, said.body, &[], bytes_max)
    }
}

/// The fields of a `LogRecord` where they lie; the attributes are written already.
#[derive(Default)]
struct RawRecord<'a> {
    time_ns: u64,
    observed_ns: u64,
    severity_number: i32,
    severity_text: &'a [u8],
    body: Option<Field<'a>>,
    flags: u32,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    event_name: &'a [u8],
}

impl<'a> RawRecord<'a> {
    fn read(
        mut reader: Reader<'a>,
        attributes: &mut JsonText,
        rules: &Rules<'_>,
    ) -> Result<Self, RowError> {
        let mut raw = Self::default();
        attributes.begin();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => raw.time_ns = field.fixed64()?,
                2 => raw.severity_number = field.int32()?,
                3 => raw.severity_text = field.bytes()?,
                5 => raw.body = Some(field),
                6 => attributes.attribute(&field, rules)?,
                8 => raw.flags = field.fixed32()?,
                9 => raw.trace_id = field.bytes()?,
                10 => raw.span_id = field.bytes()?,
                11 => raw.observed_ns = field.fixed64()?,
                12 => raw.event_name = field.bytes()?,
                _ => {}
            }
        }
        Ok(raw)
    }
}

/// Returns a body as text: strings as they are, everything else as JSON.
fn body_text<'a>(
    body: &Field<'a>,
    scratch: &'a mut JsonText,
    rules: &Rules<'_>,
) -> Result<Cow<'a, str>, RowError> {
    let n_bytes = body.bytes()?.len();
    let max = rules.limits.log_line;
    if n_bytes > max.bytes() + 8 {
        let message = format!("a body has {n_bytes} bytes of at most {max} (limits.log_line)");
        return Err(RowError::Refused(Refusal::new(Reason::LineLimit, message)));
    }
    if let Some(text) = string_value(body.message()?)? {
        return Ok(rules.scrub(text_of(text)));
    }
    if any_value(body.message()?)?.is_none() {
        return Ok(Cow::Borrowed(""));
    }
    scratch.value_alone(body.message()?, rules).map(Cow::Borrowed)
}

/// Returns the last field `number` of a message, if it has one.
pub(super) fn find<'a>(
    mut reader: Reader<'a>,
    number: u32,
) -> Result<Option<Field<'a>>, WireError> {
    let mut found = None;
    while let Some(field) = reader.next_field()? {
        if field.number == number {
            found = Some(field);
        }
    }
    Ok(found)
}

/// Returns the name of the instrumentation scope in a `ScopeLogs` or `ScopeSpans`.
pub(super) fn scope_name<'a>(field: &Field<'a>) -> Result<Cow<'a, str>, WireError> {
    let Some(scope) = find(field.message()?, 1)? else { return Ok(Cow::Borrowed("")) };
    let Some(name) = find(scope.message()?, 1)? else { return Ok(Cow::Borrowed("")) };
    let name = String::from_utf8_lossy(name.bytes()?);
    Ok(match name {
        Cow::Borrowed(name) => Cow::Borrowed(cut(name)),
        Cow::Owned(name) => Cow::Owned(cut(&name).to_owned()),
    })
}
