//! `[query]`: what one question may cost, and how many are answered at a time.
//!
//! What is PromQL's alone (samples, series, text) is in `promql::Limits`. Every limit has a name, which is its key in the configuration, and every refusal says it.

use crate::base::units::{HumanDuration, HumanSize};

/// The `[query]` section.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a question may take when it does not say.
    pub timeout: HumanDuration,
    /// The longest time a question may ask for.
    pub timeout_max: HumanDuration,
    /// How many questions are answered at a time; 0 is two a core, at least 8.
    pub concurrency_max: usize,
    /// How many of them may come from one credential.
    pub concurrency_per_principal_max: usize,
    /// How many processes answer SQL, one question each at a time.
    pub workers: usize,
    /// The most memory one such process may map beside its own code and stacks; past it the process
    /// dies, and with it the one question.
    pub worker_memory: HumanSize,
    /// The most memory that the sorts, joins and groups of one SQL question may hold.
    pub memory: HumanSize,
    /// The most rows of one SQL answer; what is beyond is cut off and the answer says so.
    pub rows_max: usize,
    /// The most bytes of one SQL answer (as Arrow); what is beyond is cut off.
    pub result_bytes_max: HumanSize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: HumanDuration::from_secs(30),
            timeout_max: HumanDuration::from_secs(120),
            concurrency_max: 0,
            concurrency_per_principal_max: 4,
            workers: 2,
            worker_memory: HumanSize::from_mib(2048),
            memory: HumanSize::from_mib(256),
            rows_max: 100_000,
            result_bytes_max: HumanSize::from_mib(64),
        }
    }
}

/// The fewest questions answered at a time, however few cores there are.
const CONCURRENCY_MIN: usize = 8;

impl Config {
    /// Returns every mistake in the section, each with its key.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut must = |ok: bool, text: &str| {
            if !ok {
                found.push(text.to_owned());
            }
        };
        must(!self.timeout.0.is_zero(), "query.timeout must be longer than 0");
        must(
            self.timeout <= self.timeout_max,
            "query.timeout must not be longer than query.timeout_max",
        );
        must(self.workers > 0, "query.workers must be at least 1");
        must(
            self.concurrency_per_principal_max > 0,
            "query.concurrency_per_principal_max must be at least 1",
        );
        must(
            self.worker_memory.0 >= 2 * self.memory.0,
            "query.worker_memory must be at least twice query.memory: what a question's functions \
             and decoders hold is not counted in the latter",
        );
        must(self.rows_max > 0, "query.rows_max must be at least 1");
        found
    }

    /// Returns how many questions are answered at a time.
    pub fn concurrency(&self) -> usize {
        if self.concurrency_max > 0 {
            return self.concurrency_max;
        }
        let n_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (2 * n_cores).max(CONCURRENCY_MIN)
    }

    /// Returns the deadline of a question that asks for `wanted`, or for nothing.
    pub fn deadline(&self, wanted: Option<std::time::Duration>) -> std::time::Duration {
        wanted.unwrap_or(self.timeout.0).min(self.timeout_max.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_mistake() {
        assert_eq!(Config::default().mistakes(), Vec::<String>::new());
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let config = Config {
            workers: 0,
            timeout: HumanDuration::from_secs(500),
            memory: HumanSize::from_mib(4096),
            ..Config::default()
        };

        assert_eq!(config.mistakes().len(), 3);
    }

    #[test]
    fn nobody_waits_longer_than_the_longest_deadline() {
        let config = Config::default();

        assert_eq!(config.deadline(None), config.timeout.0);
        assert_eq!(
            config.deadline(Some(std::time::Duration::from_secs(900))),
            config.timeout_max.0
        );
    }
}
