//! Operators between series that match: the labels that are compared bring two sides together.

use std::borrow::Cow;

use hashbrown::HashMap;

use crate::model::Labels;
use crate::model::labels::METRIC_NAME;

use super::aggregate::push_key;
use super::binary::apply;
use super::error::PromqlError;
use super::eval::{Eval, Work, loses_name};
use super::grid::{ABSENT, is_absent};
use super::parse::place::Place;
use super::parse::quoting::quoted;
use super::plan::{Card, Matching, Op, is_identity};
use super::table::{Row, SAME_LABELSET, Table};

/// What Prometheus says of a second pair in a group, and of one that comes to the same labels.
const NOT_EXPLICIT: &str =
    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
const NOT_UNIQUE: &str = "multiple matches for labels: grouping labels must ensure unique matches";

impl Eval<'_> {
    /// Applies an operator to the series of two sides that match.
    pub(super) fn match_vectors(
        &self,
        op: Op,
        is_bool: bool,
        matching: &Matching,
        (left, right): (Table, Table),
        place: Place,
    ) -> Result<Table, PromqlError> {
        let is_swapped = matches!(matching.card, Card::OneToMany(_));
        let (many, one) = if is_swapped { (&right, &left) } else { (&left, &right) };
        let ones = Signatures::of(&one.rows, matching);
        let n_steps = one.rows.first().map_or(0, |row| row.values.len());
        let has_many = steps_with_values(&many.rows, n_steps, matching);
        check_one_side(&one.rows, &ones, matching, is_swapped, has_many.as_deref())?;
        let mut pairs = Pairs {
            eval: self,
            eval_table: Table::new(&self.meter),
            seen: HashMap::new(),
            op,
            is_bool,
            is_swapped,
            matching,
            place,
        };
        let mut work = Work::new(self.budget);
        let (fill_many, fill_one) = match is_swapped {
            false => (matching.fill_left, matching.fill_right),
            true => (matching.fill_right, matching.fill_left),
        };
        pairs.add_matches(&many.rows, (&one.rows, &ones), fill_one, &mut work)?;
        if let Some(fill) = fill_many {
            pairs.add_unmatched(&one.rows, &many.rows, fill, &mut work)?;
        }
        let mut table = pairs.eval_table;
        table.merge_equal(match matching.card {
            Card::OneToOne => SAME_LABELSET,
            _ => NOT_UNIQUE,
        })?;
        Ok(table)
    }
}

/// Rows by the labels that are compared.
pub(super) struct Signatures {
    places: HashMap<Vec<u8>, usize>,
    /// In order of appearance, so that an error names the same series every time.
    groups: Vec<Vec<usize>>,
}

impl Signatures {
    pub(super) fn of(rows: &[Row], matching: &Matching) -> Self {
        let mut places: HashMap<Vec<u8>, usize> = HashMap::with_capacity(rows.len());
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut key = Vec::new();
        for (idx, row) in rows.iter().enumerate() {
            write_signature(&row.labels, matching, &mut key);
            let group = *places.entry_ref(key.as_slice()).or_insert(groups.len());
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(idx);
        }
        Self { places, groups }
    }

    /// Returns the rows that match these labels; the signature is left in `key`.
    pub(super) fn members(
        &self,
        labels: &Labels,
        matching: &Matching,
        key: &mut Vec<u8>,
    ) -> &[usize] {
        write_signature(labels, matching, key);
        self.places.get(key).map_or(&[], |group| &self.groups[*group])
    }
}

fn write_signature(labels: &Labels, matching: &Matching, key: &mut Vec<u8>) {
    key.clear();
    for (name, value) in labels.iter().filter(|(name, _)| matching.keeps(name)) {
        push_key(key, name);
        push_key(key, value);
    }
}

/// Returns what stands for the other side of a row at the steps where none of the members is there.
fn stand_in(row: &Row, others: &[Row], members: &[usize], matching: &Matching, fill: f64) -> Row {
    let is_there = |step: usize| members.iter().any(|idx| !is_absent(others[*idx].values[step]));
    let steps = 0..row.values.len();
    let values = steps.map(|step| if is_there(step) { ABSENT } else { fill }).collect();
    Row { labels: row.labels.retain(|name| matching.keeps(name)), values }
}

/// Returns at which steps a side has something to match, or `None` where what is missing is filled
/// in, so that there always is.
fn steps_with_values(rows: &[Row], n_steps: usize, matching: &Matching) -> Option<Vec<bool>> {
    if matching.fill_left.is_some() || matching.fill_right.is_some() {
        return None;
    }
    let has_value = |step: usize| rows.iter().any(|row| !is_absent(row.values[step]));
    Some((0..n_steps).map(has_value).collect())
}

/// On the one side, no two series of a match group may have a value at the same step, unless there
/// is nothing on the other side then.
fn check_one_side(
    rows: &[Row],
    signatures: &Signatures,
    matching: &Matching,
    is_swapped: bool,
    has_many: Option<&[bool]>,
) -> Result<(), PromqlError> {
    for members in signatures.groups.iter().filter(|members| members.len() > 1) {
        let mut holder: Vec<Option<usize>> = vec![None; rows[members[0]].values.len()];
        for row in members {
            let present = rows[*row].values.iter().enumerate().filter(|(_, v)| !is_absent(**v));
            for (step, _) in present.filter(|(step, _)| has_many.is_none_or(|has| has[*step])) {
                if let Some(other) = holder[step].replace(*row) {
                    return Err(not_unique(&rows[*row], &rows[other], matching, is_swapped));
                }
            }
        }
    }
    Ok(())
}

fn not_unique(row: &Row, other: &Row, matching: &Matching, is_swapped: bool) -> PromqlError {
    let side = if is_swapped { "left" } else { "right" };
    let group = row.labels.retain(|name| {
        let is_listed = matching.labels.iter().any(|label| label == name);
        if matching.is_on { is_listed } else { !is_listed && name != METRIC_NAME }
    });
    PromqlError::execution(format!(
        "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
        all_labels(&group),
        all_labels(&row.labels),
        all_labels(&other.labels),
    ))
}

/// Prints labels as Prometheus' messages have them: `{__name__="up", job="a"}`.
pub(super) fn all_labels(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// The results of pairs that matched.
struct Pairs<'m> {
    eval: &'m Eval<'m>,
    eval_table: Table,
    /// The steps at which a match group, or what it comes to, has had its pair.
    seen: HashMap<Vec<u8>, Vec<bool>>,
    op: Op,
    is_bool: bool,
    is_swapped: bool,
    matching: &'m Matching,
    place: Place,
}

impl Pairs<'_> {
    /// Pairs each row of the many side with the rows that it matches, and where there are none with
    /// what is filled in for them.
    fn add_matches(
        &mut self,
        many: &[Row],
        (one, ones): (&[Row], &Signatures),
        fill: Option<f64>,
        work: &mut Work<'_>,
    ) -> Result<(), PromqlError> {
        let mut key = Vec::new();
        for many_row in many {
            let members = ones.members(&many_row.labels, self.matching, &mut key);
            for one_idx in members {
                work.spend(many_row.values.len())?;
                self.add(many_row, &one[*one_idx], &key)?;
            }
            if let Some(fill) = fill {
                let missing = stand_in(many_row, one, members, self.matching, fill);
                self.add(many_row, &missing, &key)?;
            }
        }
        Ok(())
    }

    /// Pairs the rows of the one side with what is filled in where nothing of the many side is there.
    fn add_unmatched(
        &mut self,
        one: &[Row],
        many: &[Row],
        fill: f64,
        work: &mut Work<'_>,
    ) -> Result<(), PromqlError> {
        let manys = Signatures::of(many, self.matching);
        let mut key = Vec::new();
        for one_row in one {
            work.spend(one_row.values.len())?;
            let members = manys.members(&one_row.labels, self.matching, &mut key);
            let missing = stand_in(one_row, many, members, self.matching, fill);
            self.add(&missing, one_row, &key)?;
        }
        Ok(())
    }

    fn add(&mut self, many: &Row, one: &Row, key: &[u8]) -> Result<(), PromqlError> {
        let labels = self.result_labels(&many.labels, &one.labels);
        self.check_single(many, one, key, &labels)?;
        let sides = many.values.iter().zip(&one.values);
        let pool = &self.eval.pool;
        let has_natives =
            self.op.is_trim() || pool.has_one(&many.values) || pool.has_one(&one.values);
        let column = sides.map(|(many, one)| {
            let (left, right) = if self.is_swapped { (*one, *many) } else { (*many, *one) };
            let op = (self.op, self.is_bool);
            if has_natives
                && let Some(made) = self.eval.native_pair(op, (left, right), left, self.place)?
            {
                return Ok(made);
            }
            let right = self.eval.divisor(self.op, right);
            Ok(apply(self.op, self.is_bool, left, right, left))
        });
        let column = column.collect::<Result<_, PromqlError>>()?;
        self.eval_table.push(labels, column)
    }

    /// A second pair in a group is an error even where a comparison would filter it out; where many may
    /// match one, so is a second pair that comes to the same labels. (What nothing filters out is
    /// found when rows of equal labels are joined.)
    fn check_single(
        &mut self,
        many: &Row,
        one: &Row,
        key: &[u8],
        labels: &Labels,
    ) -> Result<(), PromqlError> {
        let (key, message) = match self.matching.card {
            Card::OneToOne => (Cow::Borrowed(key), NOT_EXPLICIT),
            _ if self.op.is_comparison() && !self.is_bool => {
                let len = key.len().to_le_bytes();
                (Cow::Owned([&len[..], key, labels.packed()].concat()), NOT_UNIQUE)
            }
            _ => return Ok(()),
        };
        let n_steps = many.values.len();
        let seen = self.seen.entry_ref(&*key).or_insert_with(|| vec![false; n_steps]);
        for (step, (many, one)) in many.values.iter().zip(&one.values).enumerate() {
            if is_absent(*many) || is_absent(*one) {
                continue;
            }
            if std::mem::replace(&mut seen[step], true) {
                return Err(PromqlError::execution(message));
            }
        }
        Ok(())
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let drops_name = loses_name(self.op, self.is_bool);
        let kept = many.retain(|name| {
            let is_listed = || self.matching.labels.iter().any(|label| label == name);
            let is_compared = match self.matching.card {
                Card::OneToOne if self.matching.is_on => is_listed(),
                Card::OneToOne => !is_listed(),
                _ => true,
            };
            is_compared && !(drops_name && is_identity(name))
        });
        let (Card::ManyToOne(include) | Card::OneToMany(include)) = &self.matching.card else {
            return kept;
        };
        let mut builder = kept.to_builder();
        for name in include {
            // An empty value removes the label.
            builder.set(name, one.get(name).unwrap_or(""));
        }
        builder.build()
    }
}
