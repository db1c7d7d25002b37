//! The section `limits`: two rooms' limits under one name.
//!
//! What comes in is limited by `ingest`, what is asked by `promql`; to whoever writes the file both
//! are limits, and the messages of both rooms name `limits.…`. The keys of questions begin with
//! `query_`. Serde's `flatten` cannot refuse unknown keys, so the two are parted by hand.

use std::sync::LazyLock;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{Error as _, SerializeMap as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

use super::keys;
use crate::{ingest, query};

/// The section `limits`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// What is taken at the door.
    pub ingest: ingest::Limits,
    /// What a PromQL question may be and use: the keys that begin with `query_`.
    pub query: query::promql::Limits,
}

const OF_QUERIES: &str = "query_";

static FIELDS: LazyLock<&'static [&'static str]> = LazyLock::new(|| {
    let of_ingest = keys::fields_of::<ingest::Limits>();
    let of_query = keys::fields_of::<query::promql::Limits>();
    Box::leak([of_ingest, of_query].concat().into_boxed_slice())
});

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Limits", *FIELDS, Parted)
    }
}

struct Parted;

impl<'de> Visitor<'de> for Parted {
    type Value = Limits;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a table of limits")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Limits, A::Error> {
        let (mut of_ingest, mut of_query) = (Table::new(), Table::new());
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            let part = if key.starts_with(OF_QUERIES) { &mut of_query } else { &mut of_ingest };
            part.insert(key, value);
        }
        let wrong = |error: toml::de::Error| A::Error::custom(error.message());
        Ok(Limits {
            ingest: ingest::Limits::deserialize(of_ingest).map_err(wrong)?,
            query: query::promql::Limits::deserialize(of_query).map_err(wrong)?,
        })
    }
}

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let parts = [Table::try_from(&self.ingest), Table::try_from(&self.query)];
        for part in parts {
            for (key, value) in part.map_err(S::Error::custom)? {
                map.serialize_entry(&key, &value)?;
            }
        }
        map.end()
    }
}
