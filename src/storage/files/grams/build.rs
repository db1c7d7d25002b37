//! Rows to blocks, as a file is written.

use arrow::array::{Array, AsArray, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{Int32Type, SchemaRef};
use memchr::{memchr, memmem};

use super::hash::{BITS_LOG2, Picker};
use super::section::{Block, encode, folded};
use super::{BODY, HAS_ATTRIBUTES, HAS_ESCAPES, LEVEL_UNDECIDED, LEVELS_KNOWN, NO_TRACE_ATTRIBUTE};
use crate::model::level;

const BITS: usize = 1 << BITS_LOG2;
/// A block has at most so many rows, so that short lines that are all alike are told apart too.
const ROWS_MAX: u32 = 16_384;
/// A row whose attributes or resource name one like this may say its level itself.
const SAYS_LEVEL: &[u8] = b"detected";
/// A row whose attributes name one like this may say of which trace it is.
const SAYS_TRACE: &[u8] = b"trace";

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
    /// Some row's level is not known.
    is_undecided: bool,
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
    /// The level of each text of the column of levels, as a bit; none in rows of before.
    found: Option<(Vec<u8>, &'b DictionaryArray<Int32Type>)>,
    /// Whether any line has a backslash, and any attribute names a level or a trace: mostly none
    /// does, and no row has to be looked at for it.
    has_escapes: bool,
    says_level: bool,
    says_trace: bool,
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
            is_undecided: false,
            flags: NO_TRACE_ATTRIBUTE,
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
            found: batch.column_by_name("detected_level").map(|column| {
                let column = column.as_dictionary::<Int32Type>();
                let texts = column.values().as_string::<i32>().iter();
                (texts.map(|text| bit(text)).collect(), column)
            }),
            has_escapes: memchr(b'\\', text_bytes(bodies)).is_some(),
            says_level: memmem::find(text_bytes(attributes), SAYS_LEVEL).is_some(),
            says_trace: memmem::find(text_bytes(attributes), SAYS_TRACE).is_some(),
        }
    }

    /// Returns the level of a row as a bit, if it is known without its labels.
    fn level(&self, row: usize) -> Option<u8> {
        if let Some((bits, column)) = &self.found
            && let Some(key) = column.key(row)
        {
            return Some(bits[key]);
        }
        let word = self.severity_words.key(row).map_or(0, |key| self.words[key]);
        let level =
            if word == 0 { bit(level::of_number(self.severities.value(row))) } else { word };
        (level != 0).then_some(level)
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
        match columns.level(row) {
            Some(level) => self.levels |= level,
            None => self.is_undecided = true,
        }
        let attributes = columns.attributes.value(row).as_bytes();
        if attributes.len() > 2 {
            self.flags |= HAS_ATTRIBUTES;
            if columns.says_level {
                self.note_level(attributes);
            }
            if columns.says_trace && memmem::find(attributes, SAYS_TRACE).is_some() {
                self.flags &= !NO_TRACE_ATTRIBUTE;
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
        self.is_undecided |= memmem::find(object, SAYS_LEVEL).is_some();
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
        if self.is_undecided {
            self.levels |= LEVEL_UNDECIDED;
        } else {
            self.flags |= LEVELS_KNOWN;
        }
        let bits: Vec<u8> = self.bits.iter().flat_map(|word| word.to_le_bytes()).collect();
        let block = Block {
            n_rows: self.n_rows,
            levels: self.levels,
            flags: self.flags,
            bits: folded(bits).into(),
        };
        self.bits.fill(0);
        (self.n_set, self.n_rows, self.levels, self.is_undecided) = (0, 0, 0, false);
        self.flags = NO_TRACE_ATTRIBUTE;
        self.resources.fill(false);
        block
    }
}
