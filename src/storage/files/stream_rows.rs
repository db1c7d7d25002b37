//! How many rows of a row group of logs are of which stream and level: counted once, and kept.
//!
//! Menus, volumes and most counts of logs ask nothing else, and ask it of the same files again and
//! again. A row group has a few hundred streams at most, however many rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type};
use hashbrown::HashMap;

use super::read::Footers;
use super::rows_read::{Wanted, read_rows};
use crate::storage::disk::Disk;
use crate::storage::{FileEntry, ReadError};

/// The rows of a row group, counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamRows {
    /// By stream and level, in no particular order, each once.
    pub counts: Vec<StreamCount>,
    /// Whether any row may have attributes of its own.
    pub has_attributes: bool,
}

/// How many rows there are of a stream and level.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamCount {
    /// What the columns `service`, `env`, `cluster` and `resource` say, empty for null.
    pub parts: [Box<str>; 4],
    /// What was found of their level on the way in, if anything.
    pub level: Option<Box<str>>,
    /// How many.
    pub n_rows: u64,
}

const COLUMNS: [&str; 5] = ["service", "env", "cluster", "resource", "detected_level"];
const ATTRIBUTES: &str = "attributes";
/// Rows decoded at a time.
const BATCH_ROWS: usize = 65_536;
/// A column of attributes that takes more than a byte for so many rows has some.
const ROWS_A_BYTE: i64 = 4;
/// The parts of a stream, and a level.
type Key = ([Box<str>; 4], Option<Box<str>>);
/// What a count takes beside its texts.
const COUNT_BYTES: usize = size_of::<StreamCount>() + 64;

/// Returns how the rows of a row group are shared out, deleted ones among them.
pub fn stream_rows(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    group_idx: usize,
) -> Result<Arc<StreamRows>, ReadError> {
    let place = (entry.path.as_str(), u32::try_from(group_idx).unwrap_or(u32::MAX));
    if let Some(known) = footers.streams.get(place.0, &place.1) {
        return Ok(known);
    }
    let rows = Arc::new(count(disk, footers, entry, group_idx)?);
    let texts = rows.counts.iter().flat_map(|count| &count.parts).map(|text| text.len());
    let n_bytes = texts.sum::<usize>() + rows.counts.len() * COUNT_BYTES;
    footers.streams.put(place, Arc::clone(&rows), n_bytes);
    Ok(rows)
}

fn count(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    group_idx: usize,
) -> Result<StreamRows, ReadError> {
    let mut counts: HashMap<Key, u64> = HashMap::new();
    let wanted = Wanted { group_idx, columns: &COLUMNS, rows: None, batch_rows: BATCH_ROWS };
    read_rows(disk, footers, entry, &wanted, &mut |batch| {
        for (key, n_rows) in of_batch(&batch) {
            *counts.entry(key).or_default() += n_rows;
        }
        true
    })?;
    let counts = counts.into_iter();
    let counts = counts.map(|((parts, level), n_rows)| StreamCount { parts, level, n_rows });
    let has_attributes = has_attributes(disk, footers, entry, group_idx)?;
    Ok(StreamRows { counts: counts.collect(), has_attributes })
}

fn of_batch(batch: &RecordBatch) -> Vec<(Key, u64)> {
    let columns = COLUMNS.map(|name| batch.column_by_name(name));
    let keys = columns.map(|column| {
        let keys = column?.as_dictionary::<Int32Type>().keys();
        Some((&**keys.values(), keys.nulls()))
    });
    let key_of = |row: usize| {
        keys.map(|of| match of {
            None => -1,
            Some((_, Some(nulls))) if nulls.is_null(row) => -1,
            Some((keys, _)) => keys[row],
        })
    };
    let mut counts: HashMap<[i32; 5], u64> = HashMap::new();
    // Files are sorted by service: a key mostly comes many times.
    let (mut last, mut n_last) = ([-2; 5], 0);
    for row in 0..batch.num_rows() {
        let key = key_of(row);
        if key != last {
            *counts.entry(last).or_default() += n_last;
            (last, n_last) = (key, 0);
        }
        n_last += 1;
    }
    *counts.entry(last).or_default() += n_last;
    let text = |column: Option<&ArrayRef>, key: i32| {
        let texts = column?.as_dictionary::<Int32Type>().values().as_string::<i32>();
        Some(Box::from(texts.value(usize::try_from(key).ok()?)))
    };
    let counts = counts.into_iter().filter(|(_, n_rows)| *n_rows > 0);
    let texts = counts.map(|(key, n_rows)| {
        let parts = [0, 1, 2, 3].map(|at| text(columns[at], key[at]).unwrap_or_default());
        ((parts, text(columns[4], key[4])), n_rows)
    });
    texts.collect()
}

fn has_attributes(
    disk: &dyn Disk,
    footers: &Footers,
    entry: &FileEntry,
    group_idx: usize,
) -> Result<bool, ReadError> {
    let Some(footer) = footers.known(&entry.path) else { return Ok(true) };
    let group = footer.metadata().row_group(group_idx);
    let mut columns = group.columns().iter();
    let column = columns.find(|column| column.column_path().string() == ATTRIBUTES);
    let Some(column) = column else { return Ok(false) };
    if column.uncompressed_size() > group.num_rows() / ROWS_A_BYTE + 1_024 {
        return Ok(true);
    }
    let mut is_any = false;
    let columns = [ATTRIBUTES];
    let wanted = Wanted { group_idx, columns: &columns, rows: None, batch_rows: BATCH_ROWS };
    read_rows(disk, footers, entry, &wanted, &mut |batch| {
        is_any = batch.columns().iter().any(says_something);
        !is_any
    })?;
    Ok(is_any)
}

/// Returns true when some text is more than an object without members.
fn says_something(column: &ArrayRef) -> bool {
    let texts = match column.data_type() {
        DataType::Dictionary(..) => column.as_dictionary::<Int32Type>().values(),
        _ => column,
    };
    texts.as_string::<i32>().iter().flatten().any(|text| text.len() > "{}".len())
}
