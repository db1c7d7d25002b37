//! The section `limits`: what may come in, and what a query may cost, in one table.
//!
//! Two rooms own the keys. Serde cannot both flatten two structs into one table and refuse unknown
//! keys, so the table is dealt out by hand.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Table;

use crate::{ingest, query};

/// The section `limits`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Limits {
    /// What may come in.
    #[serde(flatten)]
    pub ingest: ingest::Limits,
    /// What a PromQL query may cost: the keys that begin with `query_`.
    #[serde(flatten)]
    pub query: query::promql::Limits,
}

impl<'de> Deserialize<'de> for Limits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = Table::deserialize(deserializer)?;
        let (query, ingest): (Table, Table) =
            table.into_iter().partition(|(key, _)| key.starts_with("query_"));
        Ok(Self {
            ingest: ingest.try_into().map_err(D::Error::custom)?,
            query: query.try_into().map_err(D::Error::custom)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_both_rooms_are_read_and_unknown_ones_refused() {
        let limits: Limits = toml::from_str("query_depth = 7\nlabels_per_series = 9").unwrap();

        assert_eq!((limits.query.query_depth, limits.ingest.labels_per_series), (7, 9));
        assert!(toml::from_str::<Limits>("query_depht = 7").is_err());
        assert!(toml::from_str::<Limits>("labels = 9").is_err());
    }
}
