//! What a query asks of spans: which columns are read for it, and which attributes are shown.

use super::ast::{Field, Function, Query, Scalar, ScalarFilter, Spanset, Stage};
use super::attribute::{Attribute, Intrinsic, Scope};
use super::batch::{COLUMNS, SPAN_COLUMNS, START};

/// What a query names.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// All attributes that it names.
    all: Vec<Attribute>,
    /// Those of its filters and selections, each once, in the order they stand.
    pub(super) shown: Vec<Attribute>,
}

impl Needs {
    /// Returns what a query names.
    pub(super) fn of(query: &Query) -> Self {
        let mut needs = Self::default();
        needs.stages(&query.stages);
        if let Some(metrics) = &query.metrics {
            needs.all.extend(metrics.by.iter().cloned());
            match &metrics.function {
                Function::Rate | Function::Count => {}
                Function::Fold(_, attribute)
                | Function::Quantiles(attribute, _)
                | Function::Histogram(attribute) => needs.all.push(attribute.clone()),
                Function::Compare { filter, .. } => {
                    if let Some(filter) = filter {
                        needs.field(filter, false);
                    }
                    // It looks at whatever there is.
                    needs.all.push(Attribute::named(Scope::Span, ""));
                }
            }
        }
        needs
    }

    /// Returns what attributes name by themselves.
    pub(super) fn of_attributes(attributes: &[Attribute]) -> Self {
        Self { all: attributes.to_vec(), shown: Vec::new() }
    }

    /// Adds what another query names.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.all.extend(other.all);
        self
    }

    /// Returns the columns to be read of whole traces.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        self.columns_beside(COLUMNS.to_vec())
    }

    /// Returns the columns to be read where spans are looked at alone.
    pub(super) fn columns_of_single_spans(&self) -> Vec<&'static str> {
        self.columns_beside(SPAN_COLUMNS.to_vec())
    }

    /// Returns the columns to be read where it does not matter which trace a span is of, nor whether
    /// it came twice.
    pub(super) fn columns_of_rows(&self) -> Vec<&'static str> {
        self.columns_beside(vec![START])
    }

    fn columns_beside(&self, mut columns: Vec<&'static str>) -> Vec<&'static str> {
        let more = self.all.iter().flat_map(columns_of);
        for column in more {
            if !columns.contains(column) {
                columns.push(column);
            }
        }
        columns
    }

    fn stages(&mut self, stages: &[Stage]) {
        for stage in stages {
            match stage {
                Stage::Spans(spanset) => self.spanset(spanset),
                Stage::Filter(ScalarFilter { lhs, rhs, .. }) => {
                    self.scalar(lhs);
                    self.scalar(rhs);
                }
                Stage::By(field) => self.field(field, false),
                Stage::Coalesce => {}
                Stage::Select(attributes) => {
                    attributes.iter().for_each(|attribute| self.attribute(attribute, true));
                }
            }
        }
    }

    fn spanset(&mut self, spanset: &Spanset) {
        match spanset {
            Spanset::Filter(None) => {}
            Spanset::Filter(Some(field)) => self.field(field, true),
            Spanset::Operation(_, lhs, rhs) => {
                self.spanset(lhs);
                self.spanset(rhs);
            }
            Spanset::Pipeline(stages) => self.stages(stages),
        }
    }

    fn scalar(&mut self, scalar: &Scalar) {
        match scalar {
            Scalar::Static(_) | Scalar::Aggregate(_, None) => {}
            Scalar::Aggregate(_, Some(field)) => self.field(field, false),
            Scalar::Arithmetic(_, a, b) => {
                self.scalar(a);
                self.scalar(b);
            }
            Scalar::Pipeline(stages, inner) => {
                self.stages(stages);
                self.scalar(inner);
            }
        }
    }

    fn field(&mut self, field: &Field, is_shown: bool) {
        match field {
            Field::Static(_) => {}
            Field::Attribute(attribute) => self.attribute(attribute, is_shown),
            Field::Minus(inner)
            | Field::Not(inner)
            | Field::Matches(inner, ..)
            | Field::Cidr(inner, _) => self.field(inner, is_shown),
            Field::Logic(_, a, b) | Field::Compare(_, a, b) | Field::Arithmetic(_, a, b) => {
                self.field(a, is_shown);
                self.field(b, is_shown);
            }
        }
    }

    fn attribute(&mut self, attribute: &Attribute, is_shown: bool) {
        self.all.push(attribute.clone());
        if is_shown && !self.shown.contains(attribute) {
            self.shown.push(attribute.clone());
        }
    }
}

fn columns_of(attribute: &Attribute) -> &'static [&'static str] {
    match attribute {
        Attribute::Named { scope: Scope::Span, .. } => &["attributes"],
        Attribute::Named { scope: Scope::Any, .. } => &["attributes", "resource"],
        Attribute::Named { scope: Scope::Resource, .. }
        | Attribute::Intrinsic(Intrinsic::RootService) => &["resource"],
        Attribute::Named { scope: Scope::Event, .. }
        | Attribute::Intrinsic(Intrinsic::EventName | Intrinsic::EventTime) => &["events"],
        Attribute::Named { scope: Scope::Link, .. }
        | Attribute::Intrinsic(Intrinsic::LinkSpanId | Intrinsic::LinkTraceId) => &["links"],
        Attribute::Named { scope: Scope::Instrumentation, .. } => &["scope_attributes"],
        Attribute::Intrinsic(intrinsic) => match intrinsic {
            Intrinsic::ScopeName => &["scope_name"],
            Intrinsic::ScopeVersion => &["scope_version"],
            Intrinsic::StatusMessage => &["status_message"],
            Intrinsic::TraceId => &["trace_id"],
            Intrinsic::SpanId => &["span_id"],
            Intrinsic::Kind => &["kind"],
            Intrinsic::Status => &["status_code"],
            Intrinsic::Name | Intrinsic::RootName => &["name"],
            Intrinsic::Duration | Intrinsic::TraceDuration => &["duration_ns"],
            Intrinsic::ParentId
            | Intrinsic::ChildCount
            | Intrinsic::NestedSetParent
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight => &["parent_span_id"],
            _ => &[],
        },
    }
}
