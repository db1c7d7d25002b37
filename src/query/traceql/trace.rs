//! One trace as queries see it: its spans, how they stand to each other, and what can be asked of
//! each.
//!
//! Most questions are about spans alone, so how they stand to each other is found out when somebody
//! asks for it.

use std::cell::OnceCell;
use std::sync::Arc;

use hashbrown::HashMap;

use super::attribute::{Attribute, Intrinsic, Scope};
use super::batch::{Batch, Texts};
use super::repeated::drop_repeated;
use super::value::{KINDS, STATUSES, Value};
use crate::model::json_read::{Json, elements, get};

/// A row of a batch.
pub(super) type Row = (Arc<Batch>, usize);

/// One trace.
#[derive(Debug)]
pub(super) struct Trace {
    rows: Vec<Row>,
    relations: OnceCell<Relations>,
    /// When its first span began, ns since 1970 UTC.
    pub(super) start_ns: i64,
    /// When its last span ended.
    pub(super) end_ns: i64,
}

/// How the spans stand to each other.
#[derive(Debug)]
struct Relations {
    /// The place of each span's parent among the spans.
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    /// The numbers of the nested sets; 0 in a span that hangs on none that is known.
    nested: Vec<Nested>,
    root: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Nested {
    left: i64,
    right: i64,
    parent: i64,
}

/// A span of a trace, by its place.
pub(super) type Place = usize;

impl Trace {
    /// Makes a trace of its spans. A span that came twice is taken once.
    pub(super) fn of(mut rows: Vec<Row>) -> Self {
        drop_repeated(&mut rows, 0);
        let mut trace = Self::of_strangers(rows);
        for place in 0..trace.rows.len() {
            let start_ns = trace.start(place);
            trace.start_ns = trace.start_ns.min(start_ns);
            trace.end_ns = trace.end_ns.max(start_ns.saturating_add(trace.duration(place)));
        }
        trace
    }

    /// Makes one of spans of any traces, for what each of them says of itself; nothing is known of the
    /// whole. A span that is there twice is taken twice.
    pub(super) fn of_strangers(rows: Vec<Row>) -> Self {
        Self { rows, relations: OnceCell::new(), start_ns: i64::MAX, end_ns: i64::MIN }
    }

    fn relations(&self) -> &Relations {
        self.relations.get_or_init(|| {
            let parents = self.parents_by_id();
            let mut children = vec![Vec::new(); self.rows.len()];
            for (place, parent) in parents.iter().enumerate() {
                if let Some(parent) = parent {
                    children[*parent].push(place);
                }
            }
            let roots = (0..self.rows.len()).filter(|&place| self.is_root(place));
            let root = roots.min_by_key(|&place| self.start(place));
            let nested = self.numbered(&children);
            Relations { parents, children, nested, root }
        })
    }

    fn parents_by_id(&self) -> Vec<Option<usize>> {
        let ids: HashMap<&str, usize> =
            (0..self.rows.len()).map(|place| (self.span_id(place), place)).collect();
        let parent_of =
            |place: usize| ids.get(self.parent_id(place)).copied().filter(|found| *found != place);
        (0..self.rows.len()).map(parent_of).collect()
    }

    /// Walks down from the roots. What is not reached hangs on a span that is missing, or in a ring.
    fn numbered(&self, children: &[Vec<usize>]) -> Vec<Nested> {
        let mut nested = vec![Nested::default(); self.rows.len()];
        let mut next = 1;
        for root in (0..self.rows.len()).filter(|&place| self.is_root(place)) {
            nested[root].parent = -1;
            let mut under_way: Vec<(Place, usize)> = vec![(root, 0)];
            nested[root].left = next;
            next += 1;
            while let Some((place, n_done)) = under_way.pop() {
                if let Some(&child) = children[place].get(n_done) {
                    under_way.push((place, n_done + 1));
                    nested[child] = Nested { left: next, parent: nested[place].left, right: 0 };
                    under_way.push((child, 0));
                } else {
                    nested[place].right = next;
                }
                next += 1;
            }
        }
        nested
    }

    /// Returns true for a span without a parent.
    pub(super) fn is_root(&self, place: Place) -> bool {
        self.some_text(place, |batch| &batch.parent_id).is_empty()
    }

    /// Returns how many spans there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns where a span stands.
    pub(super) fn row(&self, place: Place) -> &Row {
        &self.rows[place]
    }

    fn text(&self, place: Place, column: impl Fn(&Batch) -> &Texts) -> &str {
        let (batch, row) = &self.rows[place];
        column(batch).get(*row)
    }

    fn some_text(&self, place: Place, column: impl Fn(&Batch) -> &Option<Texts>) -> &str {
        let (batch, row) = &self.rows[place];
        column(batch).as_ref().map_or("", |texts| texts.get(*row))
    }

    /// Returns when a span began, ns since 1970 UTC.
    pub(super) fn start(&self, place: Place) -> i64 {
        let (batch, row) = &self.rows[place];
        batch.start.value(*row)
    }

    /// Returns how long it took, ns.
    pub(super) fn duration(&self, place: Place) -> i64 {
        let (batch, row) = &self.rows[place];
        batch.duration.as_ref().map_or(0, |column| column.value(*row))
    }

    /// Returns its id.
    pub(super) fn span_id(&self, place: Place) -> &str {
        self.text(place, |batch| &batch.span_id)
    }

    /// Returns its name.
    pub(super) fn name(&self, place: Place) -> &str {
        self.some_text(place, |batch| &batch.name)
    }

    /// Returns the id of the trace.
    pub(super) fn id(&self) -> &str {
        self.trace_id(0)
    }

    /// Returns the id of the trace that a span is of.
    pub(super) fn trace_id(&self, place: Place) -> &str {
        self.text(place, |batch| &batch.trace_id)
    }

    /// Returns the service that a span is of.
    pub(super) fn service(&self, place: Place) -> String {
        match get(self.some_text(place, |batch| &batch.resource), "service.name").map(Json::of) {
            Some(Json::Text(text)) => text.into_owned(),
            _ => String::new(),
        }
    }

    /// Returns true when it failed.
    pub(super) fn is_error(&self, place: Place) -> bool {
        self.some_text(place, |batch| &batch.status) == STATUSES[2]
    }

    /// Returns the first span without a parent; none while it has not arrived.
    pub(super) fn root(&self) -> Option<Place> {
        self.relations().root
    }

    /// Returns the span that a span hangs on.
    pub(super) fn parent(&self, place: Place) -> Option<Place> {
        self.relations().parents[place]
    }

    /// Returns the spans that hang on a span.
    pub(super) fn children(&self, place: Place) -> &[Place] {
        &self.relations().children[place]
    }

    /// Returns the id that a span says its parent has, even when that one is missing.
    pub(super) fn parent_id(&self, place: Place) -> &str {
        self.some_text(place, |batch| &batch.parent_id)
    }

    /// Returns the resource of a span, a JSON object.
    pub(super) fn resource(&self, place: Place) -> &str {
        self.some_text(place, |batch| &batch.resource)
    }

    /// Returns the attributes of a span, a JSON object.
    pub(super) fn attributes(&self, place: Place) -> &str {
        self.some_text(place, |batch| &batch.attributes)
    }

    /// Returns the events of a span, a JSON array.
    pub(super) fn events(&self, place: Place) -> &str {
        self.some_text(place, |batch| &batch.events)
    }

    /// Returns the links of a span, a JSON array.
    pub(super) fn links(&self, place: Place) -> &str {
        self.some_text(place, |batch| &batch.links)
    }

    /// Returns the attributes of a span's scope, a JSON object.
    pub(super) fn scope_attributes(&self, place: Place) -> &str {
        self.some_text(place, |batch| &batch.scope_attributes)
    }

    /// Returns what a span says of an attribute.
    pub(super) fn value(&self, place: Place, attribute: &Attribute) -> Value<'_> {
        match attribute {
            Attribute::Intrinsic(intrinsic) => self.intrinsic(place, *intrinsic),
            Attribute::Named { scope, of_parent: false, name } => self.named(place, *scope, name),
            Attribute::Named { scope, of_parent: true, name } => {
                self.parent(place).map_or(Value::Nil, |parent| self.named(parent, *scope, name))
            }
        }
    }

    fn named(&self, place: Place, scope: Scope, name: &str) -> Value<'_> {
        let one = |object| of_object(object, name);
        match scope {
            Scope::Span => one(self.attributes(place)),
            Scope::Resource => one(self.resource(place)),
            Scope::Any => match one(self.attributes(place)) {
                Value::Nil => one(self.resource(place)),
                found => found,
            },
            Scope::Event => each(self.events(place), name),
            Scope::Link => each(self.links(place), name),
            Scope::Instrumentation => one(self.scope_attributes(place)),
        }
    }

    fn intrinsic(&self, place: Place, intrinsic: Intrinsic) -> Value<'_> {
        match intrinsic {
            Intrinsic::Duration => Value::Duration(self.duration(place)),
            Intrinsic::Name => text(self.name(place)),
            Intrinsic::Status => status_of(self.some_text(place, |batch| &batch.status)),
            Intrinsic::Kind => kind_of(self.text(place, |batch| &batch.kind)),
            Intrinsic::StatusMessage => text(self.some_text(place, |batch| &batch.status_message)),
            Intrinsic::ChildCount => whole(self.relations().children[place].len()),
            Intrinsic::SpanId => text(self.span_id(place)),
            Intrinsic::ParentId => present(self.parent_id(place)),
            Intrinsic::TraceId => text(self.trace_id(place)),
            Intrinsic::TraceDuration => Value::Duration(self.end_ns.saturating_sub(self.start_ns)),
            Intrinsic::RootName => self.root().map_or(Value::Nil, |root| text(self.name(root))),
            Intrinsic::RootService => {
                self.root().map_or(Value::Nil, |root| Value::Text(self.service(root).into()))
            }
            Intrinsic::NestedSetParent => Value::Int(self.nested(place).parent),
            Intrinsic::NestedSetLeft => Value::Int(self.nested(place).left),
            Intrinsic::NestedSetRight => Value::Int(self.nested(place).right),
            Intrinsic::ScopeName => present(self.some_text(place, |batch| &batch.scope_name)),
            Intrinsic::ScopeVersion => present(self.some_text(place, |batch| &batch.scope_version)),
            Intrinsic::EventName | Intrinsic::EventTime => self.of_events(place, intrinsic),
            Intrinsic::LinkTraceId => self.of_links(place, "trace_id"),
            Intrinsic::LinkSpanId => self.of_links(place, "span_id"),
        }
    }

    fn nested(&self, place: Place) -> Nested {
        self.relations().nested[place]
    }

    fn of_events(&self, place: Place, intrinsic: Intrinsic) -> Value<'_> {
        let events = elements(self.events(place));
        let since_start = |time: &str| {
            let at: i64 = time.trim_matches('"').parse().unwrap_or(0);
            Value::Duration(at.saturating_sub(self.start(place)))
        };
        Value::Each(match intrinsic {
            Intrinsic::EventName => {
                events.filter_map(|event| get(event, "name")).map(Value::of_json).collect()
            }
            _ => events.filter_map(|event| get(event, "time_unix_nano")).map(since_start).collect(),
        })
    }

    fn of_links(&self, place: Place, member: &str) -> Value<'_> {
        let links = elements(self.links(place));
        Value::Each(links.filter_map(|link| get(link, member)).map(Value::of_json).collect())
    }
}

/// Returns what an object says of a name.
fn of_object<'t>(object: &'t str, name: &str) -> Value<'t> {
    get(object, name).map_or(Value::Nil, Value::of_json)
}

/// Returns a status by its name.
pub(super) fn status_of(text: &str) -> Value<'static> {
    Value::Status(number(&STATUSES, text))
}

/// Returns a kind by its name.
pub(super) fn kind_of(text: &str) -> Value<'static> {
    Value::Kind(number(&KINDS, text))
}

fn number(names: &[&str], text: &str) -> u8 {
    let place = names.iter().position(|name| *name == text);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(0)
}

fn each<'t>(list: &'t str, name: &str) -> Value<'t> {
    let attributes = elements(list).filter_map(|item| get(item, "attributes"));
    let found = attributes.filter_map(|object| get(object, name));
    Value::Each(found.map(Value::of_json).filter(|value| *value != Value::Nil).collect())
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.into())
}

/// Returns a text, nil when there is none.
pub(super) fn present(found: &str) -> Value<'_> {
    if found.is_empty() { Value::Nil } else { text(found) }
}

fn whole(count: usize) -> Value<'static> {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}
