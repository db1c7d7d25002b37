//! What each receiver was last told of each group: the memory that keeps it from hearing it twice.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Group and way of telling.
pub(super) type LogKey = (String, String);

/// What the last notification said.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) group_key: String,
    pub(super) desk: String,
    pub(super) firing: BTreeSet<u64>,
    pub(super) resolved: BTreeSet<u64>,
    pub(super) at_ms: i64,
    /// How many notifications there were; part of the idempotency key of a repetition.
    pub(super) n: u64,
    /// The receiver refused the last one: it knows of nothing, and hears it at the next look.
    #[serde(default)]
    pub(super) was_refused: bool,
}

/// What a group holds now.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Standing {
    pub(super) firing: BTreeSet<u64>,
    pub(super) resolved: BTreeSet<u64>,
}

/// What was told to whom.
#[derive(Debug, Default)]
pub(super) struct NotificationLog {
    pub(super) told: BTreeMap<LogKey, Told>,
}

impl Told {
    /// Returns whether there is news, as Alertmanager decides it (notify.go, `needsUpdate`).
    /// `repeats` says whether `repeat_interval` has passed and a repetition may be sent.
    pub(super) fn is_news(&self, now: &Standing, send_resolved: bool, repeats: bool) -> bool {
        if !now.firing.is_subset(&self.firing) {
            return true;
        }
        if now.firing.is_empty() {
            return !self.firing.is_empty();
        }
        (send_resolved && !now.resolved.is_subset(&self.resolved)) || repeats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> BTreeSet<u64> {
        text.bytes().map(u64::from).collect()
    }

    /// Letters fire; behind a stroke they are over.
    #[track_caller]
    fn check(told: &str, now: &str, send_resolved: bool, repeats: bool, want: bool) {
        let halves = |text: &str| {
            let (firing, resolved) = text.split_once('|').unwrap_or((text, ""));
            Standing { firing: set(firing), resolved: set(resolved) }
        };
        let Standing { firing, resolved } = halves(told);
        let entry = Told { firing, resolved, ..Told::default() };
        assert_eq!(entry.is_news(&halves(now), send_resolved, repeats), want, "{told} -> {now}");
    }

    #[test]
    fn news_is_what_the_receiver_does_not_know() {
        check("a", "a", true, false, false);
        check("a", "ab", true, false, true);
        check("ab", "a", true, false, false);
        check("ab", "a|b", true, false, true);
        check("ab", "a|b", false, false, false);
        check("a", "|a", false, false, true);
        check("|a", "|b", true, false, false);
        check("a|b", "a|b", true, false, false);
        check("a", "a", true, true, true);
        check("", "", true, true, false);
    }
}
