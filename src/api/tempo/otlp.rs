//! Rows of spans as the messages they came in.
//!
//! Spans that came with one resource and one scope are told so once again: the columns are
//! dictionaries, so rows are grouped by their texts.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, TimestampNanosecondType};
use hashbrown::HashMap;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::any_value::{Values, id_bytes, resource_of, scope_of, text_of};
use crate::model::json_read::{elements, get};
use crate::model::span_rest::{ColumnRest, SpanRest};

/// Returns the spans of a trace, grouped by resource and scope in the order they are met.
pub(super) fn resource_spans(batches: &[RecordBatch]) -> Vec<ResourceSpans> {
    let mut groups = Groups::default();
    for batch in batches {
        let columns = Columns::of(batch);
        for row in 0..batch.num_rows() {
            groups.push(&columns, row);
        }
    }
    groups.list
}

#[derive(Default)]
struct Groups {
    list: Vec<ResourceSpans>,
    /// The place of a resource, by all that is known of it.
    resources: HashMap<(String, ColumnRest), usize>,
    /// The place of a scope in its resource, likewise.
    scopes: HashMap<(usize, [String; 3], ColumnRest), usize>,
}

impl Groups {
    fn push(&mut self, columns: &Columns<'_>, row: usize) {
        let rest = SpanRest::from_text(columns.rest.text(row));
        let resource = self.resource(columns, row, &rest);
        let scope = self.scope(resource, columns, row, &rest);
        let span = span_of(columns, row, &rest);
        self.list[resource].scope_spans[scope].spans.push(span);
    }

    fn resource(&mut self, columns: &Columns<'_>, row: usize, rest: &SpanRest) -> usize {
        let text = columns.resource.text(row);
        let key = (text.to_owned(), rest.resource.clone());
        let list = &mut self.list;
        *self.resources.entry(key).or_insert_with(|| {
            list.push(ResourceSpans {
                resource: Some(resource_of(text, &rest.resource)),
                schema_url: rest.resource.schema_url.clone(),
                ..ResourceSpans::default()
            });
            list.len() - 1
        })
    }

    fn scope(
        &mut self,
        resource: usize,
        columns: &Columns<'_>,
        row: usize,
        rest: &SpanRest,
    ) -> usize {
        let Columns { scope_name, scope_version, scope_attributes, .. } = columns;
        let texts = [scope_name, scope_version, scope_attributes].map(|texts| texts.text(row));
        let list = &mut self.list[resource].scope_spans;
        let key = (resource, texts.map(str::to_owned), rest.scope.clone());
        *self.scopes.entry(key).or_insert_with(|| {
            list.push(ScopeSpans {
                scope: Some(scope_of(texts, &rest.scope)),
                schema_url: rest.scope.schema_url.clone(),
                ..ScopeSpans::default()
            });
            list.len() - 1
        })
    }
}

fn span_of(columns: &Columns<'_>, row: usize, rest: &SpanRest) -> Span {
    let code = status_code(columns.status_code.text(row));
    let message = columns.status_message.text(row);
    let status = Status { code, message: message.to_owned() };
    let (start, end) = (columns.start.value(row), columns.end.value(row));
    Span {
        trace_id: id_bytes(columns.trace_id.text(row)),
        span_id: id_bytes(columns.span_id.text(row)),
        trace_state: columns.trace_state.text(row).to_owned(),
        parent_span_id: id_bytes(columns.parent_span_id.text(row)),
        flags: columns.flags.value(row).cast_unsigned(),
        name: columns.name.text(row).to_owned(),
        kind: kind_number(columns.kind.text(row)),
        start_time_unix_nano: start.max(0).cast_unsigned(),
        end_time_unix_nano: end.max(0).cast_unsigned(),
        attributes: Values::new(&rest.attributes).attributes(columns.attributes.text(row)),
        dropped_attributes_count: rest.attributes.dropped,
        events: events(columns.events.text(row), rest),
        dropped_events_count: rest.events.dropped,
        links: links(columns.links.text(row), rest),
        dropped_links_count: rest.links.dropped,
        status: (code != 0 || !message.is_empty()).then_some(status),
    }
}

fn events(array: &str, rest: &SpanRest) -> Vec<Event> {
    let mut values = Values::new(&rest.events);
    let events = elements(array).map(|event| Event {
        time_unix_nano: text_of(event, "time_unix_nano").parse().unwrap_or(0),
        name: text_of(event, "name"),
        attributes: values.attributes(get(event, "attributes").unwrap_or("")),
        dropped_attributes_count: number_of(event, "dropped_attributes_count"),
    });
    events.collect()
}

fn links(array: &str, rest: &SpanRest) -> Vec<Link> {
    let mut values = Values::new(&rest.links);
    let links = elements(array).map(|link| Link {
        trace_id: id_bytes(&text_of(link, "trace_id")),
        span_id: id_bytes(&text_of(link, "span_id")),
        trace_state: text_of(link, "trace_state"),
        attributes: values.attributes(get(link, "attributes").unwrap_or("")),
        dropped_attributes_count: number_of(link, "dropped_attributes_count"),
        flags: number_of(link, "flags"),
    });
    links.collect()
}

fn number_of(object: &str, name: &str) -> u32 {
    get(object, name).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn kind_number(kind: &str) -> i32 {
    (1..=5).find(|&number| crate::model::span::kind_str(number) == kind).unwrap_or(0)
}

fn status_code(status: &str) -> i32 {
    (1..=2).find(|&number| crate::model::span::status_str(number) == status).unwrap_or(0)
}

/// A column of texts, of either kind.
enum Texts<'a> {
    Plain(&'a StringArray),
    Dictionary(&'a [i32], &'a ArrayRef, &'a StringArray),
}

impl<'a> Texts<'a> {
    fn of(column: &'a ArrayRef) -> Self {
        match column.as_string_opt::<i32>() {
            Some(texts) => Texts::Plain(texts),
            None => {
                let dictionary = column.as_dictionary::<Int32Type>();
                let texts = dictionary.values().as_string::<i32>();
                Texts::Dictionary(dictionary.keys().values(), column, texts)
            }
        }
    }

    /// Returns a row's text, empty for null.
    fn text(&self, row: usize) -> &'a str {
        match self {
            Texts::Plain(texts) if texts.is_null(row) => "",
            Texts::Plain(texts) => texts.value(row),
            Texts::Dictionary(_, column, _) if column.is_null(row) => "",
            Texts::Dictionary(keys, _, texts) => {
                texts.value(usize::try_from(keys[row]).expect("a key of a row that is not null"))
            }
        }
    }
}

macro_rules! columns {
    ($($text:ident $name:literal),*) => {
        /// The columns of a batch of spans.
        struct Columns<'a> {
            start: &'a arrow::array::PrimitiveArray<TimestampNanosecondType>,
            end: &'a arrow::array::PrimitiveArray<TimestampNanosecondType>,
            flags: &'a arrow::array::PrimitiveArray<Int32Type>,
            $($text: Texts<'a>,)*
        }

        impl<'a> Columns<'a> {
            fn of(batch: &'a RecordBatch) -> Self {
                let column = |name| batch.column_by_name(name).expect("the spans' schema has it");
                Self {
                    start: column("start_time").as_primitive(),
                    end: column("end_time").as_primitive(),
                    flags: column("flags").as_primitive(),
                    $($text: Texts::of(column($name)),)*
                }
            }
        }
    };
}

columns! {
    trace_id "trace_id", span_id "span_id", parent_span_id "parent_span_id", name "name",
    kind "kind", status_code "status_code", status_message "status_message",
    attributes "attributes", resource "resource", scope_name "scope_name",
    scope_version "scope_version", scope_attributes "scope_attributes",
    trace_state "trace_state", events "events", links "links", rest "otlp_rest"
}
