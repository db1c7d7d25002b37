//! What tagging counts of itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::commons::Rule;
use super::hygiene::Cause;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClaimLabel {
    claim: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Counters of decisions, refused claims and cleaned labels. Clones share their numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    decisions: Family<RuleLabel, Counter>,
    refused: Family<ClaimLabel, Counter>,
    dropped: Family<ReasonLabel, Counter>,
    cleaned: Family<ReasonLabel, Counter>,
    folded: Counter,
    scrubbed: Counter,
    learned_pairs: Gauge,
    /// By the rule's number, so that a decision costs one addition.
    by_rule: Vec<Counter>,
    by_cause: Vec<Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let decisions = Family::<RuleLabel, Counter>::default();
        let cleaned = Family::<ReasonLabel, Counter>::default();
        let by_rule = Rule::ALL
            .map(|rule| decisions.get_or_create_owned(&RuleLabel { rule: rule.as_str() }))
            .to_vec();
        let by_cause = Cause::ALL
            .map(|cause| cleaned.get_or_create_owned(&ReasonLabel { reason: cause.as_str() }))
            .to_vec();
        Self {
            decisions,
            refused: Family::default(),
            dropped: Family::default(),
            cleaned,
            folded: Counter::default(),
            scrubbed: Counter::default(),
            learned_pairs: Gauge::default(),
            by_rule,
            by_cause,
        }
    }
}

impl Metrics {
    /// Returns counters that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "commonwatch_tagging_decisions",
            "Resources, streams and new series placed, by the rule that chose the commons",
            metrics.decisions.clone(),
        );
        registry.register(
            "commonwatch_tagging_refused_claims",
            "Claims of a commons that the credential does not cover, by where they were made",
            metrics.refused.clone(),
        );
        registry.register(
            "commonwatch_tagging_dropped_series",
            "New series that are known duplicates and not stored",
            metrics.dropped.clone(),
        );
        registry.register(
            "commonwatch_tagging_cleaned_labels",
            "Labels removed or replaced before storing, by reason",
            metrics.cleaned.clone(),
        );
        registry.register(
            "commonwatch_tagging_folded_series",
            "New series that lost a label telling them apart and are added up",
            metrics.folded.clone(),
        );
        registry.register(
            "commonwatch_tagging_scrubbed_texts",
            "Texts from which secrets in query strings were taken out",
            metrics.scrubbed.clone(),
        );
        registry.register(
            "commonwatch_tagging_learned_pairs",
            "Pairs of cluster and namespace learned from host names",
            metrics.learned_pairs.clone(),
        );
        metrics
    }

    pub(super) fn decided(&self, rule: Rule) {
        self.by_rule[rule as usize].inc();
    }

    pub(super) fn refused(&self, claim: Rule) {
        self.refused.get_or_create(&ClaimLabel { claim: claim.as_str() }).inc();
    }

    pub(super) fn dropped(&self, reason: &'static str) {
        self.dropped.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn cleaned(&self, cause: Cause) {
        self.by_cause[cause as usize].inc();
    }

    pub(super) fn folded(&self) {
        self.folded.inc();
    }

    pub(super) fn scrubbed(&self) {
        self.scrubbed.inc();
    }

    pub(super) fn learned(&self, n_pairs: usize) {
        self.learned_pairs.set(i64::try_from(n_pairs).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_and_cause_has_its_own_counter() {
        for (idx, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, idx);
        }
        for (idx, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, idx);
        }
    }
}
