//! Rows to blocks, as a file is written.

use arrow::array::{Array, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, SchemaRef};
use memchr::{memchr, memmem};

use super::hash::{BITS_LOG2, Picker};
use super::section::{Block, encode, folded};
use super::{BODY, HAS_ATTRIBUTES, HAS_ESCAPES, LEVEL_UNDECIDED};
use crate::model::level;

const BITS: usize = 1 << BITS_LOG2;
/// A block has at most so many rows, so that short lines that are all alike are told apart too.
const ROWS_MAX: u32 = 16_384;
/// A row whose attributes or resource name one like this may say its level itself.
const SAYS_LEVEL: &[u8] = b"detected";

/// The blocks of the row group under way.
#[derive(Debug)]
pub(in crate::storage::files) struct Builder {
    picker: Picker,
    open: OpenBlock,
    blocks: Vec<Block>,
}

/// The rows of the block under way.
#[derive(Debug)]
struct OpenBlock {
    bits: Vec<u64>,
    n_set: usize,
    n_rows: u32,
    levels: u8,
    flags: u8,
    /// The batch's resources that are in already, by their keys.
    resources: Vec<bool>,
}

/// The columns of a batch that are looked at.
struct Columns<'b> {
    bodies: &'b StringArray,
    attributes: &'b StringArray,
    resources: &'b DictionaryArray<Int32Type>,
    severities: &'b Int32Array,
    /// The level of each word of the batch's dictionary, as a bit; 0 says nothing.
    words: Vec<u8>,
    severity_words: &'b DictionaryArray<Int32Type>,
    /// Whether any line has a backslash, and any attribute names a level: mostly none does, and no
    /// row has to be looked at for it.
    has_escapes: bool,
    says_level: bool,
}

impl Builder {
    /// Returns a builder for files of a schema, or `None` when there is no line in it.
    pub(in crate::storage::files) fn of(schema: &SchemaRef) -> Option<Self> {
        schema.column_with_name(BODY)?;
        let open = OpenBlock {
            bits: vec![0; BITS / 64],
            n_set: 0,
            n_rows: 0,
            levels: 0,
            flags: 0,
            resources: Vec::new(),
        };
        Some(Self { picker: Picker::default(), open, blocks: Vec::new() })
    }

    /// Appends rows of the row group.
    pub(in crate::storage::files) fn push(&mut self, batch: &RecordBatch) {
        let columns = Columns::of(batch);
        self.open.begin_batch(columns.resources.values().len());
        for row in 0..batch.num_rows() {
            self.open.push(&columns, row, &mut self.picker);
            if self.open.is_full() {
                self.blocks.push(self.open.take());
            }
        }
    }

    /// Ends the row group and returns its section.
    pub(in crate::storage::files) fn end_group(&mut self) -> Vec<u8> {
        if self.open.n_rows > 0 {
            self.blocks.push(self.open.take());
        }
        encode(&std::mem::take(&mut self.blocks))
    }

    /// Returns the bytes that the blocks hold in memory.
    pub(in crate::storage::files) fn memory_size(&self) -> usize {
        BITS / 8 + self.blocks.iter().map(|block| block.bits.len()).sum::<usize>()
    }
}

impl<'b> Columns<'b> {
    fn of(batch: &'b RecordBatch) -> Self {
        let column = |name| batch.column_by_name(name).expect("the logs' schema has it");
        let bodies = column(BODY).as_string::<i32>();
        let severity_words = column("severity_text").as_dictionary::<Int32Type>();
        let words = severity_words.values().as_string::<i32>().iter();
        let attributes = column("attributes").as_string::<i32>();
        Self {
            bodies,
            attributes,
            resources: column("resource").as_dictionary(),
            severities: column("severity_number").as_primitive(),
            words: words.map(|word| bit(level::of_word(word.unwrap_or("")))).collect(),
            severity_words,
            has_escapes: memchr(b'\\', text_bytes(bodies)).is_some(),
            says_level: memmem::find(text_bytes(attributes), SAYS_LEVEL).is_some(),
        }
    }

    /// Returns the level of a row as a bit, as `detected_level` finds it before it looks at texts.
    fn level(&self, row: usize) -> u8 {
        let word = self.severity_words.key(row).map_or(0, |key| self.words[key]);
        let level =
            if word == 0 { bit(level::of_number(self.severities.value(row))) } else { word };
        if level == 0 { LEVEL_UNDECIDED } else { level }
    }
}

/// Returns the texts of a column's rows, one behind the other.
fn text_bytes(texts: &StringArray) -> &[u8] {
    let ends = texts.value_offsets();
    let place = |end: Option<&i32>| usize::try_from(end.copied().unwrap_or(0)).unwrap_or(0);
    &texts.value_data()[place(ends.first())..place(ends.last())]
}

fn bit(level: Option<&str>) -> u8 {
    level.map_or(0, |level| level::set_of(|name| name == level))
}

impl OpenBlock {
    fn begin_batch(&mut self, n_resources: usize) {
        self.resources.clear();
        self.resources.resize(n_resources, false);
    }

    fn is_full(&self) -> bool {
        self.n_set * 2 >= BITS || self.n_rows >= ROWS_MAX
    }

    fn push(&mut self, columns: &Columns<'_>, row: usize, picker: &mut Picker) {
        let body = columns.bodies.value(row).as_bytes();
        self.add(picker.pick(body));
        if columns.has_escapes && memchr(b'\\', body).is_some() {
            self.flags |= HAS_ESCAPES;
        }
        self.levels |= columns.level(row);
        let attributes = columns.attributes.value(row).as_bytes();
        if attributes.len() > 2 {
            self.flags |= HAS_ATTRIBUTES;
            if columns.says_level {
                self.note_level(attributes);
            }
        }
        if let Some(key) = columns.resources.key(row)
            && !std::mem::replace(&mut self.resources[key], true)
        {
            let resource = columns.resources.values().as_string::<i32>().value(key).as_bytes();
            self.add(picker.pick(resource));
            self.note_level(resource);
            if memchr(b'\\', resource).is_some() {
                self.flags |= HAS_ESCAPES;
            }
        }
        self.n_rows += 1;
    }

    fn note_level(&mut self, object: &[u8]) {
        if self.levels & LEVEL_UNDECIDED == 0 && memmem::find(object, SAYS_LEVEL).is_some() {
            self.levels |= LEVEL_UNDECIDED;
        }
    }

    fn add(&mut self, places: &[u32]) {
        for &place in places {
            let word = &mut self.bits[place as usize / 64];
            let mask = 1 << (place % 64);
            self.n_set += usize::from(*word & mask == 0);
            *word |= mask;
        }
    }

    fn take(&mut self) -> Block {
        let bits: Vec<u8> = self.bits.iter().flat_map(|word| word.to_le_bytes()).collect();
        let block = Block {
            n_rows: self.n_rows,
            levels: self.levels,
            flags: self.flags,
            bits: folded(bits).into(),
        };
        self.bits.fill(0);
        (self.n_set, self.n_rows, self.levels, self.flags) = (0, 0, 0, 0);
        self.resources.fill(false);
        block
    }
}
