//! Aggregations: rows into groups.
//!
//! A row's group is found once, by the bytes of the labels that count, and is a small number from
//! there on; the folding aggregations then add the row's column to the group's and forget the row.

mod fold;
mod pick;

use hashbrown::HashMap;

use crate::model::Labels;

use super::error::PromqlError;
use super::eval::{Eval, Work};
use super::grid::{ABSENT, Grid, is_absent};
use super::parse::place::Place;
use super::plan::{Aggregate, AggregateOp, Grouping, ScalarNode, is_identity};
use super::range::quantile;
use super::table::{RowRef, SAME_LABELSET, Table};
use super::value::format_number;

impl Eval<'_> {
    pub(super) fn aggregate(
        &self,
        aggregate: &Aggregate,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        match &aggregate.op {
            AggregateOp::Fold(op) => self.fold(*op, aggregate, grid),
            AggregateOp::Pick(op, param, place) => self.pick(*op, (param, *place), aggregate, grid),
            AggregateOp::Quantile(quantile, place) => {
                self.quantile_of_groups((quantile, *place), aggregate, grid)
            }
            AggregateOp::CountValues(label) => self.count_values(label, aggregate, grid),
        }
    }

    fn quantile_of_groups(
        &self,
        (param, place): (&ScalarNode, Place),
        aggregate: &Aggregate,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        let quantiles = self.scalar(param, grid)?;
        // Of an aggregation's, Prometheus tells only how far they go.
        let (least, most) = extremes(&quantiles);
        let past_the_ends = [most.clamp(0.0, f64::INFINITY), least.clamp(f64::NEG_INFINITY, 1.0)];
        self.warn_of_quantiles(&past_the_ends, place);
        let mut rows = self.rows(&aggregate.inner, grid)?;
        self.only_floats(&mut rows, "quantile", aggregate.place);
        let (groups, members) = members_of(&rows, &aggregate.grouping);
        let mut table = Table::new(&self.meter);
        let mut values = Vec::new();
        let mut work = Work::new(self.budget);
        for (labels, members) in groups.labels.into_iter().zip(members) {
            let mut column = Vec::with_capacity(grid.n);
            for (step, q) in quantiles.iter().enumerate() {
                work.spend(members.len())?;
                values.clear();
                let present = members.iter().map(|row| rows.rows[*row].values[step]);
                values.extend(present.filter(|value| !is_absent(*value)));
                column.push(if values.is_empty() { ABSENT } else { quantile(*q, &mut values) });
            }
            table.push(labels, column)?;
        }
        Ok(table)
    }

    fn count_values(
        &self,
        label: &str,
        aggregate: &Aggregate,
        grid: &Grid,
    ) -> Result<Table, PromqlError> {
        let mut groups = Groups::new(&aggregate.grouping);
        groups.left_out = Some(label.to_owned());
        let mut counts: Vec<Vec<f64>> = Vec::new();
        let mut places: HashMap<(usize, u64), usize> = HashMap::new();
        let mut result_labels: Vec<Labels> = Vec::new();
        let mut share = self.meter.share();
        let mut work = Work::new(self.budget);
        self.feed(&aggregate.inner, grid, &mut |row| {
            work.spend(grid.n)?;
            let group = groups.id_of(&row);
            for (step, value) in row.values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                // All NaNs print alike, so they count alike; so do histograms that say the same.
                let is_nan = value.is_nan() && !self.pool.is_one(*value);
                let bits = if is_nan { f64::NAN.to_bits() } else { value.to_bits() };
                let place = *places.entry((group, bits)).or_insert(counts.len());
                if place == counts.len() {
                    share.grow::<f64>(grid.n)?;
                    counts.push(vec![ABSENT; grid.n]);
                    let mut labels = groups.labels[group].to_builder();
                    labels.set(label, &self.text_of(*value));
                    result_labels.push(labels.build());
                }
                let count = &mut counts[place][step];
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }
            Ok(())
        })?;
        drop(share);
        let mut table = Table::new(&self.meter);
        for (labels, column) in result_labels.into_iter().zip(counts) {
            table.push(labels, column)?;
        }
        table.merge_equal(SAME_LABELSET)?;
        Ok(table)
    }
}

impl Eval<'_> {
    fn text_of(&self, value: f64) -> String {
        match self.pool.get(value) {
            Some(histogram) => histogram.to_string(),
            None => format_number(value),
        }
    }
}

/// Returns the least and the greatest of a parameter's values; both are NaN where one is.
fn extremes(params: &[f64]) -> (f64, f64) {
    let none_yet = (f64::INFINITY, f64::NEG_INFINITY);
    params.iter().fold(none_yet, |(least, most), param| {
        let is_nan = param.is_nan() || least.is_nan();
        if is_nan { (f64::NAN, f64::NAN) } else { (least.min(*param), most.max(*param)) }
    })
}

/// The groups of one aggregation, numbered in order of appearance.
#[derive(Debug)]
struct Groups<'a> {
    grouping: &'a Grouping,
    /// A label that never counts, because the result sets it.
    left_out: Option<String>,
    ids: HashMap<Vec<u8>, usize>,
    labels: Vec<Labels>,
    key: Vec<u8>,
}

impl<'a> Groups<'a> {
    fn new(grouping: &'a Grouping) -> Self {
        let (ids, labels, key) = (HashMap::new(), Vec::new(), Vec::new());
        Self { grouping, left_out: None, ids, labels, key }
    }

    /// Returns the group of a row, making it when it is new: then the id is the number of groups
    /// there were before.
    fn id_of(&mut self, row: &RowRef<'_>) -> usize {
        self.key.clear();
        let counts =
            |name: &str| self.grouping.keeps(name) && self.left_out.as_deref() != Some(name);
        if self.grouping.is_by {
            // Few of many labels count: those are looked up, and the others not even looked at.
            for name in self.grouping.labels.iter().filter(|name| counts(name)) {
                let is_there = !row.is_nameless || !is_identity(name);
                let value = row.labels.get(name).filter(|_| is_there);
                push_key(&mut self.key, value.unwrap_or(""));
            }
        } else {
            for (name, value) in row.labels().filter(|(name, _)| counts(name)) {
                push_key(&mut self.key, name);
                push_key(&mut self.key, value);
            }
        }
        if let Some(id) = self.ids.get(&self.key) {
            return *id;
        }
        let id = self.labels.len();
        self.labels.push(Labels::from_pairs(row.labels().filter(|(name, _)| counts(name))));
        self.ids.insert(self.key.clone(), id);
        id
    }
}

/// Adds a text to a key so that no two lists of texts make the same key.
pub(super) fn push_key(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(text.as_bytes());
    // No UTF-8 text holds this byte.
    key.push(0xff);
}

/// Returns the groups of kept rows with each group's row indexes.
fn members_of<'g>(rows: &Table, grouping: &'g Grouping) -> (Groups<'g>, Vec<Vec<usize>>) {
    let mut groups = Groups::new(grouping);
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (idx, row) in rows.rows.iter().enumerate() {
        let id = groups.id_of(&row.as_ref());
        if id == members.len() {
            members.push(Vec::new());
        }
        members[id].push(idx);
    }
    (groups, members)
}
