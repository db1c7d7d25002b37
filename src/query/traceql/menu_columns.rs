//! Menus told from columns: which names and values there are, without making spans of rows.
//!
//! Most columns have dictionaries, and each of their texts is looked at once, however many rows have
//! it. What a span says of itself has none: there the member that is asked for is looked for in each
//! row's text, and what it says is taken apart when it was not seen before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashSet;

use super::attribute::{Attribute, Intrinsic, Scope};
use super::batch::{Batch, Texts};
use super::tags::{TEXT_BYTES, note};
use super::trace::Trace;
use super::value::Value;
use crate::model::json_read::{Name, elements, get, members};

/// Finds a column in a batch; one that was not read is not there.
type Find = fn(&Batch) -> Option<&Texts>;

/// A column of texts, each text of a dictionary looked at once.
struct Column {
    find: Find,
    /// The dictionary of the last batch: the next one of the same row group has the same.
    dictionary: Option<Texts>,
    /// What was said of each of its texts.
    said: Vec<Option<bool>>,
}

impl Column {
    fn new(find: Find) -> Self {
        Self { find, dictionary: None, said: Vec::new() }
    }

    /// Goes on to a batch.
    fn enter(&mut self, batch: &Batch) {
        let Some(texts) = (self.find)(batch) else { return };
        // That of the last batch is held, so that another cannot have come to lie in its place.
        let is_known = self.dictionary.as_ref().is_some_and(|last| last.shares_dictionary(texts));
        if !is_known {
            self.said = vec![None; texts.n_values()];
            self.dictionary = (texts.n_values() > 0).then(|| texts.clone());
        }
    }

    /// Returns what `read` says of the text of a row of that batch; of one that it was asked about
    /// before it is not asked again.
    fn ask(&mut self, batch: &Batch, row: usize, read: impl FnOnce(&str) -> bool) -> bool {
        let Some(texts) = (self.find)(batch) else { return read("") };
        match texts.key(row).and_then(|key| self.said.get_mut(key)) {
            Some(Some(said)) => *said,
            Some(unsaid) => *unsaid.insert(read(texts.get(row))),
            None => read(texts.get(row)),
        }
    }
}

/// Bytes of texts that are remembered at most; past that, values are taken apart again and again.
const SEEN_BYTES_MAX: usize = 4 << 20;
/// What remembering a text takes beside it.
const SEEN_BYTES: usize = 32;

/// Texts that were seen before.
#[derive(Default)]
struct Seen {
    texts: HashSet<Box<str>>,
    n_bytes: usize,
}

impl Seen {
    fn add(&mut self, text: &str) {
        let n_bytes = self.n_bytes + text.len() + SEEN_BYTES;
        if n_bytes <= SEEN_BYTES_MAX && self.texts.insert(text.into()) {
            self.n_bytes = n_bytes;
        }
    }
}

/// Values that were found so far.
struct Found {
    values: BTreeSet<(&'static str, String)>,
    /// What they take in an answer.
    n_bytes: usize,
    limit: usize,
    seen: Seen,
}

impl Found {
    /// Notes a value as JSON has it; returns false when it is none.
    fn json(&mut self, raw: &str) -> bool {
        if self.seen.texts.contains(raw) {
            return true;
        }
        let value = Value::of_json(raw);
        if value == Value::Nil {
            return false;
        }
        self.n_bytes += note(&mut self.values, &value, self.limit);
        self.seen.add(raw);
        true
    }

    /// Notes a text.
    fn text(&mut self, text: &str) -> bool {
        if !self.seen.texts.contains(text) {
            self.n_bytes += note(&mut self.values, &Value::Text(text.into()), self.limit);
            self.seen.add(text);
        }
        true
    }
}

/// What is read of a column's texts.
enum Part {
    /// A member of an object.
    Member(Box<Name>),
    /// The text itself.
    Whole,
    /// The text itself, if there is one.
    Present,
}

/// Collects the values of an attribute of which each span speaks for itself.
pub(super) struct ValueColumns<'a> {
    attribute: &'a Attribute,
    /// Where they stand; the first column that says something counts. Without any, spans are asked.
    columns: Vec<(Column, Part)>,
    found: Found,
}

impl<'a> ValueColumns<'a> {
    pub(super) fn new(attribute: &'a Attribute, limit: usize) -> Self {
        let (values, seen) = (BTreeSet::new(), Seen::default());
        let found = Found { values, n_bytes: 0, limit, seen };
        Self { attribute, columns: columns_of(attribute), found }
    }

    /// Takes the values of some rows; returns false when there are enough.
    pub(super) fn take(&mut self, batch: &Arc<Batch>, rows: &[usize]) -> bool {
        let Self { attribute, columns, found } = self;
        if columns.is_empty() {
            let rows = rows.iter().map(|&row| (Arc::clone(batch), row));
            let spans = Trace::of_strangers(rows.collect());
            for place in 0..spans.len() {
                let value = spans.value(place, attribute);
                found.n_bytes += note(&mut found.values, &value, found.limit);
            }
        }
        columns.iter_mut().for_each(|(column, _)| column.enter(batch));
        for &row in rows {
            for (column, part) in columns.iter_mut() {
                let read = |text: &str| match part {
                    Part::Member(name) => name.get(text).is_some_and(|raw| found.json(raw)),
                    Part::Present if text.is_empty() => false,
                    Part::Present | Part::Whole => found.text(text),
                };
                if column.ask(batch, row, read) {
                    break;
                }
            }
        }
        found.values.len() < found.limit
    }

    /// Returns what it holds beside the values.
    pub(super) fn n_bytes(&self) -> usize {
        self.found.seen.n_bytes
    }

    /// Returns what the values take in an answer.
    pub(super) fn n_value_bytes(&self) -> usize {
        self.found.n_bytes
    }

    pub(super) fn finish(self) -> BTreeSet<(&'static str, String)> {
        self.found.values
    }
}

fn columns_of(attribute: &Attribute) -> Vec<(Column, Part)> {
    match attribute {
        Attribute::Named { scope, of_parent: false, name } => match scope {
            Scope::Span => vec![member(SPAN, name)],
            Scope::Resource => vec![member(RESOURCE, name)],
            Scope::Any => vec![member(SPAN, name), member(RESOURCE, name)],
            Scope::Instrumentation => vec![member(INSTRUMENTATION, name)],
            // Each span may have several.
            Scope::Event | Scope::Link => Vec::new(),
        },
        Attribute::Intrinsic(intrinsic) => match intrinsic {
            Intrinsic::Name => one(|batch| batch.name.as_ref(), Part::Whole),
            Intrinsic::StatusMessage => one(|batch| batch.status_message.as_ref(), Part::Whole),
            Intrinsic::SpanId => one(|batch| Some(&batch.span_id), Part::Whole),
            Intrinsic::TraceId => one(|batch| Some(&batch.trace_id), Part::Whole),
            Intrinsic::ParentId => one(|batch| batch.parent_id.as_ref(), Part::Present),
            Intrinsic::ScopeName => one(|batch| batch.scope_name.as_ref(), Part::Present),
            Intrinsic::ScopeVersion => one(|batch| batch.scope_version.as_ref(), Part::Present),
            _ => Vec::new(),
        },
        Attribute::Named { .. } => Vec::new(),
    }
}

fn member(find: Find, name: &str) -> (Column, Part) {
    (Column::new(find), Part::Member(Box::new(Name::new(name))))
}

fn one(find: Find, part: Part) -> Vec<(Column, Part)> {
    vec![(Column::new(find), part)]
}

const SPAN: Find = |batch| batch.attributes.as_ref();
const RESOURCE: Find = |batch| batch.resource.as_ref();
const INSTRUMENTATION: Find = |batch| batch.scope_attributes.as_ref();
const EVENTS: Find = |batch| batch.events.as_ref();
const LINKS: Find = |batch| batch.links.as_ref();

/// The names of one scope.
struct ScopeNames {
    scope: &'static str,
    column: Column,
    /// Events and links: each has attributes.
    is_list: bool,
    names: HashSet<Box<str>>,
    /// What they take in an answer.
    n_bytes: usize,
}

impl ScopeNames {
    fn new(scope: &'static str, of: Scope) -> Self {
        let (find, is_list) = match of {
            Scope::Span | Scope::Any => (SPAN, false),
            Scope::Resource => (RESOURCE, false),
            Scope::Instrumentation => (INSTRUMENTATION, false),
            Scope::Event => (EVENTS, true),
            Scope::Link => (LINKS, true),
        };
        Self { scope, column: Column::new(find), is_list, names: HashSet::new(), n_bytes: 0 }
    }

    fn take(&mut self, batch: &Batch, row: usize, limit: usize) {
        let Self { column, names, is_list, n_bytes, .. } = self;
        column.ask(batch, row, |text| {
            match *is_list {
                true => elements(text)
                    .filter_map(|item| get(item, "attributes"))
                    .for_each(|object| *n_bytes += note_names(names, object, limit)),
                false => *n_bytes += note_names(names, text, limit),
            }
            true
        });
    }
}

/// Notes the names of an object's members; returns how many bytes the menu has more.
fn note_names(names: &mut HashSet<Box<str>>, object: &str, limit: usize) -> usize {
    let mut n_bytes = 0;
    for (name, _) in members(object) {
        if names.len() < limit && !names.contains(&*name) {
            n_bytes += TEXT_BYTES + name.len();
            names.insert(name.into());
        }
    }
    n_bytes
}

/// Collects the names of attributes by their scopes.
pub(super) struct NameColumns {
    scopes: Vec<ScopeNames>,
    limit: usize,
}

impl NameColumns {
    pub(super) fn new(wanted: &[(&'static str, Scope)], limit: usize) -> Self {
        let scopes = wanted.iter().map(|&(name, scope)| ScopeNames::new(name, scope)).collect();
        Self { scopes, limit }
    }

    /// Takes the names of some rows; returns false when each scope has enough.
    pub(super) fn take(&mut self, batch: &Arc<Batch>, rows: &[usize]) -> bool {
        for scope in &mut self.scopes {
            scope.column.enter(batch);
            for &row in rows {
                scope.take(batch, row, self.limit);
            }
        }
        self.scopes.iter().any(|scope| scope.names.len() < self.limit)
    }

    /// Returns what the names take in an answer.
    pub(super) fn n_bytes(&self) -> usize {
        self.scopes.iter().map(|scope| scope.n_bytes).sum()
    }

    pub(super) fn finish(self) -> BTreeMap<&'static str, BTreeSet<String>> {
        let of_scope = |scope: ScopeNames| -> (&'static str, BTreeSet<String>) {
            (scope.scope, scope.names.into_iter().map(String::from).collect())
        };
        self.scopes.into_iter().map(of_scope).collect()
    }
}
