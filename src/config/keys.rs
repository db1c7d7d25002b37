//! The keys there are, read from the structs themselves: serde tells a deserialiser the names of a
//! struct's fields, so no list of keys has to be kept in step.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::ConfigFile;

/// Returns the names of all sections.
pub(super) fn sections() -> &'static [&'static str] {
    fields_of::<ConfigFile>()
}

/// Returns the names of a section's keys; none when there is no such section.
pub(super) fn of_section(section: &str) -> &'static [&'static str] {
    fields_at::<ConfigFile>(&[section])
}

/// Returns the names of the keys of a table in a section; none when the key is no table.
pub(super) fn of_table(section: &str, key: &str) -> &'static [&'static str] {
    fields_at::<ConfigFile>(&[section, key])
}

/// Returns the name of the list that is nearest to a misspelt one.
pub(super) fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    let scored = names.iter().map(|name| (distance(wrong, name), *name));
    scored.filter(|(n, name)| *n <= name.len() / 3).min().map(|(_, name)| name)
}

/// Returns how many letters must change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Returns the names of a struct's fields.
pub(super) fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    fields_at::<T>(&[])
}

fn fields_at<'de, T: Deserialize<'de>>(path: &[&str]) -> &'static [&'static str] {
    let mut found: &'static [&'static str] = &[];
    // It always fails: the walk ends where it has seen the names.
    T::deserialize(Walk { path, found: &mut found }).err();
    found
}

/// A deserialiser that walks down a path of keys and notes the fields at its end.
struct Walk<'a> {
    path: &'a [&'a str],
    found: &'a mut &'static [&'static str],
}

type Stop = serde::de::value::Error;

impl<'de> Deserializer<'de> for Walk<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Stop> {
        Err(Stop::custom("not a table"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stop> {
        if self.path.is_empty() {
            *self.found = fields;
            return Err(Stop::custom("seen"));
        }
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A table of the path's first key alone.
impl<'de> MapAccess<'de> for Walk<'_> {
    type Error = Stop;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Stop> {
        let key: StrDeserializer<'_, Stop> = StrDeserializer::new(self.path[0]);
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Stop> {
        seed.deserialize(Walk { path: &self.path[1..], found: self.found })
    }
}
