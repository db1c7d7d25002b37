//! What a pipeline makes of one trace.
//!
//! A spanset is a list of the trace's spans in their order. A pipeline begins with all of them, and
//! each stage makes spansets of those before; a trace matches when one is left.

use hashbrown::HashSet;

use super::ast::{
    Aggregate, Field, Form, Logic, Relation, Scalar, ScalarFilter, Spanset, SpansetOp, Stage,
};
use super::trace::{Place, Trace};
use super::value::{Value, compare, matches};

/// Spans of a trace that belong together, and what is said of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Set {
    /// In the trace's order, each once.
    pub(super) spans: Vec<Place>,
    /// What `by` and the aggregates found.
    pub(super) attributes: Vec<(String, Value<'static>)>,
}

/// Returns the spansets that a pipeline makes of a trace.
pub(super) fn run(stages: &[Stage], trace: &Trace) -> Vec<Set> {
    let all = Set { spans: (0..trace.len()).collect(), attributes: Vec::new() };
    pipeline(stages, trace, vec![all])
}

/// Returns the spans that a pipeline leaves of a trace, in their order.
pub(super) fn places(stages: &[Stage], trace: &Trace) -> Vec<Place> {
    let sets = run(stages, trace);
    united(sets.iter().map(|set| set.spans.as_slice()))
}

fn pipeline(stages: &[Stage], trace: &Trace, mut sets: Vec<Set>) -> Vec<Set> {
    for stage in stages {
        sets = match stage {
            Stage::Spans(spanset) => {
                let picked = |set: Set| {
                    let spans = spanset_of(spanset, trace, &set);
                    (!spans.is_empty()).then_some(Set { spans, ..set })
                };
                sets.into_iter().filter_map(picked).collect()
            }
            Stage::Filter(filter) => {
                sets.into_iter().filter_map(|set| filtered(filter, trace, set)).collect()
            }
            Stage::By(field) => sets.into_iter().flat_map(|set| by(field, trace, set)).collect(),
            Stage::Coalesce => coalesce(sets),
            Stage::Select(_) => sets,
        };
        if sets.is_empty() {
            break;
        }
    }
    sets
}

fn spanset_of(spanset: &Spanset, trace: &Trace, input: &Set) -> Vec<Place> {
    match spanset {
        Spanset::Filter(None) => input.spans.clone(),
        Spanset::Filter(Some(field)) => {
            let matches = |place: &Place| field_of(field, trace, *place).is_true();
            input.spans.iter().copied().filter(matches).collect()
        }
        Spanset::Operation(op, lhs, rhs) => {
            let lhs = spanset_of(lhs, trace, input);
            let rhs = spanset_of(rhs, trace, input);
            operation(*op, trace, &lhs, &rhs)
        }
        Spanset::Pipeline(stages) => {
            let sets = pipeline(stages, trace, vec![input.clone()]);
            united(sets.iter().map(|set| set.spans.as_slice()))
        }
    }
}

fn united<'a>(lists: impl Iterator<Item = &'a [Place]>) -> Vec<Place> {
    let mut all: Vec<Place> = lists.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn operation(op: SpansetOp, trace: &Trace, lhs: &[Place], rhs: &[Place]) -> Vec<Place> {
    match op {
        SpansetOp::And if lhs.is_empty() || rhs.is_empty() => Vec::new(),
        SpansetOp::And | SpansetOp::Or => united([lhs, rhs].into_iter()),
        SpansetOp::Related(relation, form) => {
            let related = Related::new(trace, relation, lhs);
            match form {
                Form::Plain => rhs.iter().copied().filter(|span| related.has(*span)).collect(),
                Form::Negated => rhs.iter().copied().filter(|span| !related.has(*span)).collect(),
                Form::Union => {
                    let other = Related::new(trace, inverse(relation), rhs);
                    let on_right = rhs.iter().copied().filter(|span| related.has(*span));
                    let on_left = lhs.iter().copied().filter(|span| other.has(*span));
                    let both: Vec<Place> = on_left.chain(on_right).collect();
                    united(std::iter::once(both.as_slice()))
                }
            }
        }
    }
}

fn inverse(relation: Relation) -> Relation {
    match relation {
        Relation::Child => Relation::Parent,
        Relation::Parent => Relation::Child,
        Relation::Descendant => Relation::Ancestor,
        Relation::Ancestor => Relation::Descendant,
        Relation::Sibling => Relation::Sibling,
    }
}

/// The spans that stand in a relation to one of some others.
struct Related<'a> {
    trace: &'a Trace,
    relation: Relation,
    /// The spans themselves, or for the relations upwards all that have one below.
    of: HashSet<Place>,
    /// Of siblings: how many of the spans each parent has.
    families: hashbrown::HashMap<&'a str, usize>,
    /// Of descendants: what is known of the spans met on the way up.
    below: std::cell::RefCell<Vec<Option<bool>>>,
}

impl<'a> Related<'a> {
    fn new(trace: &'a Trace, relation: Relation, others: &[Place]) -> Self {
        let mut families = hashbrown::HashMap::new();
        let of = match relation {
            Relation::Child | Relation::Descendant => others.iter().copied().collect(),
            Relation::Parent => others.iter().filter_map(|span| trace.parent(*span)).collect(),
            Relation::Ancestor => ancestors(trace, others),
            Relation::Sibling => {
                for span in others {
                    // Roots are nobody's siblings.
                    if !trace.parent_id(*span).is_empty() {
                        *families.entry(trace.parent_id(*span)).or_insert(0) += 1;
                    }
                }
                others.iter().copied().collect()
            }
        };
        let n_known = if relation == Relation::Descendant { trace.len() } else { 0 };
        let below = std::cell::RefCell::new(vec![None; n_known]);
        Self { trace, relation, of, families, below }
    }

    fn has(&self, span: Place) -> bool {
        match self.relation {
            Relation::Child => self.trace.parent(span).is_some_and(|up| self.of.contains(&up)),
            Relation::Parent | Relation::Ancestor => self.of.contains(&span),
            Relation::Descendant => self.is_below(span),
            Relation::Sibling => {
                let n_there = self.families.get(self.trace.parent_id(span)).copied().unwrap_or(0);
                n_there > usize::from(self.of.contains(&span))
            }
        }
    }

    /// Goes up until one of the spans, a root, or what is known already; a ring is left as well.
    fn is_below(&self, span: Place) -> bool {
        let mut below = self.below.borrow_mut();
        let (mut path, mut at) = (vec![span], span);
        let found = loop {
            if let Some(known) = below[at] {
                break known;
            }
            let Some(up) = self.trace.parent(at) else { break false };
            if self.of.contains(&up) {
                break true;
            }
            if path.len() > self.trace.len() {
                break false;
            }
            path.push(up);
            at = up;
        };
        for span in path {
            below[span] = Some(found);
        }
        found
    }
}

fn ancestors(trace: &Trace, spans: &[Place]) -> HashSet<Place> {
    let mut found = HashSet::new();
    for span in spans {
        let mut at = *span;
        while let Some(up) = trace.parent(at) {
            // What was met before has its own ancestors in already.
            if !found.insert(up) {
                break;
            }
            at = up;
        }
    }
    found
}

/// The most spansets that `by` makes of one; the rest of the spans have no set.
const SETS_MAX: usize = 10_000;

fn by(field: &Field, trace: &Trace, set: Set) -> Vec<Set> {
    let name = format!("by({field})");
    let mut places: hashbrown::HashMap<String, usize> = hashbrown::HashMap::new();
    let mut sets: Vec<Set> = Vec::new();
    for span in set.spans {
        let value = field_of(field, trace, span).first();
        let key = format!("{}{value}", value.type_name());
        match places.get(&key) {
            Some(&place) => sets[place].spans.push(span),
            None if sets.len() >= SETS_MAX => {}
            None => {
                places.insert(key, sets.len());
                let mut attributes = set.attributes.clone();
                attributes.push((name.clone(), value.into_owned()));
                sets.push(Set { spans: vec![span], attributes });
            }
        }
    }
    sets
}

fn coalesce(sets: Vec<Set>) -> Vec<Set> {
    let spans = united(sets.iter().map(|set| set.spans.as_slice()));
    if spans.is_empty() { Vec::new() } else { vec![Set { spans, attributes: Vec::new() }] }
}

fn filtered(filter: &ScalarFilter, trace: &Trace, mut set: Set) -> Option<Set> {
    let lhs = scalar(&filter.lhs, trace, &set);
    let rhs = scalar(&filter.rhs, trace, &set);
    if !compare(filter.op, &lhs, &rhs) {
        return None;
    }
    for (side, value) in [(&filter.lhs, lhs), (&filter.rhs, rhs)] {
        if let Scalar::Aggregate(..) = side {
            set.attributes.push((side.to_string(), value));
        }
    }
    Some(set)
}

fn scalar(of: &Scalar, trace: &Trace, set: &Set) -> Value<'static> {
    match of {
        Scalar::Static(value) => value.clone(),
        Scalar::Aggregate(aggregate, field) => {
            aggregated(*aggregate, field.as_ref(), trace, &set.spans)
        }
        Scalar::Arithmetic(op, a, b) => {
            let (a, b) = (scalar(a, trace, set), scalar(b, trace, set));
            match (a.number(), b.number()) {
                (Some(a), Some(b)) => Value::Float(op.of(a, b)),
                _ => Value::Nil,
            }
        }
        Scalar::Pipeline(stages, inner) => {
            let sets = pipeline(stages, trace, vec![set.clone()]);
            let spans = united(sets.iter().map(|set| set.spans.as_slice()));
            scalar(inner, trace, &Set { spans, attributes: Vec::new() })
        }
    }
}

/// Returns an aggregate; spans without the value are left out, and of none there is nothing but a
/// count.
fn aggregated(
    aggregate: Aggregate,
    field: Option<&Field>,
    trace: &Trace,
    spans: &[Place],
) -> Value<'static> {
    let Some(field) = field else {
        return Value::Int(i64::try_from(spans.len()).unwrap_or(i64::MAX));
    };
    let mut is_duration = false;
    let mut folded: Option<(f64, f64)> = None;
    for span in spans {
        let value = field_of(field, trace, *span).first();
        is_duration |= matches!(value, Value::Duration(_));
        let Some(number) = value.number() else { continue };
        folded = Some(match (folded, aggregate) {
            (None, _) => (number, 1.0),
            (Some((so_far, n)), Aggregate::Min) => (so_far.min(number), n),
            (Some((so_far, n)), Aggregate::Max) => (so_far.max(number), n),
            (Some((so_far, n)), _) => (so_far + number, n + 1.0),
        });
    }
    let Some((folded, n)) = folded else { return Value::Nil };
    let result = if aggregate == Aggregate::Avg { folded / n } else { folded };
    if is_duration { Value::Duration(whole_ns(result)) } else { Value::Float(result) }
}

fn whole_ns(ns: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a float becomes the nearest that fits")]
    let whole = ns.round() as i64;
    whole
}

/// Returns what an expression says of a span.
pub(super) fn field_of<'t>(field: &'t Field, trace: &'t Trace, place: Place) -> Value<'t> {
    match field {
        Field::Static(value) => borrowed(value),
        Field::Attribute(attribute) => trace.value(place, attribute),
        Field::Minus(inner) => match field_of(inner, trace, place).first() {
            Value::Int(value) => Value::Int(value.wrapping_neg()),
            Value::Float(value) => Value::Float(-value),
            Value::Duration(ns) => Value::Duration(ns.wrapping_neg()),
            _ => Value::Nil,
        },
        Field::Not(inner) => match field_of(inner, trace, place).first() {
            Value::Bool(value) => Value::Bool(!value),
            _ => Value::Nil,
        },
        Field::Logic(logic, a, b) => {
            let is_and = *logic == Logic::And;
            let a = field_of(a, trace, place).is_true();
            Value::Bool(if a == is_and { field_of(b, trace, place).is_true() } else { a })
        }
        Field::Compare(..) if super::sieve::is_root(field) => Value::Bool(trace.is_root(place)),
        Field::Compare(op, a, b) => {
            let (a, b) = (field_of(a, trace, place), field_of(b, trace, place));
            Value::Bool(compare(*op, &a, &b))
        }
        Field::Matches(inner, pattern, is_negated) => {
            Value::Bool(matches(&field_of(inner, trace, place), &pattern.regex, *is_negated))
        }
        Field::Cidr(inner, networks) => Value::Bool(networks.have(&field_of(inner, trace, place))),
        Field::Arithmetic(op, a, b) => {
            let a = field_of(a, trace, place).first();
            let b = field_of(b, trace, place).first();
            match (a.number(), b.number()) {
                (Some(a), Some(b)) => Value::Float(op.of(a, b)),
                _ => Value::Nil,
            }
        }
    }
}

fn borrowed<'t>(value: &'t Value<'static>) -> Value<'t> {
    match value {
        Value::Text(text) => Value::Text(std::borrow::Cow::Borrowed(text)),
        other => other.clone(),
    }
}
