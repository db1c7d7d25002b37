//! Lets each sample of a cluster of overlapping sources through once: the first one wins.
//!
//! The inputs are read one after the other, oldest generation first. Only rows at times that two
//! sources share are looked at: their (series, timestamp) is remembered, in memory that the query's
//! pool knows of, and a row that was met before is left out. The last input is not remembered.
//! Conditions may be checked below only on what makes the key, or follows from it: a condition on
//! the value below would let the second of two samples through when the first does not meet it.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{
    AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMillisecondArray, UInt64Array,
};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{SchemaRef, TimestampMillisecondType, UInt64Type};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
    SendableRecordBatchStream,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use hashbrown::HashSet;

use super::overlap::{self, Range};

/// What one remembered key costs: 16 bytes and a byte of control, at a load of 7/8 after doubling.
const KEY_BYTES: usize = 28;

/// The operator. Its inputs end with the columns `timestamp` and `series_id` at the given places.
#[derive(Debug)]
pub(super) struct DedupeExec {
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    shared: Arc<Vec<Range>>,
    places: KeyPlaces,
    n_columns_out: usize,
    properties: Arc<PlanProperties>,
}

/// Where the key's columns stand in the inputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyPlaces {
    /// Index of `timestamp`.
    pub(super) timestamp: usize,
    /// Index of `series_id`.
    pub(super) series_id: usize,
}

impl DedupeExec {
    /// Returns the operator over inputs of one schema, oldest first, that hands on the first
    /// `n_columns_out` columns.
    pub(super) fn try_new(
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        shared: Arc<Vec<Range>>,
        places: KeyPlaces,
        n_columns_out: usize,
    ) -> Result<Self> {
        let Some(first) = inputs.first() else {
            return internal_err!("a cluster has no sources");
        };
        let kept: Vec<usize> = (0..n_columns_out).collect();
        let schema = Arc::new(first.schema().project(&kept)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self { inputs, shared, places, n_columns_out, properties: Arc::new(properties) })
    }
}

impl DisplayAs for DedupeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DedupeExec: sources={}, shared={:?}", self.inputs.len(), self.shared)
    }
}

impl ExecutionPlan for DedupeExec {
    fn name(&self) -> &'static str {
        "DedupeExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.inputs.len()])
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false; self.inputs.len()]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false; self.inputs.len()]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let shared = Arc::clone(&self.shared);
        Ok(Arc::new(Self::try_new(children, shared, self.places, self.n_columns_out)?))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("DedupeExec has one partition, not {partition}");
        }
        let mut met = Met {
            keys: HashSet::new(),
            reservation: MemoryConsumer::new("samples met before").register(context.memory_pool()),
            shared: Arc::clone(&self.shared),
            places: self.places,
            n_columns_out: self.n_columns_out,
            schema: self.schema(),
        };
        let n_inputs = self.inputs.len();
        let batches = stream::iter(self.inputs.clone().into_iter().enumerate())
            .map(move |(idx, input)| {
                let is_last = idx + 1 == n_inputs;
                let rows = input.execute(0, Arc::clone(&context))?;
                Ok::<_, DataFusionError>(rows.map_ok(move |batch| (batch, is_last)))
            })
            .try_flatten()
            .map(move |item| item.and_then(|(batch, is_last)| met.pass(&batch, is_last)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// What was met so far.
struct Met {
    keys: HashSet<(u64, i64)>,
    reservation: MemoryReservation,
    shared: Arc<Vec<Range>>,
    places: KeyPlaces,
    n_columns_out: usize,
    schema: SchemaRef,
}

impl Met {
    /// Returns the rows that were not met before, without the columns that only make the key.
    fn pass(&mut self, batch: &RecordBatch, is_last: bool) -> Result<RecordBatch> {
        let timestamps =
            batch.column(self.places.timestamp).as_primitive::<TimestampMillisecondType>();
        let series_ids = batch.column(self.places.series_id).as_primitive::<UInt64Type>();
        let keep = self.keep(timestamps, series_ids, is_last)?;
        let columns = batch.columns()[..self.n_columns_out].to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        match keep {
            Some(keep) => Ok(filter_record_batch(&batch, &keep)?),
            None => Ok(batch),
        }
    }

    /// Returns which rows to keep, or `None` for all of them.
    fn keep(
        &mut self,
        timestamps: &TimestampMillisecondArray,
        series_ids: &UInt64Array,
        is_last: bool,
    ) -> Result<Option<BooleanArray>> {
        let mut keep: Option<Vec<bool>> = None;
        let keys = series_ids.values().iter().zip(timestamps.values());
        for (row_idx, (&series_id, &timestamp_ms)) in keys.enumerate() {
            if !overlap::contains(&self.shared, timestamp_ms.saturating_mul(1_000_000)) {
                continue;
            }
            let key = (series_id, timestamp_ms);
            let is_new = if is_last { !self.keys.contains(&key) } else { self.remember(key)? };
            if !is_new {
                keep.get_or_insert_with(|| vec![true; timestamps.len()])[row_idx] = false;
            }
        }
        Ok(keep.map(BooleanArray::from))
    }

    fn remember(&mut self, key: (u64, i64)) -> Result<bool> {
        if self.keys.len() == self.keys.capacity() {
            // Growing holds the old table beside the new one.
            let wanted = (self.keys.capacity() * 2).max(1024);
            self.reservation.try_resize(wanted * KEY_BYTES * 3 / 2)?;
            self.keys.reserve(wanted - self.keys.len());
            self.reservation.try_resize(self.keys.capacity() * KEY_BYTES)?;
        }
        Ok(self.keys.insert(key))
    }
}
