//! What hostname labels teach: (cluster, namespace) to commons.
//!
//! Portal and fence pods carry the commons' host; jobs, kube-state-metrics and the presigned-URL
//! deployment of the same namespace do not. A pair seen with two commons is ambiguous from then on
//! and places nothing: a wrong place is worse than none. The number of pairs is bounded.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::{HashMap, HashSet};
use parking_lot::RwLock;

use crate::model::Commons;

/// The longest name that is learned; a namespace of Kubernetes has 63 bytes at most, a host's name 253.
const NAME_BYTES_MAX: usize = 253;

/// One learned pair, for people to confirm and for keeping over a restart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct LearnedPair {
    /// The cluster.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The commons whose hosts were seen there; `None` when there were several.
    pub commons: Option<Commons>,
}

type ByNamespace = HashMap<Box<str>, Option<Commons>>;

#[derive(Debug, Default)]
struct Pairs {
    by_cluster: HashMap<Box<str>, ByNamespace>,
    n_pairs: usize,
    /// Every commons that has been seen in some pair.
    seen: HashSet<Commons>,
}

/// The learned pairs.
#[derive(Debug, Default)]
pub(super) struct Learned {
    pairs: RwLock<Pairs>,
    pairs_max: usize,
    version: AtomicU64,
}

impl Learned {
    pub(super) fn new(pairs_max: usize) -> Self {
        Self { pairs_max, ..Self::default() }
    }

    /// Returns the one commons seen in a namespace of a cluster.
    pub(super) fn get(&self, cluster: &str, namespace: &str) -> Option<Commons> {
        self.pairs.read().by_cluster.get(cluster)?.get(namespace)?.clone()
    }

    /// Returns true when hosts of this commons have been seen somewhere.
    pub(super) fn knows(&self, commons: &Commons) -> bool {
        self.pairs.read().seen.contains(commons)
    }

    /// Remembers a sighting. What does not fit is not remembered; known pairs stay.
    pub(super) fn teach(&self, cluster: &str, namespace: &str, commons: Option<&Commons>) {
        if cluster.len().max(namespace.len()) > NAME_BYTES_MAX {
            return;
        }
        let known =
            self.pairs.read().by_cluster.get(cluster).and_then(|c| c.get(namespace)).cloned();
        let is_news = match &known {
            None => self.pairs_max > 0,
            Some(seen) => seen.is_some() && seen.as_ref() != commons,
        };
        if !is_news {
            return;
        }
        let mut pairs = self.pairs.write();
        let is_full = pairs.n_pairs >= self.pairs_max;
        let Pairs { by_cluster, n_pairs, seen } = &mut *pairs;
        let known_pair =
            by_cluster.get_mut(cluster).and_then(|namespaces| namespaces.get_mut(namespace));
        match known_pair {
            Some(first) if first.as_ref() == commons => return,
            Some(first) => *first = None,
            None if is_full => return,
            None => {
                let namespaces = by_cluster.entry(Box::from(cluster)).or_default();
                namespaces.insert(Box::from(namespace), commons.cloned());
                seen.extend(commons.cloned());
                *n_pairs += 1;
            }
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Returns a number that grows with every change.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Returns the number of pairs.
    pub(super) fn len(&self) -> usize {
        self.pairs.read().n_pairs
    }

    /// Returns all pairs, sorted.
    pub(super) fn all(&self) -> Vec<LearnedPair> {
        let pairs = self.pairs.read();
        let mut all: Vec<LearnedPair> = pairs
            .by_cluster
            .iter()
            .flat_map(|(cluster, namespaces)| {
                namespaces.iter().map(|(namespace, commons)| LearnedPair {
                    cluster: cluster.to_string(),
                    namespace: namespace.to_string(),
                    commons: commons.clone(),
                })
            })
            .collect();
        all.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nothing_has_are_not_learned() {
        let learned = Learned::new(10);
        let (heart, long) = (Commons::new("heart").unwrap(), "x".repeat(NAME_BYTES_MAX + 1));
        let long = long.as_str();

        for (cluster, namespace) in [("east", long), (long, "heart"), ("east", "heart")] {
            learned.teach(cluster, namespace, Some(&heart));
        }

        assert_eq!((learned.len(), learned.get("east", "heart")), (1, Some(heart)));
    }
}
