//! Spans: from the bytes of an `ExportTraceServiceRequest` into Arrow columns, in one pass.
//!
//! As with log records, strings are borrowed until the column takes them; attributes, events and
//! links are written as JSON text. A span without a valid trace id and span id belongs nowhere and
//! is refused (OTLP: an id of another length or all zeros is invalid).

use std::sync::Arc;

use super::json_text::{HexId, JsonText};
use super::logs::find;
use super::resource::{Resource, ResourceCache};
use super::scope::{Scope, apart, schema_url};
use crate::ingest::IngestError;
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::records::{Batches, Context, Decoded, RowError, Rules};
use crate::ingest::wire::{Field, Reader, WireError, text_of};
use crate::model::span_rest::{ColumnRest, SpanRest};
use crate::model::{SpanRow, SpansBuilder, json};

/// Reads the spans of an `ExportTraceServiceRequest`.
pub(super) fn decode_spans(
    ctx: &Context<'_>,
    resources: &ResourceCache,
    body: &[u8],
) -> Result<Decoded, IngestError> {
    let mut walk = Walk {
        ctx,
        resources,
        batches: Batches::of_body(body.len()),
        decoded: Decoded::default(),
        scratch: Scratch::default(),
    };
    let mut request = Reader::new(body);
    while let Some(field) = request.next_field()? {
        if field.number == 1 {
            walk.resource_spans(&field)?;
        }
    }
    let Walk { batches, mut decoded, .. } = walk;
    batches.into_spans(&mut decoded);
    Ok(decoded)
}

struct Walk<'c> {
    ctx: &'c Context<'c>,
    resources: &'c ResourceCache,
    batches: Batches<SpansBuilder>,
    decoded: Decoded,
    scratch: Scratch,
}

/// The texts of one span, reused from span to span.
#[derive(Default)]
struct Scratch {
    attributes: JsonText,
    events: List,
    links: List,
    item: JsonText,
    rest: String,
}

/// A resource with the schema URL that stands beside it.
type Whose<'r> = Result<(&'r Arc<Resource>, String), Refusal>;

/// A JSON array under way.
#[derive(Default)]
struct List {
    out: String,
    n_items: usize,
    n_strings: u32,
    rest: ColumnRest,
}

impl<'c> Walk<'c> {
    fn resource_spans(&mut self, field: &Field<'_>) -> Result<(), IngestError> {
        self.ctx.count_group(&mut self.decoded)?;
        let resource = self.resources.get(self.ctx, find(field.message()?, 1)?)?;
        let url = apart(schema_url(field, &self.ctx.rules()))?;
        let whose = match &resource {
            Ok(resource) => url.map(|url| (resource, url)),
            Err(refusal) => Err(refusal.clone()),
        };
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            if field.number == 2 {
                self.scope_spans(&field, &whose)?;
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, field: &Field<'_>, whose: &Whose<'_>) -> Result<(), IngestError> {
        self.ctx.count_group(&mut self.decoded)?;
        let scope = match whose {
            Ok((resource, url)) => {
                let scope = apart(Scope::read(field, resource, url, &self.ctx.rules()))?;
                scope.map(|scope| (*resource, scope))
            }
            Err(refusal) => Err(refusal.clone()),
        };
        let mut reader = field.message()?;
        while let Some(field) = reader.next_field()? {
            if field.number != 2 {
                continue;
            }
            self.ctx.count_record(&mut self.decoded)?;
            let outcome = match &scope {
                Ok((resource, scope)) => self.span(&field, resource, scope),
                Err(refusal) => Err(RowError::Refused(refusal.clone())),
            };
            self.decoded.note(outcome)?;
        }
        Ok(())
    }

    fn span(
        &mut self,
        field: &Field<'_>,
        resource: &Arc<Resource>,
        scope: &Scope,
    ) -> Result<(), RowError> {
        let rules = self.ctx.rules();
        let raw = RawSpan::read(field.message()?, &mut self.scratch, &rules)?;
        let (trace_id, span_id) = raw.ids()?;
        let (start_ns, end_ns) = self.times(&raw)?;
        let (status_code, status_message) = raw.status()?;
        let (name, trace_state) = (text_of(raw.name), text_of(raw.trace_state));
        let status_message = text_of(status_message);
        let parent_span_id = HexId::span(raw.parent_span_id);
        self.scratch.write_rest(scope, &raw);
        let row = SpanRow {
            start_ns,
            end_ns,
            trace_id: trace_id.as_str(),
            span_id: span_id.as_str(),
            parent_span_id: parent_span_id.as_str(),
            name: &rules.scrub(name),
            kind: raw.kind,
            status_code,
            status_message: &rules.scrub(status_message),
            attributes: self.scratch.attributes.end(),
            resource: &resource.json,
            scope_name: &scope.name,
            scope_version: &scope.version,
            scope_attributes: &scope.attributes,
            trace_state: &trace_state,
            flags: raw.flags,
            events: self.scratch.events.end(),
            links: self.scratch.links.end(),
            rest: &self.scratch.rest,
        };
        self.decoded.n_built_bytes += row.attributes.len()
            + row.events.len()
            + row.links.len()
            + row.name.len()
            + row.rest.len();
        self.batches.of(&resource.origin).push(&resource.origin.tags, &row);
        Ok(())
    }

    /// Returns when the span began and ended; a time that is not set is the other one.
    fn times(&self, raw: &RawSpan<'_>) -> Result<(i64, i64), RowError> {
        let to_ns = |time_ns: u64| i64::try_from(time_ns).unwrap_or(i64::MAX);
        let (start_ns, end_ns) = match (to_ns(raw.start_ns), to_ns(raw.end_ns)) {
            (0, 0) => (self.ctx.now_ns, self.ctx.now_ns),
            (0, end_ns) => (end_ns, end_ns),
            (start_ns, 0) => (start_ns, start_ns),
            times => times,
        };
        self.ctx.check_time(start_ns).map_err(RowError::Refused)?;
        // A span may last, but not end in a year that no clock shows.
        if end_ns > start_ns {
            self.ctx.check_time(end_ns).map_err(RowError::Refused)?;
        }
        Ok((start_ns, end_ns))
    }
}

/// The fields of a `Span` where they lie; attributes, events and links are written already.
#[derive(Default)]
struct RawSpan<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    trace_state: &'a [u8],
    parent_span_id: &'a [u8],
    name: &'a [u8],
    kind: i32,
    start_ns: u64,
    end_ns: u64,
    status: Option<Field<'a>>,
    flags: u32,
    dropped_attributes: u32,
    dropped_events: u32,
    dropped_links: u32,
}

impl<'a> RawSpan<'a> {
    fn read(
        mut reader: Reader<'a>,
        scratch: &mut Scratch,
        rules: &Rules<'_>,
    ) -> Result<Self, RowError> {
        let mut raw = Self::default();
        scratch.begin();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => raw.trace_id = field.bytes()?,
                2 => raw.span_id = field.bytes()?,
                3 => raw.trace_state = field.bytes()?,
                4 => raw.parent_span_id = field.bytes()?,
                5 => raw.name = field.bytes()?,
                6 => raw.kind = field.int32()?,
                7 => raw.start_ns = field.fixed64()?,
                8 => raw.end_ns = field.fixed64()?,
                9 => scratch.attributes.attribute(&field, rules)?,
                10 => raw.dropped_attributes = field.uint32()?,
                11 => scratch.event(field.message()?, rules)?,
                12 => raw.dropped_events = field.uint32()?,
                13 => scratch.link(field.message()?, rules)?,
                14 => raw.dropped_links = field.uint32()?,
                15 => raw.status = Some(field),
                16 => raw.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(raw)
    }

    fn ids(&self) -> Result<(HexId, HexId), RowError> {
        let (trace_id, span_id) = (HexId::trace(self.trace_id), HexId::span(self.span_id));
        if trace_id.as_str().is_empty() || span_id.as_str().is_empty() {
            let message = format!(
                "a span has a trace id of {} bytes and a span id of {}: wanted 16 and 8, not all zero",
                self.trace_id.len(),
                self.span_id.len()
            );
            return Err(RowError::Refused(Refusal::new(Reason::Invalid, message)));
        }
        Ok((trace_id, span_id))
    }

    fn status(&self) -> Result<(i32, &'a [u8]), WireError> {
        let (mut code, mut message): (i32, &[u8]) = (0, b"");
        let Some(status) = self.status else { return Ok((code, message)) };
        let mut reader = status.message()?;
        while let Some(field) = reader.next_field()? {
            match field.number {
                2 => message = field.bytes()?,
                3 => code = field.int32()?,
                _ => {}
            }
        }
        Ok((code, message))
    }
}

impl Scratch {
    fn begin(&mut self) {
        self.attributes.begin();
        self.events.begin();
        self.links.begin();
    }

    /// Writes what the columns cannot say; mostly that is what the scope has ready.
    fn write_rest(&mut self, scope: &Scope, raw: &RawSpan<'_>) {
        let is_plain = self.attributes.rest().is_empty()
            && self.events.rest.is_empty()
            && self.links.rest.is_empty()
            && raw.dropped_attributes | raw.dropped_events | raw.dropped_links == 0;
        if is_plain {
            self.rest.clone_from(&scope.rest_text);
            return;
        }
        let with_dropped = |rest: &ColumnRest, dropped| ColumnRest { dropped, ..rest.clone() };
        let attributes = with_dropped(self.attributes.rest(), raw.dropped_attributes);
        let events = with_dropped(&self.events.rest, raw.dropped_events);
        let links = with_dropped(&self.links.rest, raw.dropped_links);
        self.rest = SpanRest { attributes, events, links, ..scope.rest.clone() }.to_text();
    }

    fn event(&mut self, mut reader: Reader<'_>, rules: &Rules<'_>) -> Result<(), RowError> {
        self.events.next_item("events", rules)?;
        let (mut time_ns, mut name, mut dropped): (u64, &[u8], u32) = (0, b"", 0);
        self.item.begin();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => time_ns = field.fixed64()?,
                2 => name = field.bytes()?,
                3 => self.item.attribute(&field, rules)?,
                4 => dropped = field.uint32()?,
                _ => {}
            }
        }
        let out = &mut self.events.out;
        // A string, as in OTLP/JSON: 64-bit numbers do not survive most JSON readers.
        out.push_str("{\"time_unix_nano\":\"");
        out.push_str(itoa::Buffer::new().format(time_ns));
        out.push_str("\",\"name\":");
        json::push_string(out, &text_of(name));
        self.events.end_item(&mut self.item, &[("dropped_attributes_count", dropped)]);
        Ok(())
    }

    fn link(&mut self, mut reader: Reader<'_>, rules: &Rules<'_>) -> Result<(), RowError> {
        self.links.next_item("links", rules)?;
        let (mut trace_id, mut span_id, mut trace_state): (&[u8], &[u8], &[u8]) = (b"", b"", b"");
        let (mut dropped, mut flags) = (0, 0);
        self.item.begin();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => trace_id = field.bytes()?,
                2 => span_id = field.bytes()?,
                3 => trace_state = field.bytes()?,
                4 => self.item.attribute(&field, rules)?,
                5 => dropped = field.uint32()?,
                6 => flags = field.fixed32()?,
                _ => {}
            }
        }
        let out = &mut self.links.out;
        out.push_str("{\"trace_id\":\"");
        out.push_str(HexId::trace(trace_id).as_str());
        out.push_str("\",\"span_id\":\"");
        out.push_str(HexId::span(span_id).as_str());
        out.push_str("\",\"trace_state\":");
        json::push_string(out, &text_of(trace_state));
        let counts = [("dropped_attributes_count", dropped), ("flags", flags)];
        self.links.end_item(&mut self.item, &counts);
        Ok(())
    }
}

impl List {
    fn begin(&mut self) {
        self.out.clear();
        self.out.push('[');
        self.n_items = 0;
        self.n_strings = 0;
        self.rest = ColumnRest::default();
    }

    /// Writes the attributes of an item, and those of the numbers that are not 0.
    fn end_item(&mut self, attributes: &mut JsonText, numbers: &[(&str, u32)]) {
        self.out.push_str(",\"attributes\":");
        self.out.push_str(attributes.end());
        for (name, number) in numbers.iter().filter(|(_, number)| *number > 0) {
            self.out.push_str(&format!(",\"{name}\":{number}"));
        }
        self.out.push('}');
        self.n_strings += attributes.add_rest(&mut self.rest, self.n_strings);
    }

    /// Makes room for one more item. An event of two bytes on the wire is fifty in the column, so
    /// their number has a limit: the one that attributes have, as in OpenTelemetry's SDKs.
    fn next_item(&mut self, items: &str, rules: &Rules<'_>) -> Result<(), RowError> {
        let max = rules.limits.attributes_per_record;
        if self.n_items == max {
            let message =
                format!("a span has more than {max} {items} (limits.attributes_per_record)");
            return Err(RowError::Refused(Refusal::new(Reason::AttributeLimit, message)));
        }
        if self.n_items > 0 {
            self.out.push(',');
        }
        self.n_items += 1;
        Ok(())
    }

    fn end(&mut self) -> &str {
        self.out.push(']');
        &self.out
    }
}
