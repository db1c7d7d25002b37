//! The `[otlp]` section: how OpenTelemetry's names and resources are shown in PromQL. The keys are those
//! of Prometheus' own `otlp` section.

use serde::{Deserialize, Serialize};

/// How names are translated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strategy {
    /// What Prometheus' old names cannot hold becomes `_`; unit and `_total` are appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// The same without unit and `_total`.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay as they are; unit and `_total` are appended.
    NoUTF8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl Strategy {
    /// Returns true when only old names are made.
    pub fn escapes(self) -> bool {
        use Strategy::{UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes};
        matches!(self, UnderscoreEscapingWithSuffixes | UnderscoreEscapingWithoutSuffixes)
    }

    /// Returns true when unit and type are in the name.
    pub fn has_suffixes(self) -> bool {
        use Strategy::{NoUTF8EscapingWithSuffixes, UnderscoreEscapingWithSuffixes};
        matches!(self, UnderscoreEscapingWithSuffixes | NoUTF8EscapingWithSuffixes)
    }
}

/// The `[otlp]` section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How names are translated.
    pub translation_strategy: Strategy,
    /// Resource attributes that become labels of every series of the resource.
    pub promote_resource_attributes: Vec<String>,
    /// All of them do, but for `ignore_resource_attributes`.
    pub promote_all_resource_attributes: bool,
    /// What `promote_all_resource_attributes` leaves out.
    pub ignore_resource_attributes: Vec<String>,
    /// Whether `target_info` also has the attributes that are in `job` and `instance`.
    pub keep_identifying_resource_attributes: bool,
    /// Whether the scope's name, version, schema URL and attributes become labels `otel_scope_*`.
    pub promote_scope_metadata: bool,
    /// Whether data points are kept as they were sent, beside the samples made of them.
    pub keep_points: bool,
}

impl Config {
    /// Returns true when a resource attribute becomes a label.
    pub fn promotes(&self, key: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|listed| listed == key);
        match self.promote_all_resource_attributes {
            true => !is_in(&self.ignore_resource_attributes),
            false => is_in(&self.promote_resource_attributes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_are_named_as_in_prometheus() {
        let read = |name: &str| {
            toml::from_str::<Config>(&format!("translation_strategy = \"{name}\""))
                .map(|config| config.translation_strategy)
        };

        assert_eq!(read("NoTranslation").unwrap(), Strategy::NoTranslation);
        let strategy = read("NoUTF8EscapingWithSuffixes").unwrap();
        assert!(!strategy.escapes() && strategy.has_suffixes());
        assert!(Strategy::default().escapes() && Strategy::default().has_suffixes());
        assert!(read("Other").is_err());
    }

    #[test]
    fn attributes_are_promoted_by_a_list_or_all_but_a_list() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let some = Config { promote_resource_attributes: list(&["a"]), ..Config::default() };
        let all = Config {
            promote_all_resource_attributes: true,
            ignore_resource_attributes: list(&["a"]),
            ..Config::default()
        };

        assert!(some.promotes("a") && !some.promotes("b"));
        assert!(!all.promotes("a") && all.promotes("b"));
    }
}
