//! What a line must be like to be wanted, as far as blocks can tell.
//!
//! A need is a weakening of a question: every wanted line meets it, and most others need not. What
//! cannot be told becomes [`LineNeed::Nothing`]; so a need may be too weak and never too strong.

use std::ops::Range;

use super::hash::Picker;
use super::section::Block;
use super::{HAS_ATTRIBUTES, HAS_ESCAPES, LEVEL_UNDECIDED, LEVELS_KNOWN, NO_TRACE_ATTRIBUTE};
use crate::storage::files::page_prune::{intersection, union};

/// What a line must be like to be wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineNeed {
    /// Any line may be wanted.
    Nothing,
    /// The line holds a text with these bits.
    Text(Vec<u32>),
    /// A label that a parser finds has a value with these bits. It stands in the line as it is, or in
    /// the resource, unless there are escapes or the row has attributes.
    Value(Vec<u32>),
    /// The same of a label that the row's attributes have not got.
    Found(Vec<u32>),
    /// The record is of a trace, as its column or its attributes say.
    Trace(String),
    /// The level is one of a set.
    Level(u8),
    /// All of these.
    All(Vec<LineNeed>),
    /// At least one of these.
    Any(Vec<LineNeed>),
}

/// The rows of a row group whose records are of a trace, sorted and apart.
pub type TraceRows<'r, E> = dyn FnMut(&str) -> Result<Vec<Range<usize>>, E> + 'r;

impl LineNeed {
    /// Returns the need of a text somewhere in the line, in any case.
    pub fn text(text: &[u8]) -> Self {
        bits(text).map_or(LineNeed::Nothing, LineNeed::Text)
    }

    /// Returns the need of a label's value that the line or the stream says; not one of the labels
    /// that have a column of their own.
    pub fn value(value: &[u8]) -> Self {
        bits(value).map_or(LineNeed::Nothing, LineNeed::Value)
    }

    /// Returns the need of a trace that the record says, or else its line or its stream.
    pub fn trace(trace_id: &str) -> Self {
        let found = bits(trace_id.as_bytes()).map_or(LineNeed::Nothing, LineNeed::Found);
        LineNeed::any([LineNeed::Trace(trace_id.to_owned()), found])
    }

    /// Returns the need of a level, as `model::level::set_of` says them.
    pub fn level(set: u8) -> Self {
        if set == u8::MAX { LineNeed::Nothing } else { LineNeed::Level(set) }
    }

    /// Returns the need of all of some.
    pub fn all(needs: impl IntoIterator<Item = LineNeed>) -> Self {
        let mut left: Vec<_> = needs.into_iter().filter(|n| *n != LineNeed::Nothing).collect();
        match left.len() {
            0 => LineNeed::Nothing,
            1 => left.swap_remove(0),
            _ => LineNeed::All(left),
        }
    }

    /// Returns the need of one of some.
    pub fn any(needs: impl IntoIterator<Item = LineNeed>) -> Self {
        let mut all: Vec<_> = needs.into_iter().collect();
        match all.len() {
            1 => all.swap_remove(0),
            _ if all.contains(&LineNeed::Nothing) => LineNeed::Nothing,
            _ => LineNeed::Any(all),
        }
    }

    /// Returns false when no row of the block meets the need.
    fn may_be_met(&self, block: &Block) -> bool {
        let has_all = |bits: &[u32]| bits.iter().all(|&place| block.has(place));
        match self {
            LineNeed::Nothing => true,
            LineNeed::Text(bits) => has_all(bits),
            LineNeed::Value(bits) => {
                block.flags & (HAS_ESCAPES | HAS_ATTRIBUTES) != 0 || has_all(bits)
            }
            LineNeed::Found(bits) => block.flags & HAS_ESCAPES != 0 || has_all(bits),
            LineNeed::Trace(_) => block.flags & NO_TRACE_ATTRIBUTE == 0,
            LineNeed::Level(set) if block.flags & LEVELS_KNOWN != 0 => block.levels & set != 0,
            LineNeed::Level(set) => block.levels & (set | LEVEL_UNDECIDED) != 0,
            LineNeed::All(needs) => needs.iter().all(|need| need.may_be_met(block)),
            LineNeed::Any(needs) => needs.iter().any(|need| need.may_be_met(block)),
        }
    }
}

/// Returns the bits of a text, or `None` when it is too short to have one.
fn bits(text: &[u8]) -> Option<Vec<u32>> {
    let mut bits = Picker::default().pick(text).to_vec();
    bits.sort_unstable();
    bits.dedup();
    (!bits.is_empty()).then_some(bits)
}

/// Returns the rows that may meet a need, as ranges that are sorted and apart. Those of a trace are
/// asked for where blocks cannot tell.
pub fn rows_for<E>(
    need: &LineNeed,
    blocks: &[Block],
    of_trace: &mut TraceRows<'_, E>,
) -> Result<Vec<Range<usize>>, E> {
    let rows = match need {
        LineNeed::All(needs) => {
            let mut left = rows_of_blocks(&LineNeed::Nothing, blocks);
            for need in needs {
                if left.is_empty() {
                    break;
                }
                left = intersection(&left, &rows_for(need, blocks, of_trace)?);
            }
            left
        }
        LineNeed::Any(needs) => {
            let mut any = Vec::new();
            for need in needs {
                any = union(&any, &rows_for(need, blocks, of_trace)?);
            }
            any
        }
        LineNeed::Trace(trace_id) => union(&rows_of_blocks(need, blocks), &of_trace(trace_id)?),
        need => rows_of_blocks(need, blocks),
    };
    Ok(rows)
}

fn rows_of_blocks(need: &LineNeed, blocks: &[Block]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    for block in blocks {
        let rows = at..at + block.n_rows as usize;
        at = rows.end;
        if rows.is_empty() || !need.may_be_met(block) {
            continue;
        }
        match found.last_mut() {
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => found.push(rows),
        }
    }
    found
}
