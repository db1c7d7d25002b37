//! The attributes that a request has brought already.
//!
//! Most attributes repeat word for word from record to record, and what becomes of one depends on
//! nothing but its bytes. So its text is kept beside them, and copied the next time, which takes a
//! fraction of the time that taking it apart does. Values that are new every time are not worth a
//! place: of one key only so many are kept.
//!
//! Keys get numbers here, so that a record's second attribute of one key is seen without comparing it
//! with all the others. A request of one record never gets as far as any of this.

use std::ops::Range;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::json;

/// Keys that get a number; real requests have some dozens.
const KEYS_MAX: usize = 256;
/// Attributes that are kept.
const KNOWN_MAX: usize = 1024;
/// Of one key.
const KNOWN_OF_KEY_MAX: usize = 64;
/// Longer attributes are not kept; nor are longer keys.
const WIRE_BYTES_MAX: usize = 256;
/// Nor are those of longer texts: an escape is six times as long as what it stands for.
const TEXT_BYTES_MAX: usize = 1024;

/// Remembers attributes from object to object.
#[derive(Debug, Default)]
pub(super) struct Memo {
    keys: Vec<Key>,
    key_of: HashTable<u32>,
    known: Vec<Known>,
    known_of: HashTable<u32>,
    /// What came over the wire: keys, and whole attributes.
    wire: Vec<u8>,
    /// What is written for it.
    text: String,
    /// Counts the objects.
    object: u64,
}

#[derive(Debug)]
struct Key {
    name: Range<usize>,
    /// In quotes, with a colon.
    text: Range<usize>,
    n_known: usize,
    /// The last object that has it.
    object: u64,
}

/// An attribute that came before.
#[derive(Debug, Clone)]
pub(super) struct Known {
    wire: Range<usize>,
    text: Range<usize>,
    /// The number of its key.
    pub(super) key: u32,
    /// String values in its text.
    pub(super) n_strings: u32,
}

impl Memo {
    /// Starts an object.
    pub(super) fn begin(&mut self) {
        self.object += 1;
    }

    /// Returns true once there is somebody to remember for.
    fn is_awake(&self) -> bool {
        self.object > 1
    }

    /// Returns the attribute of these bytes, if it came before.
    #[inline]
    pub(super) fn find(&self, wire: &[u8]) -> Option<Known> {
        if self.known.is_empty() || wire.len() > WIRE_BYTES_MAX {
            return None;
        }
        let is_it = |&at: &u32| self.wire[self.known[at as usize].wire.clone()] == *wire;
        self.known_of.find(xxh3_64(wire), is_it).map(|&at| self.known[at as usize].clone())
    }

    /// Returns the number of a key; `None` for one too many, now and ever after.
    pub(super) fn key(&mut self, name: &str) -> Option<u32> {
        if !self.is_awake() || name.len() > WIRE_BYTES_MAX {
            return None;
        }
        let Self { keys, key_of, wire, text, .. } = self;
        let hash = xxh3_64(name.as_bytes());
        let name_of = |keys: &[Key], at: u32| keys[at as usize].name.clone();
        let is_it = |&at: &u32| wire[name_of(keys, at)] == *name.as_bytes();
        if let Some(&key) = key_of.find(hash, is_it) {
            return Some(key);
        }
        if keys.len() >= KEYS_MAX {
            return None;
        }
        let key = u32::try_from(keys.len()).ok()?;
        let name_range = append(wire, name.as_bytes());
        let from = text.len();
        json::push_string(text, name);
        text.push(':');
        keys.push(Key { name: name_range, text: from..text.len(), n_known: 0, object: 0 });
        key_of.insert_unique(hash, key, |&at| xxh3_64(&wire[name_of(keys, at)]));
        Some(key)
    }

    /// Returns false when the object under way has the key already; from now on it has.
    #[inline]
    pub(super) fn take(&mut self, key: u32) -> bool {
        std::mem::replace(&mut self.keys[key as usize].object, self.object) != self.object
    }

    /// Returns what is written for a key.
    pub(super) fn key_text(&self, key: u32) -> &str {
        &self.text[self.keys[key as usize].text.clone()]
    }

    /// Returns what is written for an attribute.
    #[inline]
    pub(super) fn text(&self, known: &Known) -> &str {
        &self.text[known.text.clone()]
    }

    /// Keeps an attribute of the object under way, if it is worth it.
    pub(super) fn learn(&mut self, wire: &[u8], text: &str, key: u32, n_strings: u32) {
        let has_place = self.known.len() < KNOWN_MAX
            && wire.len() <= WIRE_BYTES_MAX
            && text.len() <= TEXT_BYTES_MAX
            && self.keys[key as usize].n_known < KNOWN_OF_KEY_MAX;
        let Ok(at) = u32::try_from(self.known.len()) else { return };
        if !has_place {
            return;
        }
        self.keys[key as usize].n_known += 1;
        let Self { known, known_of, wire: all, .. } = self;
        let hash = xxh3_64(wire);
        let wire = append(all, wire);
        let from = self.text.len();
        self.text.push_str(text);
        known.push(Known { wire, text: from..self.text.len(), key, n_strings });
        known_of.insert_unique(hash, at, |&at| xxh3_64(&all[known[at as usize].wire.clone()]));
    }
}

fn append(all: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    let from = all.len();
    all.extend_from_slice(bytes);
    from..all.len()
}
