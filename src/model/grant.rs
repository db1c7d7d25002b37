//! What a credential allows, once `auth` has looked at it.
//!
//! A `Grant` is threaded through every write and read path. Writing is checked by `ingest` for each
//! decided commons; reading is applied by `query::session` and nowhere else.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::tags::Commons;

/// What a person may do; higher roles include the lower ones' reading.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads metrics, alerts and status.
    Viewer,
    /// Reads logs and traces as well, and asks SQL.
    Developer,
    /// Silences and edits rules as well.
    Operator,
    /// Everything.
    Admin,
}

/// Which commons a sender may write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteScope {
    /// None at all: a reader's token.
    Nothing,
    /// Any: the tags are decided from what was sent.
    Any,
    /// This one, whatever the payload says.
    Commons(Commons),
    /// Those of one cluster; an empty set means any commons that the rules place in it.
    Cluster {
        /// The cluster's name; it becomes the `cluster` tag.
        cluster: Arc<str>,
        /// The commons that live there.
        commons: BTreeSet<Commons>,
    },
}

/// Which commons a reader may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadScope {
    /// None at all: a sender's token.
    Nothing,
    /// Every commons, the reserved ones included.
    All,
    /// These and no others.
    Only(BTreeSet<Commons>),
}

impl ReadScope {
    /// Returns true when rows of `commons` may be read.
    pub fn covers(&self, commons: &Commons) -> bool {
        match self {
            ReadScope::Nothing => false,
            ReadScope::All => true,
            ReadScope::Only(set) => set.contains(commons),
        }
    }
}

/// What one caller may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The configured name of the credential, for logs and counters; never the secret.
    pub name: Arc<str>,
    /// What may be written.
    pub write: WriteScope,
    /// What may be read.
    pub read: ReadScope,
    /// What else may be done.
    pub role: Role,
}

impl Grant {
    /// Returns the grant of everyone on a loopback server without tokens.
    pub fn open() -> Self {
        Self {
            name: Arc::from("open"),
            write: WriteScope::Any,
            read: ReadScope::All,
            role: Role::Admin,
        }
    }

    /// Returns a number that differs between grants whose senders may be tagged differently; it
    /// seeds the hash of raw label bytes, so one sender's cached series never serves another.
    pub fn write_seed(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(format!("{:?}", self.write).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_what_it_names() {
        let heart = Commons::new("heart").unwrap();
        let only = ReadScope::Only(BTreeSet::from([heart.clone()]));

        assert!(only.covers(&heart) && !only.covers(&Commons::own()));
        assert!(ReadScope::All.covers(&Commons::own()) && !ReadScope::Nothing.covers(&heart));
    }
}
