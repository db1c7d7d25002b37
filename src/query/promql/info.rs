//! `info(v, {...})`: each series gets the labels of the info metric (`target_info` and its like) of
//! the same `instance` and `job`, step by step, because an info series is replaced by another when
//! what it says changes.

use hashbrown::{HashMap, HashSet};

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, Matcher};

use super::error::PromqlError;
use super::eval::{Eval, Work};
use super::grid::{ABSENT, Grid, is_absent, to_i64};
use super::matching::all_labels;
use super::plan::InfoCall;
use super::select::Wanted;
use super::table::{Row, SAME_LABELSET, Table};

/// The labels that say which target an info series is about.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The info series of one target.
#[derive(Default)]
struct Target {
    /// For each metric name and step the series with the newest sample.
    newest: Vec<(String, Vec<Option<usize>>)>,
}

impl Eval<'_> {
    pub(super) fn info(&self, call: &InfoCall, grid: &Grid) -> Result<Table, PromqlError> {
        let base = self.rows(&call.inner, grid)?;
        let is_info = |row: &Row| call.names.iter().all(|name| name.matches(row.labels.metric()));
        let enriched = base.rows.iter().filter(|row| !is_info(row));
        let asked: HashSet<Labels> = enriched.filter_map(|row| identity_of(&row.labels)).collect();
        let mut infos = Table::new(&self.meter);
        // The time of each sample: of two info series the newer counts.
        self.select(&call.info, grid, Wanted::NumberTime, &mut |row| {
            // What is told of other targets is nobody's business, not even where it is wrong.
            if identity_of(row.labels).is_none_or(|identity| !asked.contains(&identity)) {
                return Ok(());
            }
            if self.pool.has_one(row.values) {
                return Err(PromqlError::execution("info sample should be float"));
            }
            infos.push(row.labels.clone(), row.values.to_vec())
        })?;
        let targets = targets_of(&infos.rows, grid)?;
        let mut table = Table::new(&self.meter);
        let mut work = Work::new(self.budget);
        for row in &base.rows {
            work.spend(grid.n)?;
            if is_info(row) {
                table.push(row.labels.clone(), row.values.clone())?;
                continue;
            }
            let target = identity_of(&row.labels).and_then(|identity| targets.get(&identity));
            enrich(row, target, &infos.rows, &call.labels, &mut table)?;
        }
        table.merge_equal(SAME_LABELSET)?;
        Ok(table)
    }
}

/// Returns the labels that say which target a series is of, or `None` when it has none of them.
fn identity_of(labels: &Labels) -> Option<Labels> {
    let identity = labels.retain(|name| IDENTIFYING.contains(&name));
    (!identity.is_empty()).then_some(identity)
}

fn targets_of(infos: &[Row], grid: &Grid) -> Result<HashMap<Labels, Target>, PromqlError> {
    let mut targets: HashMap<Labels, Target> = HashMap::new();
    for (idx, info) in infos.iter().enumerate() {
        let Some(identity) = identity_of(&info.labels) else { continue };
        let target = targets.entry(identity).or_default();
        let name = info.labels.metric();
        let place = target.newest.iter().position(|(known, _)| known == name);
        let place = place.unwrap_or_else(|| {
            target.newest.push((name.to_owned(), vec![None; grid.n]));
            target.newest.len() - 1
        });
        let newest = &mut target.newest[place].1;
        for (step, time) in info.values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
            let held = newest[step].map(|held| (held, infos[held].values[step]));
            match held {
                Some((_, held)) if held > *time => {}
                Some((held, other)) if other == *time => {
                    return Err(duplicate(&infos[held], info, *time));
                }
                _ => newest[step] = Some(idx),
            }
        }
    }
    Ok(targets)
}

fn duplicate(held: &Row, other: &Row, time_s: f64) -> PromqlError {
    let time_ms = to_i64((time_s * 1000.0).round());
    PromqlError::execution(format!(
        "found duplicate series for info metric: existing {} @ {time_ms}, new {} @ {time_ms}",
        all_labels(&held.labels),
        all_labels(&other.labels)
    ))
}

/// Adds the rows that a series becomes: one for each set of info series over the steps.
fn enrich(
    row: &Row,
    target: Option<&Target>,
    infos: &[Row],
    wanted: &[Matcher],
    table: &mut Table,
) -> Result<(), PromqlError> {
    let mut places: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut columns: Vec<(Vec<usize>, Vec<f64>)> = Vec::new();
    for (step, value) in row.values.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
        let newest = target.iter().flat_map(|target| &target.newest);
        let chosen: Vec<usize> = newest.filter_map(|(_, newest)| newest[step]).collect();
        let place = *places.entry_ref(chosen.as_slice()).or_insert(columns.len());
        if place == columns.len() {
            columns.push((chosen, vec![ABSENT; row.values.len()]));
        }
        columns[place].1[step] = *value;
    }
    for (chosen, column) in columns {
        if let Some(labels) = enriched(&row.labels, &chosen, infos, wanted)? {
            table.count_labels(&labels)?;
            table.push(labels, column)?;
        }
    }
    Ok(())
}

/// Returns the labels with those of the info series, or `None` when a label that was asked for is
/// not there.
fn enriched(
    base: &Labels,
    chosen: &[usize],
    infos: &[Row],
    wanted: &[Matcher],
) -> Result<Option<Labels>, PromqlError> {
    if chosen.is_empty() && wanted.iter().any(|matcher| !matcher.matches_empty()) {
        return Ok(None);
    }
    let mut builder = base.to_builder();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|m| m.name == name);
    for info in chosen {
        let pairs = infos[*info].labels.iter();
        for (name, value) in pairs.filter(|(name, _)| *name != METRIC_NAME && is_wanted(name)) {
            if base.get(name).is_some() {
                continue;
            }
            if builder.get(name).is_some_and(|other| other != value) {
                return Err(PromqlError::execution(format!("conflicting label: {name}")));
            }
            builder.set(name, value);
        }
    }
    Ok(Some(builder.build()))
}
