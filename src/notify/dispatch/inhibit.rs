//! Which alerts keep others from being told.
//!
//! For each rule, the alerts on its source side stand under the values of its `equal` labels, so a
//! storm of targets asks one map each and not every source.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Labels;
use crate::notify::matchers::all_match;
use crate::notify::policy::{InhibitRule, Policy};

/// The sources of every rule.
#[derive(Debug, Default)]
pub(super) struct Inhibitor {
    rules: Vec<Sources>,
}

#[derive(Debug)]
struct Sources {
    rule: InhibitRule,
    by_equal: BTreeMap<Vec<String>, BTreeSet<u64>>,
}

impl Inhibitor {
    pub(super) fn new(policy: &Policy) -> Self {
        let sources =
            |rule: &InhibitRule| Sources { rule: rule.clone(), by_equal: BTreeMap::new() };
        Self { rules: policy.inhibit.iter().map(sources).collect() }
    }

    pub(super) fn add(&mut self, fingerprint: u64, labels: &Labels) {
        for sources in self.rules.iter_mut().filter(|one| is_side(&one.rule.source, labels)) {
            sources.by_equal.entry(equal(&sources.rule, labels)).or_default().insert(fingerprint);
        }
    }

    pub(super) fn remove(&mut self, fingerprint: u64, labels: &Labels) {
        for sources in self.rules.iter_mut().filter(|one| is_side(&one.rule.source, labels)) {
            let key = equal(&sources.rule, labels);
            if let Some(set) = sources.by_equal.get_mut(&key) {
                set.remove(&fingerprint);
                if set.is_empty() {
                    sources.by_equal.remove(&key);
                }
            }
        }
    }

    /// Returns an alert that keeps the one with these labels from being told. `source` returns the
    /// labels of a fingerprint while it fires.
    pub(super) fn source_of<'a>(
        &self,
        labels: &Labels,
        source: impl Fn(u64) -> Option<&'a Labels>,
    ) -> Option<u64> {
        let mut rules = self.rules.iter().filter(|one| is_side(&one.rule.target, labels));
        rules.find_map(|Sources { rule, by_equal }| {
            // An alert on both sides is not held down by another that is: they would silence each
            // other.
            let is_two_sided = is_side(&rule.source, labels);
            let mut found = by_equal.get(&equal(rule, labels))?.iter().copied();
            found.find(|&fingerprint| {
                source(fingerprint)
                    .is_some_and(|source| !(is_two_sided && is_side(&rule.target, source)))
            })
        })
    }
}

fn is_side(matchers: &[crate::model::Matcher], labels: &Labels) -> bool {
    all_match(matchers, |name| labels.get(name))
}

fn equal(rule: &InhibitRule, labels: &Labels) -> Vec<String> {
    rule.equal.iter().map(|name| labels.get(name).unwrap_or("").to_owned()).collect()
}
