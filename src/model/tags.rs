//! Where a row belongs: its commons, service, environment and cluster.

use std::sync::Arc;

/// The commons of what no rule could place, in SQL and in paths.
pub const UNASSIGNED: &str = "_unassigned";
/// The commons of shared infrastructure (`kube-system`, `monitoring`, …).
pub const CLUSTER: &str = "_cluster";
/// The commons of our own metrics.
pub const SELF: &str = "_self";

/// The name of a commons: `[a-z0-9][a-z0-9._-]{0,62}` without `..`, or one of the three reserved
/// names. It is a folder's name, so nothing else can be one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commons(Arc<str>);

/// A text that cannot name a commons.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a commons: wanted [a-z0-9][a-z0-9._-]{{0,62}} without `..`")]
pub struct CommonsError(String);

impl Commons {
    /// Reads a commons' name from outside; the reserved names are refused.
    pub fn new(name: &str) -> Result<Self, CommonsError> {
        let is_first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_rest = |b: u8| is_first(b) || matches!(b, b'.' | b'_' | b'-');
        let ok = name.len() <= 63
            && name.bytes().next().is_some_and(is_first)
            && name.bytes().all(is_rest)
            && !name.contains("..");
        if ok { Ok(Self(Arc::from(name))) } else { Err(CommonsError(name.to_owned())) }
    }

    /// Reads a name that we wrote ourselves: also one of the reserved ones.
    pub fn from_stored(name: &str) -> Result<Self, CommonsError> {
        match name {
            UNASSIGNED | CLUSTER | SELF => Ok(Self(Arc::from(name))),
            _ => Self::new(name),
        }
    }

    /// Returns the commons of what no rule could place.
    pub fn unassigned() -> Self {
        Self(Arc::from(UNASSIGNED))
    }

    /// Returns the commons of shared infrastructure.
    pub fn cluster() -> Self {
        Self(Arc::from(CLUSTER))
    }

    /// Returns the commons of our own metrics.
    pub fn own() -> Self {
        Self(Arc::from(SELF))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true for what no rule could place: it carries no `commons` label in PromQL.
    pub fn is_unassigned(&self) -> bool {
        &*self.0 == UNASSIGNED
    }
}

impl std::fmt::Display for Commons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for Commons {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Commons {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        Self::from_stored(&name).map_err(serde::de::Error::custom)
    }
}

/// What tagging decided for one resource, stream or series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tags {
    /// The commons; `_unassigned` when no rule fired.
    pub commons: Commons,
    /// The canonical service, `None` when no rule fired.
    pub service: Option<Arc<str>>,
    /// `prod`, `staging`, `dev` or what the sender says.
    pub env: Option<Arc<str>>,
    /// The Kubernetes cluster.
    pub cluster: Option<Arc<str>>,
    /// The name of the rule that chose the commons, e.g. `credential`; counted and kept.
    pub rule: &'static str,
}

impl Tags {
    /// Returns the tags of a row that no rule could place.
    pub fn unassigned() -> Self {
        Self {
            commons: Commons::unassigned(),
            service: None,
            env: None,
            cluster: None,
            rule: "unassigned",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_commons() {
        for name in ["heart.commons.example", "a", "0-1_2", &"a".repeat(63)] {
            assert!(Commons::new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn paths_and_reserved_names_are_not() {
        for name in [
            "",
            ".a",
            "a..b",
            "A",
            "a/b",
            "..",
            "_self",
            "_unassigned",
            "a b",
            "é",
            &"a".repeat(64),
        ] {
            assert!(Commons::new(name).is_err(), "{name}");
        }
    }
}
