//! Sets of names, some ending in `*` for "and whatever follows".

use hashbrown::HashSet;

/// Names and prefixes from a data file.
#[derive(Debug, Clone, Default)]
pub(super) struct NameSet {
    exact: HashSet<Box<str>>,
    prefixes: Vec<Box<str>>,
}

impl NameSet {
    pub(super) fn new(names: &[String]) -> Self {
        let mut set = Self::default();
        for name in names {
            match name.strip_suffix('*') {
                Some(prefix) => set.prefixes.push(Box::from(prefix)),
                None => drop(set.exact.insert(Box::from(name.as_str()))),
            }
        }
        set
    }

    /// Returns true when the set names `text`.
    pub(super) fn contains(&self, text: &str) -> bool {
        self.exact.contains(text) || self.prefixes.iter().any(|prefix| text.starts_with(&**prefix))
    }

    /// Like [`NameSet::contains`], upper and lower case being one; the set is in lower case.
    pub(super) fn contains_ignoring_case(&self, text: &str) -> bool {
        let same_start = |prefix: &str| {
            text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        self.exact.iter().any(|name| name.eq_ignore_ascii_case(text))
            || self.prefixes.iter().any(|prefix| same_start(prefix))
    }
}
