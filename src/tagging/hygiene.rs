//! What is taken out of labels: people, things without bound, and fence's known faults.
//!
//! Removing a label may leave two senders' series with one name. Labels that tell series apart are
//! therefore told from decoration: a series that lost one is *folded*, and its samples have to be
//! added up. Names of people's workspaces keep their number by becoming pseudonyms.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use sha2::{Digest, Sha256};

use super::files::{FenceFile, FloatEntry, HygieneFile};
use crate::model::LabelsBuilder;
use crate::model::labels::METRIC_NAME;

/// Why a label was removed or changed; a label of our own metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    Decorative,
    Personal,
    Unbounded,
    Float,
    Workspace,
    Mail,
    Python,
}

impl Cause {
    pub(super) const ALL: [Cause; 7] = [
        Cause::Decorative,
        Cause::Personal,
        Cause::Unbounded,
        Cause::Float,
        Cause::Workspace,
        Cause::Mail,
        Cause::Python,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Cause::Decorative => "decorative",
            Cause::Personal => "personal",
            Cause::Unbounded => "unbounded",
            Cause::Float => "float",
            Cause::Workspace => "workspace",
            Cause::Mail => "mail",
            Cause::Python => "python",
        }
    }

    fn folds(self) -> bool {
        matches!(self, Cause::Personal | Cause::Unbounded | Cause::Float)
    }
}

/// A counter that is given out once more, added up under few labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRule {
    /// The metric that is given out.
    pub metric: Arc<str>,
    /// The labels that are kept beside the tags.
    pub labels: Vec<String>,
}

/// What becomes of a number that was a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The histogram's name.
    pub metric: Arc<str>,
    /// The number, in the unit of the histogram.
    pub value: f64,
}

/// What happens to one label.
enum Change {
    Remove(Cause),
    Replace(String, Cause),
    Rename(String),
    /// A printed list became its first path; `true` when that lost something.
    Path(String, bool),
}

/// The compiled `hygiene.toml`.
#[derive(Debug)]
pub(super) struct Hygiene {
    removed: HashMap<String, Cause>,
    workspace_labels: HashSet<String>,
    workspace_value_prefixes: Vec<String>,
    python_metric_prefix: String,
    python_none: String,
    fence: FenceFile,
    counters: HashMap<String, CounterRule>,
    floats: Vec<FloatEntry>,
    key: Vec<u8>,
}

impl Hygiene {
    /// Compiles the file. Without a key the pseudonyms hold until the next start.
    pub(super) fn new(file: HygieneFile, pseudonym_key: &str) -> Self {
        let mut removed = HashMap::new();
        for (names, cause) in [
            (file.decorative, Cause::Decorative),
            (file.personal, Cause::Personal),
            (file.unbounded, Cause::Unbounded),
        ] {
            removed.extend(names.into_iter().map(|name| (name, cause)));
        }
        removed.extend(file.float_label.iter().map(|float| (float.name.clone(), Cause::Float)));
        let counter = |entry: super::files::CounterEntry| {
            let metric = Arc::from(entry.metric);
            (entry.from, CounterRule { metric, labels: entry.labels })
        };
        let key = if pseudonym_key.is_empty() { random_key() } else { pseudonym_key.into() };
        Self {
            removed,
            workspace_labels: file.workspace_labels.into_iter().collect(),
            workspace_value_prefixes: file.workspace_value_prefixes,
            python_metric_prefix: file.python_metric_prefix,
            python_none: file.python_none,
            fence: file.fence,
            counters: file.counter.into_iter().map(counter).collect(),
            floats: file.float_label,
            key,
        }
    }

    /// Returns why a series is not stored at all, or `None`.
    pub(super) fn dropped(&self, labels: &LabelsBuilder) -> Option<&'static str> {
        if !labels.get(METRIC_NAME)?.starts_with(&*self.fence.metric_prefix) {
            return None;
        }
        let is_init = |name: &str| name.ends_with(&*self.fence.dropped_container_suffix);
        if labels.get("idp") == Some(&*self.fence.dropped_idp) {
            Some("idp_all")
        } else if labels.get("container").is_some_and(is_init) {
            Some("init_container")
        } else {
            None
        }
    }

    /// Returns true for a label that tells who a person is.
    pub(super) fn is_personal(&self, label: &str) -> bool {
        self.removed.get(label) == Some(&Cause::Personal)
    }

    /// Returns how a counter is given out once more.
    pub(super) fn counter(&self, metric: &str) -> Option<&CounterRule> {
        self.counters.get(metric)
    }

    /// Returns what becomes of a label that is a number, before it is taken away.
    pub(super) fn observed(&self, labels: &LabelsBuilder) -> Option<Observed> {
        let metric = labels.get(METRIC_NAME)?;
        self.floats.iter().find_map(|float| {
            let number: f64 = labels.get(&float.name)?.parse().ok()?;
            let value = number * float.times;
            let base = metric.strip_suffix("_total").unwrap_or(metric);
            let metric = Arc::from(format!("{base}{}", float.suffix));
            (value.is_finite() && value >= 0.0).then_some(Observed { metric, value })
        })
    }

    /// Cleans a series or stream; calls `changed` for each label. Returns true when a label that
    /// tells series apart was lost.
    pub(super) fn clean(
        &self,
        labels: &mut LabelsBuilder,
        is_workspace: bool,
        mut changed: impl FnMut(Cause),
    ) -> bool {
        let metric = labels.get(METRIC_NAME).unwrap_or("");
        let is_python = metric.starts_with(&*self.python_metric_prefix);
        let is_fence = metric.starts_with(&*self.fence.metric_prefix);
        let changes: Vec<(String, Change)> = labels
            .iter()
            .filter_map(|(name, value)| {
                let change = self.change(name, value, is_workspace, is_python, is_fence)?;
                Some((name.to_owned(), change))
            })
            .collect();
        let mut is_folded = self.counters.contains_key(metric);
        for (name, change) in changes {
            is_folded |= apply(labels, &name, change, &mut changed);
        }
        is_folded
    }

    fn change(
        &self,
        name: &str,
        value: &str,
        is_workspace: bool,
        is_python: bool,
        is_fence: bool,
    ) -> Option<Change> {
        if name == METRIC_NAME {
            return None;
        }
        if let Some(cause) = self.removed.get(name) {
            return Some(Change::Remove(*cause));
        }
        if is_python && value == self.python_none {
            return Some(Change::Remove(Cause::Python));
        }
        if is_fence {
            if let Some(new) = self.fence.renamed.get(name) {
                return Some(Change::Rename(new.clone()));
            }
            if self.fence.path_list_labels.iter().any(|label| label == name) {
                let (path, lossy) = first_path(value, self.fence.path_segments_max);
                return Some(Change::Path(path, lossy));
            }
        }
        self.pseudonym(name, value, is_workspace)
    }

    fn pseudonym(&self, name: &str, value: &str, is_workspace: bool) -> Option<Change> {
        let is_persons = is_workspace && self.workspace_labels.contains(name)
            || self.workspace_value_prefixes.iter().any(|prefix| value.starts_with(&**prefix));
        if is_persons {
            let text = format!("workspace-{}", self.digest(value));
            return Some(Change::Replace(text, Cause::Workspace));
        }
        hides_mail(value)
            .then(|| Change::Replace(format!("redacted-{}", self.digest(value)), Cause::Mail))
    }

    /// Twelve hex digits that nobody can turn back without the key.
    fn digest(&self, text: &str) -> String {
        let hash = Sha256::new().chain_update(&self.key).chain_update([0]).chain_update(text);
        hash.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn apply(
    labels: &mut LabelsBuilder,
    name: &str,
    change: Change,
    changed: &mut impl FnMut(Cause),
) -> bool {
    match change {
        Change::Remove(cause) => {
            labels.remove(name);
            changed(cause);
            cause.folds()
        }
        Change::Replace(value, cause) => {
            labels.set(name, &value);
            changed(cause);
            false
        }
        Change::Rename(new) => {
            let value = labels.get(name).unwrap_or("").to_owned();
            labels.remove(name);
            if labels.get(&new).is_none() && value != "None" {
                labels.set(&new, &value);
            }
            false
        }
        Change::Path(path, lossy) => {
            labels.set(name, &path);
            lossy
        }
    }
}

/// Returns the first path of a printed Python list, `['/programs/p', …]`, cut to `segments_max`
/// segments, and whether anything was lost.
fn first_path(list: &str, segments_max: usize) -> (String, bool) {
    let inner = list.trim().trim_start_matches('[').trim_end_matches(']');
    let mut items = inner.split(',').map(|item| item.trim().trim_matches(['\'', '"']));
    let first = items.next().unwrap_or("");
    let kept: Vec<&str> = first.split('/').filter(|s| !s.is_empty()).take(segments_max).collect();
    let path = if kept.is_empty() { String::new() } else { format!("/{}", kept.join("/")) };
    let lossy =
        items.any(|item| !item.is_empty()) || path.len() < first.trim_end_matches('/').len();
    (path, lossy)
}

fn random_key() -> Vec<u8> {
    use std::hash::{BuildHasher, RandomState};
    (0..4).flat_map(|i: u8| RandomState::new().hash_one(i).to_le_bytes()).collect()
}

/// Returns true when the text holds a mail address, plain or as hatchery escapes it for a pod's
/// name (`-40` for `@`, `-2e` for a dot).
pub(super) fn hides_mail(text: &str) -> bool {
    has_plain_mail(text) || has_escaped_mail(text)
}

fn has_plain_mail(text: &str) -> bool {
    text.match_indices('@').any(|(at, _)| {
        let before = text[..at].bytes().next_back();
        let after = &text[at + 1..];
        let is_host = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let host = &after[..after.find(|c| !is_host(c)).unwrap_or(after.len())];
        let top = host.trim_end_matches('.').rsplit_once('.').map_or("", |(_, top)| top);
        before.is_some_and(|b| b.is_ascii_alphanumeric())
            && top.len() >= 2
            && top.bytes().all(|b| b.is_ascii_alphabetic())
    })
}

fn has_escaped_mail(text: &str) -> bool {
    // A plain walk over bytes: label values are short, and this runs for each of them.
    let bytes = text.as_bytes();
    let host_follows = |at: usize| {
        let host = &bytes[at + 3..];
        let len = host.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let next = host[len..].get(..3).unwrap_or(b"");
        len > 0 && matches!(next, b"-2e" | b"-2E" | b"-2d" | b"-2D")
    };
    bytes.windows(3).enumerate().any(|(at, window)| window == b"-40" && host_follows(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_addresses_are_seen_plain_and_escaped() {
        for text in [
            "ada@example.org",
            "x ada.l@mail.example.org y",
            "hatchery-ada-40example-2eorg",
            "/var/log/pods/jupyter-pods_hatchery-ada-40my-2dhost-2eedu_1/x.log",
        ] {
            assert!(hides_mail(text), "{text}");
        }
    }

    #[test]
    fn images_ids_and_peers_are_not_mail() {
        for text in [
            "quay.io/cdis/fence@sha256:00ff",
            "550e8400-e29b-40d4-a716-2e6655440000",
            "unknown@unknown",
            "@example.org",
            "hatchery-deployment-5d4f8-40abc",
            "rabbit@10.0.0.1",
        ] {
            assert!(!hides_mail(text), "{text}");
        }
    }

    #[track_caller]
    fn check_path(list: &str, want: &str, want_lossy: bool) {
        assert_eq!(first_path(list, 4), (want.to_owned(), want_lossy), "{list}");
    }

    #[test]
    fn a_printed_list_becomes_its_first_path() {
        check_path("['/programs/x']", "/programs/x", false);
        check_path("['/programs/x/projects/y/z']", "/programs/x/projects/y", true);
        check_path("['/a', '/b']", "/a", true);
        check_path("[]", "", false);
        check_path("/open", "/open", false);
    }
}
