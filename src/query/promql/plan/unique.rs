//! Which nodes cannot yield two series that only their metric names tell apart.

use crate::model::labels::METRIC_NAME;

use super::{AggregateOp, RangeOf, RangeSource, VectorNode, is_identity};

impl VectorNode {
    /// Returns true when this node's rows are told apart by their labels even without the metric
    /// name, so that dropping it cannot make two of them equal.
    pub(in super::super) fn is_unique_nameless(&self) -> bool {
        match self {
            VectorNode::Select(selector)
            | VectorNode::Smoothed(selector, _)
            | VectorNode::SampleTime(selector)
            | VectorNode::SampleStart(selector) => selector.is_one_metric,
            VectorNode::Range(call) => call.source.is_unique_nameless(),
            VectorNode::Map { inner, .. } | VectorNode::Sort { inner, .. } => {
                inner.is_unique_nameless()
            }
            VectorNode::VectorScalar { vector, .. } => vector.is_unique_nameless(),
            VectorNode::Aggregate(aggregate) => match &aggregate.op {
                AggregateOp::Pick(..) => aggregate.inner.is_unique_nameless(),
                AggregateOp::CountValues(label) => {
                    !is_identity(label) && !aggregate.grouping.keeps(METRIC_NAME)
                }
                _ => !aggregate.grouping.keeps(METRIC_NAME),
            },
            VectorNode::Constant(_)
            | VectorNode::Nothing
            | VectorNode::Absent { .. }
            | VectorNode::AbsentOverTime { .. } => true,
            VectorNode::Relabel { .. }
            | VectorNode::HistogramQuantile { .. }
            | VectorNode::HistogramFraction { .. }
            | VectorNode::Info(_)
            | VectorNode::VectorVector { .. }
            | VectorNode::Set { .. } => false,
        }
    }
}

impl RangeSource {
    fn is_unique_nameless(&self) -> bool {
        match &self.of {
            RangeOf::Selector(selector) => selector.is_one_metric,
            RangeOf::Subquery { inner, .. } => inner.is_unique_nameless(),
        }
    }
}
